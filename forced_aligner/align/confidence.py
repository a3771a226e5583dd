"""Confidence: how sure the head is of the times of a word."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.scores import Scores
from forced_aligner.data.records import WordTime


def word_confidences(scores: Scores, bins: NDArray[np.int64]) -> list[float]:
    """The confidence of each word, 0 to 1.

    The confidence of a boundary is the probability of its time bin and the two neighbouring bins. That of a word is
    the lower one of its start and its end. If the monotonic repair moved a time, the bin after the move counts.

    Args:
        scores: two rows a word. Where they know three classes of a row alone, a moved time gets what is known.
        bins: (words, 2) time bins of start and end.
    """
    boundaries = scores.near(bins.reshape(-1))
    return [min(start, end) for start, end in zip(boundaries[::2], boundaries[1::2], strict=True)]


def bins_of(words: list[WordTime], segment_ms: float) -> NDArray[np.int64]:
    """(words, 2) time bins of start and end; a bin lasts `segment_ms`."""
    times_ms = np.array([(word.start_time_ms, word.end_time_ms) for word in words])
    return np.round(times_ms / segment_ms).astype(np.int64)
