"""Timing of the stages of the chain."""

from __future__ import annotations

import time
from collections.abc import Mapping

LOAD_STAGE = "load"


class Clock:
    """Measures the wall time of stages, in ms: `laps`, by stage. The times of a repeated stage add up."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Count the time since the last lap as `stage`."""
        now = time.perf_counter()
        self.laps[stage] = self.laps.get(stage, 0.0) + (now - self._last) * 1000
        self._last = now


def stage_line(stage_ms: Mapping[str, float]) -> str:
    """One line with the time of each stage."""
    return "  ".join(f"{stage} {ms:.0f} ms" for stage, ms in stage_ms.items())
