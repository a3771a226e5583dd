"""How many multiply-adds a function executes, counted from its spec."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from forced_aligner.package.proto import MIL_pb2


@dataclass(frozen=True)
class Macs:
    """Multiply-adds of one call: in linear ops and convolutions, and in products of two activations (attention)."""

    linear: int
    attention: int

    @property
    def total(self) -> int:
        """The sum of both."""
        return self.linear + self.attention


def count(function: MIL_pb2.Function, rows: int = 1) -> Macs:
    """The multiply-adds of one function of a package's spec. A product whose sizes the spec does not tell counts as 0.

    Args:
        function: `MIL_pb2.Function`.
        rows: the length of a flexible axis.
    """
    block = function.block_specializations[function.opset]
    shapes = {value.name: _shape(value, rows) for value in function.inputs}
    true_constants = _true_constants(block)
    linear = attention = 0
    for op in block.operations:
        shapes.update((value.name, _shape(value, rows)) for value in op.outputs)
        if op.type == "linear":
            linear += prod(shapes[op.outputs[0].name]) * prod(shapes.get(_argument(op, "weight"), (0,))[1:2])
        elif op.type == "conv":
            linear += prod(shapes[op.outputs[0].name]) * prod(shapes.get(_argument(op, "weight"), (0, 0))[1:])
        elif op.type == "matmul":
            summed = -2 if _argument(op, "transpose_x") in true_constants else -1
            attention += prod(shapes[op.outputs[0].name]) * prod(shapes.get(_argument(op, "x"), ())[summed:][:1])
    return Macs(linear, attention)


def _shape(value: MIL_pb2.NamedValueType, rows: int) -> tuple[int, ...]:
    dimensions = value.type.tensorType.dimensions
    return tuple(d.constant.size if d.WhichOneof("dimension") == "constant" else rows for d in dimensions)


def _argument(op: MIL_pb2.Operation, key: str) -> str:
    return str(op.inputs[key].arguments[0].name) if key in op.inputs else ""


def _true_constants(block: MIL_pb2.Block) -> set[str]:
    return {
        op.outputs[0].name
        for op in block.operations
        if op.type == "const" and list(op.attributes["val"].immediateValue.tensor.bools.values) == [True]
    }
