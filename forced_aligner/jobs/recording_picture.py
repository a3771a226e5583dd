"""The picture of a recording that `infer --plot` draws. It loads matplotlib, which not every run needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.audio import SAMPLE_RATE_HZ
from forced_aligner.align.mel import log_mel, place_of
from forced_aligner.data.records import WordTime
from forced_aligner.output.alignment_picture import Spectrogram, plot_alignment
from forced_aligner.output.records import TimedFile
from forced_aligner.output.spelling import written_words

PICTURE_MEL_BINS = 128
FREQUENCIES_HZ = {"0.5": 500.0, "1": 1000.0, "2": 2000.0, "4 kHz": 4000.0}


def plot_recording(
    file: TimedFile, samples: NDArray[np.float32], path: Path, write: Callable[[Path, bytes], None]
) -> None:
    """Draw the words that were found in (samples,) of 16 kHz audio into a PNG at `path`, which `write` writes."""
    words = [
        WordTime(text=word.one_line, start_time_ms=word.start_time_ms or 0.0, end_time_ms=word.end_time_ms or 0.0)
        for word in file.timed
    ]
    confidences = [word.confidence or 0.0 for word in file.timed]
    wordless_s = [(stretch.start_s, stretch.end_s) for stretch in file.untranscribed]
    title = Path(file.audio).name
    plot_alignment(spectrogram_of(samples), {"words": words}, title, path, confidences, wordless_s, write=write)


def as_written(transcript: str, words: list[WordTime]) -> list[WordTime]:
    """The aligner's `words` with the spelling of the transcript.

    Raises:
        UserError: a word is not in the transcript.
    """
    stretches = written_words(transcript, [word.text for word in words])
    return [replace(words[stretch.word], text=stretch.text) for stretch in stretches if stretch.word is not None]


def spectrogram_of(samples: NDArray[np.float32]) -> Spectrogram:
    """What a picture shows of (samples,) of 16 kHz audio."""

    def between(start_s: float, end_s: float) -> NDArray[np.float32]:
        return log_mel(samples[round(start_s * SAMPLE_RATE_HZ) : round(end_s * SAMPLE_RATE_HZ)], PICTURE_MEL_BINS)

    frequencies = {name: place_of(hz, PICTURE_MEL_BINS) for name, hz in FREQUENCIES_HZ.items()}
    return Spectrogram(samples.size / SAMPLE_RATE_HZ, between, frequencies)
