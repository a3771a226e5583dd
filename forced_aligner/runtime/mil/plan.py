"""The plan of one function: its ops in order, with constants resolved and values freed after their last use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from coremltools.proto import MIL_pb2

from forced_aligner.base.errors import UserError
from forced_aligner.runtime.mil.constants import TORCH_TYPES, Constants
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


def make_plan(block: MIL_pb2.Block, constants: Constants) -> list[Step]:
    """Resolve the constants of a block, look up each op, and find the last use of each value.

    Raises:
        UserError: an op is not supported, or weights are missing or damaged.
    """
    resolved: dict[str, Any] = {}
    steps: list[Step] = []
    last_use: dict[str, int] = {}
    for operation in block.operations:
        output = operation.outputs[0].name
        if operation.type == "const":
            resolved[output] = constants.value(operation.attributes["val"], output)
            continue
        if operation.blocks:
            raise UserError(f"op {operation.type} ({output}) has inner blocks, which the MIL runtime does not run")
        arguments: dict[str, Any] = {
            key: constants.value(value, output) for key, value in operation.attributes.items() if key != "name"
        }
        for key, argument in operation.inputs.items():
            operands = [_operand(binding, resolved, constants, output) for binding in argument.arguments]
            arguments[key] = operands if len(operands) > 1 or key == "values" else operands[0]
            last_use.update((item.name, len(steps)) for item in operands if isinstance(item, Variable))
        outputs = [(value.name, TORCH_TYPES[value.type.tensorType.dataType]) for value in operation.outputs]
        name = operation.attributes["name"].immediateValue.tensor.strings.values[0]
        op = lookup(operation.type, output, arguments)
        arguments = {key: constants.to_device(op.convert_argument(key, value)) for key, value in arguments.items()}
        steps.append(Step(operation.type, name, op, arguments, outputs, []))
        last_use.update((name, len(steps) - 1) for name, _ in outputs if name not in last_use)
    for name, position in last_use.items():
        if name not in block.outputs:
            steps[position].frees.append(name)
    return steps


def _operand(binding: MIL_pb2.Argument.Binding, resolved: dict[str, Any], constants: Constants, name: str) -> Any:
    if binding.WhichOneof("binding") == "value":
        return constants.value(binding.value, name)
    return resolved[binding.name] if binding.name in resolved else Variable(binding.name)
