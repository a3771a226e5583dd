"""`pytorch_reference.json`, `parity.json` and `sweep.json`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from forced_aligner.base.records import Record
from forced_aligner.data.records import WordTime
from forced_aligner.package.metadata import Precision
from forced_aligner.runtime.measurements import RunEnvironment
from forced_aligner.score.gate import Gate


class ReferenceEnvironment(Record):
    """The library versions and settings that the PyTorch reference was made with."""

    torch: str
    transformers: str
    attention: str
    dtype: str
    device: str = "cpu"


class ReferenceSample(Record):
    """One clip of the reference. `audio` is relative to the folder of the JSON file."""

    audio: str
    transcript: str
    language: str | None
    duration_s: float
    latency_ms: float
    alignments: list[WordTime] = Field(min_length=1)
    true_alignments: list[WordTime] | None = None
    speaker: str | None = None


class FailedClip(Record):
    """A clip that could not be done, and the reason; `unexpected` where it is a bug of this program.

    `incomplete` where it was done, and its transcript and audio do not match, as `infer --strict` reports it; no report
    has the key.
    """

    audio: str
    reason: str
    unexpected: bool
    incomplete: bool = Field(default=False, exclude=True)


class Reference(Record):
    """`pytorch_reference.json`: written by compare-models.py, read by run_coreml_inference.py compare."""

    schema_version: Literal[1] = 1
    model_id: str
    checkpoint_fingerprint: str
    language: str | None
    num_samples: int
    environment: ReferenceEnvironment
    samples: list[ReferenceSample] = Field(min_length=1)
    failed: list[FailedClip] = Field(default_factory=list)
    choice: str | None = None  # how the clips were chosen

    def head(self, count: int) -> Reference:
        """The reference with its first `count` clips alone."""
        return self.cut_to(self.samples[:count])

    def cut_to(self, samples: list[ReferenceSample], how: str | None = None) -> Reference:
        """The reference with these of its clips alone; `how` they were chosen is added to how the others were."""
        choice = self.choice
        if len(samples) < len(self.samples):
            choice = "; ".join(filter(None, (self.choice, how))) or None
        return self.model_copy(update={"samples": samples, "num_samples": len(samples), "choice": choice})


class Scores(Record):
    """Summary of the boundary errors against the reference. A word has two boundaries.

    `aas_ms`, the accumulated average shift, is the mean boundary error. `moved` boundaries are not in PyTorch's bin. No
    number is rounded, so a share is 100 only if it is all of them.
    """

    words: int
    boundaries: int
    moved: int
    beyond_80ms: int
    beyond_160ms: int
    bin_exact_percent: float
    aas_ms: float
    max_error_ms: float
    within_20ms_percent: float
    within_80ms_percent: float
    within_160ms_percent: float


class TruthScores(Record):
    """Mean boundary errors against the true times, in ms: of the packages and of PyTorch."""

    packages: float
    pytorch: float


class SampleScores(Scores):
    """The scores of one clip, with the latency of the packages and of PyTorch."""

    audio: str
    duration_s: float
    packages_latency_ms: float
    pytorch_latency_ms: float
    truth_aas_ms: TruthScores | None = None


class ReferenceIdentity(Record):
    """The reference that the packages were compared with."""

    sha256: str  # of its clips and their times
    environment: ReferenceEnvironment
    choice: str | None
    failed: int  # clips that PyTorch could not align, so that nothing was compared


class ParityReport(Scores):
    """`parity.json`: written by run_coreml_inference.py compare."""

    schema_version: Literal[2] = 2
    model_id: str
    environment: RunEnvironment
    reference: ReferenceIdentity
    gate: Gate
    precision: dict[str, Precision]
    package_sha256: dict[str, str]  # identifies the packages that were run, by component
    files: int
    passed: bool  # the gate, by all clips
    failed: list[FailedClip]
    samples: list[SampleScores]
    truth_aas_ms: TruthScores | None = None


class ComponentScore(Record):
    """One component against PyTorch in float32, on the same inputs: the lowest PSNR of all calls."""

    psnr_db: float | None  # None: every bit is equal, or a value is not finite
    finite: bool


class SweepRow(Record):
    """One converted folder in the table of a sweep."""

    name: str
    size_bytes: int
    boundaries: int
    moved: int
    beyond_80ms: int
    beyond_160ms: int
    bin_exact_percent: float
    aas_ms: float
    max_error_ms: float
    passed: bool
    components: dict[str, ComponentScore]


class Sweep(Record):
    """`sweep.json`: written by run_coreml_inference.py sweep."""

    schema_version: Literal[2] = 2
    model_id: str
    checkpoint_fingerprint: str
    files: int
    failed: list[FailedClip]
    rows: list[SweepRow]
