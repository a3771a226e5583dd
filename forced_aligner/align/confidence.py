"""Confidence: how sure the head is of the times of a word."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forced_aligner.data.records import WordTime


def word_confidences(logits: NDArray[np.float32], bins: NDArray[np.int64]) -> list[float]:
    """The confidence of each word, 0 to 1.

    The confidence of a boundary is the probability of its time bin and the two neighbouring bins. That of a word is
    the lower one of its start and its end. If the monotonic repair moved a time, the bin after the move counts.

    Args:
        logits: (1, 2 * words, classes) scores of the time classes.
        bins: (words, 2) time bins of start and end.
    """
    scores = logits[0] - logits[0].max(-1, keepdims=True)
    probabilities = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    boundaries = [
        float(row[max(0, time_bin - 1) : time_bin + 2].sum())
        for row, time_bin in zip(probabilities, bins.reshape(-1), strict=True)
    ]
    return [min(start, end) for start, end in zip(boundaries[::2], boundaries[1::2], strict=True)]


def bins_of(words: list[WordTime], segment_ms: float) -> NDArray[np.int64]:
    """(words, 2) time bins of start and end; a bin lasts `segment_ms`."""
    times_ms = np.array([(word.start_time_ms, word.end_time_ms) for word in words])
    return np.round(times_ms / segment_ms).astype(np.int64)
