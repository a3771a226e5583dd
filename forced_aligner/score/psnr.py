"""Peak signal-to-noise ratio."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def psnr_db(actual: NDArray[Any], expected: NDArray[Any]) -> float:
    """Peak signal-to-noise ratio of two arrays of one shape, in dB: 20 log10(max|expected| / RMS error).

    It is inf for equal arrays, and -inf where a value is not finite.
    """
    error = actual.astype(np.float64) - expected.astype(np.float64)
    if not np.isfinite(error).all():
        return -np.inf
    rms = float(np.sqrt((error**2).mean()))
    return float(20 * np.log10(np.abs(expected).max() / rms)) if rms else np.inf
