"""What all pictures share: colors, resolution, and how they are drawn and saved."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from forced_aligner.base.files import start_of, write_whole
from forced_aligner.output.fonts import fonts
from forced_aligner.package.provenance import PROJECT

matplotlib.use("Agg")  # files only: no window, no display

COLORS = ("#2f6f9f", "#c9622f", "#5a8f3c")
DPI = 110
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_START_BYTES = 1024  # holds the chunks before the picture, and so the one that names the program
_NAME = b"Software\0" + PROJECT.encode()
_NAME_CHUNK = len(_NAME).to_bytes(4, "big") + b"tEXt" + _NAME


@contextmanager
def drawing(texts: Iterable[str] = ()) -> Iterator[None]:
    """While a figure with `texts` is drawn: the fonts, and no warning about a letter that none has; it is a box."""
    with plt.rc_context({"font.family": fonts("".join(texts))}), warnings.catch_warnings():
        for message in ("Glyph .* missing from", "Matplotlib currently does not support .* natively"):
            warnings.filterwarnings("ignore", message)
        yield


def save_figure(figure: Figure, path: Path, *, write: Callable[[Path, bytes], None] = write_whole) -> None:
    """Write a figure as a PNG that names this project, and close it.

    Args:
        figure: what is drawn.
        path: where the PNG is written.
        write: writes the file, in one step, so that it is never incomplete.

    Raises:
        UserError: the file cannot be written.
    """
    picture = io.BytesIO()
    try:
        figure.savefig(picture, format="png", dpi=DPI, metadata={"Software": PROJECT})
    finally:
        plt.close(figure)
    write(path, picture.getvalue())


def is_own_picture(path: Path) -> bool:
    """Whether `path` is a picture that `save_figure` wrote: a regular file, no link, and a PNG that names this project.

    What cannot be read is not.
    """
    start = start_of(path, PNG_START_BYTES)
    return start.startswith(PNG_SIGNATURE) and _NAME_CHUNK in start.split(b"IDAT")[0]
