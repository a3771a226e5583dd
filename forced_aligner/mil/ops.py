"""The ops of the MIL runtime: one table, op name -> one small PyTorch function.

Names and arguments are those of coremltools' op definitions. An FP16 argument reaches a function as float32,
and the result is rounded to the type that the program declares: so every FP16 op rounds, and overflows, once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from forced_aligner.errors import UserError

Number = float | int | Tensor
Ints = list[int]  # what a parameter of a function is given as, whether the program holds or computes it

_CAST_TYPES = {
    "fp16": torch.float16,
    "fp32": torch.float32,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "uint8": torch.uint8,
    "uint16": torch.uint16,
    "bool": torch.bool,
}


@dataclass(frozen=True)
class Op:
    """A function of the table. `moves`: it only moves values, so FP16 passes through unconverted."""

    function: Callable[..., Any]
    moves: bool
    ints: frozenset[str]  # its parameters of the type `Ints`

    def argument(self, key: str, value: Any) -> Any:
        """An argument as the function takes it; for a constant, this is done once, as the program is planned."""
        return value.tolist() if key in self.ints and isinstance(value, Tensor) else value

    def __call__(self, **arguments: Any) -> Any:
        arguments = {key: self.argument(key, value) for key, value in arguments.items()}
        if not self.moves:
            arguments = {key: _widen(argument) for key, argument in arguments.items()}
        return self.function(**arguments)


def _widen(argument: Any) -> Any:
    if isinstance(argument, list):
        return [_widen(item) for item in argument]
    return argument.float() if isinstance(argument, Tensor) and argument.dtype == torch.float16 else argument


TABLE: dict[str, Op] = {}


def op(function: Callable[..., Any] | None = None, *, moves: bool = False) -> Callable[..., Any]:
    """Register a function under its own name, less a trailing underscore; a second of a name is refused."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__.rstrip("_")
        if name in TABLE:
            raise ValueError(f"op {name} is registered twice")
        parameters = inspect.signature(function).parameters.values()
        ints = frozenset(each.name for each in parameters if "Ints" in str(each.annotation))
        TABLE[name] = Op(function, moves, ints)
        return function

    return register if function is None else register(function)


def lookup(name: str, output: str, arguments: Collection[str]) -> Op:
    """The op `name`.

    Raises:
        UserError: it is not in the table, or takes other arguments there; `output` tells which op of the program it is.
    """
    if name not in TABLE:
        raise UserError(f"the MIL runtime has no op {name} (it makes {output}): add it to forced_aligner/mil/ops.py")
    try:
        inspect.signature(TABLE[name].function).bind(**dict.fromkeys(arguments))
    except TypeError as error:
        raise UserError(f"the MIL runtime runs op {name} (it makes {output}) with other arguments: {error}") from None
    return TABLE[name]


def _tensor(value: Number, like: Number) -> Tensor:
    """`value` as a tensor of the kind of `like`."""
    return value if isinstance(value, Tensor) else torch.tensor(value, dtype=getattr(like, "dtype", None))


# --- element by element --------------------------------------------------------------------------------------


@op
def add(x: Number, y: Number) -> Number:
    return x + y


@op
def sub(x: Number, y: Number) -> Number:
    return x - y


@op
def mul(x: Number, y: Number) -> Number:
    return x * y


@op
def real_div(x: Number, y: Number) -> Number:
    return x / y


@op
def floor_div(x: Number, y: Number) -> Number:
    return x // y


@op
def maximum(x: Number, y: Number) -> Tensor:
    return torch.maximum(_tensor(x, y), _tensor(y, x))


@op
def pow_(x: Tensor, y: Number) -> Tensor:
    return torch.pow(x, y)


@op
def abs_(x: Tensor) -> Tensor:
    return x.abs()


@op
def rsqrt(x: Tensor, epsilon: float = 1e-12) -> Tensor:
    return torch.rsqrt(x + epsilon)


@op
def clip(x: Tensor, alpha: float, beta: float) -> Tensor:
    return x.clamp(alpha, beta)


@op
def greater_equal(x: Number, y: Number) -> Tensor:
    return _tensor(x, y) >= y


@op
def sigmoid(x: Tensor) -> Tensor:
    return torch.sigmoid(x)


@op
def silu(x: Tensor) -> Tensor:
    return F.silu(x)


@op
def gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    if mode != "EXACT":
        raise UserError(f"the MIL runtime has no gelu of mode {mode}, only EXACT")
    return F.gelu(x)


@op(moves=True)
def select(cond: Tensor, a: Number, b: Number) -> Tensor:
    return torch.where(cond, a, b)


@op(moves=True)
def cast(x: Number, dtype: str) -> Number:
    return _tensor(x, x).to(_CAST_TYPES[dtype])


# --- along axes ----------------------------------------------------------------------------------------------


@op
def reduce_mean(x: Tensor, axes: Ints, keep_dims: bool = False) -> Tensor:
    return x.mean(axes, keepdim=keep_dims)


@op
def reduce_max(x: Tensor, axes: Ints, keep_dims: bool = False) -> Tensor:
    return x.amax(axes, keepdim=keep_dims)


@op
def softmax(x: Tensor, axis: int = -1) -> Tensor:
    return x.softmax(axis)


@op
def layer_norm(
    x: Tensor, axes: Ints, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: float = 1e-5
) -> Tensor:
    last = sorted(axis % x.dim() for axis in axes)
    if last != list(range(x.dim() - len(last), x.dim())):
        raise UserError(f"the MIL runtime has no layer_norm over axes that are not the last ones: {axes}")
    return F.layer_norm(x, [x.shape[axis] for axis in last], gamma, beta, epsilon)


# --- products ------------------------------------------------------------------------------------------------


@op
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.linear(x, weight, bias)


@op
def matmul(x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    return torch.matmul(x.mT if transpose_x else x, y.mT if transpose_y else y)


@op
def conv(
    x: Tensor,
    weight: Tensor,
    strides: Ints,
    pad_type: str,
    pad: Ints,
    dilations: Ints,
    groups: int,
    bias: Tensor | None = None,
) -> Tensor:
    before, after = pad[::2], pad[1::2]
    if pad_type not in ("custom", "valid") or before != after or x.dim() != 4:
        raise UserError(f"the MIL runtime has no conv of pad_type {pad_type}, pad {pad}, rank {x.dim()}")
    padding = before if pad_type == "custom" else 0
    return F.conv2d(x, weight, bias, strides, padding, dilations, groups)


# --- compressed weights --------------------------------------------------------------------------------------
# They are made anew at each call and freed after their use: a model's weights stay compressed in memory, and one
# weight at a time is there in full. Numbers are those of coremltools: computed in the type of the scale.

ROWS_ELEMENTS = 1 << 22  # elements of a palette's weight that are looked up at once


@op(moves=True)
def constexpr_blockwise_shift_scale(data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    def per_element(blocks: Tensor) -> Tensor:
        for axis, size in enumerate(data.shape):
            if blocks.shape[axis] not in (1, size):
                blocks = blocks.repeat_interleave(size // blocks.shape[axis], axis)
        return blocks

    values = data.to(scale.dtype)
    if offset is not None:
        values = values - per_element(offset).to(scale.dtype)
    return values * per_element(scale)


@op(moves=True)
def constexpr_lut_to_dense(indices: Tensor, lut: Tensor, vector_axis: int | None = None) -> Tensor:
    if lut.shape[-1] != 1:
        raise UserError(f"the MIL runtime has no palette of vectors, only of numbers; this one has {lut.shape[-1]}")
    dense = torch.empty(indices.shape, dtype=lut.dtype)
    step = max(1, ROWS_ELEMENTS * len(indices) // max(1, indices.numel()))
    for start in range(0, len(indices), step):
        rows = indices[start : start + step].long()
        group = torch.zeros((), dtype=torch.long)
        for axis, groups in enumerate(lut.shape[:-2]):
            ids = torch.arange(indices.shape[axis]) // (indices.shape[axis] // groups)
            ids = ids[start : start + step] if axis == 0 else ids
            group = group * groups + ids.view([-1 if at == axis else 1 for at in range(indices.dim())])
        dense[start : start + step] = lut.flatten()[group * lut.shape[-2] + rows]
    return dense


# --- moving values -------------------------------------------------------------------------------------------


@op(moves=True)
def identity(x: Tensor) -> Tensor:
    return x


@op(moves=True)
def reshape(x: Tensor, shape: Ints) -> Tensor:
    if 0 in shape:
        raise UserError(f"the MIL runtime has no reshape with 0 as a size: {shape}")
    return x.reshape(shape)


@op(moves=True)
def transpose(x: Tensor, perm: Ints) -> Tensor:
    return x.permute(perm)


@op(moves=True)
def expand_dims(x: Tensor, axes: Ints) -> Tensor:
    for axis in sorted(axis % (x.dim() + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


@op(moves=True)
def squeeze(x: Tensor, axes: Ints | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(axes)


@op(moves=True)
def concat(values: Sequence[Tensor], axis: int, interleave: bool = False) -> Tensor:
    if interleave:
        raise UserError("the MIL runtime has no interleaved concat")
    if not any(value.dim() for value in values if isinstance(value, Tensor)):  # shapes are joined from scalars
        return torch.tensor([int(value) for value in values], dtype=torch.int32)
    return torch.cat(list(values), axis)


@op(moves=True)
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


@op(moves=True)
def split(x: Tensor, axis: int, num_splits: int | None = None, split_sizes: Ints | None = None) -> list[Tensor]:
    if split_sizes is not None:
        return list(x.split(split_sizes, axis))
    if num_splits is None or x.shape[axis] % num_splits:
        raise UserError(f"the MIL runtime cannot split {x.shape[axis]} into {num_splits} equal parts")
    return list(x.chunk(num_splits, axis))


@op(moves=True)
def gather(x: Tensor, indices: Number, axis: int = 0, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    if batch_dims:
        raise UserError("the MIL runtime has no gather with batch_dims")
    index = _tensor(indices, 0).long()
    size = x.shape[axis]
    index = torch.where(index < 0, index + size, index)
    if bool((index < 0).any()) or bool((index >= size).any()):
        raise UserError(f"gather: index {int(index.max())} is outside of {size} entries")
    taken = x.index_select(axis, index.flatten())
    return taken.reshape(x.shape[:axis] + index.shape + x.shape[axis % x.dim() + 1 :])


@op(moves=True)
def range_1d(start: float, end: float, step: float) -> Tensor:
    return torch.arange(start, end, step)


@op(moves=True)
def tile(x: Tensor, reps: Ints) -> Tensor:
    return x.repeat(reps)


@op(moves=True)
def shape_(x: Tensor) -> Tensor:
    return torch.tensor(x.shape, dtype=torch.int32)
