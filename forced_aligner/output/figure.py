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

from forced_aligner.base.files import write_whole
from forced_aligner.output.fonts import fonts
from forced_aligner.output.own_files import PNG_METADATA

matplotlib.use("Agg")  # files only: no window, no display

COLORS = ("#2f6f9f", "#c9622f", "#5a8f3c")
DPI = 110


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
        figure.savefig(picture, format="png", dpi=DPI, metadata=PNG_METADATA)
    finally:
        plt.close(figure)
    write(path, picture.getvalue())
