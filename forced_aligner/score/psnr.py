"""Peak signal to noise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def psnr_db(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Peak signal to noise: 20 log10(max|expected| / rms error), dB; inf for equal arrays, -inf for not finite ones."""
    error = found.astype(np.float64) - expected.astype(np.float64)
    if not np.isfinite(error).all():
        return -np.inf
    rms = float(np.sqrt((error**2).mean()))
    return float(20 * np.log10(np.abs(expected).max() / rms)) if rms else np.inf
