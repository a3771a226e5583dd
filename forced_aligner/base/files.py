"""Files: checks before reading, and writing in one step, so that a reader sees the old file or the new one."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from forced_aligner.base.errors import UserError


def require_audio_file(path: Path) -> None:
    """Refuse what is not a file.

    Raises:
        UserError: nothing is there, or a folder, or the path is none that a file can have.
    """
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        raise UserError(f"no audio file at {path}") from None
    except OSError as error:
        raise UserError(f"no audio file at {path} ({error.strerror})") from None
    except ValueError:
        raise UserError(f"no audio file at {str(path)!r} (no file can have that name)") from None
    if is_folder:
        raise UserError(f"{path} is a folder; expected an audio file (wav, flac, ogg or mp3)")


def is_there(path: Path) -> bool:
    """Whether there is something at `path`; a path that the system refuses, as a name too long, is not there."""
    try:
        return path.exists()
    except OSError:
        return False


def printable(path: str) -> str:
    """A path as text that can be written: a byte of it that is not UTF-8 becomes an escape, as stderr shows it."""
    return path.encode(errors="backslashreplace").decode()


def identity(path: Path) -> str:
    """The resolved path, which two paths to one file share. A path that no file can have is returned as it is."""
    try:
        return str(path.resolve())
    except (OSError, RuntimeError, ValueError):  # RuntimeError: links in a circle
        return str(path.absolute())


def require_writable(path: Path) -> None:
    """Refuse a path that cannot be written, before the work whose result goes there.

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


def read_text(path: Path) -> str:
    """The content of a transcript or a manifest, UTF-8.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}); expected a text file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read {path} (byte {error.start} is not UTF-8); save it as UTF-8") from None
