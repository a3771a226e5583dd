"""Who executes the packages: Core ML on macOS, the MIL runtime anywhere; one `predict` for both."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from forced_aligner.bundle import Bundle
from forced_aligner.errors import UserError

if TYPE_CHECKING:
    from forced_aligner.mil.program import Observer

Arrays = Mapping[str, NDArray[Any]]
BackendName = Literal["auto", "coreml", "mil"]


class Backend(Protocol):
    """Runs one function of one component."""

    name: str

    def predict(self, component: str, function: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Arrays by input name -> arrays by output name."""
        ...


class MilBackend:
    """The MIL runtime over the saved packages; each is loaded on first use and kept."""

    name = "mil"

    def __init__(self, bundle: Bundle, observers: Mapping[str, Observer] | None = None) -> None:
        """`observers` see every op that runs, by component; see `forced_aligner.mil.program.Function`."""
        from forced_aligner.mil.program import Program

        self._load = Program
        self._bundle = bundle
        self._observers = observers or {}
        self._programs: dict[str, Program] = {}

    def predict(self, component: str, function: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run `function` of `component`."""
        if component not in self._programs:
            observer = self._observers.get(component)
            self._programs[component] = self._load(self._bundle.package(component), observer)
        return self._programs[component].function(function)(inputs)


class CoreMLBackend:
    """Core ML itself, on macOS only; each function is compiled on first use and kept."""

    name = "coreml"

    def __init__(self, bundle: Bundle) -> None:
        import coremltools

        self._ct = coremltools
        self._bundle = bundle
        self._models: dict[tuple[str, str], Any] = {}

    def predict(self, component: str, function: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run `function` of `component`."""
        key = (component, function)
        if key not in self._models:
            self._models[key] = self._ct.models.MLModel(
                str(self._bundle.package(component)),
                compute_units=self._ct.ComputeUnit[self._bundle.metadata.compute_units],
                function_name=None if function == "main" else function,
            )
        # Core ML pads rows (5000 classes have a stride of 5008); np.array copies by strides into plain layout.
        return {name: np.array(array) for name, array in self._models[key].predict(dict(inputs)).items()}


def make_backend(name: BackendName, bundle: Bundle) -> Backend:
    """The backend `name`; `auto` is Core ML on macOS and the MIL runtime elsewhere.

    Raises:
        UserError: Core ML was asked for away from macOS.
    """
    on_macos = sys.platform == "darwin"
    if name == "coreml" and not on_macos:
        raise UserError("--backend coreml needs macOS; use --backend mil, which runs the same packages anywhere")
    if name == "coreml" or (name == "auto" and on_macos):
        return CoreMLBackend(bundle)
    return MilBackend(bundle)
