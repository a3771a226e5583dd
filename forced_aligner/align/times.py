"""From the head's classes to word times: the processor's own decoding and monotonic repair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forced_aligner.data.records import WordTime

if TYPE_CHECKING:
    from transformers import Qwen3ASRProcessor

SNAPPED_RUN = 2  # times in a row out of order that transformers' `_fix_timestamps` moves to a neighbour


def word_times(
    processor: Qwen3ASRProcessor, classes: NDArray[np.int64], words: list[str], timestamp: int, segment_ms: float
) -> list[WordTime]:
    """The times of `words`, in ms, in order.

    Args:
        processor: decodes the classes and repairs their order. It gets the `<timestamp>` rows only.
        classes: (2 * words,) time classes, of the start and the end of each word.
        words: the words, as `split_words` returns them.
        timestamp: the token id of `<timestamp>`.
        segment_ms: duration of one class.
    """
    import torch

    scores = torch.nn.functional.one_hot(torch.from_numpy(classes))[None]  # the processor takes the largest of a row
    (items,) = processor.decode_forced_alignment(
        scores, torch.full(scores.shape[:2], timestamp), [words], timestamp, segment_ms
    )
    return [word_time(item) for item in items]


def word_time(item: dict[str, Any]) -> WordTime:
    """Convert a word from the processor's form, in seconds, to a record in milliseconds."""
    return WordTime(
        text=item["text"],
        start_time_ms=round(item["start_time"] * 1000),
        end_time_ms=round(item["end_time"] * 1000),
    )
