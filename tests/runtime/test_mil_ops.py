"""Each op of the MIL runtime against coremltools' own numpy inference where it has one, else against numpy."""

import math

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import Function

from forced_aligner.base.errors import UserError
from forced_aligner.runtime.mil.constants import Constants
from forced_aligner.runtime.mil.ops import TABLE, lookup
from forced_aligner.runtime.mil.registry import op
from tests.runtime.other_device import DEVICE, other_device

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


X, Y = normal(2, 3, 4), normal(2, 3, 4)

# (op, arguments). coremltools can compute these ops on constants.
COREMLTOOLS_CASES = [
    ("add", {"x": X, "y": Y}),
    ("add", {"x": X, "y": 2.5}),
    ("sub", {"x": 1.5, "y": Y}),
    ("mul", {"x": X, "y": Y[:1, :, :1]}),
    ("real_div", {"x": X, "y": Y}),
    ("floor_div", {"x": np.array([7, -7], np.int32), "y": np.array([2, 2], np.int32)}),
    ("maximum", {"x": X, "y": 0.25}),
    ("maximum", {"x": X, "y": Y}),
    ("pow", {"x": np.abs(X), "y": 2.0}),
    ("abs", {"x": X}),
    ("rsqrt", {"x": np.abs(X), "epsilon": 1e-3}),
    ("clip", {"x": X, "alpha": -0.5, "beta": 0.5}),
    ("greater_equal", {"x": X, "y": 0.0}),
    ("select", {"cond": X > 0, "a": X, "b": Y}),
    ("sigmoid", {"x": X}),
    ("gelu", {"x": X, "mode": "EXACT"}),
    ("cast", {"x": X * 10, "dtype": "int32"}),
    ("cast", {"x": X, "dtype": "fp16"}),
    ("reduce_mean", {"x": X, "axes": [-1], "keep_dims": True}),
    ("reduce_max", {"x": X, "axes": [0, 2], "keep_dims": False}),
    ("softmax", {"x": X, "axis": -1}),
    ("softmax", {"x": X, "axis": 1}),
    ("layer_norm", {"x": X, "axes": [-1], "gamma": normal(4), "beta": normal(4), "epsilon": 1e-5}),
    ("linear", {"x": X, "weight": normal(5, 4), "bias": normal(5)}),
    ("matmul", {"x": X, "y": Y, "transpose_x": False, "transpose_y": True}),
    ("matmul", {"x": X, "y": Y, "transpose_x": True, "transpose_y": False}),
    ("identity", {"x": X}),
    ("reshape", {"x": X, "shape": [4, -1]}),
    ("transpose", {"x": X, "perm": [2, 0, 1]}),
    ("expand_dims", {"x": X, "axes": [0, -1]}),
    ("squeeze", {"x": X[:1], "axes": [0]}),
    ("concat", {"values": [X, Y], "axis": 1}),
    ("slice_by_index", {"x": X, "begin": [0, 1, 0], "end": [2, 3, 4], "stride": [1, 1, 2]}),
    ("slice_by_index", {"x": X, "begin": [0, -2, 1], "end": [0, 0, 3], "end_mask": [True, True, False]}),
    ("slice_by_index", {"x": X, "begin": [1, 0, 0], "end": [2, 3, 4], "squeeze_mask": [True, False, False]}),
    ("split", {"x": X, "axis": 2, "num_splits": 2}),
    ("split", {"x": X, "axis": 1, "split_sizes": [1, 2]}),
    ("gather", {"x": X, "indices": np.array([[2, 0]], np.int32), "axis": 1}),
    ("gather_along_axis", {"x": X, "indices": RNG.integers(-4, 4, (2, 3, 5)).astype(np.int32), "axis": 2}),
    ("pad", {"x": X, "pad": [0, 0, 1, 0, 2, 3], "mode": "constant", "constant_val": 1.5}),
    ("pad", {"x": X, "pad": [1, 2], "mode": "constant", "constant_val": 0.0}),
    ("reduce_argmax", {"x": X, "axis": 1, "keep_dims": True}),
    ("reduce_argmax", {"x": np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 1.0]], np.float32), "axis": -1, "keep_dims": False}),
    ("gather", {"x": X, "indices": np.array([1, -1], np.int32), "axis": 0, "validate_indices": False}),
    ("range_1d", {"start": 2, "end": 9, "step": 3}),
    ("tile", {"x": X, "reps": [1, 2, 1]}),
    ("shape", {"x": X}),
]


def as_runtime(value):
    """An argument as the MIL runtime has it: arrays and lists are tensors."""
    if isinstance(value, list) and all(isinstance(item, np.ndarray) for item in value):
        return [torch.from_numpy(item) for item in value]
    if isinstance(value, np.ndarray | list):
        return torch.from_numpy(np.array(value))
    return value


def run(name, **arguments):
    return lookup(name, "out", arguments)(**{key: as_runtime(value) for key, value in arguments.items()})


def coremltools_value(name, **arguments):
    with Function({}, opset_version=ct.target.iOS18):
        result = getattr(mb, name)(**arguments)
        return [var.val for var in result] if isinstance(result, list | tuple) else result.val


def case_id(case):
    return f"{case[0]}-{'-'.join(case[1])}"


@pytest.mark.parametrize("case", COREMLTOOLS_CASES, ids=case_id)
def test_op_equals_coremltools_inference(case):
    name, arguments = case
    expected, actual = coremltools_value(name, **arguments), run(name, **arguments)
    if not isinstance(actual, list):
        expected, actual = [expected], [actual]
    for ours, oracle in zip(actual, expected, strict=True):
        assert oracle is not None, "coremltools computes no value: this case has no oracle"
        np.testing.assert_allclose(ours.numpy(), np.asarray(oracle), rtol=1e-5, atol=1e-6)
        assert ours.shape == np.asarray(oracle).shape


def test_silu_equals_numpy():
    np.testing.assert_allclose(run("silu", x=X).numpy(), X / (1 + np.exp(-X)), rtol=1e-5, atol=1e-6)


def test_conv_equals_numpy():
    """Kernel 3, stride 2, padding 1: by the definition of a convolution."""
    x, weight, bias = normal(1, 2, 6, 5), normal(3, 2, 3, 3), normal(3)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    expected = np.zeros((1, 3, 3, 3))
    for channel, row, column in np.ndindex(3, 3, 3):
        patch = padded[0, :, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        expected[0, channel, row, column] = (patch * weight[channel]).sum() + bias[channel]
    actual = run(
        "conv", x=x, weight=weight, bias=bias, strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1],
        dilations=[1, 1], groups=1,
    )  # fmt: skip
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_gelu_equals_its_definition():
    expected = [0.5 * x * (1 + math.erf(x / math.sqrt(2))) for x in X.flatten()]
    np.testing.assert_allclose(run("gelu", x=X).flatten(), expected, rtol=1e-5, atol=1e-6)


CODES = RNG.integers(0, 16, (6, 8)).astype(np.uint8)

# (op, arguments) of those that coremltools cannot compute, and of numbers in place of tensors.
OTHER_CASES = [
    ("silu", {"x": X}),
    (
        "conv",
        {
            "x": normal(1, 2, 6, 5), "weight": normal(3, 2, 3, 3), "bias": normal(3), "strides": [2, 2],
            "pad_type": "custom", "pad": [1, 1, 1, 1], "dilations": [1, 1], "groups": 1,
        },
    ),
    ("constexpr_blockwise_shift_scale", {"data": CODES, "scale": normal(6, 2), "offset": CODES[:, :2]}),
    ("constexpr_lut_to_dense", {"indices": CODES, "lut": normal(3, 1, 16, 1)}),
    ("gather", {"x": X, "indices": 1, "axis": 0}),
    ("concat", {"values": [2, 3], "axis": 0}),
    ("cast", {"x": 3, "dtype": "fp32"}),
]  # fmt: skip


@pytest.mark.parametrize("case", [*COREMLTOOLS_CASES, *OTHER_CASES], ids=case_id)
def test_an_op_computes_on_the_device_of_its_inputs(case):
    """As `Function` calls it: tensors on the device, and PyTorch's new ones there too unless the op says otherwise."""
    name, arguments = case
    expected = run(name, **arguments)
    to_device = Constants(None, DEVICE).to_device
    with other_device(), torch.inference_mode(), DEVICE:
        ready = {key: to_device(as_runtime(value)) for key, value in arguments.items()}
        actual = lookup(name, "out", ready)(**ready)
        pairs = zip(actual, expected, strict=True) if isinstance(actual, list) else [(actual, expected)]
        for there, here in pairs:
            if isinstance(here, torch.Tensor):
                assert there.device == DEVICE
                np.testing.assert_array_equal(there.cpu().numpy(), here.numpy())


def test_every_op_of_the_table_is_tested():
    tested_elsewhere = {"constexpr_blockwise_shift_scale", "constexpr_lut_to_dense"}  # test_compression.py
    assert set(TABLE) == {name for name, _ in COREMLTOOLS_CASES} | {"silu", "conv"} | tested_elsewhere
    assert set(TABLE) == {name for name, _ in [*COREMLTOOLS_CASES, *OTHER_CASES]}


def test_an_unknown_op_is_an_error_that_names_it():
    with pytest.raises(UserError, match=r"no op lstm .*my_output"):
        lookup("lstm", "my_output", [])


def test_a_second_op_of_a_name_is_refused():
    with pytest.raises(ValueError, match="add is registered twice"):

        @op
        def add(x, y): ...


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("reshape", {"x": X, "shape": [0, -1]}, "0 as a size"),
        ("layer_norm", {"x": X, "axes": [1]}, "not the last ones"),
        ("split", {"x": X, "axis": 1, "num_splits": 2}, "cannot split 3 into 2 equal parts"),
        ("silu", {"x": X, "beta": 2.0}, "with other arguments: got an unexpected keyword argument 'beta'"),
        ("conv", {"x": X}, "with other arguments: missing a required argument: 'weight'"),
        ("gelu", {"x": X, "mode": "TANH_APPROXIMATION"}, "gelu of mode"),
        ("concat", {"values": [X, Y], "axis": 0, "interleave": True}, "interleaved"),
        ("gather", {"x": X, "indices": [7], "axis": 0}, "index 7 is outside of 2"),
        ("gather", {"x": X, "indices": [0], "axis": 1, "batch_dims": 1}, "batch_dims"),
        ("gather_along_axis", {"x": X, "indices": np.full((2, 3, 1), 4), "axis": 2}, "index 4 is outside of 4"),
        ("pad", {"x": X, "pad": [1, 1], "mode": "reflect"}, "pad of mode reflect"),
        ("slice_by_index", {"x": X, "begin": [1, 0, 0], "end": [0, 3, 4], "stride": [-1, 1, 1]}, "negative stride"),
    ],
)
def test_what_an_op_does_not_do_is_an_error_not_a_wrong_result(name, arguments, message):
    with pytest.raises(UserError, match=message):
        run(name, **arguments)
