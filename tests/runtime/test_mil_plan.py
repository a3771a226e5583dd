"""A plan knows what does not change from call to call, and computes what the ops would compute without it."""

from collections import Counter

import numpy as np
import pytest
import torch

from forced_aligner.package.contract import DEFAULT_COMPONENTS
from forced_aligner.runtime.mil import plan
from forced_aligner.runtime.mil.program import Program
from forced_aligner.runtime.mil.registry import Op


def inputs_of(function, seed=0):
    """Random inputs of a function."""
    generator = np.random.default_rng(seed)
    return {
        name: generator.standard_normal([size or 9 for size in shape]).astype(np.float32)
        if dtype.is_floating_point
        else generator.integers(0, 200, [size or 9 for size in shape]).astype(np.int32)
        for name, (dtype, shape) in function.inputs.items()
    }


def same_bits(actual, expected):
    """Whether two results are equal, with NaN equal to itself."""
    if isinstance(expected, (list, tuple)):
        return len(actual) == len(expected) and all(map(same_bits, actual, expected))
    if not isinstance(expected, torch.Tensor):
        return actual == expected
    if actual.dtype != expected.dtype or actual.shape != expected.shape:
        return False
    return actual.numpy().tobytes() == expected.numpy().tobytes()


@pytest.mark.parametrize("key", DEFAULT_COMPONENTS)
@pytest.mark.parametrize("precision", ["mixed", "float16"])
def test_a_planned_call_gives_the_bits_of_the_op_that_asks_of_every_argument(
    demo_bundle, float16_bundle, key, precision, monkeypatch
):
    bundle = demo_bundle if precision == "mixed" else float16_bundle
    program = Program(bundle.package(key))
    function = program.function(program.function_names[0])
    call, compared = plan.Call.__call__, Counter()
    steps = {id(step.call): step for step in function.steps}

    def both(planned, values):
        result, step = call(planned, values), steps[id(planned)]
        assert same_bits(result, step.op(**step.bound(values))), step.name
        compared[step.kind] += 1
        return result

    monkeypatch.setattr(plan.Call, "__call__", both)
    function(inputs_of(function))
    assert compared == Counter(step.kind for step in function.steps)
    assert compared.total() >= 8


@pytest.fixture
def asked(monkeypatch):
    """Counts the arguments whose conversion is decided, by parameter."""
    as_taken, counts = Op.as_taken, Counter()

    def spy(op, key, value):
        counts[key] += 1
        return as_taken(op, key, value)

    monkeypatch.setattr(Op, "as_taken", spy)
    return counts


def test_a_call_asks_of_no_constant_and_of_no_float32_value(demo_bundle, asked):
    program = Program(demo_bundle.package("decoder_prefill"))
    function = program.function(program.function_names[0])
    assert asked["weight"] == asked["bias"] == 28  # when it is planned
    asked.clear()
    function(inputs_of(function))
    concats = sum(step.kind == "concat" for step in function.steps)
    assert asked == Counter(values=concats)  # lists alone
    assert 0 < concats < 20 < len(function.steps)


def test_a_call_of_an_fp16_package_asks_of_computed_values_and_of_large_weights(float16_bundle, asked, monkeypatch):
    program = Program(float16_bundle.package("lm_head"))
    function = program.function()
    asked.clear()
    function(inputs_of(function))
    assert asked["weight"] == 1  # 5000 x 128: it stays mapped, and is widened at each call
    assert asked["bias"] == asked["axes"] == asked["epsilon"] == 0
    assert 0 < asked["x"] <= len(function.steps)
    monkeypatch.setattr(plan, "KEPT_WIDE_ELEMENTS", 1 << 30)
    function = Program(float16_bundle.package("lm_head")).function()
    asked.clear()
    function(inputs_of(function))
    assert asked["weight"] == 0


def test_an_observer_sees_every_op_with_its_arguments(float16_bundle):
    """With one, nothing is rounded to FP16, and a cast to FP16 is one to float32."""
    seen = []
    program = Program(float16_bundle.package("lm_head"), lambda *call: seen.append(call))
    function = program.function()
    function(inputs_of(function))
    assert [step for _, step, _, _ in seen] == function.steps
    for _, step, arguments, results in seen:
        assert arguments.keys() == step.arguments.keys()
        assert not any(isinstance(argument, plan.Variable) for argument in arguments.values())
        assert arguments.get("dtype") != "fp16"
        assert all(result.dtype != torch.float16 for result in results)
    plain = Program(float16_bundle.package("lm_head")).function()
    assert any(dtype == torch.float16 for step in plain.steps for _, dtype in step.outputs)
