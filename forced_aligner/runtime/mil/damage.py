"""What a program that this project did not make can get wrong, as one sentence that names the place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import prod

from forced_aligner.base.errors import UserError
from forced_aligner.base.text import visible
from forced_aligner.package.proto import MIL_pb2

# What Python and PyTorch raise over a missing name, a wrong type, or shapes that do not fit.
STRUCTURAL = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RuntimeError, MemoryError)
MAX_ELEMENTS = 1 << 31  # of one value; the token embedding of the 0.6B checkpoint has 1.6e8
MAX_INTEGER = 1 << 63
_MAX_REASON = 200


def damaged(where: str, error: Exception) -> UserError:
    """The sentence for an error at `where`. Raise it `from error`, so that the cause of a bug is not lost."""
    reason = visible((str(error).splitlines() or [""])[0])[:_MAX_REASON]
    return UserError(
        f"{visible(where)} cannot be run ({type(error).__name__}: {reason}): convert the model again, and report it if "
        "that does not help"
    )


@contextmanager
def named(where: str) -> Iterator[None]:
    """Within the block, an error over the structure of a program becomes a sentence that names `where`.

    The names in a program are others' text too, so every sentence over it is made fit to be printed.
    """
    try:
        yield
    except UserError as error:
        raise UserError(visible(str(error))) from error.__cause__
    except STRUCTURAL as error:
        if isinstance(error, MemoryError) or "out of memory" in str(error):
            raise UserError(f"{visible(where)} needs more memory than there is: take shorter recordings") from error
        raise damaged(where, error) from error


def require_size(sizes: Iterable[int], name: str) -> None:
    """Refuse a value of more elements than a machine can hold, before it is made.

    Raises:
        UserError: it is larger.
    """
    shape = list(sizes)
    if prod(shape) > MAX_ELEMENTS:
        raise UserError(f"the value {visible(name)} has the sizes {shape}, more than {MAX_ELEMENTS} elements in all")


def known_sizes(value_type: MIL_pb2.ValueType) -> list[int]:
    """The sizes of a tensor type that the program fixes."""
    dimensions = value_type.tensorType.dimensions
    return [dim.constant.size for dim in dimensions if dim.WhichOneof("dimension") == "constant"]
