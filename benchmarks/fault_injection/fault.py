"""What a fault is, what a run of it gives, and what may come of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from numpy.random import Generator

Outcome = Literal[
    "answered",  # exit 0, and right
    "warned",  # exit 0, with other times, and a line that says so
    "refused",  # exit 2 and one sentence
    "stopped",  # a signal or a kill, after which a second run ends well
    "unclear",  # an exit without a sentence, or with two
    "raw",  # a control character reached the terminal
    "memory",
    "half-made",
    "lost",
    "silent",
    "exit 70",
    "traceback",
    "crash",
    "hang",
]  # the worse, the later
OUTCOMES: tuple[Outcome, ...] = Outcome.__args__  # type: ignore[attr-defined]
GOOD: tuple[Outcome, ...] = ("answered", "warned", "refused", "stopped")

CONVERT, REFERENCE, RUN = "convert-coreml.py", "compare-models.py", "run_coreml_inference.py"
Word = tuple[str, float, float]  # text, start and end in ms


@dataclass(frozen=True)
class Run:
    """One command: a script of the project and its arguments, run in the fault's scratch folder.

    Attributes:
        arguments: the script first.
        stop: the number of a signal that it gets.
        after_s: how long after its start.
        is_fresh: it is a Python process of its own. Others are forks of one that has loaded the libraries.
    """

    arguments: tuple[str, ...]
    stop: int | None = None
    after_s: float = 0.0
    is_fresh: bool = False


@dataclass(frozen=True)
class Finished:
    """How a run ended. `code` is negative where a signal ended it; `limit` is the one that it broke."""

    run: Run
    code: int
    out: str
    err: str
    peak_bytes: int
    wall_s: float
    limit: Literal["", "time", "memory"] = ""

    @property
    def is_warned(self) -> bool:
        """Whether a line on stderr warns of something, or lists what was left out."""
        return any(line.startswith(("warning:", "left out:", "NOTE:")) for line in self.err.splitlines())


@dataclass(frozen=True)
class Verdict:
    """What came of a fault, and why it counts as that."""

    outcome: Outcome
    why: str = ""


Check = Callable[[Sequence[Finished]], Verdict]


def always_right(_: Sequence[Finished]) -> Verdict:
    """For a fault whose every answer is right."""
    return Verdict("answered")


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        what: in a few words.
        steps: the runs, one after another; the runs of one step run at once.
        check: says what the runs gave, where each ended with 0, 1 or 2, or by the signal that it got.
        may_change: files and folders of the scratch folder that the runs may change; others must stay as they are.
        deadline_s: of each run.
        undo: is called in the end, as to unmount a disk.
    """

    what: str
    steps: tuple[tuple[Run, ...], ...]
    check: Check = always_right
    may_change: tuple[Path, ...] = ()
    deadline_s: float = 90.0
    undo: Callable[[], None] = field(default=lambda: None)


def single(what: str, *arguments: str, check: Check = always_right, deadline_s: float = 90.0) -> Fault:
    """A fault that is seen by one command."""
    return Fault(what, ((Run(arguments),),), check, deadline_s=deadline_s)


def pick(rng: Generator, values: Sequence[object]) -> object:
    """One of `values`."""
    return values[int(rng.integers(len(values)))]
