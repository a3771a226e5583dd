"""The pass that casts to FP16, against coremltools' own."""

import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil.passes.defs.quantization import FP16ComputePrecision
from coremltools.converters.mil.mil.passes.pass_registry import PASS_REGISTRY

from forced_aligner.convert.fp16 import ADD_FP16_CAST, AddFP16Cast

CONSTANTS = {
    "small": [1.0, -2.0],
    "at the limit": [65_504.0],
    "too large": [1.0, 65_505.0],
    "too small": [-70_000.0],
    "a mask's infinity": [0.0, -np.inf],
    "infinity beside a number too large": [np.inf, 70_000.0],
    "empty": [],
}


def program(constant):
    @mb.program(input_specs=[mb.TensorSpec((1,))])
    def add_constant(x):
        return mb.add(x=x, y=np.array(constant, np.float32))

    return add_constant


@pytest.mark.parametrize("name", CONSTANTS)
def test_the_same_constants_overflow_as_in_coremltools(name):
    (op,) = program(CONSTANTS[name]).functions["main"].find_ops(op_type="add")
    assert AddFP16Cast.fp16_overflow(op) == FP16ComputePrecision.fp16_overflow(op)


@pytest.mark.parametrize("size", [1, 399, 400])
def test_constants_that_round_to_zero_are_handled_as_in_coremltools(size):
    """A tiny epsilon becomes FP16's smallest number; in an array of 400 or more elements it becomes zero."""
    casted = []
    for graph_pass in (PASS_REGISTRY[ADD_FP16_CAST], FP16ComputePrecision()):
        changed = program([1e-12] * size)
        graph_pass(changed)
        (cast,) = (op for op in changed.functions["main"].find_ops(op_type="cast") if op.x.val is not None)
        casted.append(cast.outputs[0].val)
    assert np.array_equal(*casted)
    assert bool(casted[0][0] > 0) == (size < 400)
