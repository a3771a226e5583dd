"""Weights that are fitted to their inputs: outputs change less than by rounding, and the ops are well-formed."""

import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil.ops.defs.iOS18.compression import constexpr_blockwise_shift_scale
from torch import nn

from forced_aligner.convert.compression import compress
from forced_aligner.convert.gptq.grids import constexpr_of, grid_of
from forced_aligner.convert.gptq.passes import all_inputs, input_groups, inputs_of
from forced_aligner.convert.gptq.quantize import unpacked
from forced_aligner.convert.gptq.solver import COLUMN_BLOCK, DAMPING, Moments, Solver
from individual_components import DecoderLayer


def inputs(rows, columns, seed=0):
    """(rows, columns) inputs of a few directions and of unequal size, as a model has them."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(rows, columns // 4, generator=generator) @ torch.randn(
        columns // 4, columns, generator=generator
    )
    return (mixed + torch.randn(rows, columns, generator=generator)) * torch.linspace(0.1, 3, columns)


def moments_of(compressed, exact=None):
    moments = Moments(compressed.shape[1])
    moments.add(compressed, (compressed if exact is None else exact).clone())
    return moments


def fitted(weight, moments, preset):
    solver = Solver(moments)
    target = solver.moved(weight.flatten(1))
    grid = grid_of(target, solver.importance, preset, weight.shape)
    return constexpr_of(grid, solver.codes(target, grid), weight.shape)


def output_error(x, weight, other, exact=None):
    """The relative error of the outputs of `other` on x against those of `weight` on the exact inputs."""
    expected = (x if exact is None else exact) @ weight.flatten(1).T
    return float((x @ other.flatten(1).T - expected).norm() / expected.norm())


# --- one weight -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("preset", "at_most"), [("int8", 0.8), ("int6", 0.8), ("int4", 0.7)])
def test_outputs_change_less_than_by_rounding(preset, at_most):
    """On inputs that were not used for it."""
    weight = torch.randn(48, 64, generator=torch.Generator().manual_seed(1))
    data, fresh = inputs(3000, 64).split(1500)
    ours = unpacked(fitted(weight, moments_of(data), preset))
    rounded = unpacked(compress(weight.numpy(), preset))
    assert output_error(fresh, weight, ours) < at_most * output_error(fresh, weight, rounded)


def test_a_fitted_weight_makes_up_for_inputs_that_are_off():
    weight = torch.randn(48, 64, generator=torch.Generator().manual_seed(1))
    exact = inputs(3000, 64)
    off = exact @ (torch.eye(64) + 0.05 * torch.randn(64, 64, generator=torch.Generator().manual_seed(2)))
    knowing = fitted(weight, moments_of(off, exact), "int4")
    unknowing = fitted(weight, moments_of(off), "int4")
    assert output_error(off, weight, unpacked(knowing), exact) < 0.6 * output_error(
        off, weight, unpacked(unknowing), exact
    )


def test_gptq_equals_the_plain_algorithm():
    """The paper's first form: after each column, the inverse Hessian of the columns that are left (its equation 2)."""
    columns = 2 * COLUMN_BLOCK + 44
    weight = torch.randn(3, columns, generator=torch.Generator().manual_seed(3))
    data = inputs(1200, columns)
    hessian = (data.double().T @ data.double()).numpy()
    hessian += DAMPING * np.diag(hessian).mean() * np.eye(columns)
    solver = Solver(moments_of(data))
    grid = grid_of(weight, solver.importance, "int8", weight.shape)
    rest, expected = weight.numpy().astype(np.float64), np.zeros((3, columns))
    order = np.argsort(-np.diag(hessian), kind="stable")
    inverse = np.linalg.inv(hessian[np.ix_(order, order)])
    for number, column in enumerate(order):
        code = grid.codes(column, torch.from_numpy(rest[:, column]).float())
        expected[:, column] = code
        error = (rest[:, column] - grid.values(column, code).numpy()) / inverse[0, 0]
        rest[:, order[number:]] -= np.outer(error, inverse[0])
        inverse = inverse[1:, 1:] - np.outer(inverse[1:, 0], inverse[0, 1:]) / inverse[0, 0]  # without this column
    same = (solver.codes(weight, grid).numpy() == expected).mean()
    assert same > 0.99  # float32 may round a tie the other way


def test_least_squares_is_that_of_numpy():
    weight = torch.randn(5, 16, generator=torch.Generator().manual_seed(6)).double()
    exact = inputs(400, 16)
    off = exact + 0.1 * torch.randn(400, 16, generator=torch.Generator().manual_seed(7))
    damping = np.sqrt(0.05 * (off.double() ** 2).sum(0).mean().item()) * np.eye(16)
    x = np.concatenate([off.double().numpy(), damping])
    y = np.concatenate([(exact.double() @ weight.T).numpy(), damping @ weight.T.numpy()])
    expected = np.linalg.lstsq(x, y)[0].T
    np.testing.assert_allclose(Solver(moments_of(off, exact)).moved(weight.float()), expected, atol=2e-4)


def test_int4_has_blocks_of_32_channels_and_the_ops_own_arithmetic():
    weight = torch.randn(6, 64, 3, 3, generator=torch.Generator().manual_seed(4))
    op = fitted(weight, moments_of(inputs(900, 576)), "int4")
    data, scale, offset = (op.parameters[name].array for name in ("data", "scale", "offset"))
    assert (data.shape, scale.shape, offset.shape) == ((6, 64, 3, 3), (6, 2, 1, 1), (6, 2, 1, 1))
    assert data.max() <= 15
    assert (scale > 0).all()
    expected = constexpr_blockwise_shift_scale.decompress(data, scale, offset)
    np.testing.assert_array_equal(unpacked(op).half().numpy(), expected)


@pytest.mark.parametrize("preset", ["int8", "int6", "int4"])
def test_weights_and_inputs_of_zeros_do_no_harm(preset):
    weight = torch.randn(4, 64, generator=torch.Generator().manual_seed(5))
    weight[1] = 0
    data = inputs(500, 64)
    data[:, 3] = 0
    assert torch.isfinite(unpacked(fitted(weight, moments_of(data), preset))).all()
    assert torch.isfinite(unpacked(fitted(weight, moments_of(torch.zeros(9, 64)), preset))).all()
    assert not unpacked(fitted(weight, moments_of(data), "int4"))[1].any()


# --- the inputs of a block --------------------------------------------------------------------------------------


def test_the_inputs_of_a_weight_give_its_outputs():
    convolution = nn.Conv2d(4, 16, 3, stride=2, padding=1, bias=False)
    block = nn.Sequential(convolution)
    x = torch.randn(2, 4, 10, 9)
    with torch.no_grad():
        expected = convolution(x).permute(0, 2, 3, 1).flatten(0, 2)
        got = inputs_of(block, "0", (x,)) @ convolution.weight.flatten(1).T
    torch.testing.assert_close(got, expected)


def test_one_pass_gives_the_inputs_of_all(demo_model):
    block = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 64))
    state = (torch.randn(1, 9, 64),)
    inputs, after = all_inputs(block, ["0", "2"], state)
    torch.testing.assert_close(after[0], block(*state))
    for name in ("0", "2"):
        torch.testing.assert_close(inputs[name], inputs_of(block, name, state))


def test_weights_with_one_input_are_one_group(demo_model):
    layer = DecoderLayer(demo_model.model.language_model.layers[0])
    length, heads = 64, demo_model.config.text_config.num_attention_heads
    state = (
        torch.randn(1, length, 128),
        torch.ones(length, 1, 32),
        torch.zeros(length, 1, 32),
        torch.zeros(2 * length, length),
    )
    assert heads == 4
    names = [[name.removeprefix("layer.") for name in group] for group in input_groups(layer, state)]
    assert names == [
        ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        ["self_attn.o_proj"],
        ["mlp.gate_proj", "mlp.up_proj"],
        ["mlp.down_proj"],
    ]
