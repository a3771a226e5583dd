"""Compressed weights: which weights, by which method, and as which Core ML op (the constexpr ops of iOS 18).

The values are those of `coremltools.optimize`, computed for one weight at a time so that memory stays bounded. The
layout is that of coremltools' serialiser: the parameters of a constexpr op are values in the weight file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forced_aligner.package.coremltools_internals import linear_quantize_weights, palettize_weights
from forced_aligner.package.metadata import Compression
from forced_aligner.package.proto import MIL_pb2

INT4_BLOCK = 32  # input channels that share a scale
PALETTE_BITS = 6
MIN_ELEMENTS = 2048  # coremltools' own threshold: below it, a scale or a palette costs more than it saves
MAX_KMEANS_ROUNDS = 200  # the iteration ends earlier when no centre moves
_CHUNK_ELEMENTS = 1 << 24  # of a weight, counted at once
_WEIGHT_OF = {"linear": "weight", "conv": "weight", "gather": "x"}  # op -> its compressible argument


@dataclass(frozen=True)
class ConstexprParameter:
    """A parameter of a constexpr op. A sub-byte type has one element per byte here, as the blob writer expects."""

    dtype: int  # of MIL
    array: NDArray[Any]


@dataclass(frozen=True)
class ConstexprOp:
    """A constexpr op before it is written to a package: its type and its parameters by name."""

    op: str
    parameters: Mapping[str, ConstexprParameter]


def compressible(block: MIL_pb2.Block) -> set[str]:
    """Names of the constants of a block that may be compressed.

    These are the weight matrices of linear, convolution and embedding ops. Norms, biases, tables that are added and
    small weights are not compressed. Neither is the convolution over the mel: it has a single input channel, and its
    errors would reach all later ops.
    """
    shapes = {op.outputs[0].name: _shape(op.outputs[0].type) for op in block.operations if op.type == "const"}
    compressible_uses: set[str] = set()
    other_uses: set[str] = set()
    for op in block.operations:
        for key, argument in op.inputs.items():
            for name in (binding.name for binding in argument.arguments if binding.name in shapes):
                is_compressible = _WEIGHT_OF.get(op.type) == key and is_compressible_shape(op.type, shapes[name])
                (compressible_uses if is_compressible else other_uses).add(name)
    return compressible_uses - other_uses


def is_compressible_shape(op_type: str, shape: tuple[int, ...]) -> bool:
    """Whether a weight (out, in, …) of an op of this type may be compressed; see `compressible`."""
    return len(shape) > 1 and math.prod(shape) > MIN_ELEMENTS and not (op_type == "conv" and shape[1] == 1)


def _shape(value_type: MIL_pb2.ValueType) -> tuple[int, ...]:
    return tuple(dimension.constant.size for dimension in value_type.tensorType.dimensions)


def compress(weight: NDArray[Any], preset: Compression) -> ConstexprOp:
    """Compress `weight` (out, in, …), FP16 or FP32, into a constexpr op.

    - int8: linear and symmetric, with one scale per output channel.
    - int6: a palette of 64 values, found by k-means.
    - int4: linear and symmetric, with one scale per block of 32 input channels. If the number of input channels is not
      a multiple of 32, the weight is compressed as int8.
    """
    if preset == "int6":
        return _palettized(weight)
    block_shape = [1, *(0 for _ in weight.shape[1:])]  # 0: the whole axis
    if preset == "int4" and weight.shape[1] % INT4_BLOCK == 0:
        return _linear(weight, 4, [1, INT4_BLOCK, *block_shape[2:]])
    return _linear(weight, 8, block_shape)


def _linear(weight: NDArray[Any], bits: int, block_shape: list[int]) -> ConstexprOp:
    with np.errstate(invalid="ignore"):  # 0 / 0 where a row is all zeros, or too small for a scale in FP16
        quantized = linear_quantize_weights.blockwise_compress(weight, bits, "LINEAR_SYMMETRIC", True, block_shape)
    is_zero = np.repeat(quantized.scale == 0, weight.shape[1] // quantized.scale.shape[1], axis=1)
    data = np.where(is_zero, np.int8(0), quantized.data.astype(np.int8))
    return scaled(MIL_pb2.INT8 if bits == 8 else MIL_pb2.INT4, data, quantized.scale.astype(weight.dtype))


def scaled(dtype: int, codes: NDArray[Any], scale: NDArray[Any], offset: NDArray[Any] | None = None) -> ConstexprOp:
    """(codes - offset) * scale, where each scale, and each offset, holds for a block of the codes.

    Args:
        dtype: of the codes and offsets, a MIL type.
        codes: (out, in, …) whole numbers.
        scale: (out, blocks, …) FP16 or FP32.
        offset: as many whole numbers; None: 0.
    """
    parameters = {"data": ConstexprParameter(dtype, codes), "scale": ConstexprParameter(_float_type(scale), scale)}
    if offset is not None:
        parameters["offset"] = ConstexprParameter(dtype, offset)
    return ConstexprOp("constexpr_blockwise_shift_scale", parameters)


def _palettized(weight: NDArray[Any]) -> ConstexprOp:
    block_shape = [0 for _ in weight.shape]  # one block: the whole weight
    palettized = palettize_weights.blockwise_compress(weight, "CUSTOM", None, block_shape, lut_function=kmeans)
    return looked_up(palettized.indices.astype(np.uint8), palettized.lut.astype(weight.dtype))


def looked_up(indices: NDArray[np.uint8], palette: NDArray[Any]) -> ConstexprOp:
    """The value of a palette of 64, FP16 or FP32, (…, 64, 1), for each of (out, in, …) indices."""
    return ConstexprOp(
        "constexpr_lut_to_dense",
        {
            "indices": ConstexprParameter(MIL_pb2.UINT6, indices),
            "lut": ConstexprParameter(_float_type(palette), palette),
        },
    )


def _float_type(weight: NDArray[Any]) -> int:
    return int(MIL_pb2.FLOAT16 if weight.dtype == np.float16 else MIL_pb2.FLOAT32)


def kmeans(weight: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """A palette of 64 values (64,) for a weight, and the index of each element (elements,), by 1-D k-means (Lloyd).

    coremltools uses kmeans1d or scikit-learn here, which this project does not need elsewhere. As there are only 65 536
    FP16 values, a histogram of them represents a weight of any size.
    """
    bits = weight.astype(np.float16).reshape(-1).view(np.uint16)
    counts = np.zeros(1 << 16, np.int64)
    for start in range(0, bits.size, _CHUNK_ELEMENTS):
        counts += np.bincount(bits[start : start + _CHUNK_ELEMENTS], minlength=1 << 16)
    codes = np.flatnonzero(counts).astype(np.uint16)
    codes = codes[np.argsort(codes.view(np.float16), kind="stable")]
    values, mass = codes.view(np.float16).astype(np.float64), counts[codes].astype(np.float64)
    centres = _lloyd(values, mass, _first_centres(values, mass))
    table = np.zeros(1 << 16, np.uint8)
    table[codes] = np.searchsorted((centres[1:] + centres[:-1]) / 2, values)
    return centres.astype(weight.dtype), table[bits]


def _first_centres(values: NDArray[np.float64], mass: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles of density^(1/3), the density of an optimal quantiser's centres (Panter and Dite, 1951)."""
    density, edges = np.histogram(values, 128, weights=mass)
    share = np.cumsum(np.cbrt(density))
    quantiles = (np.arange(1 << PALETTE_BITS) + 0.5) / (1 << PALETTE_BITS)
    return np.interp(quantiles, share / share[-1], edges[1:])


def _lloyd(values: NDArray[np.float64], mass: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move each centre to the mean of the values nearest to it, until no centre moves."""
    mass_before = np.concatenate([[0.0], np.cumsum(mass)])
    sum_before = np.concatenate([[0.0], np.cumsum(mass * values)])
    for _ in range(MAX_KMEANS_ROUNDS):
        ends = np.searchsorted(values, (centres[1:] + centres[:-1]) / 2)
        ends = np.concatenate([[0], ends, [values.size]])
        cluster_mass = np.diff(mass_before[ends])
        means = np.diff(sum_before[ends]) / np.maximum(cluster_mass, 1.0)
        moved = np.where(cluster_mass > 0, means, centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres
