"""The picture of a recording that `infer --plot` draws. It loads matplotlib, which not every run needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.audio import SAMPLE_RATE_HZ
from forced_aligner.align.chain import Alignment
from forced_aligner.align.mel import log_mel
from forced_aligner.output.alignment_picture import Spectrogram, plot_alignment

PICTURE_MEL_BINS = 128


def plot_recording(
    alignment: Alignment,
    samples: NDArray[np.float32],
    title: str,
    path: Path,
    write: Callable[[Path, bytes], None],
) -> None:
    """Draw the words that were found in (samples,) of 16 kHz audio into a PNG at `path`, which `write` writes."""
    words, heard = alignment.words_within, alignment.heard
    sides, confidences = {"words": [words[index] for index in heard]}, [alignment.confidences[index] for index in heard]
    plot_alignment(spectrogram_of(samples), sides, title, path, confidences, alignment.untranscribed_s, write=write)


def spectrogram_of(samples: NDArray[np.float32]) -> Spectrogram:
    """What a picture shows of (samples,) of 16 kHz audio."""

    def between(start_s: float, end_s: float) -> NDArray[np.float32]:
        return log_mel(samples[round(start_s * SAMPLE_RATE_HZ) : round(end_s * SAMPLE_RATE_HZ)], PICTURE_MEL_BINS)

    return Spectrogram(samples.size / SAMPLE_RATE_HZ, between)
