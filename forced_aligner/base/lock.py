"""Locks: two runs never write one place at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from forced_aligner.base.errors import UserError
from forced_aligner.base.files import cannot_write, lock_name
from forced_aligner.base.stopping import unfinished


@contextlib.contextmanager
def locked(path: Path, remedy: str) -> Iterator[None]:
    """Within the block, no other run writes `path`, a file or a folder.

    The lock is a file beside `path`. It is removed afterwards; one that a killed run left is taken over.

    Raises:
        UserError: another run writes it, which ends with `remedy`, or the lock cannot be made.
    """
    import filelock

    file = path.with_name(lock_name(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(file, timeout=0)
        lock.acquire()
    except filelock.Timeout:
        raise UserError(f"another run is writing {path}: wait for it, or {remedy}") from None
    except OSError as error:
        raise cannot_write(path, error) from None
    try:
        with unfinished(file):
            yield
    finally:
        file.unlink(missing_ok=True)  # while it is held: filelock sees that and makes a new one
        lock.release()
