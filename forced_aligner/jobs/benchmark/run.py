"""What loading and running the packages costs: every function alone, and whole clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from forced_aligner.align.chain import Aligner
from forced_aligner.base.console import log, log_always
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import require_writable
from forced_aligner.base.outputs import Outputs
from forced_aligner.base.paths import BENCHMARK_FILE, BENCHMARK_PAGE, BENCHMARK_PICTURE
from forced_aligner.base.records import file_of, to_json
from forced_aligner.jobs.benchmark.clips import demo_clips
from forced_aligner.jobs.benchmark.functions import FunctionBenchmark
from forced_aligner.jobs.benchmark.memory import peak_memory_bytes
from forced_aligner.jobs.benchmark.options import BenchmarkOptions
from forced_aligner.jobs.benchmark.probe import Probe
from forced_aligner.jobs.benchmark.tables import benchmark_page, clip_title
from forced_aligner.jobs.benchmark.whole_clips import ClipBenchmark, align_clip
from forced_aligner.jobs.environment import run_environment
from forced_aligner.output.own_files import is_own_picture, is_own_results_page
from forced_aligner.package.bundle import Bundle, files_of
from forced_aligner.runtime.choice import make_backends
from forced_aligner.runtime.compute_plan import CompiledBackend, read_plans
from forced_aligner.runtime.measurements import BenchmarkReport, FunctionPlan, Unmeasured
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.runtime.options import RuntimeOptions
from forced_aligner.runtime.protocol import Arrays, Backend
from forced_aligner.runtime.refusal import reason

RECORDED_S = 5.0  # length of the clip whose inputs the functions get
PLAN = "compute plan"
NO_PLAN = "only Core ML has a compute plan"


def benchmark_and_write(
    model_dir: Path, runtimes: Sequence[RuntimeOptions], output_dir: Path, options: BenchmarkOptions
) -> BenchmarkReport:
    """Measure the packages in `model_dir` on each runtime, and write the report, a picture and a page to
    `output_dir`.

    Raises:
        UserError: see `benchmark`, a runtime that is not here, or a file that cannot be written or must stay.
    """
    bundle = Bundle.open(model_dir)
    outputs = Outputs(files_of(model_dir, bundle.metadata))
    report_path, picture_path, page_path = (
        output_dir / name for name in (BENCHMARK_FILE, BENCHMARK_PICTURE, BENCHMARK_PAGE)
    )
    outputs.check(report_path, "", file_of(BenchmarkReport))
    outputs.check(picture_path, "", is_own_picture)
    outputs.check(page_path, "", is_own_results_page)
    backends = make_backends(runtimes, bundle)
    require_writable(report_path)
    report = benchmark(bundle, backends, options)
    outputs.write(report_path, to_json(report), may_replace=file_of(BenchmarkReport))
    report = with_plans(report, bundle, backends)  # after it is written: Core ML may end the process over a plan
    outputs.write(report_path, to_json(report), may_replace=file_of(BenchmarkReport))
    if report.clips:
        _draw(report, picture_path, partial(outputs.write, may_replace=is_own_picture))
    elif is_own_picture(picture_path):
        picture_path.unlink()  # of an earlier run
    page = benchmark_page(report, picture_path.read_bytes() if report.clips else None)
    outputs.write(page_path, page, may_replace=is_own_results_page)
    return report


def _draw(report: BenchmarkReport, path: Path, write: Callable[[Path, bytes], None]) -> None:
    """Draw the stages of each clip."""
    from forced_aligner.output.benchmark_picture import StageBar, plot_stages

    bars = [
        StageBar(
            f"{clip.duration_s:g} s, {clip.computes_on}",
            clip.stage_ms,
            f"{clip.total_ms:.0f} ms, {clip.real_time_factor:.3f}",
        )
        for clip in report.clips
    ]
    plot_stages(bars, clip_title(report), path, write=write)


def benchmark(bundle: Bundle, backends: Sequence[Backend], options: BenchmarkOptions) -> BenchmarkReport:
    """Measure the packages of `bundle` on each of `backends`, which are of one kind and have done nothing yet.

    What a backend cannot do is noted in the report, and the rest is measured.

    Raises:
        UserError: the folder lacks a component that an alignment needs, or no backend can align a short clip.
    """
    if backends[0].name == MilBackend.name:
        import torch  # noqa: F401  # before the packages, whose loading is measured
    probes = [Probe(backend) for backend in backends]
    functions, clips = FunctionBenchmark(bundle, probes), demo_clips(options.clip_lengths_s)
    log(f"prepare {len(bundle.metadata.components)} packages")
    packages = functions.prepare()
    log("load and call each function for the first time")
    recorded = _record_inputs(bundle, probes)
    functions.use_first(recorded)
    whole = ClipBenchmark(bundle, probes, clips)
    for number in range(1, options.rounds + 1):
        log(f"round {number} of {options.rounds}: {options.calls} calls of each function")
        functions.measure_round(recorded, options.calls)
        log(f"round {number} of {options.rounds}: clips of {', '.join(f'{clip.duration_s:g}' for clip in clips)} s")
        whole.measure_round()
    return BenchmarkReport(
        model_id=bundle.metadata.model_id,
        package_sha256=bundle.metadata.package_sha256,
        environment=run_environment(*backends),
        threads=backends[0].most_threads,
        rounds=options.rounds,
        packages=packages,
        functions=functions.timings(),
        clips=whole.timings(),
        plans=[],
        no_plan=[],
        peak_memory_bytes=peak_memory_bytes(),
        failed=[failure for probe in probes for failure in probe.failed],
    )


def _record_inputs(bundle: Bundle, probes: Sequence[Probe]) -> Mapping[str, Arrays]:
    """The inputs that each component gets in an alignment, by the first backend that can align.

    Raises:
        UserError: none can.
    """
    (clip,) = demo_clips([RECORDED_S])
    errors = []
    for probe in probes:
        try:
            align_clip(Aligner(bundle, probe), clip)
            return probe.inputs
        except UserError as error:
            log_always(f"no alignment on {probe.computes_on}: {error}")
            errors.append(error)
    raise errors[0]


def with_plans(report: BenchmarkReport, bundle: Bundle, backends: Sequence[Backend]) -> BenchmarkReport:
    """The report with Core ML's plan of each function on each backend, or with why there is none."""
    plans: list[FunctionPlan] = []
    no_plan: list[Unmeasured] = []
    for backend in backends:
        try:
            if not isinstance(backend, CompiledBackend):
                raise UserError(NO_PLAN)
            for component in bundle.metadata.components:
                plans += read_plans(backend, component)
        except (RuntimeError, UserError) as error:
            why = reason(error) if isinstance(error, RuntimeError) else str(error)
            no_plan.append(Unmeasured(what=PLAN, computes_on=backend.computes_on, reason=why))
    return report.model_copy(update={"plans": plans, "no_plan": no_plan})


def require_all(report: BenchmarkReport) -> None:
    """End the command with an error if something could not be measured.

    Raises:
        UserError: that is so.
    """
    for failure in report.failed:
        log_always(f"failed: {failure.what} on {failure.computes_on}: {failure.reason}")
    if report.failed:
        raise UserError(f"{len(report.failed)} measurements failed, see above; the others are in {BENCHMARK_FILE}")
