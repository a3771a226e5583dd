"""One call of the work on a recording, and all that comes back from it when it is made in another process."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Generic, Protocol, TypeVar

from forced_aligner.base.console import Line, collected_lines
from forced_aligner.base.errors import RunError, UserError
from forced_aligner.package.provenance import everything_digest

Tool = TypeVar("Tool")
Tool_co = TypeVar("Tool_co", covariant=True)
Task = TypeVar("Task")
Result = TypeVar("Result")

_one_call = threading.Lock()  # a worker of Dask's may have several threads
_said_at_opening: list[Line] = []


class Recipe(Hashable, Protocol[Tool_co]):
    """How another process gets what every call needs, such as a loaded model. It can be pickled."""

    def open(self) -> Tool_co:
        """Load it.

        Raises:
            UserError: it cannot be had there.
        """
        ...


class CallError(Exception):
    """What a call raised that no user can mend: the name of the exception, its message, and its traceback."""

    def __init__(self, name: str, message: str, trace: str) -> None:
        super().__init__(name, message, trace)
        self.name, self.message, self.trace = name, message, trace

    @classmethod
    def of(cls, error: Exception) -> CallError:
        """Of an exception that is being handled."""
        return cls(type(error).__name__, str(error), traceback.format_exc())


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """What a call gave.

    Attributes:
        result: what it returned, in a list; nothing if it failed.
        error: what it raised.
        lines: what it had to say, where that is not printed yet.
    """

    result: list[Result]
    error: UserError | CallError | None = None
    lines: tuple[Line, ...] = ()

    def value(self) -> Result:
        """The result.

        Raises:
            UserError, CallError: what the call raised.
        """
        if self.error is not None:
            raise self.error
        return self.result[0]


def attempt(compute: Callable[[Tool, Task], Result], tool: Tool, task: Task) -> Outcome[Result]:
    """Call `compute`."""
    try:
        return Outcome([compute(tool, task)])
    except UserError as error:
        return Outcome([], error)
    except Exception as error:
        return Outcome([], CallError.of(error))


@dataclass(frozen=True)
class Home:
    """What a worker must share with the process that sends it work.

    Attributes:
        folder: the working folder, which relative paths start from.
        sources: the digest of the project's sources and libraries.
    """

    folder: str
    sources: str

    @classmethod
    def here(cls) -> Home:
        """Of this process."""
        return cls(str(os.getcwd()), everything_digest())  # noqa: PTH109 - the text is what is sent

    def enter(self) -> None:
        """Work from the same folder, with the same sources and libraries.

        Raises:
            RunError: there is no such folder, or the sources or the libraries are others.
        """
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise RunError(
                f"a worker cannot enter {self.folder} ({error.strerror}): all machines need it, under the same path"
            ) from None
        if _sources() != self.sources:
            raise RunError(
                "a worker has other sources of this project, or other libraries: update it there, and start it again"
            )


def attempt_elsewhere(
    compute: Callable[[Tool, Task], Result], recipe: Recipe[Tool], home: Home, task: Task
) -> Outcome[Result]:
    """Call `compute` in a worker, which keeps what `recipe` opens for the next call.

    What cannot be opened ends the run: no other recording would fare better.
    """
    with _one_call, collected_lines() as lines:
        opened = _open(recipe, home)
        outcome = Outcome[Result]([], opened.error) if opened.error else attempt(compute, opened.value(), task)
    said = (*_said_at_opening, *lines)
    _said_at_opening.clear()
    return replace(outcome, lines=said)


def open_elsewhere(recipe: Recipe[Tool], home: Home) -> None:
    """Open what the calls need, before the first one. What goes wrong, or is said, comes with that."""
    with _one_call, collected_lines() as lines:
        _open(recipe, home)
    _said_at_opening.extend(lines)


def _open(recipe: Recipe[Tool], home: Home) -> Outcome[Tool]:
    try:
        home.enter()
        return Outcome([_opened(recipe)])
    except UserError as error:
        return Outcome([], RunError(str(error)))
    except Exception as error:
        return Outcome([], CallError.of(error))


@lru_cache(maxsize=1)  # a worker of a cluster outlives many runs
def _opened(recipe: Recipe[Tool]) -> Tool:
    return recipe.open()


@lru_cache
def _sources() -> str:
    return everything_digest()
