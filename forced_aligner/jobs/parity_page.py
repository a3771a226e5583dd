"""The page of a parity report, put together from the word times of both sides and from the recordings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from forced_aligner.align.audio import SAMPLE_RATE_HZ, load_audio
from forced_aligner.base.console import log_always
from forced_aligner.base.errors import UserError
from forced_aligner.base.result_table import ResultTable
from forced_aligner.data.records import WordTime
from forced_aligner.jobs.compare import ComparedClip
from forced_aligner.jobs.recording_picture import spectrogram_of
from forced_aligner.output.mel_tiles import mel_tiles
from forced_aligner.output.page_audio import embedded_audio
from forced_aligner.output.parity_page import PACKAGES, PYTORCH, TRUTH, Excerpt, Report, Spot, parity_page
from forced_aligner.score.boundaries import SAME_BIN_MS, STEP_MS, boundary_differences_ms, error_counts
from forced_aligner.score.records import ParityReport
from forced_aligner.score.tables import percent_text, report_table, verdict

MAX_SPOTS = 200  # boundaries with their sound in a page: 13 MB at most
MAX_UNMOVED = 6  # where nothing moved
AROUND_S = 2.0  # an excerpt has so much before and after the boundary
NEAR_S = 1.0  # a boundary is in another one's excerpt if it has so much before and after it there


@dataclass(frozen=True)
class _Boundary:
    """One boundary of one clip: `number` counts from the start of the first word, the end of it, and so on."""

    clip: int
    number: int
    difference_ms: float

    @property
    def word(self) -> int:
        return self.number // 2

    @property
    def edge(self) -> Literal["start", "end"]:
        return "end" if self.number % 2 else "start"


def parity_report_page(report: ParityReport, clips: Sequence[ComparedClip], root: Path) -> str:
    """The page of `report`, as HTML.

    Args:
        report: the scores.
        clips: what was compared, in the order of the report.
        root: the folder that the audio paths are relative to.
    """
    differences_ms = [boundary_differences_ms(clip.alignment.words, clip.sample.alignments) for clip in clips]
    boundaries = [
        _Boundary(clip, number, float(difference))
        for clip, differences in enumerate(differences_ms)
        for number, difference in enumerate(differences)
    ]
    moved = [boundary for boundary in boundaries if abs(boundary.difference_ms) >= SAME_BIN_MS]
    moved.sort(key=lambda boundary: -abs(boundary.difference_ms))  # of equal ones, the first clip's first
    shown = moved[:MAX_SPOTS] if moved else _least_sure(boundaries, clips)
    excerpts = _Excerpts(clips, shown, root)
    spots = [_spot(boundary, clips[boundary.clip], excerpts.positions.get(boundary)) for boundary in shown]
    texts = Report(
        title=f"{report.model_id}: packages against PyTorch",
        verdict=verdict(report),
        passed=report.passed,
        thresholds=_thresholds(report),
        files=_worst_first(report),
        failed=[(Path(failed.audio).name, failed.reason) for failed in report.failed],
        facts=list(_facts(report)),
        counts=error_counts(np.concatenate(differences_ms)),
        step_ms=STEP_MS,
    )
    return parity_page(texts, spots, excerpts.made, len(moved))


def _least_sure(boundaries: list[_Boundary], clips: Sequence[ComparedClip]) -> list[_Boundary]:
    """The starts of the words that the packages were least sure of."""
    starts = [boundary for boundary in boundaries if boundary.edge == "start"]
    return sorted(starts, key=lambda start: clips[start.clip].alignment.confidences[start.word])[:MAX_UNMOVED]


def _sides(clip: ComparedClip) -> dict[str, list[WordTime]]:
    """The words by the name of their source."""
    sides = {PACKAGES: clip.alignment.words, PYTORCH: clip.sample.alignments}
    return sides | ({TRUTH: clip.sample.true_alignments} if clip.sample.true_alignments else {})


def _times_ms(boundary: _Boundary, clip: ComparedClip) -> dict[str, float]:
    """Where each side has the boundary."""
    words = {name: side[boundary.word] for name, side in _sides(clip).items()}
    return {name: word.start_time_ms if boundary.edge == "start" else word.end_time_ms for name, word in words.items()}


def _spot(boundary: _Boundary, clip: ComparedClip, excerpt: int | None) -> Spot:
    name, word = Path(clip.sample.audio).name, clip.sample.alignments[boundary.word].text
    return Spot(name, word, boundary.word, boundary.edge, _times_ms(boundary, clip), excerpt)


class _Excerpts:
    """The excerpts of some boundaries. Boundaries that lie close together share one.

    Attributes:
        made: the excerpts.
        positions: the position of its excerpt in `made`, by the boundary. One whose recording cannot be read has none.
    """

    def __init__(self, clips: Sequence[ComparedClip], boundaries: Sequence[_Boundary], root: Path) -> None:
        self.made: list[Excerpt] = []
        self.positions: dict[_Boundary, int] = {}
        for index in sorted({boundary.clip for boundary in boundaries}):
            own = [boundary for boundary in boundaries if boundary.clip == index]
            try:
                self._cut(clips[index], own, root)
            except UserError as error:
                log_always(f"no sound in the page for {clips[index].sample.audio}: {error}")

    def _cut(self, clip: ComparedClip, boundaries: list[_Boundary], root: Path) -> None:
        """Add the excerpts of one clip."""
        samples = load_audio(root / clip.sample.audio)
        duration_s, first = samples.size / SAMPLE_RATE_HZ, len(self.made)
        for boundary in boundaries:
            times_ms = _times_ms(boundary, clip)
            at_s = min(times_ms[PYTORCH] / 1000, duration_s)
            own = self.made[first:]
            shared = (n for n, made in enumerate(own, first) if _holds(made, at_s, duration_s))
            if (position := next(shared, None)) is None:
                position = len(self.made)
                start_s, end_s = max(0.0, at_s - AROUND_S), min(duration_s, at_s + AROUND_S)
                part = samples[round(start_s * SAMPLE_RATE_HZ) : round(end_s * SAMPLE_RATE_HZ)]
                sound = embedded_audio(part, SAMPLE_RATE_HZ)
                (mel,) = mel_tiles(spectrogram_of(part))
                self.made.append(Excerpt(start_s, part.size / SAMPLE_RATE_HZ, mel, sound, _sides(clip)))
            self.positions[boundary] = position


def _holds(excerpt: Excerpt, at_s: float, duration_s: float) -> bool:
    """Whether an excerpt of a recording has enough around a boundary there."""
    end_s = excerpt.start_s + excerpt.duration_s
    return excerpt.start_s <= max(0.0, at_s - NEAR_S) and end_s >= min(duration_s, at_s + NEAR_S) - 1 / SAMPLE_RATE_HZ


def _thresholds(report: ParityReport) -> list[tuple[str, str, str, str]]:
    gate, within = report.gate, report.within_20ms_percent

    def outcome(is_met: bool) -> str:
        return "met" if is_met else "MISSED"

    return [
        (
            "mean difference (AAS)",
            f"{report.aas_ms:.2f} ms",
            f"at most {gate.max_aas_ms:g} ms",
            outcome(report.aas_ms <= gate.max_aas_ms),
        ),
        (
            "within 20 ms",
            f"{percent_text(within)} %",
            f"at least {gate.min_within_20ms_percent:g} %",
            outcome(within >= gate.min_within_20ms_percent),
        ),
    ]


def _worst_first(report: ParityReport) -> ResultTable:
    """The table that is printed, with the largest differences on top."""
    samples = sorted(report.samples, key=lambda sample: (-sample.max_error_ms, -sample.aas_ms))
    return report_table(report.model_copy(update={"samples": samples}))


def _facts(report: ParityReport) -> Iterator[tuple[str, str]]:
    environment, reference = report.environment, report.reference
    units = f", compute units {environment.compute_units}" if environment.compute_units else ""
    yield "model", report.model_id
    precisions = Counter(report.precision.values())
    yield "precision", ", ".join(f"{name} ({count})" for name, count in precisions.items())
    yield "packages ran", f"on {environment.backend}{units}; {environment.chip}, {environment.system}"
    made = reference.environment
    yield "reference", f"PyTorch {made.torch}, {made.dtype} on {made.device}, transformers {made.transformers}"
    yield "files", f"{report.files}" + (f"; {reference.choice}" if reference.choice else "")
