"""How sure the head is of the times of a word."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forced_aligner.data.records import WordTime


def word_confidences(logits: NDArray[np.float32], bins: NDArray[np.int64]) -> list[float]:
    """How sure the head is of each word, 0 to 1.

    For a boundary it is the probability of the chosen time bin and its two neighbours; a word has the lower one of
    its start and its end. A time that the monotonic repair has moved gets the probability of where it was moved to.

    Args:
        logits: (1, 2 * words, classes).
        bins: (words, 2) the time bins that were chosen.
    """
    scores = logits[0] - logits[0].max(-1, keepdims=True)
    probabilities = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    near = [
        float(row[max(0, chosen - 1) : chosen + 2].sum())
        for row, chosen in zip(probabilities, bins.reshape(-1), strict=True)
    ]
    return [min(start, end) for start, end in zip(near[::2], near[1::2], strict=True)]


def bins_of(words: list[WordTime], segment_ms: float) -> NDArray[np.int64]:
    """(words, 2) the time bins of start and end; `segment_ms` is the length of one."""
    times_ms = np.array([(word.start_time_ms, word.end_time_ms) for word in words])
    return np.round(times_ms / segment_ms).astype(np.int64)
