"""The double of `_MLModelProxy`, the class of coremltools' C++ layer that compiles, loads and predicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from forced_aligner.base.errors import UserError
from forced_aligner.package.contract import MAIN

from .compiled import SUFFIX, Compiled, compile_package, open_compiled
from .compute_plan import all_devices, make_plan, make_structure
from .double import CoreMLDouble, Load
from .errors import core_ml_error
from .features import check_inputs, output

COMPUTE_UNITS = ("ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE")
NEWEST_SPECIFICATION = 10  # that coremltools 9.0 was built for: `_SPECIFICATION_VERSION_IOS_26`


def _require(kind: type, **values: Any) -> None:
    """Refuse an argument of another type, as pybind11 does."""
    for name, value in values.items():
        if not isinstance(value, kind):
            raise TypeError(
                f"incompatible function arguments: {name} is a {type(value).__name__}, not a {kind.__name__}"
            )


class ModelProxy:
    """One loaded function of a compiled package.

    The names and the order of arguments are those of coremlpython/CoreMLPython.mm (`PYBIND11_PLUGIN`). Of its methods
    these are missing, because the backend does not call them: batches, states, assets, and the durations of Core ML.
    """

    double: ClassVar[CoreMLDouble]  # of the test; `install` makes a subclass that has it

    def __init__(self, path: str, units: str, function: str, hints: dict[str, str], asset: None = None) -> None:
        """Load.

        Raises:
            RuntimeError: `path` is not compiled, its functions and the name do not fit, or a test forbids the units.
        """
        _require(str, path=path, compute_units=units, function_name=function)
        _require(dict, optimization_hints=hints)
        assert units in COMPUTE_UNITS and asset is None
        self._path = path
        self._compiled = open_compiled(Path(path))
        self.load = Load(self._compiled.package, function, units)
        _check_function(self._compiled, function, self.double.macos)
        try:
            self._function = self._compiled.program.function(function or MAIN)
        except UserError as error:
            raise core_ml_error(str(error)) from None
        self.double.note_load(self)

    def predict(self, inputs: dict[str, Any], state: None = None) -> dict[str, Any]:
        """Run the function: arrays by input name -> arrays by output name.

        Raises:
            RuntimeError: Core ML would refuse the inputs, or would take a mistake silently.
        """
        _require(dict, input=inputs)
        assert state is None
        description = self._compiled.description(self.load.function)
        check_inputs(description.input, inputs)
        self.double.predictions[self.load] += 1
        count = self.double.predictions[self.load]
        for name, array in inputs.items():
            where = " ".join(part for part in (self.load.package, self.load.function) if part)
            self.double.inputs.watch(array, f"the input {name} of {where} (its predict {count})")
        try:
            results = self._function(inputs)
        except UserError as error:
            raise core_ml_error(str(error)) from None
        return {feature.name: output(feature, results[feature.name]) for feature in description.output}

    def get_compiled_model_path(self) -> str:
        """The folder that it was loaded from."""
        return self._path

    @classmethod
    def compileModel(cls, path: str) -> str:  # noqa: N802 - the name in coremltools
        """Compile a package into a new temporary folder, whose path is returned.

        Raises:
            RuntimeError: it is not a package, it is damaged, or a test forbids it.
        """
        _require(str, path=path)
        package = Path(path)
        cls.double.note_compile(package.name)
        compiled = cls.double.scratch / str(cls.double.compiles.total()) / f"{package.stem}{SUFFIX}"
        compile_package(package, compiled, cls.double.macos)
        return str(compiled)

    @staticmethod
    def maximum_supported_specification_version() -> int:
        """The newest specification that coremltools itself knows; the system may know less."""
        return NEWEST_SPECIFICATION

    @classmethod
    def get_compute_plan(cls, path: str, units: str) -> Any:
        """coremltools' `MLComputePlan` of a compiled folder; its costs and devices are made up."""
        _require(str, path=path, compute_units=units)
        cls._require_plans("MLComputePlan", path)
        compiled = open_compiled(Path(path))
        cls.double.plans.append((compiled.package, units))
        return make_plan(compiled, units)

    @classmethod
    def get_model_structure(cls, path: str) -> Any:
        """coremltools' `MLModelStructure` of a compiled folder."""
        _require(str, path=path)
        cls._require_plans("MLModelStructure", path)
        return make_structure(open_compiled(Path(path)))

    @classmethod
    def _require_plans(cls, what: str, path: str) -> None:
        if cls.double.macos < (14, 4):
            raise RuntimeError(f"{what} is only available on macOS >= 14.4")
        if not path.endswith(SUFFIX):
            import pytest

            # Not an error that could be caught: https://github.com/apple/coremltools/issues/2757
            pytest.fail(
                f"{what}.load_from_path of {path}, which is not compiled: here Core ML ends the process (SIGABRT)"
            )

    @staticmethod
    def get_all_compute_devices() -> list[Any]:
        """A CPU, a GPU and a Neural Engine; made up."""
        return all_devices()

    get_available_compute_devices = get_all_compute_devices


def _check_function(compiled: Compiled, name: str, macos: tuple[int, ...]) -> None:
    """Require a function's name exactly where there are several, and one that exists.

    Core ML takes the default function where none is named (Apple, `MLModelConfiguration.functionName`): the shortest
    decoder instead of the one that fits. What it makes of a name where there is one function is not written anywhere.
    """
    if name and macos < (15, 0):
        raise RuntimeError("The 'functionName' property can only be set on macOS >= 15.0")
    names = compiled.functions
    if name and not names:
        raise core_ml_error(f"{compiled.package} has one function, which takes no name; {name} was asked for")
    if names and not name:
        raise core_ml_error(f"{compiled.package} has several functions and none was named: {', '.join(names)}")
    if name not in (names or [""]):
        raise core_ml_error(f"{compiled.package} has no function {name}; it has {', '.join(names)}")
