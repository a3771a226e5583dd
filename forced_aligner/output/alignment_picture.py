"""A picture of an alignment: word spans over the mel spectrogram."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from forced_aligner.base.files import write_whole
from forced_aligner.base.text import visible
from forced_aligner.data.records import WordTime
from forced_aligner.output.figure import COLORS, DPI, drawing, save_figure
from forced_aligner.output.picture_labels import LABEL_PT, STRIP_IN, label_span, mark_words_without_length

MEL_COLUMNS = 2000  # most spectrogram columns drawn in a row: more than it has pixels
ROW_S = 10.0
MAX_ROWS = 30  # beyond 5 minutes, rows get longer instead of more
TICK_PT = 7.0  # names of frequencies
MAX_SHADE = 0.65  # opacity of a word with confidence 1
PLAIN_SHADE = 0.25  # opacity of a word without a confidence
WORDLESS_COLOR, WORDLESS_SHADE = "#9a9a9a", 0.35  # sound without words
# Sizes in inches.
LANE_IN = 0.4
WORD_IN = 0.8 * LANE_IN
GAP_IN = 0.3
LEFT_IN, RIGHT_IN, TOP_IN, BOTTOM_IN = 0.9, 0.3, 0.4, 0.55


@dataclass(frozen=True)
class Spectrogram:
    """The log-mel spectrogram of a recording. It is computed in parts, so that hours of it are never in memory at once.

    Attributes:
        duration_s: duration of the recording.
        between: computes the part from a start to an end, both in seconds: (bins, frames of 10 ms).
        frequencies: names of some frequencies, such as `4 kHz`, and where they are: 0 at the bottom of the bins, 1 at
            their top.
    """

    duration_s: float
    between: Callable[[float, float], NDArray[np.float32]]
    frequencies: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Page:
    """The layout: rows of equal duration. A row has a spectrogram, and above it a lane for each side.

    `strips_in` has the height of the strip above each lane, for the names of words without length.
    """

    duration_s: float
    strips_in: tuple[float, ...]

    @property
    def rows(self) -> int:
        return min(MAX_ROWS, max(1, math.ceil(self.duration_s / ROW_S - 0.1)))  # no extra row for up to 1 s

    @property
    def row_s(self) -> float:
        return self.duration_s / self.rows

    @property
    def width_in(self) -> float:
        return min(max(8.0, 1.8 * self.row_s), 14.0)

    @property
    def mel_in(self) -> float:
        return 2.0 if self.rows == 1 else 0.8

    @property
    def row_in(self) -> float:
        return self.mel_in + len(self.strips_in) * LANE_IN + sum(self.strips_in)

    def lane_in(self, lane: int) -> float:
        """Height of the middle of a lane, in inches; the first lane is on top."""
        return self.row_in - sum(self.strips_in[: lane + 1]) - (lane + 0.5) * LANE_IN

    def draw(self) -> tuple[Figure, list[Axes]]:
        """Draw the empty page; its axes are in seconds and inches."""
        width = LEFT_IN + self.width_in + RIGHT_IN
        height = TOP_IN + self.rows * self.row_in + (self.rows - 1) * GAP_IN + BOTTOM_IN
        edges = {"left": LEFT_IN / width, "right": 1 - RIGHT_IN / width}
        edges |= {"top": 1 - TOP_IN / height, "bottom": BOTTOM_IN / height, "hspace": GAP_IN / self.row_in}
        figure, grid = plt.subplots(self.rows, 1, squeeze=False, figsize=(width, height), dpi=DPI, gridspec_kw=edges)
        for row, axes in enumerate(grid[:, 0]):
            axes.set(xlim=(row * self.row_s, (row + 1) * self.row_s), ylim=(0, self.row_in), autoscale_on=False)
            axes.spines[:].set_visible(False)
        return figure, list(grid[:, 0])


def plot_alignment(
    spectrogram: Spectrogram,
    sides: dict[str, list[WordTime]],
    title: str,
    path: Path,
    confidences: list[float] | None = None,
    wordless_s: Sequence[tuple[float, float]] = (),
    *,
    write: Callable[[Path, bytes], None] = write_whole,
) -> None:
    """Draw the spectrogram and the words of each side into a PNG at `path`.

    The page has rows of about 10 s. There are at most 30, so beyond 5 minutes each row is longer. A label is made
    smaller until it fits its word, and is omitted where it would not be legible, so labels never overlap. A word
    without length is a bar with an arrow, and its label is above.

    Args:
        spectrogram: the recording.
        sides: words by the name of their source, such as "words" or "PyTorch"; each gets a lane.
        title: heading of the picture.
        path: where the PNG is written.
        confidences: one for each word of the first side: the lower, the paler the word is drawn.
        wordless_s: (start, end) of stretches of sound without words, which are shaded.
        write: writes the file.

    Raises:
        UserError: the file cannot be written.
    """
    page = _Page(
        spectrogram.duration_s,
        tuple(STRIP_IN if any(map(_has_no_length, words)) else 0.0 for words in sides.values()),
    )
    with drawing([title, *sides, *(word.text for words in sides.values() for word in words)]):
        figure, rows = page.draw()
        for axes in rows:
            _draw_mel(axes, spectrogram, page, next(iter(sides.values())))
            for lane, (words, color) in enumerate(zip(sides.values(), COLORS, strict=False)):
                _draw_lane(axes, words, page.lane_in(lane), color, confidences if lane == 0 else None)
            for start_s, end_s in wordless_s:
                axes.axvspan(start_s, end_s, color=WORDLESS_COLOR, alpha=WORDLESS_SHADE, linewidth=0)
            axes.set_yticks(list(map(page.lane_in, range(len(sides)))), list(map(visible, sides)), parse_math=False)
            axes.tick_params(axis="y", length=0)
            heights_in = [share * page.mel_in for share in spectrogram.frequencies.values()]
            axes.set_yticks(heights_in, list(spectrogram.frequencies), minor=True, fontsize=TICK_PT)
            axes.xaxis.set_major_formatter(_clock_time if page.rows > 1 else "{x:g}")
        shade = "" if confidences is None else "; the paler a word, the less sure"
        rows[0].set_title(visible(title), parse_math=False)
        rows[-1].set_xlabel(f"time ({'min:s' if page.rows > 1 else 's'}){shade}")
        if wordless_s:
            shaded = Patch(color=WORDLESS_COLOR, alpha=WORDLESS_SHADE, label="sound without words", linewidth=0)
            figure.legend(handles=[shaded], loc="lower right", frameon=False, fontsize=LABEL_PT)
        save_figure(figure, path, write=write)


def _clock_time(time_s: float, _: float) -> str:
    return f"{int(time_s // 60)}:{time_s % 60:02.0f}"


def _draw_mel(axes: Axes, spectrogram: Spectrogram, page: _Page, words: list[WordTime]) -> None:
    """Draw the spectrogram of one row, and the boundaries of `words` on it."""
    start_s, end_s = axes.get_xlim()
    mel = spectrogram.between(start_s, end_s)
    extent = (start_s, start_s + mel.shape[1] / 100, 0.0, page.mel_in)
    step = math.ceil(mel.shape[1] / MEL_COLUMNS)
    axes.imshow(mel[:, ::step], origin="lower", aspect="auto", extent=extent, cmap="magma")
    times_s = {time_ms / 1000 for word in words for time_ms in (word.start_time_ms, word.end_time_ms)}
    times_s = {time_s for time_s in times_s if start_s <= time_s <= end_s}
    axes.vlines(sorted(times_s), 0, page.mel_in, color="white", linewidth=0.7, alpha=0.8)


def _draw_lane(
    axes: Axes, words: list[WordTime], middle_in: float, color: str, confidences: list[float] | None
) -> None:
    """Draw the words of one side that lie in the row of `axes`, each with its label if that fits."""
    row_start_s, row_end_s = axes.get_xlim()
    spans, shades, without_length = [], [], []
    for index, word in enumerate(words):
        start_s, end_s = word.start_time_ms / 1000, word.end_time_ms / 1000
        if end_s < row_start_s or start_s > row_end_s:
            continue
        if _has_no_length(word):
            without_length.append(word)
            continue
        spans.append((start_s, end_s - start_s))
        shades.append(to_rgba(color, PLAIN_SHADE if confidences is None else MAX_SHADE * confidences[index]))
        seen_s = (max(start_s, row_start_s), min(end_s, row_end_s))
        label_span(axes, visible(word.text), seen_s, middle_in)
    bottom_in = middle_in - WORD_IN / 2
    axes.broken_barh(spans, (bottom_in, WORD_IN), facecolors=shades)
    axes.broken_barh(spans, (bottom_in, WORD_IN), facecolors="none", edgecolors=color)
    mark_words_without_length(axes, without_length, bottom_in, bottom_in + WORD_IN, color)


def _has_no_length(word: WordTime) -> bool:
    return word.end_time_ms <= word.start_time_ms
