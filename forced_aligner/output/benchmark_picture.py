"""A picture of the time that whole clips take, by stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from forced_aligner.base.files import write_whole
from forced_aligner.base.text import visible
from forced_aligner.output.figure import drawing, save_figure

BAR_IN, MARGINS_IN = 0.35, 1.9
NOTE_ROOM = 1.25  # of the axis, relative to the longest bar


@dataclass(frozen=True)
class StageBar:
    """One bar: its label, the time of each stage in ms, and what is written at its end."""

    label: str
    stage_ms: Mapping[str, float]
    note: str


def plot_stages(
    bars: list[StageBar], title: str, path: Path, *, write: Callable[[Path, bytes], None] = write_whole
) -> None:
    """Draw a bar for each clip, in which the stages follow each other, into a PNG at `path`.

    Args:
        bars: the clips, from the top.
        title: heading of the picture.
        path: where the PNG is written.
        write: writes the file.

    Raises:
        UserError: the file cannot be written.
    """
    stages = list(dict.fromkeys(stage for bar in bars for stage in bar.stage_ms))
    with drawing([title, *(bar.label for bar in bars)]):
        figure, axes = plt.subplots(figsize=(9.0, BAR_IN * len(bars) + MARGINS_IN), layout="constrained")
        starts = np.zeros(len(bars))
        for number, stage in enumerate(stages):
            widths = np.array([bar.stage_ms.get(stage, 0.0) for bar in bars])
            axes.barh(range(len(bars)), widths, left=starts, label=stage, color=f"C{number}")
            starts += widths
        for row, (bar, end) in enumerate(zip(bars, starts, strict=True)):
            axes.annotate(visible(bar.note), (end, row), (4, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(bars)), [visible(bar.label) for bar in bars], parse_math=False)
        axes.invert_yaxis()
        axes.set_xlabel("ms, without loading; at the end: total, and its ratio to the length of the audio")
        axes.set_title(visible(title), parse_math=False, fontsize="medium")
        axes.set_xlim(0, starts.max() * NOTE_ROOM)
        figure.legend(loc="outside lower center", ncols=len(stages), frameon=False)
        save_figure(figure, path, write=write)
