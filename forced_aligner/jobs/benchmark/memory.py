"""The memory of this process. What other processes hold for it, as macOS does for the Neural Engine, is not in it."""

from __future__ import annotations

import resource
import sys
import threading
from types import TracebackType

import psutil  # type: ignore[import-untyped]

SAMPLING_PERIOD_S = 0.005
# of ru_maxrss: bytes on macOS, KiB on Linux, see getrusage(2) of each
MAXIMUM_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


def peak_memory_bytes() -> int:
    """The largest resident memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXIMUM_UNIT_BYTES


class MemoryGrowth:
    """Samples the resident memory in a thread, while it is entered: `growth_bytes` is the largest one over the first.

    Memory that was freed before and not given back to the system is used again without growth.
    """

    def __enter__(self) -> MemoryGrowth:
        self._process = psutil.Process()
        self._before = self._largest = self._resident()
        self._highest_before = peak_memory_bytes()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        # Core ML works with the interpreter's lock held, when nothing is sampled: the system's own maximum counts too.
        highest = peak_memory_bytes()
        self._largest = max(self._largest, self._resident(), highest if highest > self._highest_before else 0)

    @property
    def growth_bytes(self) -> int:
        """By how much the memory grew, at its largest."""
        return self._largest - self._before

    def _sample(self) -> None:
        while not self._end.wait(SAMPLING_PERIOD_S):
            self._largest = max(self._largest, self._resident())

    def _resident(self) -> int:
        return int(self._process.memory_info().rss)
