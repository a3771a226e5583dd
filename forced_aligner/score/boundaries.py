"""Boundary errors and their summary."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forced_aligner.base.errors import UserError
from forced_aligner.data.records import WordTime
from forced_aligner.score.records import Scores

SAME_BIN_MS = 0.5  # times are whole milliseconds: closer than this is the same bin


def boundary_errors_ms(ours: list[WordTime], theirs: list[WordTime]) -> NDArray[np.float64]:
    """|difference| of every boundary, (2 * words,): a word has a start and an end.

    Raises:
        UserError: the two do not hold the same words in the same order.
    """
    if [word.text for word in ours] != [word.text for word in theirs]:
        raise UserError(
            f"the words differ ({len(ours)} against {len(theirs)}): the reference was made from another transcript; "
            "run compare-models.py again"
        )
    return np.array(
        [
            error
            for our, their in zip(ours, theirs, strict=True)
            for error in (abs(our.start_time_ms - their.start_time_ms), abs(our.end_time_ms - their.end_time_ms))
        ]
    )


def score_errors(errors_ms: NDArray[np.float64]) -> Scores:
    """Summary of the boundary errors, (boundaries,)."""

    def percent(within: NDArray[np.bool_]) -> float:
        return round(float(within.mean() * 100), 2)

    return Scores(
        words=errors_ms.size // 2,
        boundaries=errors_ms.size,
        bin_exact_percent=percent(errors_ms < SAME_BIN_MS),
        aas_ms=round(float(errors_ms.mean()), 3),
        max_error_ms=float(errors_ms.max()),
        within_20ms_percent=percent(errors_ms <= 20),
        within_80ms_percent=percent(errors_ms <= 80),
        within_160ms_percent=percent(errors_ms <= 160),
    )
