"""Where nobody speaks: stretches that are quieter than the sound around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.audio import SAMPLE_RATE_HZ

FRAME_SAMPLES = 160  # 10 ms
SMOOTHED_FRAMES = 3
AROUND_FRAMES = 400  # a level is judged among the 4 s before and after
QUIET, LOUD = 5, 90  # percentiles of the levels around
SHARE = 0.25  # of the way from quiet to loud, in dB: below it is silence
BELOW_DB = 30.0  # and what is so far below loud, wherever something else is quieter still
FLOOR = 1e-10
SILENCE_S = 0.2  # the shortest that this project looks for


def find_silences(samples: NDArray[np.float32], least_s: float) -> NDArray[np.int64]:
    """(silences, 2) first and last sample of each silence of at least `least_s`, in order."""
    count = samples.size // FRAME_SAMPLES
    if count == 0:
        return np.zeros((0, 2), np.int64)
    frames = samples[: count * FRAME_SAMPLES].reshape(count, FRAME_SAMPLES)
    power = np.einsum("fs,fs->f", frames, frames) / FRAME_SAMPLES  # without a copy: a recording may have hours
    smoothing = np.full(SMOOTHED_FRAMES, 1 / SMOOTHED_FRAMES)
    levels = np.convolve(10 * np.log10(power + FLOOR), smoothing, "full")[SMOOTHED_FRAMES // 2 :][:count]
    is_quiet = np.zeros(count, bool)
    for first in range(0, count, AROUND_FRAMES):
        around = levels[max(0, first - AROUND_FRAMES) : first + 2 * AROUND_FRAMES]
        quiet, loud = np.percentile(around, [QUIET, LOUD])
        part = slice(first, first + AROUND_FRAMES)
        is_quiet[part] = levels[part] < max(quiet + SHARE * (loud - quiet), loud - BELOW_DB)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_quiet.astype(np.int8), [0]]))).reshape(-1, 2)
    is_long = (edges[:, 1] - edges[:, 0]) * FRAME_SAMPLES >= least_s * SAMPLE_RATE_HZ
    return edges[is_long] * FRAME_SAMPLES


def seconds_before(stretches_s: NDArray[np.float64], times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many seconds of some stretches lie before each of some times.

    Args:
        stretches_s: (stretches, 2) start and end, in order.
        times_s: of any shape.
    """
    if not len(stretches_s):
        return np.zeros_like(times_s)
    lengths_s = stretches_s[:, 1] - stretches_s[:, 0]
    ends_s = np.cumsum(lengths_s)
    before_s = np.stack([ends_s - lengths_s, ends_s], 1)
    return np.interp(times_s, stretches_s.reshape(-1), before_s.reshape(-1))
