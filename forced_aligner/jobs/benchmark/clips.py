"""Clips of exact lengths, joined from the demo's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.audio import SAMPLE_RATE_HZ, load_audio
from forced_aligner.data.clips import load_clips
from forced_aligner.data.records import Clip

LANGUAGE = "English"


@dataclass(frozen=True)
class TimedClip:
    """Audio of an exact length, (samples,) of 16 kHz mono, with what is said in it."""

    duration_s: float
    samples: NDArray[np.float32]
    words: tuple[str, ...]

    @property
    def transcript(self) -> str:
        """The words as a text."""
        return " ".join(self.words)


def demo_clips(lengths_s: Sequence[float]) -> list[TimedClip]:
    """A clip of each length from the demo's, of which the longest come first, so that few are joined."""
    clips = load_clips("demo", None, is_demo_model=True, language=None)
    longest_first = sorted(clips, key=lambda clip: -(clip.duration_s or 0))
    return [joined(longest_first, length_s) for length_s in lengths_s]


def joined(clips: Sequence[Clip], duration_s: float) -> TimedClip:
    """Clips one after the other, from the first again after the last, until `duration_s`.

    The last one is cut after its last word that ends in time, by the true times, and silence follows.
    """
    missing = round(duration_s * SAMPLE_RATE_HZ)
    parts: list[NDArray[np.float32]] = []
    words: list[str] = []
    while missing > 0:
        clip = clips[len(parts) % len(clips)]
        samples, spoken = load_audio(Path(clip.audio)), clip.alignments or []
        if samples.size > missing:
            spoken = [word for word in spoken if _end(word.end_time_ms) <= missing]
            cut = _end(spoken[-1].end_time_ms) if spoken else 0
            samples = np.pad(samples[:cut], (0, missing - cut))
        parts.append(samples)
        words += [word.text for word in spoken]
        missing -= samples.size
    return TimedClip(duration_s, np.concatenate(parts), tuple(words))


def _end(time_ms: float) -> int:
    """The sample at a time."""
    return round(time_ms * SAMPLE_RATE_HZ / 1000)
