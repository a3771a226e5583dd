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
    """A reference to a value that is computed at run time."""

    name: str


@dataclass(frozen=True)
class Step:
    """One op of the plan: its type and its name. `frees` names the values whose last use it is."""

    kind: str
    name: str
    op: Op
    arguments: dict[str, Any]  # a constant, a Variable, or a list of them
    outputs: list[tuple[str, torch.dtype]]
    frees: list[str]


def make_plan(block: MIL_pb2.Block, constants: Constants) -> list[Step]:
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
        outputs = [(value.name, TORCH_TYPES[value.type.tensorType.dataType]) for value in operation.outputs]
        name = operation.attributes["name"].immediateValue.tensor.strings.values[0]
        op = lookup(operation.type, output, arguments)
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
