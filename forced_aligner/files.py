"""Writing files so that readers see the old one or the new one, never half of it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from forced_aligner.errors import UserError


def write_whole(path: Path, text: str) -> None:
    """Write `text` to `path` in one step; missing folders are made.

    Raises:
        UserError: the place cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise UserError(f"cannot write {path} ({error.strerror}): choose a folder that can be written") from None
