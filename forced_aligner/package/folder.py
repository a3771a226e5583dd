"""A folder that is written whole or not at all, by one run at a time."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from forced_aligner.base.errors import UserError
from forced_aligner.base.files import identity, is_folder, is_there
from forced_aligner.base.lock import locked
from forced_aligner.base.stopping import unfinished, uninterrupted

# Beside a folder while it is written. Only the run that holds the folder's lock makes them, so whatever is found under
# these names by the next one was left by a run that was killed.
NEW_NAME = ".{}.being-written"
OLD_NAME = ".{}.being-replaced"
# Errors of a disk that is full or fails, which coremltools and torch also raise as a RuntimeError.
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG}
Check = Callable[[Path], None]


def refuse_existing(folder: Path) -> None:
    """Refuse to replace a converted folder.

    Raises:
        UserError: always.
    """
    raise UserError(f"{folder} is there already: give --force to replace it, or choose another --output-dir")


@contextmanager
def write_folder(folder: Path, check: Check = refuse_existing) -> Iterator[Path]:
    """Give a new folder beside `folder`, and move it there when the block ends without an error.

    An error or a signal leaves `folder` as it was. If the run is killed just between the two renames of a replacement,
    `recover_folder` puts the old folder back.

    Args:
        folder: the place; a link stays, and the folder that it names is written.
        check: is called with a folder that is there already, before and after the block; it raises a `UserError` if
            that must not be replaced.

    Raises:
        UserError: another run writes `folder`, it is there already and must stay, or it cannot be written.
    """
    folder = Path(identity(folder))
    if not folder.name:
        raise UserError(f"{folder} is no place for a converted folder: choose another --output-dir")
    with locked(folder, "choose another folder"):
        _put_back(folder)
        check_place(folder, check)
        new = folder.with_name(NEW_NAME.format(folder.name))
        try:
            with unfinished(new):
                shutil.rmtree(new, ignore_errors=True)
                new.mkdir(parents=True)
                yield new
                check_place(folder, check)  # what was put there meanwhile
                _exchange(new, folder)
        except (OSError, RuntimeError) as error:
            if not _is_of_writing(error, [new, folder]):
                raise
            raise UserError(f"cannot write {folder} ({error}): free some space or choose another folder") from error
        finally:
            shutil.rmtree(new, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """Put back what a run that was killed between two renames has left of `folder`."""
    folder = Path(identity(folder))
    if not folder.name or is_there(folder) or not is_there(folder.with_name(OLD_NAME.format(folder.name))):
        return
    with locked(folder, "choose another folder"):
        _put_back(folder)


def check_place(folder: Path, check: Check) -> None:
    """Call `check` with the folder if it is there; see `write_folder`."""
    if is_folder(folder):
        check(folder)
    elif is_there(folder):
        raise UserError(f"{folder} is a file: choose another folder")


def _is_of_writing(error: OSError | RuntimeError, places: list[Path]) -> bool:
    """Whether an error comes from writing in one of `places`, and not from reading something else."""
    if isinstance(error, OSError):
        names = [Path(os.fsdecode(name)) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
        return error.errno in DISK_ERRORS or any(place in (name, *name.parents) for name in names for place in places)
    return "filesystem error" in str(error) or "[MIL FileWriter]" in str(error)  # coremltools, on a full disk


def _exchange(new: Path, folder: Path) -> None:
    """Move `new` to `folder`; what was there comes back if that fails."""
    old = folder.with_name(OLD_NAME.format(folder.name))
    with uninterrupted():
        if is_there(folder):
            folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            _put_back(folder)
            raise
    if is_there(old):
        old.rename(new)  # what is half removed is never put back
        shutil.rmtree(new, ignore_errors=True)


def _put_back(folder: Path) -> None:
    """Put the old folder back, where a replacement has not come to its end."""
    old = folder.with_name(OLD_NAME.format(folder.name))
    if is_there(old) and not is_there(folder):
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
