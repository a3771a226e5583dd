"""The names of words in a picture: inside their spans, or above the mark of a word without length."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from forced_aligner.base.text import visible
from forced_aligner.data.records import WordTime

LABEL_PT = 8.0
SMALLEST_LABEL_PT = 5.0
MARK_PT = 4.0  # the width of the arrow on a mark
MARK_LINE_PT = 2.0
LABEL_GAP_PX = 6.0  # between two labels above marks: more than between two words of one
SHIFTS = (
    0.0,
    0.25,
    -0.25,
    0.5,
    -0.5,
    0.75,
    -0.75,
    1.05,
    -1.05,
)  # of a label from its mark, as a part of half its width
# Of the strip above a lane, in inches from the top of the words: the arrow, and the middle of the label.
STRIP_IN = 0.26
ARROW_IN, MARK_LABEL_IN = 0.03, 0.15
OUTSIDE_IN = 0.3  # so far a label above a mark may pass the ends of its row


def label_span(axes: Axes, text: str, span_s: tuple[float, float], middle_in: float) -> None:
    """Write `text` into its span, small enough to fit; write nothing if it would not be legible."""
    left_px, right_px = (_x_px(axes, time_s) for time_s in span_s)
    width_px = _width_px(axes, text)
    size_pt = LABEL_PT * min(1.0, 0.92 * (right_px - left_px) / max(width_px, 1.0))  # some letters have no width
    if size_pt >= SMALLEST_LABEL_PT:
        axes.text(sum(span_s) / 2, middle_in, text, ha="center", va="center", fontsize=size_pt, parse_math=False)


def mark_words_without_length(
    axes: Axes, words: Sequence[WordTime], bottom_in: float, top_in: float, color: str
) -> None:
    """Mark each of `words`, which have no length and lie in the row of `axes`, and name it where there is room.

    Words at one time share a mark. It names the first of them, and says how many more there are.

    Args:
        axes: the row.
        words: in the order of their times.
        bottom_in: where the words of the lane are drawn: from here, in inches,
        top_in: to here. The strip above it is for the arrows and the names.
        color: of the lane.
    """
    times_s = sorted({word.start_time_ms / 1000 for word in words})
    axes.vlines(times_s, bottom_in, top_in, color=color, linewidth=MARK_LINE_PT)
    axes.plot(times_s, [top_in + ARROW_IN] * len(times_s), "v", color=color, markersize=MARK_PT, clip_on=False)
    taken_px: list[tuple[float, float]] = []
    groups = [list(group) for _, group in groupby(words, key=lambda word: word.start_time_ms)]
    for group in sorted(groups, key=len, reverse=True):  # where there is not room for all, many words come first
        text = visible(group[0].text) + (f" +{len(group) - 1}" if len(group) > 1 else "")
        if (middle_px := _free_place_px(axes, text, group[0].start_time_ms / 1000, taken_px)) is not None:
            middle_s = axes.transData.inverted().transform((middle_px, 0.0))[0]
            label = axes.text(middle_s, top_in + MARK_LABEL_IN, text, color=color, parse_math=False)
            label.set(horizontalalignment="center", verticalalignment="center", fontsize=LABEL_PT)


def _free_place_px(axes: Axes, text: str, time_s: float, taken_px: list[tuple[float, float]]) -> float | None:
    """Where the middle of `text` may be, above `time_s`, and not above what is taken; it is taken then."""
    at_px, half_px = _x_px(axes, time_s), _width_px(axes, text) / 2
    outside_px = OUTSIDE_IN * _figure(axes).dpi
    for shift in SHIFTS:
        middle_px = at_px + shift * half_px
        left_px, right_px = middle_px - half_px, middle_px + half_px
        is_free = all(right_px + LABEL_GAP_PX <= left or right + LABEL_GAP_PX <= left_px for left, right in taken_px)
        if is_free and axes.bbox.x0 - outside_px <= left_px and right_px <= axes.bbox.x1 + outside_px:
            taken_px.append((left_px, right_px))
            return middle_px
    return None


def _figure(axes: Axes) -> Figure:
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


def _x_px(axes: Axes, time_s: float) -> float:
    return float(axes.transData.transform((time_s, 0.0))[0])


def _width_px(axes: Axes, text: str) -> float:
    """The width of `text` at `LABEL_PT`."""
    canvas = _figure(axes).canvas
    assert isinstance(canvas, FigureCanvasAgg)
    font = font_manager.FontProperties(size=LABEL_PT)
    width_px, _, _ = canvas.get_renderer().get_text_width_height_descent(text, font, False)
    return float(width_px)
