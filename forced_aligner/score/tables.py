"""Results as rich tables on stdout."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from forced_aligner.score.records import ComponentScore, ParityReport, Scores, SweepRow

SCORE_COLUMNS = ("boundaries", "bin-exact %", "AAS ms", "max ms", "<=20 ms %", "<=80 ms %", "<=160 ms %")


def score_cells(scores: Scores) -> list[str]:
    """The table cells of `scores`, in the order of `SCORE_COLUMNS`."""
    return [
        str(scores.boundaries),
        f"{scores.bin_exact_percent:.2f}",
        f"{scores.aas_ms:.2f}",
        f"{scores.max_error_ms:.0f}",
        f"{scores.within_20ms_percent:.2f}",
        f"{scores.within_80ms_percent:.2f}",
        f"{scores.within_160ms_percent:.2f}",
    ]


def print_report(report: ParityReport) -> None:
    """Print a row for each file and one for all; errors against the true times too, where the data has them."""
    table = Table(title=f"{report.model_id}: packages on {report.backend} against PyTorch")
    has_true_times = report.truth_aas_ms is not None
    headings = ["file", "s", *SCORE_COLUMNS, *(["truth: packages ms", "truth: PyTorch ms"] if has_true_times else [])]
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "file" else "right")
    for sample in report.samples:
        table.add_row(
            Path(sample.audio).name,
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
    _console().print(table)
    verdict = "passed" if report.passed else "FAILED"
    _console().print(
        f"{verdict}: {report.bin_exact_percent:.2f} % of {report.boundaries} boundaries bin-exact, "
        f"AAS {report.aas_ms:.2f} ms"
    )


def print_rows(rows: list[SweepRow], title: str) -> None:
    """Print a row for each converted folder, with the PSNR of each measured component, or that it is not finite."""
    table = Table(title=title)
    keys = list(rows[0].components)
    headings = ["packages", "MB", "bin-exact %", "AAS ms", "max ms", *(f"{key} dB" for key in keys)]
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "packages" else "right")
    for row in rows:
        scores = (f"{row.bin_exact_percent:.2f}", f"{row.aas_ms:.2f}", f"{row.max_error_ms:.0f}")
        cells = [_component_cell(row.components[key]) for key in keys]
        table.add_row(row.name, f"{row.size_bytes / 1e6:.2f}", *scores, *cells)
    _console().print(table)


def _component_cell(score: ComponentScore) -> str:
    if not score.finite:
        return "NOT FINITE"
    return "equal" if score.psnr_db is None else f"{score.psnr_db:.1f}"


def _true_time_cells(scores: object, has_true_times: bool) -> list[str]:
    if not has_true_times:
        return []
    true_scores = getattr(scores, "truth_aas_ms", None)
    return [f"{true_scores.packages:.1f}", f"{true_scores.pytorch:.1f}"] if true_scores else ["", ""]
