"""Boundary errors of one clip, and their summary."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forced_aligner.base.errors import UserError
from forced_aligner.data.records import WordTime
from forced_aligner.score.records import Scores

SAME_BIN_MS = 0.5  # times are whole milliseconds: a smaller difference is the same bin
STEP_MS = 80.0  # of the histogram: a time bin
LEAST_STEPS, MOST_STEPS = 3, 11  # on either side of the histogram


def boundary_errors_ms(words: list[WordTime], reference: list[WordTime]) -> NDArray[np.float64]:
    """Absolute differences of all boundaries in ms, (2 * words,): start and end of the first word, of the second, ...

    Raises:
        UserError: the two lists do not have the same words in the same order.
    """
    return np.abs(boundary_differences_ms(words, reference))


def boundary_differences_ms(words: list[WordTime], reference: list[WordTime]) -> NDArray[np.float64]:
    """As `boundary_errors_ms`, with a sign: what is later than in the reference is positive.

    Raises:
        UserError: see `boundary_errors_ms`.
    """
    if [word.text for word in words] != [word.text for word in reference]:
        raise UserError(
            f"the words differ ({len(words)} against {len(reference)}): the reference was made from another "
            "transcript; run compare-models.py again"
        )
    return np.array(
        [
            difference_ms
            for word, expected in zip(words, reference, strict=True)
            for difference_ms in (
                word.start_time_ms - expected.start_time_ms,
                word.end_time_ms - expected.end_time_ms,
            )
        ]
    )


def error_counts(differences_ms: NDArray[np.float64]) -> dict[int, int]:
    """How many differences, (boundaries,), lie in each step of 80 ms: a histogram.

    Step 0 holds what is in the same bin, step 1 what is up to 80 ms later, step -1 what is up to 80 ms earlier, and so
    on. There are as many steps on either side, and the outermost holds all that lies beyond the one before it.
    """
    steps = np.ceil(np.abs(differences_ms) / STEP_MS)
    steps[np.abs(differences_ms) < SAME_BIN_MS] = 0
    last = int(np.clip(steps.max() + 1, LEAST_STEPS, MOST_STEPS))
    steps = np.sign(differences_ms) * np.minimum(steps, last)
    return {step: int((steps == step).sum()) for step in range(-last, last + 1)}


def score_errors(errors_ms: NDArray[np.float64]) -> Scores:
    """Summarize boundary errors in ms, (boundaries,); an even count, at least two. Nothing is rounded."""

    def percent(is_within: NDArray[np.bool_]) -> float:
        return 100.0 * int(is_within.sum()) / errors_ms.size  # 100 only if all are

    return Scores(
        words=errors_ms.size // 2,
        boundaries=errors_ms.size,
        moved=int((errors_ms >= SAME_BIN_MS).sum()),
        beyond_80ms=int((errors_ms > 80).sum()),
        beyond_160ms=int((errors_ms > 160).sum()),
        bin_exact_percent=percent(errors_ms < SAME_BIN_MS),
        aas_ms=float(errors_ms.mean()),
        max_error_ms=float(errors_ms.max()),
        within_20ms_percent=percent(errors_ms <= 20),
        within_80ms_percent=percent(errors_ms <= 80),
        within_160ms_percent=percent(errors_ms <= 160),
    )
