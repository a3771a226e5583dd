"""A picture of an alignment: the mel spectrogram with the word spans of every side above it."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from forced_aligner import features
from forced_aligner.files import write_whole
from forced_aligner.schemas import SweepRow, WordTime

COLORS = ("#2f6f9f", "#c9622f", "#5a8f3c")
MEL_BINS = 128
INCHES_PER_S = 2.0
PLAIN_SHADE = 0.25  # opacity of a word whose confidence is not shown


def plot_alignment(
    samples: NDArray[np.float32],
    sides: dict[str, list[WordTime]],
    title: str,
    path: Path,
    confidences: list[float] | None = None,
) -> None:
    """Draw (samples,) of 16 kHz audio and the words of each side into a PNG at `path`.

    With `confidences`, one a word, the shade of a word of the first side tells how sure it is.

    Raises:
        UserError: the file cannot be written.
    """
    duration_s = samples.size / features.SAMPLE_RATE_HZ
    figure, (lanes, mel_axes) = plt.subplots(
        2,
        1,
        sharex=True,
        figsize=(min(max(8.0, duration_s * INCHES_PER_S), 40.0), 1.4 + 0.5 * len(sides) + 2.0),
        height_ratios=(0.5 * len(sides), 2.0),
        layout="constrained",
    )
    for row, (words, color) in enumerate(zip(sides.values(), COLORS, strict=False)):
        _draw_lane(lanes, words, row, color, confidences if row == 0 else None)
    lanes.set(yticks=range(len(sides)), yticklabels=list(sides), ylim=(len(sides) - 0.5, -0.5), title=title)
    lanes.tick_params(length=0)
    lanes.spines[:].set_visible(False)
    mel = features.log_mel(samples, MEL_BINS)
    extent = (0.0, mel.shape[1] / 100, 0.0, float(MEL_BINS))
    mel_axes.imshow(mel, origin="lower", aspect="auto", extent=extent, cmap="magma")
    for word in next(iter(sides.values())):
        for time_ms in (word.start_time_ms, word.end_time_ms):
            mel_axes.axvline(time_ms / 1000, color="white", linewidth=0.7, alpha=0.8)
    mel_axes.set(xlabel="time (s)", ylabel="mel bin", xlim=(0, duration_s))
    _save(figure, path)


def _draw_lane(axes: Axes, words: list[WordTime], row: int, color: str, confidences: list[float] | None) -> None:
    for index, word in enumerate(words):
        start_s, end_s = word.start_time_ms / 1000, word.end_time_ms / 1000
        shade = PLAIN_SHADE if confidences is None else 0.05 + 0.6 * confidences[index]
        axes.barh(row, end_s - start_s, left=start_s, height=0.8, color=color, alpha=shade)
        axes.barh(row, end_s - start_s, left=start_s, height=0.8, fill=False, edgecolor=color)
        axes.text((start_s + end_s) / 2, row, word.text, ha="center", va="center", fontsize=8, clip_on=True)


def plot_sizes(rows: list[SweepRow], title: str, path: Path) -> None:
    """Draw size on disk against bin-exact boundaries, one point a converted folder, into a PNG at `path`.

    Raises:
        UserError: the file cannot be written.
    """
    figure, axes = plt.subplots(figsize=(7.0, 4.0), layout="constrained")
    for row in rows:
        place = (row.size_bytes / 1e6, row.bin_exact_percent)
        axes.plot(*place, "o", color=COLORS[0] if row.passed else COLORS[1])
        axes.annotate(row.name, place, xytext=(6, -12), textcoords="offset points")
    axes.set(xlabel="size of the packages (MB)", ylabel="boundaries in the same bin as PyTorch (%)", title=title)
    axes.set_xlim(left=0)
    axes.margins(x=0.15, y=0.15)
    axes.grid(alpha=0.3)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG, in one step."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    plt.close(figure)
    write_whole(path, picture.getvalue())
