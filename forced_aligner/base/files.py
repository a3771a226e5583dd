"""Files that a run writes: in one step, and never over something that the run did not make."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path

from forced_aligner.base.errors import UserError
from forced_aligner.base.stopping import unfinished, uninterrupted

# Whether a file that is there already may be replaced.
MayReplace = Callable[[Path], bool]
FileId = tuple[int, int]  # device and inode
MOVE_IT = "move it away, or choose another name"
SHORT_NAME_CHARS = 12
LOCK, PARTIAL = "lock", "partial"
_LEFTOVER = re.compile(rf"\.[0-9a-f]{{{SHORT_NAME_CHARS}}}\.{LOCK}|\.[0-9a-f]{{16}}\.{PARTIAL}")


def never(path: Path) -> bool:
    """Replace nothing."""
    return False


def always(path: Path) -> bool:
    """Replace any file."""
    return True


def printable(path: str) -> str:
    """A path as text that can be written: a byte of it that is not UTF-8 becomes an escape, as stderr shows it."""
    return path.encode(errors="backslashreplace").decode()


def lock_name(path: Path) -> str:
    """The name of the lock of `path`, a hidden file beside it: one for all spellings that a disk may take for one."""
    name = unicodedata.normalize("NFC", printable(path.name)).casefold()
    return f".{hashlib.sha256(name.encode()).hexdigest()[:SHORT_NAME_CHARS]}.{LOCK}"


def is_leftover(name: str) -> bool:
    """Whether a file of this name is a lock or an unfinished file that a killed run has left."""
    return _LEFTOVER.fullmatch(name) is not None


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def identity(path: Path) -> str:
    """The resolved path, which two paths to one file share. A path that no file can have is returned as it is."""
    try:
        return str(path.resolve())
    except (OSError, RuntimeError, ValueError):  # RuntimeError: links in a circle
        return str(path.absolute())


def stat_of(path: Path) -> os.stat_result | None:
    """What is at `path`, or None; a path that the system refuses, as a name too long, has nothing."""
    try:
        return path.stat()
    except (OSError, ValueError):
        return None


def is_there(path: Path) -> bool:
    """Whether there is something at `path`."""
    return stat_of(path) is not None


def is_file(path: Path) -> bool:
    """Whether there is a regular file at `path`, in a folder that may be entered."""
    found = stat_of(path)
    return found is not None and stat.S_ISREG(found.st_mode)


def file_size(path: Path) -> int:
    """The size of a file in bytes; 0 where there is none."""
    found = stat_of(path)
    return 0 if found is None else found.st_size


def is_folder(path: Path) -> bool:
    """Whether there is a folder at `path`."""
    found = stat_of(path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def file_id(path: Path) -> FileId | None:
    """The same for all names of one file, also on a disk where case does not count; None where there is none."""
    found = stat_of(path)
    return (found.st_dev, found.st_ino) if found is not None else None


def start_of(path: Path, count: int) -> bytes:
    """The first `count` bytes of a regular file; none of what is a link or no file, or cannot be read."""
    try:  # a link is not followed, and a FIFO not waited for
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.read(descriptor, count) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
        finally:
            os.close(descriptor)
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return b""


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
        raise cannot_write(path, error) from None


def write_whole(path: Path, content: str | bytes, may_replace: MayReplace = always) -> None:
    """Write `content` to `path` in one step, so that a reader sees the old file or the new one. Folders are made.

    Raises:
        UserError: the place cannot be written, or a file is there that must not be replaced.
    """
    partial = path.with_name(f".{secrets.token_hex(8)}.{PARTIAL}")  # short, where `path` has the longest name allowed
    with unfinished(partial):
        try:
            with uninterrupted():  # a signal may not come between the look for unfinished files and this one
                path.parent.mkdir(parents=True, exist_ok=True)
                file = partial.open("xb")
            with file:
                file.write(content.encode() if isinstance(content, str) else content)
            with uninterrupted():
                _move(partial, path, may_replace)
        except (OSError, ValueError) as error:
            raise cannot_write(path, error) from None
        finally:
            with contextlib.suppress(OSError, ValueError):
                partial.unlink()


def _move(partial: Path, path: Path, may_replace: MayReplace) -> None:
    """Give the finished file its name."""
    if is_there(path):
        require_regular(path)
        if not may_replace(path):
            raise not_ours(path)
        partial.replace(path)
        return
    try:
        os.link(partial, path)  # unlike a rename, it fails if a file has come there since
    except FileExistsError:
        raise not_ours(path) from None
    except OSError:  # a file system without links
        partial.replace(path)


def require_name(path: Path) -> None:
    """Refuse a name that no file can have, before the work whose result would get it.

    Raises:
        UserError: it is too long, or its folder is none.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise cannot_write(path, error) from None


def require_regular(path: Path) -> None:
    """Refuse to write over what is no regular file.

    Raises:
        UserError: it is a folder, a device, a pipe or a socket.
    """
    found = stat_of(path)
    if found is not None and not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "no regular file"
        raise UserError(f"cannot write {path}: it is {kind}; give the name of a file")


def not_ours(path: Path, remedy: str = MOVE_IT) -> UserError:
    """The error for a file that is there and must stay; `remedy` ends the sentence."""
    return UserError(f"{path} is there already, and this run did not make it: {remedy}")


def cannot_write(path: Path, error: OSError | ValueError) -> UserError:
    """The error for a place that cannot be written."""
    reason = error.strerror if isinstance(error, OSError) else error
    return UserError(f"cannot write {path} ({reason}): choose a place that can be written")
