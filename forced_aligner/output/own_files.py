"""Which pictures and pages are ours, so that they may be replaced. It loads nothing that draws."""

from __future__ import annotations

from pathlib import Path

from forced_aligner.base.files import MayReplace, start_of
from forced_aligner.base.version import PROJECT

PNG_METADATA = {"Software": PROJECT}  # what each picture is saved with
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
START_BYTES = 1024  # holds a picture's chunks before the pixels, and a page's head before its title
RESULTS, PARITY = "results", "parity"  # kinds of pages
_NAME = b"Software\0" + PROJECT.encode()
_NAME_CHUNK = len(_NAME).to_bytes(4, "big") + b"tEXt" + _NAME


def is_own_picture(path: Path) -> bool:
    """Whether `path` is a picture that `save_figure` wrote: a regular file, no link, and a PNG that names this project.

    What cannot be read is not.
    """
    start = start_of(path, START_BYTES)
    return start.startswith(PNG_SIGNATURE) and _NAME_CHUNK in start.split(b"IDAT")[0]


def generator(name: str) -> str:
    """What the head of a page says it was made by."""
    return f"{PROJECT}, {name} page"


def own_page(name: str) -> MayReplace:
    """Whether a file is a page that `render` made of `name`: a regular file, no link, whose head says so."""
    meta = f'<meta name="generator" content="{generator(name)}">'.encode()

    def is_own(path: Path) -> bool:
        start = start_of(path, START_BYTES)
        return start.startswith(b"<!doctype html>") and meta in start.split(b"<title>")[0]

    return is_own


is_own_results_page, is_own_parity_page = own_page(RESULTS), own_page(PARITY)
