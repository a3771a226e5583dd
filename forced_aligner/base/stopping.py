"""The way from a signal to the exit code: Ctrl-C, SIGTERM and SIGHUP end the program at once and leave nothing behind.

Python runs its own signal handlers between two steps of the main thread, which may be a second inside the import of a
library, and a library may catch the KeyboardInterrupt. So a thread waits for the signal. It removes what is unfinished
and ends the process.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SIGNAL_EXIT = 128  # the exit code of a program that a signal ended is this plus the signal's number
SHOW_CURSOR = b"\x1b[?25h"  # a progress bar hides it
REMOVAL_S = 2.0  # longest time to remove what the main thread may still be writing

_unfinished: list[Path] = []  # what was begun last is removed first, so that a lock goes last
_uninterrupted = threading.RLock()
_is_stopping = threading.Event()


def exit_on_signals() -> None:
    """From now on, a signal of `SIGNALS` prints one line and ends the process with 128 plus its number.

    The commands call this before they import anything that takes long.
    """
    _open_closed_streams()
    receiving, sending = os.pipe()
    os.set_blocking(sending, False)
    signal.set_wakeup_fd(sending, warn_on_full_buffer=False)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(number, lambda *_: None)
    threading.Thread(target=_wait, args=(receiving,), daemon=True).start()


def _open_closed_streams() -> None:
    """Give every standard stream that was closed a place where nothing is read or kept.

    Otherwise the next file that is opened takes its number, and gets what is printed.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
        if getattr(sys, name) is None:
            stream = open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - it stays
            setattr(sys, name, stream)


@contextlib.contextmanager
def unfinished(path: Path) -> Iterator[None]:
    """Within the block, `path` is a file or folder that a signal removes."""
    _unfinished.append(path)
    try:
        yield
    finally:
        _unfinished.remove(path)


@contextlib.contextmanager
def removed_temporaries() -> Iterator[None]:
    """Within the block, all temporary files, those of libraries too, are in a folder that a signal removes."""
    import tempfile  # not needed by commands that only look at their options

    with tempfile.TemporaryDirectory() as folder, unfinished(Path(folder)):
        before, tempfile.tempdir = tempfile.tempdir, folder
        try:
            yield
        finally:
            tempfile.tempdir = before


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Within the block, a signal waits: for steps that must happen together, such as two renames."""
    with _uninterrupted:
        yield


@contextlib.contextmanager
def ends_at_once() -> Iterator[None]:
    """Within the block, a signal ends the process at once, and what is unfinished stays.

    For foreign code that holds the interpreter's lock for minutes: the thread that waits for signals would get it only
    afterwards.
    """
    if threading.current_thread() is not threading.main_thread():  # only that one may say what a signal does
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait_if_stopping() -> None:
    """Do not return while a signal ends the process: an error that this causes is not one to be shown."""
    if _is_stopping.is_set():
        time.sleep(10 * REMOVAL_S)


def _wait(receiving: int) -> None:
    while (number := os.read(receiving, 1)[0]) not in SIGNALS:
        pass
    with _uninterrupted:
        _is_stopping.set()
        remove_unfinished()
        cursor = SHOW_CURSOR if sys.stderr is not None and os.isatty(2) else b""
        with contextlib.suppress(OSError):
            os.write(2, cursor + f"stopped by {signal.Signals(number).name}\n".encode())
        os._exit(SIGNAL_EXIT + number)


def remove_unfinished() -> None:
    """Remove all unfinished files and folders, again if the main thread has written meanwhile."""
    deadline = time.monotonic() + REMOVAL_S
    while time.monotonic() < deadline and (left := [path for path in reversed(_unfinished) if os.path.lexists(path)]):
        for path in left:
            with contextlib.suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
