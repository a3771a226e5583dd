"""The report as tables, and how they are printed."""

from __future__ import annotations

from collections.abc import Sequence

from forced_aligner.base.console import show_table
from forced_aligner.base.result_table import ResultTable
from forced_aligner.base.text import visible
from forced_aligner.output.results_page import Picture, results_page
from forced_aligner.runtime.compute_plan import NOT_SAID
from forced_aligner.runtime.measurements import BenchmarkReport, ClipTiming, FunctionPlan, FunctionTiming

FUNCTION_COLUMNS = ("component", "function", "on", "first load ms", "load ms", "first call ms", "median ms", "p95 ms")
CLIP_COLUMNS = ("clip", "on", "words", "calls", "first ms", "total ms", "real-time factor")
SHOWN_KINDS = 4


def print_benchmark(report: BenchmarkReport) -> None:
    """Print all tables, and the notes after those of the functions and of the clips."""
    functions, clips, *plans = benchmark_tables(report)
    show_table(functions, clips, *map(visible, benchmark_notes(report)), *plans)


def benchmark_tables(report: BenchmarkReport) -> list[ResultTable]:
    """A table of the functions, one of the clips, and Core ML's plan where there is one."""
    return [_function_table(report), _clip_table(report), *_plan_tables(report)]


def benchmark_page(report: BenchmarkReport, picture: bytes | None) -> str:
    """The page of a benchmark: its tables and notes, what failed, and the picture where there is one."""
    failed = [f"failed: {missing.what} on {missing.computes_on}: {missing.reason}" for missing in report.failed]
    alt = "The time of each stage of each clip. The table of the clips has the same figures."
    return results_page(
        f"{report.model_id}: {measured_on(report)}",
        benchmark_tables(report),
        notes=[*benchmark_notes(report), *failed],
        pictures=[Picture(picture, alt)] if picture else [],
    )


def measured_on(report: BenchmarkReport) -> str:
    """The backend and the machine in a few words."""
    environment, threads = report.environment, f", threads: {report.threads}" if report.threads else ""
    runtime = "Core ML" if environment.backend == "coreml" else "the MIL runtime"
    return f"{runtime} on {environment.chip}, {environment.system}{threads}"


def clip_title(report: BenchmarkReport) -> str:
    """The heading of the clips' table and of the picture."""
    return f"{report.model_id}: clips, {measured_on(report)}; rounds: {report.rounds}"


def function_cells(timing: FunctionTiming) -> list[str]:
    """The cells of a function, in the order of `FUNCTION_COLUMNS`."""
    times = (timing.first_load_ms, timing.load_ms, timing.first_call_ms, timing.median_ms, timing.p95_ms)
    return [timing.component, timing.function, timing.computes_on, *(f"{value:.1f}" for value in times)]


def clip_cells(timing: ClipTiming) -> list[str]:
    """The cells of a clip, in the order of `CLIP_COLUMNS`."""
    return [
        f"{timing.duration_s:g} s",
        timing.computes_on,
        str(timing.words),
        " + ".join(map(str, timing.calls.values())),
        f"{timing.first_ms:.0f}",
        f"{timing.total_ms:.0f}",
        f"{timing.real_time_factor:.3f}",
    ]


def calls_note(clips: Sequence[ClipTiming]) -> str:
    """What the numbers in the column `calls` are of."""
    return f"calls: {' + '.join(clips[0].calls)}" if clips else ""


def _function_table(report: BenchmarkReport) -> ResultTable:
    calls = max((timing.calls for timing in report.functions), default=0)
    title = f"{report.model_id}: functions, {measured_on(report)}; calls: {calls}"
    prepared = {(package.component, package.computes_on): package.prepare_ms for package in report.packages}
    rows = []
    for timing in report.functions:
        # of the whole package: in the row of its first function
        prepare_ms = prepared.pop((timing.component, timing.computes_on), None)
        prepare = "" if prepare_ms is None else f"{prepare_ms:.1f}"
        rows.append([*function_cells(timing), f"{timing.memory_growth_bytes / 1e6:.1f}", prepare])
    return ResultTable(title, [*FUNCTION_COLUMNS, "memory MB", "prepare ms"], rows, texts=3)


def _clip_table(report: BenchmarkReport) -> ResultTable:
    stages = list(report.clips[0].stage_ms) if report.clips else []
    rows = [
        [*clip_cells(timing), *(f"{timing.stage_ms.get(stage, 0):.0f}" for stage in stages)] for timing in report.clips
    ]
    headings = [*CLIP_COLUMNS, *(f"{stage} ms" for stage in stages)]
    return ResultTable(clip_title(report), headings, rows, texts=2)


def benchmark_notes(report: BenchmarkReport) -> list[str]:
    """What the tables do not say: what calls are of, peak memory, and what was left out."""
    peak = f"peak memory of this process: {report.peak_memory_bytes / 1e6:.0f} MB"
    if report.environment.backend == "coreml":
        peak += ", without what macOS holds for the GPU and the Neural Engine outside of it"
    left_out = [f"{missing.what} on {missing.computes_on}: left out, {missing.reason}" for missing in report.no_plan]
    notes = [calls_note(report.clips), peak, *left_out]
    unplanned = sum({share.device for share in plan.devices} == {NOT_SAID} for plan in report.plans)
    notes += [f"compute plan: Core ML says nothing of {unplanned} functions"] if unplanned else []
    return [note for note in notes if note]


def _plan_tables(report: BenchmarkReport) -> list[ResultTable]:
    plans = [plan for plan in report.plans if {share.device for share in plan.devices} != {NOT_SAID}]
    if not plans:
        return []
    devices = sorted({share.device for plan in plans for share in plan.devices})
    headings = ["component", "function", "on", "not on the Neural Engine", "ops", *(f"{name}, %" for name in devices)]
    title = f"{report.model_id}: Core ML's plan, ops (estimated cost)"
    return [ResultTable(title, headings, [_plan_cells(plan, devices) for plan in plans], texts=4)]


def _plan_cells(plan: FunctionPlan, devices: Sequence[str]) -> list[str]:
    shares = {share.device: share for share in plan.devices}
    kinds = [f"{kind.ops} {kind.kind}" for kind in plan.off_neural_engine]
    more = [f"{len(kinds) - SHOWN_KINDS} more kinds"] if len(kinds) > SHOWN_KINDS else []
    cells = []
    for device in devices:
        share = shares.get(device)
        cost = f" ({share.cost_percent:.0f})" if share and share.cost_percent is not None else ""
        cells.append(f"{100 * share.ops / plan.ops:.0f}{cost}" if share else "0")
    return [
        plan.component,
        plan.function,
        plan.computes_on,
        ", ".join(kinds[:SHOWN_KINDS] + more),
        str(plan.ops),
        *cells,
    ]
