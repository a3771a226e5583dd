"""A backend under measurement: what it takes to prepare, load and call, and what it could not do."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.positions import rotary_embedding, row_mask, window_mask
from forced_aligner.base.console import log_always
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import printable
from forced_aligner.jobs.benchmark.memory import MemoryGrowth
from forced_aligner.package.metadata import Dimensions
from forced_aligner.runtime.measurements import Unmeasured
from forced_aligner.runtime.protocol import Arrays, Backend
from forced_aligner.runtime.wrapped import WrappedBackend

T = TypeVar("T")


def milliseconds(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


@dataclass(frozen=True)
class FirstUse:
    """The first load and the first call of a function, while no other is loaded."""

    load_ms: float
    call_ms: float
    growth_bytes: int


class Probe(WrappedBackend):
    """Measures the first use of each function. An alignment over it has one function loaded at a time.

    Attributes:
        first_uses: of each function, by component and function.
        inputs: of the first call of each component.
        failed: what could not be done.
    """

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self.backend = backend
        self.first_uses: dict[tuple[str, str], FirstUse] = {}
        self.inputs: dict[str, Arrays] = {}
        self.failed: list[Unmeasured] = []

    def load(self, component: str, function: str) -> None:
        """Nothing: `predict` loads the function that it calls."""

    def predict(self, component: str, function: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Load a function, call it, and let go of it."""
        self.inputs.setdefault(component, {name: array.copy() for name, array in inputs.items()})
        outputs: dict[str, NDArray[Any]] = {}
        with MemoryGrowth() as memory:
            load_ms = milliseconds(lambda: self.backend.load(component, function))
            call_ms = milliseconds(lambda: outputs.update(self.backend.predict(component, function, inputs)))
        self.backend.unload(component, function)
        self.first_uses.setdefault((component, function), FirstUse(load_ms, call_ms, memory.growth_bytes))
        return outputs

    @contextmanager
    def reported(self, what: str) -> Iterator[None]:
        """Note what this backend cannot do, and why; the rest is measured all the same."""
        try:
            yield
        except UserError as error:
            log_always(f"{what} on {self.computes_on}: FAILED: {error}")
            self.failed.append(Unmeasured(what=what, computes_on=self.computes_on, reason=printable(str(error))))

    def has_failed(self, what: str) -> bool:
        """Whether that could not be done."""
        return any(failure.what == what for failure in self.failed)


class CallCounter(WrappedBackend):
    """Counts the calls of each component, and knows which functions were used."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self.calls: Counter[str] = Counter()
        self._used: set[tuple[str, str]] = set()

    def load(self, component: str, function: str) -> None:
        """As the backend within."""
        self._used.add((component, function))
        super().load(component, function)

    def predict(self, component: str, function: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """As the backend within."""
        self.calls[component] += 1
        return super().predict(component, function, inputs)

    def unload_all(self) -> None:
        """Let go of all functions that were used, and count anew."""
        for component, function in self._used:
            self.unload(component, function)
        self._used.clear()
        self.calls.clear()


def inputs_of_size(recorded: Arrays, size: int | None, dimensions: Dimensions) -> dict[str, NDArray[Any]]:
    """A component's recorded inputs, for its function of `size` rows: the real rows again and again.

    The mask and the rotary angles are those of a full input.
    """
    if size is None:
        return dict(recorded)
    cos, sin = rotary_embedding(size, dimensions.inverse_frequencies)
    made = {
        "attention_mask": window_mask(size, size, dimensions.window_tokens),
        "row_mask": row_mask(size, size),
        "position_cos": cos,
        "position_sin": sin,
    }
    if "mel_chunks" in recorded:
        made["mel_chunks"] = _repeated(recorded["mel_chunks"], size // dimensions.chunk_tokens, axis=0)
    return {name: made[name] if name in made else _repeated(array, size, axis=1) for name, array in recorded.items()}


def _repeated(array: NDArray[Any], size: int, axis: int) -> NDArray[Any]:
    """A three-dimensional array with `size` rows along `axis`, without the padding at the end of the rows."""
    real = int(np.flatnonzero(array.any(tuple({0, 1, 2} - {axis})))[-1]) + 1
    return np.ascontiguousarray(array.take(np.arange(size) % real, axis))


def inputs_for(component: str, names: Sequence[str], recorded: Mapping[str, Arrays]) -> Arrays:
    """The recorded inputs of a component; of another one with the same input for an encoder that was not called."""
    return recorded.get(component) or next(inputs for inputs in recorded.values() if [*inputs] == [*names])
