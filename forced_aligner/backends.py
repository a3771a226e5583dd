"""Who executes the packages: Core ML on macOS, the MIL runtime anywhere; one `predict` for both."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from forced_aligner.bundle import Bundle
from forced_aligner.device import DeviceName, require_device
from forced_aligner.errors import UserError
from forced_aligner.schemas import MAIN

if TYPE_CHECKING:
    from forced_aligner.mil.program import Observer

Arrays = Mapping[str, NDArray[Any]]
BackendName = Literal["auto", "coreml", "mil"]


class Backend(Protocol):
    """Runs one function of one component."""

    name: str

    def load(self, component: str, function: str) -> None:
        """Make `function` of `component` ready, if it is not."""
        ...

    def predict(self, component: str, function: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Arrays by input name -> arrays by output name."""
        ...


class MilBackend:
    """The MIL runtime over the saved packages; each is loaded on first use and kept."""

    name = "mil"

    def __init__(
        self, bundle: Bundle, observers: Mapping[str, Observer] | None = None, device: DeviceName = "cpu"
    ) -> None:
        """Load nothing yet.

        Args:
            bundle: the converted folder.
            observers: see every op that runs, by component; see `forced_aligner.mil.program.Function`.
            device: where the ops run.

        Raises:
            UserError: there is no such device.
        """
        from forced_aligner.mil.program import Program

        self._program = Program
        self._bundle = bundle
        self._observers = observers or {}
        require_device(device)
        self._device = device
        self._programs: dict[str, Program] = {}

    def load(self, component: str, function: str) -> None:
        """Map the package, and plan `function`."""
        if component not in self._programs:
            observer = self._observers.get(component)
            self._programs[component] = self._program(self._bundle.package(component), observer, self._device)
        self._programs[component].function(function)

    def predict(self, component: str, function: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run `function` of `component`."""
        self.load(component, function)
        return self._programs[component].function(function)(inputs)


class CoreMLBackend:
    """Core ML itself, on macOS only; each function is compiled on first use and kept."""

    name = "coreml"

    def __init__(self, bundle: Bundle) -> None:
        import coremltools

        self._ct = coremltools
        self._bundle = bundle
        self._models: dict[tuple[str, str], Any] = {}

    def load(self, component: str, function: str) -> None:
        """Compile `function` of `component`.

        Raises:
            UserError: this macOS cannot load it: the packages may be for a newer one.
        """
        if (component, function) in self._models:
            return
        package = self._bundle.package(component)
        model = self._ct.models.MLModel(
            str(package),
            compute_units=self._ct.ComputeUnit[self._bundle.metadata.compute_units],
            function_name=None if function == MAIN else function,
        )
        if model.__proxy__ is None:  # coremltools only warns when Core ML refuses a model
            raise UserError(
                f"Core ML cannot load {package.name} ({model._framework_error or 'no reason given'}): packages for "
                f"{self._bundle.metadata.deployment_target} need that system or a newer one; or use --backend mil"
            )
        self._models[component, function] = model

    def predict(self, component: str, function: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run `function` of `component`."""
        self.load(component, function)
        outputs = self._models[component, function].predict(dict(inputs))
        # Core ML pads rows (5000 classes have a stride of 5008); np.array copies by strides into plain layout.
        return {name: np.array(array) for name, array in outputs.items()}


def make_backend(name: BackendName, bundle: Bundle, device: DeviceName = "cpu") -> Backend:
    """The backend `name`; `auto` is Core ML on macOS and the MIL runtime elsewhere, which runs on `device`.

    Raises:
        UserError: Core ML was asked for away from macOS, or with a device, or there is no such device.
    """
    on_macos = sys.platform == "darwin"
    if name == "coreml" and not on_macos:
        raise UserError("--backend coreml needs macOS; use --backend mil, which runs the same packages anywhere")
    if name == "coreml" and device != "cpu":
        raise UserError(f"--device {device} is for the MIL runtime: Core ML chooses by itself; use --backend mil")
    if name == "coreml" or (name == "auto" and on_macos and device == "cpu"):
        return CoreMLBackend(bundle)
    return MilBackend(bundle, device=device)
