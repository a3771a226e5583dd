"""What the tests of workers call: at a module's top level, so that another process finds it."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from forced_aligner.base.console import log, log_progress, warn
from forced_aligner.base.errors import UserError
from forced_aligner.base.stopping import SIGNALS


@dataclass(frozen=True)
class Bench:
    """A tool that says in `folder` that a process has opened it."""

    folder: Path

    def open(self):
        (self.folder / f"opened-{os.getpid()}").touch()
        return self


def call(tool, task):
    """Does what `task` says: die, die once, fail, or be broken; else it doubles a number."""
    if task == "die" or (task == "die once" and not (tool.folder / "died").exists()):
        (tool.folder / "died").touch()
        time.sleep(0.2)  # so that a cluster has fetched what was done before
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "unsendable":
        return lambda: None
    if task == "fail":
        warn("it is about to fail")
        raise UserError("it cannot be done")
    if task == "broken":
        raise ZeroDivisionError("a bug")
    log("a note")
    log_progress("for terminals alone")
    time.sleep(0.01)
    return "alive" if isinstance(task, str) else 2 * task


@dataclass(frozen=True)
class Locked:
    """A tool that cannot be had."""

    def open(self):
        raise UserError("the model is elsewhere")


@dataclass(frozen=True)
class Fatal:
    """A tool that kills whoever opens it."""

    def open(self):
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Talking:
    """A tool that says something when it is opened."""

    def open(self):
        log("it is open")
        return self


def number_of(tool, _):
    """What the tool is asked first."""
    return 7


def ignored_signals(tool, _):
    """The signals that the process ignores, of those that may be asked for."""
    return {number for number in SIGNALS if signal.getsignal(number) is signal.SIG_IGN}
