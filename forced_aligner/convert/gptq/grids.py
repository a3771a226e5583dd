"""The values that a compressed weight can have, and the choice of them: scales and offsets, or a palette."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from forced_aligner.convert.compression import INT4_BLOCK, ConstexprOp, kmeans, looked_up, scaled
from forced_aligner.package.metadata import Compression
from forced_aligner.package.proto import MIL_pb2

SHRINKS = torch.linspace(0.6, 1.0, 13)  # sizes of a range that are tried, relative to the one that clips nothing
SMALLEST_SCALE = 2.0**-24  # FP16's smallest number above 0


class Grid(Protocol):
    """The values that each element of a weight (rows, columns) can have."""

    def codes(self, column: int, weights: Tensor) -> Tensor:
        """The codes of the values nearest to the (rows,) weights of a column: (rows,) whole numbers as float32."""
        ...

    def values(self, column: int, codes: Tensor) -> Tensor:
        """The values of the (rows,) codes of a column: (rows,) float32."""
        ...


@dataclass(frozen=True)
class Uniform:
    """(code - offset) * scale, with one scale and one offset for each block of columns of a row.

    Attributes:
        scale: (blocks, rows) float32, each a number of FP16.
        offset: (blocks, rows) whole numbers in float32.
        block: columns in a block.
        low, high: the smallest and the largest code.
    """

    scale: Tensor
    offset: Tensor
    block: int
    low: int
    high: int

    def codes(self, column: int, weights: Tensor) -> Tensor:
        """See `Grid`."""
        block = column // self.block
        return torch.round(weights / self.scale[block] + self.offset[block]).clamp_(self.low, self.high)

    def values(self, column: int, codes: Tensor) -> Tensor:
        """See `Grid`."""
        block = column // self.block
        return (codes - self.offset[block]) * self.scale[block]


def uniform(weight: Tensor, importance: Tensor, block: int, low: int, high: int) -> Uniform:
    """The grid with the least squared error of a (rows, columns) weight, weighted with the (columns,) importance.

    The range of each block is tried at every size of `SHRINKS`. With codes from 0 on it is that of the block's weights;
    with negative codes it is symmetric, and there is no offset.
    """
    blocks = weight.unflatten(1, (-1, block))  # (rows, blocks, block)
    weights = importance.float().unflatten(0, (-1, block))  # (blocks, block)
    bottom, top = blocks.amin(-1).clamp_(max=0.0), blocks.amax(-1).clamp_(min=0.0)
    if low < 0:
        top = torch.maximum(top, -bottom)
        bottom = -top
    least = torch.full_like(top, torch.inf)
    best_scale, best_offset = torch.ones_like(top), torch.zeros_like(top)
    for shrink in SHRINKS.tolist():
        scale = ((top - bottom) * (shrink / (high - low))).half().float().clamp_(SMALLEST_SCALE)
        offset = torch.zeros_like(top) if low < 0 else torch.round(-shrink * bottom / scale).clamp_(low, high)
        step, zero = scale.unsqueeze(-1), offset.unsqueeze(-1)
        error = torch.round(blocks / step).add_(zero).clamp_(low, high).sub_(zero).mul_(step).sub_(blocks)
        loss = error.square_().mul_(weights).sum(-1)
        better = loss < least
        least = torch.where(better, loss, least)
        best_scale, best_offset = torch.where(better, scale, best_scale), torch.where(better, offset, best_offset)
    return Uniform(best_scale.T.contiguous(), best_offset.T.contiguous(), block, low, high)


@dataclass(frozen=True)
class Palette:
    """The same few values for the whole weight, in rising order: (values,) float32, each a number of FP16."""

    palette: Tensor

    def codes(self, column: int, weights: Tensor) -> Tensor:
        """See `Grid`."""
        return torch.bucketize(weights, (self.palette[1:] + self.palette[:-1]) / 2).float()

    def values(self, column: int, codes: Tensor) -> Tensor:
        """See `Grid`."""
        return self.palette[codes.long()]


def grid_of(weight: Tensor, importance: Tensor, preset: Compression, shape: torch.Size) -> Grid:
    """The grid of a preset for a (rows, columns) weight.

    Args:
        weight: flattened to a matrix.
        importance: (columns,) sums of squares of the inputs.
        preset: int8, int6 or int4.
        shape: of the weight as the module has it; a block is of so many input channels, with all that belongs to them.
    """
    if preset == "int6":
        return Palette(torch.from_numpy(kmeans(weight.numpy())[0]).half().float())
    if preset == "int4" and shape[1] % INT4_BLOCK == 0:
        return uniform(weight, importance, INT4_BLOCK * shape[2:].numel(), 0, 15)
    return uniform(weight, importance, weight.shape[1], -128, 127)


def constexpr_of(grid: Grid, codes: Tensor, shape: torch.Size) -> ConstexprOp:
    """The op that unpacks (rows, columns) codes to a weight of `shape`; its numbers are in FP16."""
    if isinstance(grid, Palette):
        palette = grid.palette.numpy().astype(np.float16)
        return looked_up(codes.reshape(shape).numpy().astype(np.uint8), palette.reshape(*(1 for _ in shape), -1, 1))
    assert isinstance(grid, Uniform)
    is_signed = grid.low < 0
    array = codes.reshape(shape).numpy().astype(np.int8 if is_signed else np.uint8)
    scale, offset = (
        blocks.T.reshape(*blocks.T.shape, *(1 for _ in shape[2:])).numpy() for blocks in (grid.scale, grid.offset)
    )
    if is_signed:
        return scaled(MIL_pb2.INT8, array, scale.astype(np.float16))
    return scaled(MIL_pb2.UINT4, array, scale.astype(np.float16), offset.astype(np.uint8))
