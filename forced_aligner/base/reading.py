"""The one reader of files that come from outside: it reads regular files alone, and never more than a limit."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from collections import Counter
from pathlib import Path
from typing import Any

from forced_aligner.base.errors import UserError

MAX_TRANSCRIPT_BYTES = 4 << 20  # of one recording; a day of speech has about 1.3 MB
MAX_TIMES_BYTES = 32 << 20  # a file of true word times; a TextGrid has about 150 bytes a word
MAX_MANIFEST_BYTES = 128 << 20  # 280,000 rows of 300 bytes, as for the 960 hours of LibriSpeech, have 84 MB
MAX_MANIFEST_ROWS = 1_000_000
MAX_PATH_CHARS = 4096  # Linux refuses longer ones
MAX_JSON_BYTES = 256 << 20  # a reference of 100 hours of speech has about 150 MB
MAX_JSON_VALUES = 10_000_000  # each takes up to 120 bytes of memory, however short it is in the file
MAX_NUMBER_DIGITS = 300  # what is longer is no number that a float can hold

_NO_SUCH_NAME = "no file can have that name"
_KINDS = {stat.S_IFDIR: os.strerror(errno.EISDIR), stat.S_IFIFO: "it is a pipe", stat.S_IFSOCK: "it is a socket"}


def read_bytes(path: Path, limit_bytes: int, what: str) -> bytes:
    """The content of a regular file of at most `limit_bytes`.

    Args:
        path: the file.
        limit_bytes: see the constants of this module.
        what: ends the sentence of an error: what is expected, such as `a text file`.

    Raises:
        UserError: it is not there, is no regular file, is larger, or cannot be read.
    """
    obstacle = _obstacle(path)
    try:
        if obstacle is None:
            with path.open("rb") as file:
                content = file.read(limit_bytes + 1) if os.fstat(file.fileno()).st_size <= limit_bytes else None
            if content is not None and len(content) <= limit_bytes:
                return content
            obstacle = f"it has more than {limit_bytes} bytes, the most that is read"
    except OSError as error:
        obstacle = error.strerror or str(error)
    raise UserError(f"cannot read {_shown(path)} ({obstacle}); expected {what}")


def read_text(path: Path, limit_bytes: int = MAX_TRANSCRIPT_BYTES, what: str = "a text file") -> str:
    """The content of a transcript or a manifest: UTF-8, without white space at its ends.

    Raises:
        UserError: as `read_bytes`, or it is not UTF-8.
    """
    try:
        return read_bytes(path, limit_bytes, what).decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read {path} (byte {error.start} is not UTF-8); save it as UTF-8") from None


def read_json_value(path: Path, limit_bytes: int = MAX_JSON_BYTES, what: str = "a JSON file") -> Any:
    """The value that a JSON file holds.

    Raises:
        UserError: as `read_bytes` and `parse_json`. `what` ends the sentence.
    """
    return parse_json(read_bytes(path, limit_bytes, what), str(path), f"expected {what}")


def parse_json(content: str | bytes, where: str, remedy: str = "", *, lone_surrogates: bool = False) -> Any:
    """The value of a JSON text.

    Args:
        content: the text; bytes are UTF-8.
        where: begins the sentence of an error, such as the path, or the path and the line.
        remedy: ends it.
        lone_surrogates: keep half surrogate pairs such as the escape `\\ud800`, which no UTF-8 can hold.

    Raises:
        UserError: it is not JSON, or it has keys twice in one object, numbers that no float can hold, NaN or Infinity,
            half surrogate pairs, deep nesting, or more than `MAX_JSON_VALUES` values.
    """
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        if text.count(",") + text.count("[") + text.count("{") > MAX_JSON_VALUES:
            raise ValueError(f"more than {MAX_JSON_VALUES} values")
        value = json.loads(
            text, object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_number
        )
        if not lone_surrogates and (isinstance(content, str) or "\\u" in text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        reason = f"byte {error.start} is not UTF-8"
    except UnicodeEncodeError:
        reason = "half a surrogate pair, which is not Unicode"
    except RecursionError:
        reason = "nested too deep"
    except ValueError as error:
        reason = str(error)
    else:
        return value
    raise UserError(f"{where} is not JSON ({reason})" + (f"; {remedy}" if remedy else ""))


def list_folder(path: Path) -> list[Path]:
    """What a folder holds, in the order of the names.

    Raises:
        UserError: it cannot be listed.
    """
    try:
        return sorted(path.iterdir())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else _NO_SUCH_NAME
        raise UserError(
            f"cannot list the folder {_shown(path)} ({reason}); expected a folder that can be read"
        ) from None


def require_audio_file(path: Path) -> None:
    """Refuse what is not a regular file.

    Raises:
        UserError: nothing is there, or a folder or a pipe, or the path is none that a file can have.
    """
    obstacle = _obstacle(path)
    if obstacle is None:
        return
    if obstacle == _KINDS[stat.S_IFDIR]:
        raise UserError(f"{path} is a folder; expected an audio file (wav, flac, ogg or mp3)")
    reason = "" if obstacle == os.strerror(errno.ENOENT) else f" ({obstacle})"
    raise UserError(f"no audio file at {_shown(path)}{reason}")


def _obstacle(path: Path) -> str | None:
    """Why `path` cannot be read, or None where it is a regular file. It is not opened: that could wait for ever."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return error.strerror or str(error)
    except ValueError:  # NUL, or half a surrogate pair
        return _NO_SUCH_NAME
    return None if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "it is a device")


def _shown(path: Path) -> str:
    """The path in a sentence; one that no file can have is quoted, with escapes for what cannot be printed."""
    return repr(str(path)) if _obstacle(path) == _NO_SUCH_NAME else str(path)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice[:40]!r} twice in one object")
    return found


def _integer(text: str) -> int:
    if len(text) > MAX_NUMBER_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"a number that is not finite: {text[:20]}")
    return value
