"""A folder that is written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forced_aligner.base.errors import UserError
from forced_aligner.base.paths import METADATA_FILE


@contextmanager
def write_folder(folder: Path, *, replace: bool) -> Iterator[Path]:
    """Give a new folder beside `folder`, and move it there when the block ends without an error.

    An error or a kill leaves `folder` as it was. If the kill comes just between the two renames of a replacement,
    the next conversion to the same place first puts the old folder back.

    Raises:
        UserError: `folder` is there and `replace` is false, or it is no converted model, or cannot be written.
    """
    folder = folder.absolute()
    _tidy(folder)
    if folder.exists() and not (replace and (folder / METADATA_FILE).is_file()):
        why = "is there already: give --force to replace it" if replace is False else "is not a converted model"
        raise UserError(f"{folder} {why}, or choose another --output-dir")
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        yield partial
        _exchange(partial, folder)
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "filesystem error" not in str(error):  # coremltools, on a full disk
            raise
        raise UserError(f"cannot write {folder} ({error}): free some space or choose another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _exchange(new: Path, folder: Path) -> None:
    """Move `new` to `folder`; what was there comes back if that fails."""
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _tidy(folder: Path) -> None:
    """Undo what killed conversions to the same place have left: their processes are gone."""
    for left in folder.parent.glob(f".{folder.name}.*.*"):
        process, kind = left.name.split(".")[-2:]
        if not process.isdecimal() or _is_running(int(process)):
            continue
        if kind == "old" and not folder.exists():
            left.rename(folder)
        elif kind in ("old", "partial"):
            shutil.rmtree(left, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
