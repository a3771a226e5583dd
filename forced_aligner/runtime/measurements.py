"""`benchmark.json`: what loading and running the packages costs, and what it was measured on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from forced_aligner.base.records import Record


class RunEnvironment(Record):
    """What the packages were run on. `compute_units` are Core ML's; where several were measured, all of them."""

    system: str
    chip: str
    backend: str
    device: str | None
    compute_units: str | None
    versions: dict[str, str]


class PackageTiming(Record):
    """Making one package ready, once: Core ML compiles it, the MIL runtime reads its program and maps its weights."""

    component: str
    computes_on: str
    prepare_ms: float


class FunctionTiming(Record):
    """One function of a package.

    Attributes:
        size: tokens of the decoder or frames of the audio transformer; None where any size fits.
        first_load_ms: the first load in this process.
        first_call_ms: the call after it, which is not among the others.
        load_ms: median of the later loads.
        median_ms: median of the calls.
        p95_ms: their 95th percentile.
        calls: how many calls were measured. The first call after each load is not.
        memory_growth_bytes: by how much the process's memory grew, at its largest, in the first load and call.
    """

    component: str
    function: str
    computes_on: str
    size: int | None
    first_load_ms: float
    first_call_ms: float
    load_ms: float
    median_ms: float
    p95_ms: float
    calls: int
    memory_growth_bytes: int


class ClipTiming(Record):
    """One clip, from samples to word times. Times are medians over the rounds.

    Attributes:
        first_ms: wall time of an alignment for which nothing was loaded.
        stage_ms: each stage of the next alignment of the same clip.
        total_ms: all stages of that alignment together, without loading.
        real_time_factor: `total_ms` relative to the length of the audio; below 1 is faster than the speech.
        calls: of each component in one alignment.
    """

    duration_s: float
    computes_on: str
    words: int
    calls: dict[str, int]
    first_ms: float
    stage_ms: dict[str, float]
    total_ms: float
    real_time_factor: float


class DeviceShare(Record):
    """What one device gets of a function: ops, and percent of the cost that Core ML estimates, where it does."""

    device: str
    ops: int
    cost_percent: float | None


class OffNeuralEngine(Record):
    """Ops of one kind that another device gets, though the Neural Engine may be used; `names` are the first ones."""

    kind: str
    ops: int
    names: list[str]


class FunctionPlan(Record):
    """On which devices Core ML prefers to run the ops of a function, constants left out."""

    component: str
    function: str
    computes_on: str
    ops: int
    devices: list[DeviceShare]
    off_neural_engine: list[OffNeuralEngine]


class Unmeasured(Record):
    """What could not be measured, and why."""

    what: str
    computes_on: str
    reason: str


class BenchmarkReport(Record):
    """`benchmark.json`: written by run_coreml_inference.py benchmark."""

    schema_version: Literal[1] = 1
    model_id: str
    package_sha256: dict[str, str]  # identifies the packages that were run, by component
    environment: RunEnvironment
    threads: int | None  # the most of PyTorch's in a call of the MIL runtime
    rounds: int
    packages: list[PackageTiming]
    functions: list[FunctionTiming]
    clips: list[ClipTiming]
    plans: list[FunctionPlan]
    no_plan: list[Unmeasured]  # where there is none, and why
    peak_memory_bytes: int  # of the whole process
    failed: list[Unmeasured] = Field(default_factory=list)
