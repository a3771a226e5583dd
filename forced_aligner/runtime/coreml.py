"""The backend that runs packages with Core ML itself, on macOS only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from forced_aligner.base.errors import UserError
from forced_aligner.package.bundle import Bundle
from forced_aligner.package.contract import MAIN
from forced_aligner.runtime.protocol import Arrays


class CoreMLBackend:
    """Core ML itself, on macOS only. Each function is compiled on first use and kept."""

    name = "coreml"

    def __init__(self, bundle: Bundle) -> None:
        import coremltools

        self.computes_on: str = bundle.metadata.compute_units

        self._ct = coremltools
        self._bundle = bundle
        self._models: dict[tuple[str, str], Any] = {}

    def prepare(self, component: str) -> None:
        """Nothing: each function is compiled when it is loaded."""

    def unload(self, component: str, function: str) -> None:
        """Let go of `function` of `component`."""
        self._models.pop((component, function), None)

    def load(self, component: str, function: str) -> None:
        """Compile `function` of `component`, if it is not compiled yet.

        Raises:
            UserError: this macOS cannot load it; the packages may need a newer one.
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
        """Run `function` of `component`: arrays by input name -> arrays by output name."""
        self.load(component, function)
        outputs = self._models[component, function].predict(dict(inputs))
        # Core ML pads rows: 5000 classes have a stride of 5008. np.array follows strides and copies contiguously.
        return {name: np.array(array) for name, array in outputs.items()}
