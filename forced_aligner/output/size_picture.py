"""A picture of package sizes against bin-exact boundaries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt

from forced_aligner.base.files import write_whole
from forced_aligner.base.text import visible
from forced_aligner.output.figure import COLORS, drawing, save_figure


@dataclass(frozen=True)
class SizePoint:
    """A converted folder: its size on disk, its share of bin-exact boundaries, and whether it passed the gate."""

    name: str
    size_bytes: int
    bin_exact_percent: float
    passed: bool


def plot_sizes(
    points: list[SizePoint], title: str, path: Path, *, write: Callable[[Path, bytes], None] = write_whole
) -> None:
    """Draw size on disk against bin-exact boundaries, one point for each converted folder, into a PNG at `path`.

    Args:
        points: the folders.
        title: heading of the picture.
        path: where the PNG is written.
        write: writes the file.

    Raises:
        UserError: the file cannot be written.
    """
    with drawing():
        figure, axes = plt.subplots(figsize=(7.0, 4.0), layout="constrained")
        for point in points:
            position = (point.size_bytes / 1e6, point.bin_exact_percent)
            axes.plot(*position, "o", color=COLORS[0] if point.passed else COLORS[1])
            name = visible(point.name)
            axes.annotate(name, position, xytext=(6, -12), textcoords="offset points", parse_math=False)
        axes.set(xlabel="size of the packages (MB)", ylabel="boundaries in the same bin as PyTorch (%)")
        axes.set_title(visible(title), parse_math=False)
        axes.set_xlim(left=0)
        axes.margins(x=0.15, y=0.15)
        axes.grid(alpha=0.3)
        save_figure(figure, path, write=write)
