"""Ops that multiply matrices."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from forced_aligner.base.errors import UserError
from forced_aligner.runtime.mil.registry import Ints, op


@op
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.linear(x, weight, bias)


@op
def matmul(x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    return torch.matmul(x.mT if transpose_x else x, y.mT if transpose_y else y)


@op(
    ints=(
        "strides",
        "pad",
        "dilations",
    )
)
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
