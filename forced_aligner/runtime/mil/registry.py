"""The table of the MIL runtime's ops: op name -> one small PyTorch function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from forced_aligner.base.errors import UserError

Number = float | int | Tensor
Ints = list[int]  # the type of the parameters that an op lists in `ints`


@dataclass(frozen=True)
class Op:
    """A function of the table.

    Attributes:
        function: computes the op from keyword arguments.
        takes_fp16: whether it gets FP16 arguments as they are: it only moves values, or it does its own rounding.
        ints: names of the parameters that it takes as lists of Python numbers, not as tensors: axes, sizes, flags.
    """

    function: Callable[..., Any]
    takes_fp16: bool
    ints: frozenset[str]

    def convert_argument(self, key: str, value: Any) -> Any:
        """An argument as the function takes it. Constants are converted once, when the program is planned."""
        return value.tolist() if key in self.ints and isinstance(value, Tensor) else value

    def widens(self, dtype: torch.dtype) -> bool:
        """Whether it gets tensors of this type as float32."""
        return dtype == torch.float16 and not self.takes_fp16

    def as_taken(self, key: str, value: Any) -> Any:
        """The value of an argument as the function takes it."""
        value = self.convert_argument(key, value)
        return value if self.takes_fp16 else _widen(value)

    def __call__(self, **arguments: Any) -> Any:
        return self.function(**{key: self.as_taken(key, value) for key, value in arguments.items()})


def _widen(argument: Any) -> Any:
    """An argument with FP16 tensors converted to float32."""
    if isinstance(argument, list):
        return [_widen(item) for item in argument]
    return argument.float() if isinstance(argument, Tensor) and argument.dtype == torch.float16 else argument


TABLE: dict[str, Op] = {}


def op(
    function: Callable[..., Any] | None = None, *, takes_fp16: bool = False, ints: Collection[str] = ()
) -> Callable[..., Any]:
    """Register a function under its own name, without a trailing underscore; see `Op` for the options.

    Raises:
        ValueError: the name is registered already, or the function has no parameter that `ints` lists.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__.rstrip("_")
        if name in TABLE:
            raise ValueError(f"op {name} is registered twice")
        if unknown := set(ints) - set(inspect.signature(function).parameters):
            raise ValueError(f"op {name} has no parameters {sorted(unknown)}")
        TABLE[name] = Op(function, takes_fp16, frozenset(ints))
        return function

    return register if function is None else register(function)


def lookup(name: str, output: str, arguments: Collection[str]) -> Op:
    """The op `name`, which takes `arguments`.

    Raises:
        UserError: it is not in the table, or does not take these arguments. The error shows `output`, its result.
    """
    if name not in TABLE:
        raise UserError(
            f"the MIL runtime has no op {name} (it makes {output}): add it to forced_aligner/runtime/mil/ops/"
        )
    try:
        inspect.signature(TABLE[name].function).bind(**dict.fromkeys(arguments))
    except TypeError as error:
        raise UserError(f"the MIL runtime runs op {name} (it makes {output}) with other arguments: {error}") from None
    return TABLE[name]


def as_tensor(value: Number, like: Number) -> Tensor:
    """`value` as a tensor; a Python number gets the type of `like`, if that is a tensor."""
    return value if isinstance(value, Tensor) else torch.tensor(value, dtype=getattr(like, "dtype", None))
