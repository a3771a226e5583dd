"""The tables of results, and how they are printed."""

from __future__ import annotations

from pathlib import Path

from forced_aligner.base.console import show_table
from forced_aligner.base.result_table import ResultTable
from forced_aligner.score.records import ComponentScore, ParityReport, SampleScores, Scores, SweepRow, TruthScores

SCORE_COLUMNS = (
    "boundaries",
    "moved",
    ">80 ms",
    ">160 ms",
    "max ms",
    "bin-exact %",
    "<=20 ms %",
    "AAS ms",
)
TRUTH_COLUMNS = ("truth: packages ms", "truth: PyTorch ms")
ROW_COLUMNS = ("packages", "MB", "boundaries", "moved", ">80 ms", ">160 ms", "max ms", "bin-exact %", "AAS ms")


def percent_text(percent: float) -> str:
    """A share with two decimals; 100.00 only where it is all."""
    return f"{percent if percent == 100 else min(percent, 99.99):.2f}"


def score_cells(scores: Scores) -> list[str]:
    """The table cells of `scores`, in the order of `SCORE_COLUMNS`."""
    return [
        str(scores.boundaries),
        str(scores.moved),
        str(scores.beyond_80ms),
        str(scores.beyond_160ms),
        f"{scores.max_error_ms:.0f}",
        percent_text(scores.bin_exact_percent),
        percent_text(scores.within_20ms_percent),
        f"{scores.aas_ms:.2f}",
    ]


def print_report(report: ParityReport) -> None:
    """Print a row for each file and one for all, and the verdict."""
    show_table(report_table(report), verdict(report))


def report_table(report: ParityReport) -> ResultTable:
    """A row for each file and one for all; errors against the true times too, where the data has them."""
    has_true_times = report.truth_aas_ms is not None

    def cells(name: str, duration_s: float, scores: SampleScores | ParityReport) -> list[str]:
        true_times = _true_time_cells(scores.truth_aas_ms) if has_true_times else []
        return [name, f"{duration_s:.1f}", *score_cells(scores), *true_times]

    return ResultTable(
        title=f"{report.model_id}: packages on {report.environment.backend} against PyTorch",
        headings=["file", "s", *SCORE_COLUMNS, *(TRUTH_COLUMNS if has_true_times else ())],
        rows=[cells(Path(sample.audio).name, sample.duration_s, sample) for sample in report.samples],
        total=cells("all", sum(sample.duration_s for sample in report.samples), report),
    )


def verdict(report: ParityReport) -> str:
    """The report in one sentence, with its thresholds."""
    gate, outcome = report.gate, "passed" if report.passed else "FAILED"
    missing = f"; {len(report.failed)} files could not be measured" if report.failed else ""
    missing += f"; the reference lacks {report.reference.failed} files" if report.reference.failed else ""
    return (
        f"{outcome}: {report.moved} of {report.boundaries} boundaries moved, {report.beyond_160ms} beyond 160 ms "
        f"({percent_text(report.bin_exact_percent)} % bin-exact), AAS {report.aas_ms:.2f} ms; thresholds: AAS "
        f"{gate.max_aas_ms:g} ms, {gate.min_within_20ms_percent:g} % within 20 ms{missing}"
    )


def print_rows(rows: list[SweepRow], title: str) -> None:
    """Print `rows_table`."""
    show_table(rows_table(rows, title))


def rows_table(rows: list[SweepRow], title: str) -> ResultTable:
    """A row for each converted folder, with the PSNR of each measured component, or that it is not finite."""
    keys = list(rows[0].components) if rows else []
    cells = [
        [
            row.name,
            f"{row.size_bytes / 1e6:.2f}",
            str(row.boundaries),
            str(row.moved),
            str(row.beyond_80ms),
            str(row.beyond_160ms),
            f"{row.max_error_ms:.0f}",
            percent_text(row.bin_exact_percent),
            f"{row.aas_ms:.2f}",
            *(_component_cell(row.components[key]) for key in keys),
        ]
        for row in rows
    ]
    return ResultTable(title, [*ROW_COLUMNS, *(f"{key} dB" for key in keys)], cells)


def _component_cell(score: ComponentScore) -> str:
    if not score.finite:
        return "NOT FINITE"
    return "equal" if score.psnr_db is None else f"{score.psnr_db:.1f}"


def _true_time_cells(scores: TruthScores | None) -> list[str]:
    return [f"{scores.packages:.1f}", f"{scores.pytorch:.1f}"] if scores else ["", ""]
