"""Ops that reduce or normalize along axes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from forced_aligner.base.errors import UserError
from forced_aligner.runtime.mil.registry import Ints, op

_INDEX_TYPES = {"int32": torch.int32, "uint16": torch.uint16}


@op(ints=("axes",))
def reduce_mean(x: Tensor, axes: Ints, keep_dims: bool = False) -> Tensor:
    return x.mean(axes, keepdim=keep_dims)


@op(ints=("axes",))
def reduce_max(x: Tensor, axes: Ints, keep_dims: bool = False) -> Tensor:
    return x.amax(axes, keepdim=keep_dims)


@op(takes_fp16=True)
def reduce_argmax(x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Tensor:
    """The first index of those that tie, as in coremltools' own inference; Core ML does not say which one."""
    return x.float().argmax(axis, keepdim=keep_dims).to(_INDEX_TYPES[output_dtype])


@op
def softmax(x: Tensor, axis: int = -1) -> Tensor:
    return x.softmax(axis)


@op(ints=("axes",))
def layer_norm(
    x: Tensor, axes: Ints, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: float = 1e-5
) -> Tensor:
    last = sorted(axis % x.dim() for axis in axes)
    if last != list(range(x.dim() - len(last), x.dim())):
        raise UserError(f"the MIL runtime has no layer_norm over axes that are not the last ones: {axes}")
    return F.layer_norm(x, [x.shape[axis] for axis in last], gamma, beta, epsilon)
