"""A saved `.mlpackage`, executed from its files alone: load, plan, run.

The ops of the saved spec run in their order; nothing is traced or optimised again. PyTorch runs each op, see `ops/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from forced_aligner.base.errors import UserError
from forced_aligner.package.contract import MAIN, WEIGHTS_FILE
from forced_aligner.package.proto import MIL_pb2
from forced_aligner.package.spec import read_spec
from forced_aligner.package.weight_file import WeightFile
from forced_aligner.runtime.mil.constants import TORCH_TYPES, Constants
from forced_aligner.runtime.mil.damage import MAX_INTEGER, STRUCTURAL, damaged, known_sizes, named, require_size
from forced_aligner.runtime.mil.plan import Step, make_plan
from forced_aligner.runtime.mil.work import count

_ROWS = 64  # of a free axis, for the choice of the threads: the <timestamp> rows of 32 words
# (name of the function, step, its arguments, its results) -> None
Observer = Callable[[str, Step, dict[str, Any], list[Any]], None]


class Function:
    """One function of a program, planned once and run many times.

    An `observer` is called after every op. With one, no value is rounded to FP16, so it sees what each op would give
    if FP16 had no limits.
    """

    def __init__(
        self, name: str, spec: MIL_pb2.Function, constants: Constants, observer: Observer | None = None
    ) -> None:
        """Plan the function.

        Raises:
            UserError: see `plan.make_plan`.
        """
        self.name = name
        self._observer = observer
        self._device = constants.device
        self.inputs = {value.name: _declared(value.type) for value in spec.inputs}
        for value in spec.inputs:
            require_size(known_sizes(value.type), value.name)
        if spec.opset not in spec.block_specializations:  # a look-up would make an empty one
            raise KeyError(f"there is no block for its opset {spec.opset}")
        block = spec.block_specializations[spec.opset]
        self.outputs = list(block.outputs)
        types = {name: dtype for name, (dtype, _) in self.inputs.items()}
        self.steps = make_plan(block, types, constants, rounds=observer is None)
        self.work = count(spec, _ROWS).total / max(1, len(self.steps))  # multiply-adds of an average op

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run on arrays by input name; returns arrays by output name.

        Raises:
            UserError: an input is missing or unknown, its shape is not the one that the package declares, or an op
                cannot take the values that it gets.
        """
        self._check(inputs)
        values: dict[str, Any] = {
            name: torch.from_numpy(np.ascontiguousarray(array)).to(self._device, self.inputs[name][0])
            for name, array in inputs.items()
        }
        with torch.inference_mode(), self._device if self._device.type != "cpu" else nullcontext():
            for step in self.steps:
                try:
                    _run(step, values)
                except STRUCTURAL as error:
                    raise damaged(f"function {self.name}: op {step.kind} ({step.name})", error) from error
                if self._observer:
                    self._observer(self.name, step, step.bound(values), [values[name] for name, _ in step.outputs])
                for name in step.frees:
                    values.pop(name, None)
        return {name: torch.as_tensor(values[name]).cpu().numpy() for name in self.outputs}

    def _check(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        if inputs.keys() != self.inputs.keys():
            raise UserError(f"{self.name} takes the inputs {sorted(self.inputs)}, not {sorted(inputs)}")
        for name, (_, shape) in self.inputs.items():
            actual = inputs[name].shape
            if len(actual) != len(shape) or any(s is not None and s != a for s, a in zip(shape, actual, strict=True)):
                expected = ["any" if size is None else size for size in shape]
                raise UserError(f"input {name} of {self.name} must have the shape {expected}, not {list(actual)}")


class Program:
    """A loaded package. Its functions are planned on first use, and share one memory mapping of the weights."""

    def __init__(self, package: Path, observer: Observer | None = None, device: str = "cpu") -> None:
        """Read the spec of `package`.

        Args:
            package: the package.
            observer: is called after every op, see `Function`.
            device: PyTorch's name of the device that the ops run on. Another than the CPU gets one copy of each weight.

        Raises:
            UserError: `package` is not a package, or its spec is damaged.
        """
        self.package = package
        self.spec = read_spec(package)
        self._constants = Constants(WeightFile(package / WEIGHTS_FILE), torch.device(device))
        self._observer = observer
        self._functions: dict[str, Function] = {}

    @property
    def function_names(self) -> list[str]:
        """The names of all functions."""
        return sorted(self.spec.mlProgram.functions)

    def function(self, name: str = MAIN) -> Function:
        """The function `name`, ready to run.

        Raises:
            UserError: there is no such function, one of its ops is malformed or not in the table, or weights are
                missing.
        """
        if name not in self._functions:
            if name not in self.spec.mlProgram.functions:
                raise UserError(f"{self.package.name} has no function {name}; it has {', '.join(self.function_names)}")
            spec = self.spec.mlProgram.functions[name]
            with named(f"{self.package.name}: function {name}"):
                self._functions[name] = Function(name, spec, self._constants, self._observer)
        return self._functions[name]

    def drop(self, name: str) -> None:
        """Let go of the plan of the function `name`, if there is one."""
        self._functions.pop(name, None)


def _declared(value_type: MIL_pb2.ValueType) -> tuple[torch.dtype, tuple[int | None, ...]]:
    """The type and the shape that the program declares; None for a size that is free."""
    tensor = value_type.tensorType
    shape = tuple(
        dimension.constant.size if dimension.WhichOneof("dimension") == "constant" else None
        for dimension in tensor.dimensions
    )
    return TORCH_TYPES[tensor.dataType], shape


def _run(step: Step, values: dict[str, Any]) -> None:
    """Run one op, and add its results to `values`."""
    result = step.call(values)
    if isinstance(result, torch.Tensor) and len(step.outputs) == 1:  # nearly all ops; the loop takes twice as long
        name, dtype = step.outputs[0]
        values[name] = _stored(result, dtype, name)
        return
    results = result if isinstance(result, (list, tuple)) else [result]
    for (name, dtype), each in zip(step.outputs, results, strict=True):
        values[name] = _stored(each, dtype, name)


def _stored(result: Any, dtype: torch.dtype, name: str) -> Any:
    """A result in the type that the program declares; a Python number, which has no limits, as it is."""
    if isinstance(result, torch.Tensor):
        return result if result.dtype is dtype else result.to(dtype)  # a conversion to the same type takes a while too
    if isinstance(result, int) and abs(result) >= MAX_INTEGER:
        raise OverflowError(f"{name} is beyond 64 bits")
    return result
