"""A picture of the error against time in some recordings with wrong transcripts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from benchmarks.transcript_faults.score import FAR_MS, NEAR_MS, Scored, Span
from forced_aligner.output.figure import COLORS, drawing, save_figure

PICTURED = ("inserted-40-middle", "missing-40-middle", "music-middle", "repeated-40", "several-1")
LEAST_MS, MOST_MS = 1.0, 100_000.0
ROW_IN, MARGIN_IN = 1.5, 0.9


@dataclass(frozen=True)
class Curve:
    """What is drawn of a case.

    Attributes:
        times_s: (words,) middle of each spoken word.
        errors_ms: (words,) larger error of its two boundaries; infinite where it was not found.
        inserted_s: where words are inserted that nobody speaks, and how many.
        untranscribed_s, sounds_s: stretches of speech without words, and of other sounds.
        duration_s: length of the audio.
    """

    times_s: NDArray[np.float64]
    errors_ms: NDArray[np.float64]
    inserted_s: list[tuple[float, int]]
    untranscribed_s: list[Span]
    sounds_s: list[Span]
    duration_s: float


def curve(scored: Scored) -> Curve:
    """What is drawn of a scored case."""
    spoken, case = scored.is_spoken, scored.case
    inserted: dict[float, int] = {}
    for index in np.flatnonzero(scored.is_unspoken):
        before = scored.true_ms[:index, 1][spoken[:index]]
        at_s = float(before[-1]) / 1000 if before.size else 0.0
        inserted[at_s] = inserted.get(at_s, 0) + 1
    return Curve(
        scored.true_ms[spoken].mean(axis=1) / 1000,
        scored.errors_ms[spoken].max(axis=1),
        list(inserted.items()),
        case.untranscribed_s,
        case.sounds_s,
        case.duration_s,
    )


def plot(curves: dict[str, Curve], path: Path) -> None:
    """Draw a row for each case into a PNG at `path`.

    Raises:
        UserError: the file cannot be written.
    """
    with drawing():
        size = (9.0, ROW_IN * len(curves) + MARGIN_IN)
        figure, rows = plt.subplots(len(curves), 1, figsize=size, layout="constrained", squeeze=False)
        for axes, name in zip(rows[:, 0], sorted(curves), strict=True):
            _draw(axes, curves[name])
            axes.set_title(name, fontsize="medium", loc="left", parse_math=False)
        rows[-1, 0].set_xlabel("time (s)")
        figure.supylabel("error of a word (ms)")
        named = {
            label: handle
            for axes in rows[:, 0]
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=3, frameon=False)
        save_figure(figure, path)


def _draw(axes: Axes, case: Curve) -> None:
    for span in case.untranscribed_s:
        axes.axvspan(*span, color=COLORS[1], alpha=0.25, linewidth=0, label="speech without words")
    for span in case.sounds_s:
        axes.axvspan(*span, color=COLORS[2], alpha=0.25, linewidth=0, label="music, tone, noise or silence")
    for at_s, words in case.inserted_s:
        axes.axvline(at_s, color=COLORS[1], linewidth=1, label="words that nobody speaks")
        axes.annotate(str(words), (at_s, MOST_MS), (2, -2), textcoords="offset points", va="top", fontsize="small")
    is_lost = np.isinf(case.errors_ms)
    axes.plot(
        case.times_s[~is_lost], np.maximum(case.errors_ms[~is_lost], LEAST_MS), ".", color=COLORS[0], markersize=3,
        label="spoken word",
    )  # fmt: skip
    axes.plot(case.times_s[is_lost], np.full(is_lost.sum(), MOST_MS), "kx", markersize=3, label="not found, but spoken")
    for limit in (NEAR_MS, FAR_MS):
        axes.axhline(limit, color="gray", linewidth=0.5, linestyle="--")
    axes.set(yscale="log", ylim=(LEAST_MS, MOST_MS * 1.5), xlim=(0, case.duration_s))
