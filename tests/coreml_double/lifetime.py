"""Whether input arrays outlive Core ML's use of them.

Core ML reads an input in place, and its wrapper owns a reference to the very array object that it was given. It lets go
of it about a second after `predict` returned, on a thread of its own and without the interpreter's lock. If that was
the last reference, the heap breaks (pull requests 2827 and 2829 of apple/coremltools). So the object must live that
long, not only its memory: a new view of a kept buffer is as wrong as a new array, and so is the float32 copy that
coremltools makes of a float16 array.

Unloading the function does not end the wait: no report says that it lets go of the inputs at once.

Writing to an input after `predict` returned is allowed: the call is synchronous, and only the reference stays. The
memory of a living input cannot go away: `features.check_input` asks that numpy owns it, views keep their owner alive,
and numpy does not resize an owner in place that has a weak reference, which the watch holds.
"""

from __future__ import annotations

import gc
import time
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LINGER_S = 2.0  # "~1 second" in pull request 2827, and as much again


def owner(array: NDArray[Any]) -> Any:
    """The object at the end of the chain of bases: what owns the memory."""
    base: Any = array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    return base


@dataclass
class _Watched:
    """An input that Core ML may still hold.

    Attributes:
        array: a weak reference to it.
        memory: a weak reference to the owner of its memory.
        label: what it was given as.
        until_s: by the watch's clock.
    """

    array: weakref.ref[NDArray[Any]]
    memory: weakref.ref[NDArray[Any]]
    label: str
    until_s: float


class InputWatch:
    """Notes every input that dies while Core ML may still hold it."""

    def __init__(self) -> None:
        self._watched: dict[int, _Watched] = {}
        self._faults: list[str] = []
        self._skipped_s = 0.0

    def let_time_pass(self, seconds: float) -> None:
        """Move the watch's clock, so that a test need not sleep."""
        self._skipped_s += seconds

    def _now_s(self) -> float:
        return time.monotonic() + self._skipped_s

    def watch(self, array: NDArray[Any], label: str) -> None:
        """Watch `array` from now on; again for one that is watched already."""
        key = id(array)  # of nothing else, until the array dies and its entry goes

        def died(_: object) -> None:
            self._array_died(key)

        until_s = self._now_s() + LINGER_S
        self._watched[key] = _Watched(weakref.ref(array, died), weakref.ref(owner(array)), label, until_s)

    def _array_died(self, key: int) -> None:
        watched = self._watched.pop(key, None)
        if watched and self._now_s() < watched.until_s:
            self._faults.append(f"{watched.label} died")

    def faults(self) -> list[str]:
        """What has gone wrong since the last call, with garbage collected first."""
        gc.collect()
        faults, self._faults = self._faults, []
        return faults
