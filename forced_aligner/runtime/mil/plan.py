"""The plan of one function: its ops in order, with constants resolved and values freed after their last use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from forced_aligner.base.errors import UserError
from forced_aligner.package.proto import MIL_pb2
from forced_aligner.runtime.mil.constants import TORCH_TYPES, Constants
from forced_aligner.runtime.mil.damage import known_sizes, named, require_size
from forced_aligner.runtime.mil.ops import lookup
from forced_aligner.runtime.mil.registry import Op

# An FP16 constant of at most so many elements is widened once. A larger one is widened at each call: so it stays mapped
# from its file, and only one at a time takes memory.
KEPT_WIDE_ELEMENTS = 1 << 16


@dataclass(frozen=True)
class Variable:
    """A value that is computed at run time, by name."""

    name: str


class Call:
    """A call of an op's function, with its constant arguments bound.

    What is known when the call is planned is not asked at each call: which arguments are constant, and which need no
    conversion, because their declared type says so.
    """

    def __init__(self, op: Op, arguments: Mapping[str, Any], types: Mapping[str, torch.dtype]) -> None:
        """Sort the arguments.

        Args:
            op: the op.
            arguments: as in `Step`.
            types: of the computed values, by name.
        """
        self._op = op
        self._as_they_are: list[tuple[str, str]] = []  # parameters, and names of their values
        self._converted: list[tuple[str, Any]] = []  # what is looked at in each call
        self._constants: dict[str, Any] = {}
        for key, argument in arguments.items():
            if isinstance(argument, Variable) and key not in op.ints and not op.widens(types[argument.name]):
                self._as_they_are.append((key, argument.name))
            elif _variables(argument) or (_is_large(argument) and op.widens(argument.dtype)):
                self._converted.append((key, argument))
            else:
                self._constants[key] = op.as_taken(key, argument)

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """The op's result for the computed `values`, by name."""
        arguments = self._constants.copy()
        for key, name in self._as_they_are:
            arguments[key] = values[name]
        for key, argument in self._converted:
            arguments[key] = self._op.as_taken(key, _bind(argument, values))
        return self._op.function(**arguments)


@dataclass(frozen=True)
class Step:
    """One op of the plan.

    Attributes:
        kind: the op's type, such as `linear`.
        name: the op's name in the program.
        op: the function that computes it.
        arguments: by parameter: a constant, a `Variable`, or a list of them.
        outputs: names and declared types of its results.
        frees: names of the values that no later op uses.
        call: computes its result.
    """

    kind: str
    name: str
    op: Op
    arguments: dict[str, Any]
    outputs: list[tuple[str, torch.dtype]]
    frees: list[str]
    call: Call

    def bound(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments with their computed values, before the op converts them."""
        return {key: _bind(argument, values) for key, argument in self.arguments.items()}


def make_plan(
    block: MIL_pb2.Block, inputs: Mapping[str, torch.dtype], constants: Constants, *, rounds: bool = True
) -> list[Step]:
    """Resolve the constants of a block, look up each op, and find the last use of each value.

    Args:
        block: the ops.
        inputs: the types of the function's inputs, by name.
        constants: of the package.
        rounds: whether what is FP16 is rounded to it; else its results are kept in float32.

    Raises:
        UserError: an op is not supported or malformed, a value is used before it is made, an output is never made, or
            weights are missing or damaged.
    """
    resolved: dict[str, Any] = {}
    computed, steps = dict(inputs), list[Step]()  # computed: name -> type
    last_use: dict[str, int] = {}
    for operation in block.operations:
        names = [value.name for value in operation.outputs]
        with named(f"op {operation.type} ({', '.join(names)})"):
            if twice := (computed.keys() | resolved.keys()).intersection(names):
                raise ValueError(f"{twice.pop()} is made twice")
            if operation.type == "const":
                (output,) = names
                resolved[output] = constants.value(operation.attributes["val"], output)
                continue
            step = _step(operation, resolved, constants, computed, rounds=rounds)
            used = [name for argument in step.arguments.values() for name in _variables(argument)]
            last_use.update((name, len(steps)) for name in [*used, *names])
            computed.update(step.outputs)
            steps.append(step)
    if missing := set(block.outputs) - computed.keys():
        raise UserError(f"no op makes the output {sorted(missing)[0]}: convert the model again")
    for name, position in last_use.items():
        if name not in block.outputs:
            steps[position].frees.append(name)
    return steps


def _step(
    operation: MIL_pb2.Operation,
    resolved: dict[str, Any],
    constants: Constants,
    computed: Mapping[str, torch.dtype],
    *,
    rounds: bool,
) -> Step:
    """One op with its constants, after the values that are `computed`; its `frees` are not known yet."""
    output = operation.outputs[0].name
    if operation.blocks:
        raise UserError(f"op {operation.type} ({output}) has inner blocks, which the MIL runtime does not run")
    for value in operation.outputs:
        require_size(known_sizes(value.type), value.name)
    arguments: dict[str, Any] = {
        key: constants.value(value, output) for key, value in operation.attributes.items() if key != "name"
    }
    for key, argument in operation.inputs.items():
        operands = [_operand(binding, resolved, constants, output) for binding in argument.arguments]
        arguments[key] = operands if len(operands) > 1 or key == "values" else operands[0]
    for argument in arguments.values():
        if unknown := [name for name in _variables(argument) if name not in computed]:
            raise ValueError(f"no earlier op makes {min(unknown)}")
    outputs = [(value.name, TORCH_TYPES[value.type.tensorType.dataType]) for value in operation.outputs]
    name = operation.attributes["name"].immediateValue.tensor.strings.values[0]
    op = lookup(operation.type, output, arguments)
    arguments = {key: constants.to_device(op.convert_argument(key, value)) for key, value in arguments.items()}
    if not rounds:
        outputs = [(name, torch.float32 if dtype == torch.float16 else dtype) for name, dtype in outputs]
        if arguments.get("dtype") == "fp16":
            arguments["dtype"] = "fp32"
    return Step(operation.type, name, op, arguments, outputs, [], Call(op, arguments, computed))


def _variables(argument: Any) -> list[str]:
    """The names of the computed values in an argument."""
    items = argument if isinstance(argument, list) else [argument]
    return [item.name for item in items if isinstance(item, Variable)]


def _bind(argument: Any, values: Mapping[str, Any]) -> Any:
    """An argument with each `Variable` replaced by its value."""
    if isinstance(argument, Variable):
        return values[argument.name]
    if isinstance(argument, list):
        return [_bind(item, values) for item in argument]
    return argument


def _is_large(argument: Any) -> bool:
    """Whether a constant is so large that no second copy of it is kept."""
    return isinstance(argument, torch.Tensor) and argument.numel() > KEPT_WIDE_ELEMENTS


def _operand(binding: MIL_pb2.Argument.Binding, resolved: dict[str, Any], constants: Constants, name: str) -> Any:
    if binding.WhichOneof("binding") == "value":
        return constants.value(binding.value, name)
    return resolved[binding.name] if binding.name in resolved else Variable(binding.name)
