"""The backend that runs packages with Core ML itself, on macOS only."""

from __future__ import annotations

import importlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forced_aligner.base.errors import UserError
from forced_aligner.base.stopping import ends_at_once
from forced_aligner.package.bundle import CONVERT_HINT, Bundle
from forced_aligner.package.contract import MAIN
from forced_aligner.package.spec import input_types, read_spec
from forced_aligner.runtime.compiled import CompiledPackages
from forced_aligner.runtime.input_buffers import BUFFERS
from forced_aligner.runtime.options import ComputeUnitsName
from forced_aligner.runtime.protocol import Arrays
from forced_aligner.runtime.refusal import explained

# Functions that are loaded at once. A clip needs six at most, so this leaves room for two more decoder lengths. Chosen
# without a Mac: what a loaded function costs there was not measured.
MAX_LOADED = 8
# of `coremltools.ComputeUnit`
COMPUTE_UNITS: dict[ComputeUnitsName, str] = {
    "all": "ALL",
    "cpu": "CPU_ONLY",
    "cpu-and-gpu": "CPU_AND_GPU",
    "cpu-and-ne": "CPU_AND_NE",
}


class CoreMLBackend:
    """Core ML itself. Packages are compiled once; of their functions, those that were used last are loaded."""

    name = "coreml"
    most_threads = None

    def __init__(
        self,
        bundle: Bundle,
        compute_units: ComputeUnitsName | None = None,
        compiled: CompiledPackages | None = None,
    ) -> None:
        """Nothing is compiled or loaded yet.

        Args:
            bundle: the converted folder.
            compute_units: where Core ML may compute; `None`: where the folder's metadata says.
            compiled: its compiled packages, which several backends may share; by default those of the cache.

        Raises:
            UserError: coremltools was installed without the part that drives Core ML.
        """
        try:
            importlib.import_module("coremltools.libcoremlpython")
        except ImportError as error:
            raise UserError(
                f"coremltools cannot drive Core ML here ({error}): install its wheel, not its sources"
            ) from error
        self.computes_on: str = COMPUTE_UNITS[compute_units] if compute_units else bundle.metadata.compute_units
        self._bundle = bundle
        self._compiled = compiled or CompiledPackages(bundle)
        self._specs: dict[str, Any] = {}
        self._loaded: OrderedDict[tuple[str, str], _Function] = OrderedDict()

    def prepare(self, component: str) -> None:
        """Compile the package of `component`, if there is no compiled one yet.

        Raises:
            UserError: Core ML refuses the package.
        """
        self.compiled_path(component)

    def compiled_path(self, component: str) -> Path:
        """The compiled package of `component`; see `prepare`."""
        with explained("compile", self._bundle.package(component).name, self._bundle.metadata):
            return self._compiled.path(component)

    def load(self, component: str, function: str) -> None:
        """Load `function` of `component`, if it is not loaded; the one that was used longest ago makes room for it.

        Raises:
            UserError: Core ML refuses the package or the compute units.
        """
        key = (component, function)
        if key not in self._loaded:
            while len(self._loaded) >= MAX_LOADED:
                self._loaded.popitem(last=False)
            self._loaded[key] = self._open(component, function)
        self._loaded.move_to_end(key)

    def unload(self, component: str, function: str) -> None:
        """Let go of `function` of `component`, if it is loaded. Its inputs live on; see `InputBuffers`."""
        self._loaded.pop((component, function), None)

    def predict(self, component: str, function: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run `function` of `component`: arrays by input name -> arrays by output name.

        Raises:
            UserError: the function takes other inputs, or Core ML cannot run it.
        """
        self.load(component, function)
        with explained("run", self._bundle.package(component).name, self._bundle.metadata, self.computes_on):
            return self._loaded[component, function](inputs)

    def _open(self, component: str, function: str) -> _Function:
        self.prepare(component)
        if component not in self._specs:
            self._specs[component] = read_spec(self._bundle.package(component))
        types = input_types(self._specs[component], function)
        with explained("load", self._bundle.package(component).name, self._bundle.metadata, self.computes_on):
            try:
                return self._load(component, function, types)
            except RuntimeError:
                if not self._compiled.made_anew(component):
                    raise
            return self._load(component, function, types)

    def _load(self, component: str, function: str, types: dict[str, np.dtype[Any]]) -> _Function:
        import coremltools

        with ends_at_once():  # the first load on the Neural Engine may take minutes
            model = coremltools.models.CompiledMLModel(
                str(self._compiled.path(component)),
                compute_units=coremltools.ComputeUnit[self.computes_on],
                function_name=None if function == MAIN else function,
            )
        return _Function(model.predict, types)


class _Function:
    """A loaded function: its inputs go into arrays that outlive it, its outputs have no gaps."""

    def __init__(self, predict: Callable[[dict[str, Any]], dict[str, Any]], types: dict[str, np.dtype[Any]]) -> None:
        self._predict, self._types = predict, types

    def __call__(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        if inputs.keys() != self._types.keys():
            raise UserError(f"a package takes the inputs {sorted(self._types)}, not {sorted(inputs)}: {CONVERT_HINT}")
        held = {name: BUFFERS.hold(name, array, self._types[name]) for name, array in inputs.items()}
        # Core ML pads rows: 5000 classes have a stride of 5008. NumPy follows the strides.
        return {name: np.ascontiguousarray(array) for name, array in self._predict(held).items()}
