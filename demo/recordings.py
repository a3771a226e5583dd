"""Long held-out recordings with true word times: fresh clips of one voice after another, with pauses between them."""

from dataclasses import dataclass

import numpy as np

from demo.clips import Clip, ClipMaker, Recipe
from demo.speech import SAMPLE_RATE_HZ
from demo.words import UNSEEN_VOICES

SPEAKER_S = 180.0  # how long one voice speaks
WORDS, WORDS_PER_MINUTE, COMMAS = (3, 26), (130, 200), 0.15  # of one clip; the speed is drawn once per voice
MEAN_PAUSE_S, LONGEST_PAUSE_S = 0.6, 4.0  # between two clips, in addition to the silence at their edges
NOISE_SAMPLES = 700  # at the end of a clip, where there is nothing but noise


@dataclass(frozen=True)
class Recording:
    """A long recording with its true word times.

    Attributes:
        audio: (samples,) float32 at 16 kHz.
        transcript: its text.
        words: the spoken words, in order.
        times_ms: (words, 2), the true start and end of each word.
        clips: the clips that it was joined from.
    """

    audio: np.ndarray
    transcript: str
    words: list[str]
    times_ms: np.ndarray
    clips: list[Clip]


def join(clips: list[Clip], pauses_s: list[float], rng: np.random.Generator) -> Recording:
    """Join clips; the pause after each clip continues with noise of the clip's level."""
    parts: list[np.ndarray] = []
    times_ms: list[np.ndarray] = []
    samples = 0
    for clip, pause_s in zip(clips, pauses_s, strict=True):
        noise = rng.standard_normal(int(pause_s * SAMPLE_RATE_HZ)) * np.std(clip.audio[-NOISE_SAMPLES:])
        times_ms.append(1000 * (np.stack([clip.starts_s, clip.ends_s], axis=1) + samples / SAMPLE_RATE_HZ))
        parts += [clip.audio, noise.astype(np.float32)]
        samples += len(clip.audio) + len(noise)
    return Recording(
        np.concatenate(parts),
        " ".join(clip.transcript for clip in clips),
        [word for clip in clips for word in clip.words],
        np.concatenate(times_ms),
        clips,
    )


def pauses(count: int, rng: np.random.Generator) -> list[float]:
    """Pauses in seconds: mostly short, some long."""
    return [min(float(pause_s), LONGEST_PAUSE_S) for pause_s in rng.exponential(MEAN_PAUSE_S, count)]


def long_recording(duration_s: float, seed: int) -> Recording:
    """A recording of at least `duration_s`, with another voice every three minutes."""
    maker, rng = ClipMaker(seed), np.random.default_rng((seed, 2))
    clips: list[Clip] = []
    pauses_s: list[float] = []
    at_s, speaker_end_s = 0.0, 0.0
    while at_s < duration_s:
        if at_s >= speaker_end_s:
            voice, speed = UNSEEN_VOICES[int(rng.integers(len(UNSEEN_VOICES)))], int(rng.integers(*WORDS_PER_MINUTE))
            speaker_end_s += SPEAKER_S
        clips.append(maker.clip(Recipe(int(rng.integers(*WORDS)), speed, COMMAS), voice))
        pauses_s += pauses(1, rng)
        at_s += clips[-1].duration_s + pauses_s[-1]
    return join(clips, pauses_s, rng)
