"""From the head's classes to word times, as the checkpoint's processor decodes and repairs them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from forced_aligner.data.records import WordTime
from forced_aligner.package.host_kit.host import repair

SNAPPED_RUN = 2  # times in a row out of order that transformers' `_fix_timestamps` moves to a neighbour


def word_times(classes: NDArray[np.int64], words: Sequence[str], segment_ms: float) -> list[WordTime]:
    """The times of `words`, in ms, in order.

    Args:
        classes: (2 * words,) time classes, of the start and the end of each word.
        words: the words, as `split_words` returns them.
        segment_ms: duration of one class.
    """
    raw_ms = classes.astype(np.float32) * np.float32(segment_ms)
    times_ms = repair(raw_ms.tolist(), SNAPPED_RUN)
    return [
        WordTime(text=word, start_time_ms=start_ms, end_time_ms=end_ms)
        for word, start_ms, end_ms in zip(words, times_ms[::2], times_ms[1::2], strict=True)
    ]
