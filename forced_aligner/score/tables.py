"""Results as rich tables on stdout."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from forced_aligner.base.console import show_table
from forced_aligner.base.text import visible
from forced_aligner.score.records import ComponentScore, ParityReport, Scores, SweepRow

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
    """Print a row for each file and one for all; errors against the true times too, where the data has them."""
    table = Table(title=f"{visible(report.model_id)}: packages on {report.environment.backend} against PyTorch")
    has_true_times = report.truth_aas_ms is not None
    headings = ["file", "s", *SCORE_COLUMNS, *(["truth: packages ms", "truth: PyTorch ms"] if has_true_times else [])]
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "file" else "right")
    for sample in report.samples:
        table.add_row(
            visible(Path(sample.audio).name),
            f"{sample.duration_s:.1f}",
            *score_cells(sample),
            *_true_time_cells(sample, has_true_times),
        )
    table.add_section()
    table.add_row(
        "all",
        f"{sum(s.duration_s for s in report.samples):.1f}",
        *score_cells(report),
        *_true_time_cells(report, has_true_times),
    )
    show_table(table, verdict(report))


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
    """Print a row for each converted folder, with the PSNR of each measured component, or that it is not finite."""
    table = Table(title=visible(title))
    keys = list(rows[0].components) if rows else []
    scores = ["MB", "boundaries", "moved", ">80 ms", ">160 ms", "max ms", "bin-exact %", "AAS ms"]
    for heading in ["packages", *scores, *(f"{key} dB" for key in keys)]:
        table.add_column(heading, justify="left" if heading == "packages" else "right")
    for row in rows:
        table.add_row(
            visible(row.name),
            f"{row.size_bytes / 1e6:.2f}",
            str(row.boundaries),
            str(row.moved),
            str(row.beyond_80ms),
            str(row.beyond_160ms),
            f"{row.max_error_ms:.0f}",
            percent_text(row.bin_exact_percent),
            f"{row.aas_ms:.2f}",
            *(_component_cell(row.components[key]) for key in keys),
        )
    show_table(table)


def _component_cell(score: ComponentScore) -> str:
    if not score.finite:
        return "NOT FINITE"
    return "equal" if score.psnr_db is None else f"{score.psnr_db:.1f}"


def _true_time_cells(scores: object, has_true_times: bool) -> list[str]:
    if not has_true_times:
        return []
    true_scores = getattr(scores, "truth_aas_ms", None)
    return [f"{true_scores.packages:.1f}", f"{true_scores.pytorch:.1f}"] if true_scores else ["", ""]
