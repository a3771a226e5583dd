"""The plan of one function: its ops in order, with constants resolved and values freed after their last use."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch

from forced_aligner.base.errors import UserError
from forced_aligner.package.proto import MIL_pb2
from forced_aligner.runtime.mil.constants import TORCH_TYPES, Constants
from forced_aligner.runtime.mil.damage import known_sizes, named, require_size
from forced_aligner.runtime.mil.ops import lookup
from forced_aligner.runtime.mil.registry import Op


@dataclass(frozen=True)
class Variable:
    """A value that is computed at run time, by name."""

    name: str


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
    """

    kind: str
    name: str
    op: Op
    arguments: dict[str, Any]
    outputs: list[tuple[str, torch.dtype]]
    frees: list[str]


def make_plan(block: MIL_pb2.Block, inputs: Collection[str], constants: Constants) -> list[Step]:
    """Resolve the constants of a block, look up each op, and find the last use of each value.

    Raises:
        UserError: an op is not supported or malformed, a value is used before it is made, an output is never made, or
            weights are missing or damaged.
    """
    resolved: dict[str, Any] = {}
    computed, steps = set(inputs), list[Step]()
    last_use: dict[str, int] = {}
    for operation in block.operations:
        names = [value.name for value in operation.outputs]
        with named(f"op {operation.type} ({', '.join(names)})"):
            if twice := computed.union(resolved).intersection(names):
                raise ValueError(f"{twice.pop()} is made twice")
            if operation.type == "const":
                (output,) = names
                resolved[output] = constants.value(operation.attributes["val"], output)
                continue
            step = _step(operation, resolved, constants)
            used = {name for argument in step.arguments.values() for name in _variables(argument)}
            if unknown := used - computed:
                raise ValueError(f"no earlier op makes {sorted(unknown)[0]}")
            last_use.update((name, len(steps)) for name in [*used, *names])
            computed.update(names)
            steps.append(step)
    if missing := set(block.outputs) - computed:
        raise UserError(f"no op makes the output {sorted(missing)[0]}: convert the model again")
    for name, position in last_use.items():
        if name not in block.outputs:
            steps[position].frees.append(name)
    return steps


def _step(operation: MIL_pb2.Operation, resolved: dict[str, Any], constants: Constants) -> Step:
    """One op with its constants; its `frees` are not known yet."""
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
    outputs = [(value.name, TORCH_TYPES[value.type.tensorType.dataType]) for value in operation.outputs]
    name = operation.attributes["name"].immediateValue.tensor.strings.values[0]
    op = lookup(operation.type, output, arguments)
    arguments = {key: constants.to_device(op.convert_argument(key, value)) for key, value in arguments.items()}
    return Step(operation.type, name, op, arguments, outputs, [])


def _variables(argument: Any) -> list[str]:
    """The names of the computed values in an argument."""
    items = argument if isinstance(argument, list) else [argument]
    return [item.name for item in items if isinstance(item, Variable)]


def _operand(binding: MIL_pb2.Argument.Binding, resolved: dict[str, Any], constants: Constants, name: str) -> Any:
    if binding.WhichOneof("binding") == "value":
        return constants.value(binding.value, name)
    return resolved[binding.name] if binding.name in resolved else Variable(binding.name)
