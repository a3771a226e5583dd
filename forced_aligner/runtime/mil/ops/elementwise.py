"""Ops that compute element by element."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from forced_aligner.base.errors import UserError
from forced_aligner.runtime.mil.registry import Number, as_tensor, op

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
    return torch.maximum(as_tensor(x, y), as_tensor(y, x))


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
    return as_tensor(x, y) >= y


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


@op(takes_fp16=True)
def select(cond: Tensor, a: Number, b: Number) -> Tensor:
    return torch.where(cond, a, b)


@op(takes_fp16=True)
def cast(x: Number, dtype: str) -> Number:
    return as_tensor(x, x).to(_CAST_TYPES[dtype])
