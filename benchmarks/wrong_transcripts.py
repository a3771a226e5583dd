"""Whether what is spoken is aligned, and what is not is said, where a transcript is wrong.

    uv run benchmarks/wrong_transcripts.py
    uv run benchmarks/wrong_transcripts.py --only "inserted-*" --max-minutes 5

Seeded recordings of voices that the demo aligner never heard, with transcripts that are wrong in known places
(`demo/wrong_transcripts.py`), are aligned through the MIL runtime. A case that ends in an error loses all its words.
Each process computes with one thread: with more, the demo's small arrays wait for each other.
"""

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from fnmatch import fnmatch
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import RESULTS, ROOT
from benchmarks.transcript_faults.records import CaseResult, Counts, WrongTranscripts, row
from benchmarks.transcript_faults.tables import tables
from forced_aligner.base.console import log, quiet_libraries, run_app, show_table
from forced_aligner.base.errors import UserError

app = typer.Typer(add_completion=False)
REPORT, PICTURE = RESULTS / "wrong_transcripts.json", ROOT / "docs/wrong-transcripts.png"
WHERE = "(default: its place in the repository after a run of all cases, else nowhere)"
_state: dict[str, Any] = {}  # of a worker process: its aligner and what counts its calls


def open_aligner(folder: Path) -> None:
    """Open a converted folder in this process, with one thread."""
    quiet_libraries()
    import torch

    from benchmarks.transcript_faults.counting import CountingBackend
    from forced_aligner.align.chain import Aligner
    from forced_aligner.package.bundle import Bundle
    from forced_aligner.runtime.mil.backend import MilBackend

    torch.set_num_threads(1)
    bundle = Bundle.open(folder)
    _state["backend"] = CountingBackend(MilBackend(bundle))
    _state["aligner"] = Aligner(bundle, _state["backend"])


def run_case(name: str) -> tuple[CaseResult, Any]:
    """Make a case, align it, and score it; the second is what its picture shows, or None."""
    from benchmarks.transcript_faults.picture import PICTURED, curve
    from benchmarks.transcript_faults.score import Scored
    from demo.wrong_transcripts import make, specs
    from forced_aligner.align.long_recording import align_recording

    spec = next(spec for spec in specs() if spec.name == name)
    case, backend = make(spec), _state["backend"]
    backend.calls.clear()
    started, cpu_started, error = time.perf_counter(), time.process_time(), None
    try:
        alignment = align_recording(_state["aligner"], case.audio, case.text, "English")
    except UserError as found:
        alignment, error = None, str(found)
    work = Counts(
        seconds=time.perf_counter() - started,
        cpu_s=time.process_time() - cpu_started,
        decoder_calls=backend.calls["decoder_prefill"],
        audio_s=backend.calls["audio_conv"],
    )
    scored = Scored(case, alignment)
    result = CaseResult(
        name=name,
        kind=case.kind,
        faults="; ".join(f"{edit.kind} {edit.amount:g} at {edit.at:.2f}" for edit in spec.edits),
        counts=scored.counts() + work,
        error=error,
    )
    return result, curve(scored) if name in PICTURED else None


@contextlib.contextmanager
def _converted(package: Path | None) -> Iterator[Path]:
    """The demo aligner, converted with default options."""
    if package is not None:
        yield package
        return
    from forced_aligner.checkpoint.find import find_checkpoint
    from forced_aligner.convert.options import Options
    from forced_aligner.jobs.convert import convert
    from forced_aligner.package.contract import DEFAULT_COMPONENTS

    with tempfile.TemporaryDirectory() as name:
        convert(find_checkpoint("demo"), Path(name) / "m", Options(DEFAULT_COMPONENTS))
        yield Path(name) / "m"


@app.command()
def main(
    only: Annotated[str, typer.Option(help="Only cases whose name matches this pattern.")] = "*",
    max_minutes: Annotated[float, typer.Option(min=0, help="Only cases with at most this much speech.")] = 60.0,
    quick: Annotated[bool, typer.Option(help="Only a few cases, one of each kind of fault.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="How many processes.")] = 2,
    package: Annotated[Path | None, typer.Option(help="A converted demo aligner. (default: convert it)")] = None,
    report: Annotated[Path | None, typer.Option(help=f"Where the figures go. {WHERE}")] = None,
    picture: Annotated[Path | None, typer.Option(help=f"Where the picture goes. {WHERE}")] = None,
) -> None:
    """Align all cases, print a table, and write JSON and a picture."""
    from benchmarks.transcript_faults.picture import plot
    from demo.wrong_transcripts import QUICK, specs
    from forced_aligner.base.records import write_json

    chosen = [spec for spec in specs() if fnmatch(spec.name, only) and spec.minutes <= max_minutes]
    chosen = [spec for spec in chosen if not quick or spec.name in QUICK]
    if not chosen:
        raise UserError(
            f"no case is named {only!r} and at most {max_minutes:g} minutes long: see demo/wrong_transcripts"
        )
    chosen.sort(key=lambda spec: -spec.minutes)
    found: dict[str, CaseResult] = {}
    curves = {}
    with (
        _converted(package) as folder,
        ProcessPoolExecutor(jobs, get_context("spawn"), initializer=open_aligner, initargs=(folder,)) as pool,
    ):
        for future in as_completed([pool.submit(run_case, spec.name) for spec in chosen]):
            result, shown = future.result()
            found[result.name] = result
            if shown is not None:
                curves[result.name] = shown
            log(_line(result))
    cases = [found[spec.name] for spec in specs() if spec.name in found]
    kinds = [row(kind, [case for case in cases if case.kind == kind]) for kind in dict.fromkeys(c.kind for c in cases)]
    results = WrongTranscripts(kinds=kinds, total=row("all", cases), cases=cases)
    show_table(*tables([*results.kinds, results.total]))
    if len(cases) == len(specs()):
        report, picture = report or REPORT, picture or PICTURE
    if report:
        report.parent.mkdir(exist_ok=True, parents=True)
        write_json(results, report)
    if picture and curves:
        plot(curves, picture)


def _line(result: CaseResult) -> str:
    one, counts = row(result.name, [result]), result.counts
    figures = (
        f"{one.within_160ms_percent or 0:6.2f} % within 160 ms, {one.beyond_1s_percent or 0:6.2f} % beyond 1 s, "
        f"{one.lost_percent or 0:6.2f} % lost, unspoken {counts.long_runs_right + counts.short_runs_right} of "
        f"{counts.long_runs + counts.short_runs}, {counts.seconds:.1f} s, {counts.alarms} alarms"
    )
    return f"{result.name:28}{figures}{'  ERROR' if result.error else ''}"


if __name__ == "__main__":
    run_app(app)
