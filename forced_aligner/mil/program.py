"""A saved `.mlpackage`, executed from its files alone: load, plan, run.

The spec is walked as it was saved; nothing is traced or optimised again. Every op runs in PyTorch, see `ops.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from coremltools.proto import MIL_pb2, Model_pb2
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from forced_aligner.errors import UserError
from forced_aligner.mil import ops
from forced_aligner.mil.weights import WeightFile, decode, tensor_type
from forced_aligner.schemas import MAIN

SPEC_FILE = Path("Data/com.apple.CoreML/model.mlmodel")
WEIGHTS_FILE = Path("Data/com.apple.CoreML/weights/weight.bin")

_TORCH_TYPES = {
    MIL_pb2.BOOL: torch.bool,
    MIL_pb2.FLOAT16: torch.float16,
    MIL_pb2.FLOAT32: torch.float32,
    MIL_pb2.INT8: torch.int8,
    MIL_pb2.INT16: torch.int16,
    MIL_pb2.INT32: torch.int32,
    MIL_pb2.INT64: torch.int64,
    MIL_pb2.UINT8: torch.uint8,
    MIL_pb2.UINT16: torch.uint16,
    MIL_pb2.UINT32: torch.uint32,
}


@dataclass(frozen=True)
class Variable:
    """A reference to a value that is computed at run time."""

    name: str


@dataclass(frozen=True)
class Step:
    """One op of the plan: its type and its name. `frees` names the values whose last use it is."""

    kind: str
    name: str
    op: ops.Op
    arguments: dict[str, Any]  # a constant, a Variable, or a list of them
    outputs: list[tuple[str, torch.dtype]]
    frees: list[str]


# (function, step, its arguments, its results) -> nothing
Observer = Callable[[str, Step, dict[str, Any], list[Any]], None]


class Function:
    """One function of a program, planned once and run many times.

    With an `observer`, which is called after every op, no value is rounded to FP16: it sees what each op would make
    if FP16 had no limits.
    """

    def __init__(
        self, name: str, spec: MIL_pb2.Function, constants: Constants, observer: Observer | None = None
    ) -> None:
        self.name = name
        self._observer = observer
        self._device = constants.device
        self.inputs = {value.name: _declared(value.type) for value in spec.inputs}
        block = spec.block_specializations[spec.opset]
        self.outputs = list(block.outputs)
        self.steps = _plan(block, constants)

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run on arrays by input name; returns arrays by output name.

        Raises:
            UserError: an input is missing, unknown, or of another shape than the package declares.
        """
        self._check(inputs)
        values: dict[str, Any] = {
            name: torch.from_numpy(np.ascontiguousarray(array)).to(self._device, self.inputs[name][0])
            for name, array in inputs.items()
        }
        with torch.inference_mode(), self._device if self._device.type != "cpu" else nullcontext():
            for step in self.steps:
                arguments = {key: _bind(argument, values) for key, argument in step.arguments.items()}
                if self._observer and arguments.get("dtype") == "fp16":
                    arguments["dtype"] = "fp32"
                results = step.op(**arguments)
                if not isinstance(results, list | tuple):
                    results = [results]
                for (name, dtype), result in zip(step.outputs, results, strict=True):
                    values[name] = result.to(self._kept_as(dtype)) if isinstance(result, torch.Tensor) else result
                if self._observer:
                    self._observer(self.name, step, arguments, [values[name] for name, _ in step.outputs])
                for name in step.frees:
                    values.pop(name, None)
        return {name: values[name].cpu().numpy() for name in self.outputs}

    def _kept_as(self, dtype: torch.dtype) -> torch.dtype:
        return torch.float32 if self._observer and dtype == torch.float16 else dtype

    def _check(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        if inputs.keys() != self.inputs.keys():
            raise UserError(f"{self.name} takes the inputs {sorted(self.inputs)}, not {sorted(inputs)}")
        for name, (_, shape) in self.inputs.items():
            found = inputs[name].shape
            if len(found) != len(shape) or any(s is not None and s != f for s, f in zip(shape, found, strict=True)):
                wanted = ["any" if size is None else size for size in shape]
                raise UserError(f"input {name} of {self.name} must have the shape {wanted}, not {list(found)}")


class Program:
    """A loaded package: its functions, planned on first use, over one mapping of the weights."""

    def __init__(self, package: Path, observer: Observer | None = None, device: str = "cpu") -> None:
        """Read the spec of `package`.

        Args:
            package: the package.
            observer: sees every op that runs, see `Function`.
            device: PyTorch's name of where the ops run. Elsewhere than on the CPU, each weight is copied there once.

        Raises:
            UserError: it is not a package, or its spec is damaged.
        """
        self.package = package
        try:
            self.spec = Model_pb2.Model.FromString((package / SPEC_FILE).read_bytes())
        except (OSError, DecodeError) as error:
            raise UserError(f"{package} is not a usable Core ML package ({error}): convert the model again") from None
        if self.spec.WhichOneof("Type") != "mlProgram":
            raise UserError(f"{package} holds no ML program: convert it with convert-coreml.py")
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
            UserError: there is no such function, an op of it is not in the table, or weights are missing.
        """
        if name not in self._functions:
            if name not in self.spec.mlProgram.functions:
                raise UserError(f"{self.package.name} has no function {name}; it has {', '.join(self.function_names)}")
            spec = self.spec.mlProgram.functions[name]
            self._functions[name] = Function(name, spec, self._constants, self._observer)
        return self._functions[name]


def _declared(value_type: MIL_pb2.ValueType) -> tuple[torch.dtype, tuple[int | None, ...]]:
    tensor = value_type.tensorType
    shape = tuple(
        dimension.constant.size if dimension.WhichOneof("dimension") == "constant" else None
        for dimension in tensor.dimensions
    )
    return _TORCH_TYPES[tensor.dataType], shape


def _bind(argument: Any, values: dict[str, Any]) -> Any:
    if isinstance(argument, Variable):
        return values[argument.name]
    if isinstance(argument, list):
        return [_bind(item, values) for item in argument]
    return argument


def _plan(block: MIL_pb2.Block, constants: Constants) -> list[Step]:
    """Resolve constants, look every op up, and find where each value is used last."""
    known: dict[str, Any] = {}
    steps: list[Step] = []
    last_use: dict[str, int] = {}
    for operation in block.operations:
        output = operation.outputs[0].name
        if operation.type == "const":
            known[output] = constants.value(operation.attributes["val"], output)
            continue
        if operation.blocks:
            raise UserError(f"op {operation.type} ({output}) has inner blocks, which the MIL runtime does not run")
        arguments: dict[str, Any] = {
            key: constants.value(value, output) for key, value in operation.attributes.items() if key != "name"
        }
        for key, argument in operation.inputs.items():
            bound = [_argument(binding, known, constants, output) for binding in argument.arguments]
            arguments[key] = bound if len(bound) > 1 or key == "values" else bound[0]
            last_use.update((item.name, len(steps)) for item in bound if isinstance(item, Variable))
        outputs = [(value.name, _TORCH_TYPES[value.type.tensorType.dataType]) for value in operation.outputs]
        name = operation.attributes["name"].immediateValue.tensor.strings.values[0]
        op = ops.lookup(operation.type, output, arguments)
        arguments = {key: constants.placed(op.argument(key, value)) for key, value in arguments.items()}
        steps.append(Step(operation.type, name, op, arguments, outputs, []))
        last_use.update((name, len(steps) - 1) for name, _ in outputs if name not in last_use)
    for name, position in last_use.items():
        if name not in block.outputs:
            steps[position].frees.append(name)
    return steps


def _argument(binding: MIL_pb2.Argument.Binding, known: dict[str, Any], constants: Constants, name: str) -> Any:
    if binding.WhichOneof("binding") == "value":
        return constants.value(binding.value, name)
    return known[binding.name] if binding.name in known else Variable(binding.name)


class Constants:
    """The constants of a package, on one device; a weight that functions share is there once."""

    def __init__(self, weights: WeightFile, device: torch.device) -> None:
        self._weights = weights
        self.device = device
        self._copied: dict[int, torch.Tensor] = {}  # by the offset in the weight file

    def value(self, value: MIL_pb2.Value, name: str) -> Any:
        """A Python scalar or string where its rank is 0, else a tensor; `name` is the constant's, for errors."""
        if value.WhichOneof("value") == "blobFileValue":
            return self._weight(value, name)
        dtype, shape = tensor_type(value.type)
        immediate = value.immediateValue.tensor
        kind = immediate.WhichOneof("value")
        items: Any = getattr(immediate, kind).values if kind else []
        if kind == "strings":
            return items[0]
        if kind == "bytes":
            array = decode(np.frombuffer(items, np.uint8), dtype, shape, name)
        else:
            array = np.array(items).reshape(shape)
        return array.item() if not shape else _tensor(array).to(_TORCH_TYPES[dtype])

    def placed(self, argument: Any) -> Any:
        """An argument with its tensors on the device."""
        if isinstance(argument, list):
            return [self.placed(item) for item in argument]
        return argument.to(self.device) if isinstance(argument, torch.Tensor) else argument

    def _weight(self, value: MIL_pb2.Value, name: str) -> torch.Tensor:
        if self.device.type == "cpu":
            return _tensor(self._weights.read(value, name))
        offset = value.blobFileValue.offset
        if offset not in self._copied:
            self._copied[offset] = _tensor(self._weights.read(value, name)).to(self.device)
        return self._copied[offset]


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    """A tensor over the array's memory. The mapping is read-only and no op writes into its inputs."""
    return torch.from_numpy(array) if array.flags.writeable else _read_only(array)


def _read_only(array: NDArray[Any]) -> torch.Tensor:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that it cannot mark the tensor read-only
        return torch.from_numpy(array)
