"""What all pictures share: colors, fonts, resolution, and how they are saved."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from matplotlib import font_manager
from matplotlib.figure import Figure

from forced_aligner.base.files import write_whole

matplotlib.use("Agg")  # files only: no window, no display

COLORS = ("#2f6f9f", "#c9622f", "#5a8f3c")
DPI = 110
# Fonts for Chinese, Japanese and Korean, which matplotlib's own font does not have.
CJK_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Arial Unicode MS", "Hiragino Sans GB", "Apple SD Gothic Neo")


def fonts() -> list[str]:
    """The names of the fonts to draw with; a letter is drawn in the first font that has it."""
    installed = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(font for font in CJK_FONTS if font in installed)]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG and close it. The file is written in one step, so it is never incomplete.

    Raises:
        UserError: the file cannot be written.
    """
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=DPI)
    plt.close(figure)
    write_whole(path, picture.getvalue())
