"""How long each stage of the chain took."""

from __future__ import annotations

import time
from collections.abc import Mapping

LOAD_STAGE = "load"


class Clock:
    """Wall time between laps, in ms; a stage that comes again adds to its time."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps[stage] = self.laps.get(stage, 0.0) + (now - self._last) * 1000
        self._last = now


def stage_line(stage_ms: Mapping[str, float]) -> str:
    """Stage timings on one line."""
    return "  ".join(f"{stage} {ms:.0f} ms" for stage, ms in stage_ms.items())
