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
from forced_aligner.package.provenance import ALIGNING_ROOMS, source_digest

Tool = TypeVar("Tool")
Tool_co = TypeVar("Tool_co", covariant=True)
Task = TypeVar("Task")
Result = TypeVar("Result")

_one_call = threading.Lock()  # a worker of Dask's may have several threads


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
        sources: the digest of the project's sources.
    """

    folder: str
    sources: str

    @classmethod
    def here(cls) -> Home:
        """Of this process."""
        return cls(str(os.getcwd()), source_digest(ALIGNING_ROOMS))  # noqa: PTH109 - the text is what is sent

    def enter(self) -> None:
        """Work from the same folder, with the same sources.

        Raises:
            RunError: there is no such folder, or the sources are others.
        """
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise RunError(
                f"a worker cannot enter {self.folder} ({error.strerror}): all machines need it, under the same path"
            ) from None
        if _sources() != self.sources:
            raise RunError("a worker runs other sources of this project: update it there, and start the worker again")


def attempt_elsewhere(
    compute: Callable[[Tool, Task], Result], recipe: Recipe[Tool], home: Home, task: Task
) -> Outcome[Result]:
    """Call `compute` in a worker, which keeps what `recipe` opens for the next call.

    What cannot be opened ends the run: no other recording would fare better.
    """
    with _one_call, collected_lines() as lines:
        try:
            home.enter()
            tool = _opened(recipe)
        except UserError as error:
            outcome: Outcome[Result] = Outcome([], RunError(str(error)))
        except Exception as error:
            outcome = Outcome([], CallError.of(error))
        else:
            outcome = attempt(compute, tool, task)
    return replace(outcome, lines=tuple(lines))


@lru_cache(maxsize=1)  # a worker of a cluster outlives many runs
def _opened(recipe: Recipe[Tool]) -> Tool:
    return recipe.open()


@lru_cache
def _sources() -> str:
    return source_digest(ALIGNING_ROOMS)
