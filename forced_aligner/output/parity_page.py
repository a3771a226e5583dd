"""The page of a parity report: the verdict, the tables, and an excerpt of sound around each boundary that moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from forced_aligner.base.result_table import ResultTable
from forced_aligner.base.text import visible
from forced_aligner.data.records import WordTime
from forced_aligner.output.own_files import PARITY
from forced_aligner.output.page_template import render

PACKAGES, PYTORCH, TRUTH = "packages", "PyTorch", "truth"  # the sides, in this order


@dataclass(frozen=True)
class Excerpt:
    """Some seconds of a recording.

    Attributes:
        start_s: where it begins in the recording.
        duration_s: how long it lasts.
        mel: its mel spectrogram, as a data URI.
        audio: its sound, as a data URI.
        sides: the recording's words by the name of their source.
    """

    start_s: float
    duration_s: float
    mel: str
    audio: str
    sides: Mapping[str, Sequence[WordTime]]


@dataclass(frozen=True)
class Spot:
    """A boundary to look at and to listen to.

    Attributes:
        file: name of the recording.
        word: text of the word.
        index: of the word in the recording.
        edge: which of its boundaries it is.
        times_ms: where each side has the boundary, by the side's name.
        excerpt: the position of its excerpt among all; None if there is none.
    """

    file: str
    word: str
    index: int
    edge: Literal["start", "end"]
    times_ms: Mapping[str, float]
    excerpt: int | None

    @property
    def amount(self) -> str:
        """How much later or earlier than PyTorch the packages have it."""
        difference_ms = self.times_ms[PACKAGES] - self.times_ms[PYTORCH]
        return f"{abs(difference_ms):.0f} ms {'later' if difference_ms > 0 else 'earlier'}" if difference_ms else "same"


@dataclass(frozen=True)
class Report:
    """What stands in the page beside the boundaries.

    Attributes:
        title: heading of the page.
        verdict: the report in a sentence.
        passed: whether it passes.
        thresholds: name, measured, wanted, and whether it is met.
        files: a row for each recording.
        failed: name and reason of each recording that was not measured.
        facts: names and values that tell what was compared.
        counts: boundaries by steps of `step_ms`, see `error_counts`.
        step_ms: width of a step.
    """

    title: str
    verdict: str
    passed: bool
    thresholds: Sequence[tuple[str, str, str, str]]
    files: ResultTable
    failed: Sequence[tuple[str, str]]
    facts: Sequence[tuple[str, str]]
    counts: Mapping[int, int]
    step_ms: float


def parity_page(report: Report, spots: Sequence[Spot], excerpts: Sequence[Excerpt], moved: int) -> str:
    """HTML with everything inside.

    Args:
        report: the verdict and the tables.
        spots: the boundaries that moved, the largest first; if none did, some others.
        excerpts: what the spots refer to.
        moved: how many boundaries moved; those that are not among the spots are counted as left out.
    """
    bars = [_bar(step, count, report) for step, count in sorted(report.counts.items())]
    data = {
        "spots": [_spot_data(spot, excerpts) for spot in spots],
        "excerpts": [_excerpt_data(excerpt) for excerpt in excerpts],
        "bars": bars,
    }
    values: dict[str, Any] = vars(report) | {"title": visible(report.title), "bars": bars, "moved_count": moved}
    values |= {"spots": [_spot_values(number, spot) for number, spot in enumerate(spots)]}
    values |= {"left_out": moved - len(spots) if moved else 0, "boundaries": sum(report.counts.values())}
    return render(PARITY, data, **values)


def _bar(step: int, count: int, report: Report) -> dict[str, Any]:
    """A bar of the histogram; the outermost holds all that lies beyond the one before it."""
    if step == 0:
        return {"label": "same bin", "tick": "same", "count": count, "same": True}
    side, is_last = ("later" if step > 0 else "earlier"), abs(step) == max(report.counts)
    far_ms = report.step_ms * (abs(step) - is_last)
    label = f"more than {far_ms:g} ms {side}" if is_last else f"up to {far_ms:g} ms {side}"
    beyond, sign = (">", "+") if step > 0 else ("<", "\u2212")
    return {"label": label, "tick": f"{beyond if is_last else ''}{sign}{far_ms:g}", "count": count, "same": False}


def _spot_values(number: int, spot: Spot) -> dict[str, Any]:
    truth_ms = spot.times_ms.get(TRUTH)

    def from_truth(time_ms: float) -> str:
        return f"{time_ms - truth_ms:+.0f} ms".replace("-", "\u2212") if truth_ms is not None else ""

    sides = [
        {"name": name, "time": _seconds(time_ms), "from_truth": "" if name == TRUTH else from_truth(time_ms)}
        for name, time_ms in spot.times_ms.items()
    ]
    return {
        "number": number,
        "amount": spot.amount,
        "edge": spot.edge,
        "word": spot.word,
        "file": spot.file,
        "time": _seconds(spot.times_ms[PYTORCH]),
        "sides": sides,
        "truth": truth_ms is not None,
        "excerpt": spot.excerpt,
    }


def _seconds(time_ms: float) -> str:
    return f"{time_ms / 1000:.3f} s"


def _spot_data(spot: Spot, excerpts: Sequence[Excerpt]) -> dict[str, Any]:
    start_s = excerpts[spot.excerpt].start_s if spot.excerpt is not None else 0.0
    at_s = [round(time_ms / 1000 - start_s, 3) for time_ms in spot.times_ms.values()]
    return {"excerpt": spot.excerpt, "word": spot.index, "at_s": at_s}


def _excerpt_data(excerpt: Excerpt) -> dict[str, Any]:
    """As the script takes it: of the words, those that the excerpt holds, with times from its start."""
    start_s, end_s = excerpt.start_s, excerpt.start_s + excerpt.duration_s

    def within(words: Sequence[WordTime]) -> list[tuple[int, str, float, float]]:
        times = [(word.start_time_ms / 1000, word.end_time_ms / 1000) for word in words]
        return [
            (index, visible(words[index].text), round(begin_s - start_s, 3), round(stop_s - start_s, 3))
            for index, (begin_s, stop_s) in enumerate(times)
            if stop_s >= start_s and begin_s <= end_s
        ]

    return {
        "duration_s": excerpt.duration_s,
        "mel": excerpt.mel,
        "audio": excerpt.audio,
        "sides": [within(words) for words in excerpt.sides.values()],
    }
