"""Files that must be there, and files that are written whole: readers see the old one or the new, never half."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from forced_aligner.errors import UserError


def require_audio_file(path: Path) -> None:
    """Refuse what is not a file.

    Raises:
        UserError: nothing is there, or a folder.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; expected an audio file (wav, flac, ogg or mp3)")
    if not path.exists():
        raise UserError(f"no audio file at {path}")


def require_writable(path: Path) -> None:
    """Refuse a place for a file that cannot be written, before the work whose result it is.

    Raises:
        UserError: the folder cannot be made, or is not writable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UserError(f"cannot write {path} ({error.strerror}): choose a folder that can be written") from None


def write_whole(path: Path, content: str | bytes) -> None:
    """Write `content` to `path` in one step; missing folders are made.

    Raises:
        UserError: the place cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise UserError(f"cannot write {path} ({error.strerror}): choose a folder that can be written") from None
