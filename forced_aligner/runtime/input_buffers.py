"""The memory of the arrays that Core ML gets."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPARE_REFERENCES = 16


class InputBuffers:
    """C-contiguous, writable arrays that live as long as the process; the arrays of an input share one memory.

    Core ML keeps the arrays of a call for about a second after `predict` has returned, and lets go of them on a thread
    of its own that does not hold the interpreter's lock (coremltools pull requests 2827 and 2829). The last reference
    must never be its own: NumPy would free the array beside running Python code, and the heap would break. Without the
    lock a count may also miss one of our references, so each array has some to spare.

    Calls are one at a time, and Core ML only holds the memory of a finished call: the next call may overwrite it.
    """

    def __init__(self) -> None:
        self._memory: dict[tuple[str, np.dtype[Any]], NDArray[Any]] = {}
        self._arrays: dict[tuple[str, np.dtype[Any], tuple[int, ...]], NDArray[Any]] = {}

    def hold(self, name: str, array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        """The values of `array`, as `dtype`, in the array of its shape for the input `name`."""
        key = (name, dtype, array.shape)
        if key not in self._arrays:
            self._arrays[key] = self._new(name, array.shape, dtype)
        held = self._arrays[key]
        held[...] = array
        return held

    def _new(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        count = math.prod(shape)
        memory = self._memory.get((name, dtype))
        if memory is None or memory.size < count:  # arrays that were made before keep theirs
            memory = self._memory[name, dtype] = np.empty(count, dtype)
        array = memory[:count].reshape(shape)
        for _ in range(SPARE_REFERENCES):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(array))
        return array


BUFFERS = InputBuffers()  # of the process: a runtime may end before Core ML has let go
