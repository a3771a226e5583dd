"""A picture of package sizes against the boundaries that moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from forced_aligner.base.files import write_whole
from forced_aligner.base.text import visible
from forced_aligner.output.figure import COLORS, drawing, save_figure

LEAST_PERCENT = 0.01  # from 0 to here the axis is linear
# Where a label may be, from its point: right above, right below, left above, left below, and farther off.
PLACES = tuple((side * 7, level) for level in (4, -12, 16, -24, 28, -36) for side in (1, -1))


@dataclass(frozen=True)
class SizePoint:
    """A converted folder: its size on disk, its share of moved boundaries, and whether it passed the gate."""

    name: str
    size_bytes: int
    moved_percent: float
    passed: bool

    @property
    def position(self) -> tuple[float, float]:
        """Where it is drawn: size in MB, and share in percent."""
        return self.size_bytes / 1e6, self.moved_percent


def plot_sizes(
    points: list[SizePoint], title: str, path: Path, *, write: Callable[[Path, bytes], None] = write_whole
) -> None:
    """Draw size on disk against moved boundaries, one point for each converted folder, into a PNG at `path`.

    Args:
        points: the folders.
        title: heading of the picture.
        path: where the PNG is written.
        write: writes the file.

    Raises:
        UserError: the file cannot be written.
    """
    with drawing([title, *(point.name for point in points)]):
        figure, axes = plt.subplots(figsize=(7.0, 4.0), layout="constrained")
        for point in points:
            color = COLORS[0] if point.passed else COLORS[1]
            axes.plot(*point.position, "o", color=color, clip_on=False)
        axes.set(xlabel="size of the packages (MB)", ylabel="boundaries that moved (%)")
        axes.set_title(visible(title), parse_math=False)
        axes.set_yscale("symlog", linthresh=LEAST_PERCENT)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylim(bottom=0, top=max(0.1, 3 * max(point.moved_percent for point in points)))
        axes.set_xlim(0, 1.2 * max(point.position[0] for point in points))
        axes.grid(alpha=0.3)
        label_points(figure, axes, points)
        save_figure(figure, path, write=write)


def label_points(figure: Figure, axes: Axes, points: list[SizePoint]) -> list[Bbox]:
    """Write the name beside each point, where it covers no point and no other name; the boxes of the names, in pixels.

    Where there is no such place, the last of `PLACES` is taken.
    """
    figure.draw_without_rendering()  # fixes where the axes are
    at = [axes.transData.transform(point.position) for point in points]
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in at]
    boxes: list[Bbox] = []
    for point in points:
        label = axes.annotate(
            visible(point.name), point.position, PLACES[0], textcoords="offset points", parse_math=False
        )
        label.set_in_layout(False)
        for right, up in PLACES:
            label.set(position=(right, up), horizontalalignment="left" if right > 0 else "right")
            box = label.get_window_extent()
            if not any(box.overlaps(other) for other in (*taken, *boxes)):
                break
        boxes.append(box)
    return boxes
