"""Compressed weights: which are compressed, how, and how Core ML stores them (the constexpr ops of iOS 18).

The numbers are coremltools' own (`coremltools.optimize`), but for one weight at a time, so that memory stays bounded;
the layout is that of its serialiser: the parameters of a constexpr op are values in the weight file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from coremltools.proto import MIL_pb2
from numpy.typing import NDArray

from forced_aligner.base.errors import UserError
from forced_aligner.package.coremltools_internals import linear_quantize_weights, palettize_weights
from forced_aligner.package.metadata import Compression

INT4_BLOCK = 32  # input channels that share a scale
PALETTE_BITS = 6
MIN_ELEMENTS = 2048  # coremltools' own threshold: below it, a scale or a palette costs more than it saves
UNCOMPRESSED = ("lm_head",)  # unless it is named: its rows decide between neighbouring bins, and it is small
KMEANS_ROUNDS = 200
_CHUNK = 1 << 24  # weights that are counted at once
_WEIGHT_OF = {"linear": "weight", "conv": "weight", "gather": "x"}  # op -> its compressible argument


@dataclass(frozen=True)
class Parameter:
    """An argument of a constexpr op. Sub-byte types hold one element a byte, as the blob writer takes them."""

    dtype: int
    array: NDArray[Any]


@dataclass(frozen=True)
class Compressed:
    """A constexpr op in the making."""

    op: str
    parameters: Mapping[str, Parameter]


def parse(text: str, components: Sequence[str]) -> dict[str, Compression]:
    """`--compress`: one preset for all, and `component=preset` for some, such as `int8,decoder_prefill=int4`.

    Raises:
        UserError: an unknown preset or component.
    """
    presets: dict[str, Compression] = {preset: preset for preset in get_args(Compression)}
    named: dict[str, Compression] = {}
    common: Compression = "none"
    for part in (part.strip() for part in text.split(",")):
        key, equals, preset = part.rpartition("=")
        if preset not in presets:
            raise UserError(f"--compress takes {', '.join(presets)}, or component=preset, not {part!r}")
        if equals and key not in components:
            raise UserError(
                f"--compress names {key!r}, which is not converted; expected some of {', '.join(components)}"
            )
        if equals:
            named[key] = presets[preset]
        else:
            common = presets[preset]
    return {key: named.get(key, "none" if key in UNCOMPRESSED else common) for key in components}


def compressible(block: MIL_pb2.Block) -> set[str]:
    """Names of the constants of a block that may be compressed.

    These are the matrices of linear, convolution and embedding. Not those: norms, biases, tables that are added, small
    ones, and the convolution over the mel itself, which has a single input channel and every error of which is seen
    by all that follows.
    """
    sizes = {op.outputs[0].name: _shape(op.outputs[0].type) for op in block.operations if op.type == "const"}
    wanted: set[str] = set()
    others: set[str] = set()
    for op in block.operations:
        for key, argument in op.inputs.items():
            for name in (binding.name for binding in argument.arguments if binding.name in sizes):
                shape = sizes[name]
                is_matrix = _WEIGHT_OF.get(op.type) == key and len(shape) > 1 and np.prod(shape) > MIN_ELEMENTS
                (wanted if is_matrix and not (op.type == "conv" and shape[1] == 1) else others).add(name)
    return wanted - others


def _shape(value_type: MIL_pb2.ValueType) -> tuple[int, ...]:
    return tuple(dimension.constant.size for dimension in value_type.tensorType.dimensions)


def compress(weight: NDArray[Any], preset: Compression) -> Compressed:
    """`weight` (out, in, …), FP16 or FP32, as a constexpr op.

    int8: linear, symmetric, a scale for each output channel. int6: a palette of 64 values by k-means. int4: linear,
    symmetric, a scale for each block of 32 input channels; where these do not divide by 32, int8.
    """
    if preset == "int6":
        return _palettized(weight)
    blocks = [1, *(0 for _ in weight.shape[1:])]
    if preset == "int4" and weight.shape[1] % INT4_BLOCK == 0:
        return _linear(weight, 4, [1, INT4_BLOCK, *blocks[2:]])
    return _linear(weight, 8, blocks)


def _linear(weight: NDArray[Any], bits: int, blocks: list[int]) -> Compressed:
    with np.errstate(invalid="ignore"):  # 0 / 0 where a row is all zeros, or too small for a scale in FP16
        made = linear_quantize_weights.blockwise_compress(weight, bits, "LINEAR_SYMMETRIC", True, blocks)
    is_zero = np.repeat(made.scale == 0, weight.shape[1] // made.scale.shape[1], axis=1)
    data = np.where(is_zero, np.int8(0), made.data.astype(np.int8))
    data_type = MIL_pb2.INT8 if bits == 8 else MIL_pb2.INT4
    return Compressed(
        "constexpr_blockwise_shift_scale",
        {
            "data": Parameter(data_type, data),
            "scale": Parameter(_float_type(weight), made.scale.astype(weight.dtype)),
        },
    )


def _palettized(weight: NDArray[Any]) -> Compressed:
    whole = [0 for _ in weight.shape]
    made = palettize_weights.blockwise_compress(weight, "CUSTOM", None, whole, lut_function=kmeans)
    return Compressed(
        "constexpr_lut_to_dense",
        {
            "indices": Parameter(MIL_pb2.UINT6, made.indices.astype(np.uint8)),
            "lut": Parameter(_float_type(weight), made.lut.astype(weight.dtype)),
        },
    )


def _float_type(weight: NDArray[Any]) -> int:
    return int(MIL_pb2.FLOAT16 if weight.dtype == np.float16 else MIL_pb2.FLOAT32)


def kmeans(weight: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """A palette of 64 values for a weight, and the index of each element: 1-D k-means (Lloyd) over FP16's numbers.

    coremltools takes kmeans1d or scikit-learn here, neither of which this project needs elsewhere; there are at most
    65 536 different FP16 values, so that a histogram of them holds all, however large the weight is.
    """
    bits = weight.astype(np.float16).reshape(-1).view(np.uint16)
    counts = np.zeros(1 << 16, np.int64)
    for start in range(0, bits.size, _CHUNK):
        counts += np.bincount(bits[start : start + _CHUNK], minlength=1 << 16)
    codes = np.flatnonzero(counts).astype(np.uint16)
    codes = codes[np.argsort(codes.view(np.float16), kind="stable")]
    values, mass = codes.view(np.float16).astype(np.float64), counts[codes].astype(np.float64)
    centres = _lloyd(values, mass, _first_centres(values, mass))
    table = np.zeros(1 << 16, np.uint8)
    table[codes] = np.searchsorted((centres[1:] + centres[:-1]) / 2, values)
    return centres.astype(weight.dtype), table[bits]


def _first_centres(values: NDArray[np.float64], mass: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles of density^(1/3), which is how many centres an optimal quantiser has where (Panter and Dite, 1951)."""
    density, edges = np.histogram(values, 128, weights=mass)
    share = np.cumsum(np.cbrt(density))
    quantiles = (np.arange(1 << PALETTE_BITS) + 0.5) / (1 << PALETTE_BITS)
    return np.interp(quantiles, share / share[-1], edges[1:])


def _lloyd(values: NDArray[np.float64], mass: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move each centre to the mean of the values nearest to it until none moves."""
    mass_before = np.concatenate([[0.0], np.cumsum(mass)])
    sum_before = np.concatenate([[0.0], np.cumsum(mass * values)])
    for _ in range(KMEANS_ROUNDS):
        ends = np.searchsorted(values, (centres[1:] + centres[:-1]) / 2)
        ends = np.concatenate([[0], ends, [values.size]])
        held = np.diff(mass_before[ends])
        moved = np.where(held > 0, np.diff(sum_before[ends]) / np.maximum(held, 1.0), centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres
