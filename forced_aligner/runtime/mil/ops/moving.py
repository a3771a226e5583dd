"""Ops that move values without computing new ones, and ops on shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from forced_aligner.base.errors import UserError
from forced_aligner.runtime.mil.damage import require_size
from forced_aligner.runtime.mil.registry import Ints, Number, as_tensor, op


@op(takes_fp16=True)
def identity(x: Tensor) -> Tensor:
    return x


@op(takes_fp16=True, ints=("shape",))
def reshape(x: Tensor, shape: Ints) -> Tensor:
    if 0 in shape:
        raise UserError(f"the MIL runtime has no reshape with 0 as a size: {shape}")
    return x.reshape(shape)


@op(takes_fp16=True, ints=("perm",))
def transpose(x: Tensor, perm: Ints) -> Tensor:
    return x.permute(perm)


@op(takes_fp16=True, ints=("axes",))
def expand_dims(x: Tensor, axes: Ints) -> Tensor:
    for axis in sorted(axis % (x.dim() + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


@op(takes_fp16=True, ints=("axes",))
def squeeze(x: Tensor, axes: Ints | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(axes)


@op(takes_fp16=True)
def concat(values: Sequence[Tensor], axis: int, interleave: bool = False) -> Tensor:
    if interleave:
        raise UserError("the MIL runtime has no interleaved concat")
    if not any(value.dim() for value in values if isinstance(value, Tensor)):  # scalars are joined to a shape
        return torch.tensor([int(value) for value in values], dtype=torch.int32)
    return torch.cat(list(values), axis)


@op(
    takes_fp16=True,
    ints=(
        "begin",
        "end",
        "stride",
        "begin_mask",
        "end_mask",
        "squeeze_mask",
    ),
)
def slice_by_index(
    x: Tensor,
    begin: Ints,
    end: Ints,
    stride: Ints | None = None,
    begin_mask: Ints | None = None,
    end_mask: Ints | None = None,
    squeeze_mask: Ints | None = None,
) -> Tensor:
    def flag(mask: Ints | None, axis: int) -> bool:
        return mask is not None and bool(mask[axis])

    index: list[int | slice] = []
    for axis, (first, last) in enumerate(zip(begin, end, strict=True)):
        step = 1 if stride is None else int(stride[axis])
        if flag(squeeze_mask, axis):
            index.append(first)
            continue
        if step < 1:
            raise UserError("the MIL runtime has no slice_by_index of a negative stride")
        start, stop = None if flag(begin_mask, axis) else first, None if flag(end_mask, axis) else last
        index.append(slice(start, stop, step))
    return x[tuple(index)]


@op(takes_fp16=True, ints=("split_sizes",))
def split(x: Tensor, axis: int, num_splits: int | None = None, split_sizes: Ints | None = None) -> list[Tensor]:
    if split_sizes is not None:
        return list(x.split(split_sizes, axis))
    if num_splits is None or x.shape[axis] % num_splits:
        raise UserError(f"the MIL runtime cannot split {x.shape[axis]} into {num_splits} equal parts")
    return list(x.chunk(num_splits, axis))


@op(takes_fp16=True)
def gather(x: Tensor, indices: Number, axis: int = 0, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    if batch_dims:
        raise UserError("the MIL runtime has no gather with batch_dims")
    index = as_tensor(indices, 0).long()
    size = x.shape[axis]
    index = torch.where(index < 0, index + size, index)
    if bool((index < 0).any()) or bool((index >= size).any()):
        raise UserError(f"gather: index {int(index.max())} is outside of {size} entries")
    gathered = x.index_select(axis, index.flatten())
    return gathered.reshape(x.shape[:axis] + index.shape + x.shape[axis % x.dim() + 1 :])


@op(takes_fp16=True)
def gather_along_axis(x: Tensor, indices: Tensor, axis: int = 0, validate_indices: bool = False) -> Tensor:
    index, size = indices.long(), x.shape[axis]
    index = torch.where(index < 0, index + size, index)
    if bool((index < 0).any()) or bool((index >= size).any()):
        raise UserError(f"gather_along_axis: index {int(index.max())} is outside of {size} entries")
    return x.gather(axis, index)


@op(takes_fp16=True, ints=("pad",))
def pad(x: Tensor, pad: Ints, mode: str = "constant", constant_val: Number = 0.0) -> Tensor:
    if mode != "constant":
        raise UserError(f"the MIL runtime has no pad of mode {mode}")
    pairs = [pad[index : index + 2] for index in range(0, len(pad), 2)]  # of the last axes, the last one at the end
    require_size(
        [before + size + after for (before, after), size in zip(pairs, x.shape[-len(pairs) :], strict=True)], "of pad"
    )
    return F.pad(x, [count for pair in reversed(pairs) for count in pair], value=float(constant_val))


@op(takes_fp16=True)
def range_1d(start: float, end: float, step: float) -> Tensor:
    if step == 0 or not math.isfinite((end - start) / step):
        raise UserError(f"the MIL runtime has no range_1d from {start} to {end} in steps of {step}")
    require_size([math.ceil(max(0, (end - start) / step))], "of range_1d")
    return torch.arange(start, end, step)


@op(takes_fp16=True, ints=("reps",))
def tile(x: Tensor, reps: Ints) -> Tensor:
    require_size([x.numel(), *reps], "of tile")
    return x.repeat(reps)


@op(takes_fp16=True)
def shape_(x: Tensor) -> Tensor:
    return torch.tensor(x.shape, dtype=torch.int32)
