"""Ops that unpack compressed weights.

A weight is unpacked at each call and freed after its use. So the weights stay compressed in memory, and only one at a
time is unpacked. Values are computed in the type of the scale, as coremltools does it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from forced_aligner.base.errors import UserError
from forced_aligner.runtime.mil.registry import op

ROWS_ELEMENTS = 1 << 22  # weight elements that are looked up in a palette at once, to bound the memory


@op(takes_fp16=True)
def constexpr_blockwise_shift_scale(data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """(data - offset) * scale, where each scale and offset holds for a block of the data."""

    def per_element(blocks: Tensor) -> Tensor:
        for axis, size in enumerate(data.shape):
            if blocks.shape[axis] not in (1, size):
                blocks = blocks.repeat_interleave(size // blocks.shape[axis], axis)
        return blocks

    values = data.to(scale.dtype)
    if offset is not None:
        values = values - per_element(offset).to(scale.dtype)
    return values * per_element(scale)


@op(takes_fp16=True)
def constexpr_lut_to_dense(indices: Tensor, lut: Tensor, vector_axis: int | None = None) -> Tensor:
    """Look each index up in the palette of its group; `lut` is (*groups, palette size, 1)."""
    if lut.shape[-1] != 1:
        raise UserError(f"the MIL runtime has no palette of vectors, only of numbers; this one has {lut.shape[-1]}")
    dense = torch.empty(indices.shape, dtype=lut.dtype)
    step = max(1, ROWS_ELEMENTS * len(indices) // max(1, indices.numel()))
    for start in range(0, len(indices), step):
        rows = indices[start : start + step].long()
        group = torch.zeros((), dtype=torch.long)
        for axis, groups in enumerate(lut.shape[:-2]):
            group_ids = torch.arange(indices.shape[axis]) // (indices.shape[axis] // groups)
            group_ids = group_ids[start : start + step] if axis == 0 else group_ids
            group = group * groups + group_ids.view([-1 if other == axis else 1 for other in range(indices.dim())])
        dense[start : start + step] = lut.flatten()[group * lut.shape[-2] + rows]
    return dense
