"""Every JSON file of the project: one typed reader and writer, so that each key is spelled once.

Times are milliseconds and end in `_ms`, durations seconds and end in `_s`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forced_aligner.errors import UserError
from forced_aligner.files import write_whole

MAIN = "main"  # the function of a package that has one

Precision = Literal["float16", "float32"]
Compression = Literal["none", "int8", "int6", "int4"]


class Record(BaseModel):
    """Base of all records: immutable, and an unknown or missing key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WordTime(Record):
    """One aligned word. A zero-length word (start equal to end) is legal for this model."""

    text: str
    start_time_ms: float
    end_time_ms: float


class Clip(Record):
    """A recording with its transcript and, where the data set has them, its true word times."""

    audio: str
    transcript: str
    language: str | None = None
    duration_s: float | None = None
    voice: str | None = None
    words_per_minute: float | None = None
    alignments: list[WordTime] | None = None
    problem: str | None = None  # why it cannot be aligned, where that is known before its turn

    def check(self) -> None:
        """Refuse a recording that cannot be aligned.

        Raises:
            UserError: with the reason.
        """
        if self.problem:
            raise UserError(self.problem)
        try:
            self.transcript.encode()
        except UnicodeEncodeError as error:  # half a surrogate pair, which stands for a byte that was not UTF-8
            raise UserError(f"character {error.start} of the transcript is not Unicode; give it as UTF-8") from None


class ClipManifest(Record):
    """`manifest.json`: recordings beside it, with true word times."""

    schema_version: Literal[1] = 1
    samples: list[Clip] = Field(min_length=1)


class TimedWord(Record):
    """A word of the transcript as it was written, with its times; one without a letter has none.

    `word` is the aligner's cleaned word. `confidence` is the probability that the head gives to the chosen time bins
    and their neighbours, the lower one of start and end.
    """

    text: str
    word: str | None = None
    start_time_ms: float | None = None
    end_time_ms: float | None = None
    confidence: float | None = None
    weak: bool = False  # below --min-confidence
    glued: bool = False  # no space before it


class TimedFile(Record):
    """What `infer` writes of one recording."""

    schema_version: Literal[1] = 1
    audio: str
    language: str | None
    duration_s: float
    words: list[TimedWord]

    @property
    def timed(self) -> list[TimedWord]:
        """The words that have times."""
        return [word for word in self.words if word.start_time_ms is not None]


class ReferenceEnvironment(Record):
    """What the PyTorch reference ran on."""

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
    alignments: list[WordTime]
    true_alignments: list[WordTime] | None = None


class Reference(Record):
    """`pytorch_reference.json`: written by compare-models.py, read by run_coreml_inference.py compare."""

    schema_version: Literal[1] = 1
    model_id: str
    checkpoint_fingerprint: str
    language: str | None
    num_samples: int
    environment: ReferenceEnvironment
    samples: list[ReferenceSample] = Field(min_length=1)

    def head(self, count: int | None) -> Reference:
        """The first `count` files; all of them for None."""
        samples = self.samples[:count]
        return self.model_copy(update={"samples": samples, "num_samples": len(samples)})


class Scores(Record):
    """Boundary errors against the reference; a word has two boundaries."""

    words: int
    boundaries: int
    bin_exact_percent: float
    aas_ms: float
    max_error_ms: float
    within_20ms_percent: float
    within_80ms_percent: float
    within_160ms_percent: float


class TruthScores(Record):
    """Mean boundary error against the true times, for both sides."""

    packages: float
    pytorch: float


class SampleScores(Scores):
    """The scores of one file, with the latency of both sides."""

    audio: str
    duration_s: float
    packages_latency_ms: float
    pytorch_latency_ms: float
    truth_aas_ms: TruthScores | None = None


class ParityReport(Scores):
    """`parity.json`: written by run_coreml_inference.py compare."""

    schema_version: Literal[1] = 1
    model_id: str
    backend: str
    precision: dict[str, Precision]
    package_sha256: dict[str, str]  # which packages were run, by component
    files: int
    passed: bool
    samples: list[SampleScores]
    truth_aas_ms: TruthScores | None = None


class ComponentScore(Record):
    """One component against PyTorch in float32, on the same inputs: the lowest PSNR of its calls."""

    psnr_db: float | None  # None: equal in every bit, or not finite
    finite: bool


class SweepRow(Record):
    """One converted folder in a table of several."""

    name: str
    size_bytes: int
    bin_exact_percent: float
    aas_ms: float
    max_error_ms: float
    passed: bool
    components: dict[str, ComponentScore]


class Sweep(Record):
    """`sweep.json`: written by run_coreml_inference.py sweep."""

    schema_version: Literal[1] = 1
    model_id: str
    checkpoint_fingerprint: str
    rows: list[SweepRow]


class Dimensions(Record):
    """Every size of a checkpoint that the packages and the host need; taken from its config."""

    mel_bins: int
    chunk_frames: int  # mel frames in one convolution chunk: 100, 1 s
    window_frames: int  # mel frames in one attention window: 800, 8 s
    audio_hidden: int
    hidden: int
    head_dim: int
    inverse_frequencies: list[float]  # of the rotary angles: head_dim / 2, as the model has them
    vocab_size: int
    num_classes: int

    @property
    def chunk_tokens(self) -> int:
        """Audio tokens of one full chunk: 13."""
        return conv_length(self.chunk_frames)

    @property
    def window_tokens(self) -> int:
        """Audio tokens of one full attention window: 104."""
        return self.chunk_tokens * (self.window_frames // self.chunk_frames)

    def audio_tokens(self, mel_frames: int) -> int:
        """Audio tokens of a clip of `mel_frames`: 13 a full chunk, and the rest of the last one."""
        chunks, rest = divmod(mel_frames, self.chunk_frames)
        return chunks * self.chunk_tokens + conv_length(rest)


def conv_length(frames: int) -> int:
    """Length after the three stride-2, padding-1, kernel-3 convolutions; 0 stays 0."""
    for _ in range(3):
        frames = math.ceil(frames / 2)
    return frames


class TokenIds(Record):
    """The special tokens of the prompt."""

    audio_start: int
    audio_end: int
    audio_pad: int
    timestamp: int


class KeptOp(Record):
    """An op that calibration keeps in FP32, by its name before the cast to FP16.

    `piece` is the part that was converted ("layer": once, for all layers), `at` where the magnitude was seen.
    """

    function: str
    piece: str
    op: str
    value: str
    kind: str
    reason: Literal["writes", "reads", "squares"]
    magnitude: float | None  # None: it was not finite
    at: str


class Calibration(Record):
    """What running clips through one FP16 package found. `largest` is over the ops that stay in FP16."""

    largest: float
    largest_op: str
    limit: float
    has_wide_state: bool  # the state between the layers is FP32
    kept_float32: list[KeptOp]


class LintReport(Record):
    """What the lint of one saved package counted, over all its functions; a fault leaves no package."""

    ops: int  # that run: without constants
    constants: int
    fp16_ops_percent: float  # of the ops that make floating-point values, casts left out
    max_rank: int
    largest_constant: float


# A file beside `metadata.json`, which may be downloaded: no path that leads elsewhere, and no hidden file.
BareName = Annotated[str, Field(pattern=r"^[^./\\\x00][^/\\\x00]*$")]


class ComponentRecord(Record):
    """One converted package. `functions` maps a function's name to its size (decoder tokens, audio frames) or None."""

    package: BareName
    precision: Precision
    functions: dict[str, int | None]
    size_bytes: int
    sha256: str
    compression: Compression = "none"
    calibration: Calibration | None = None
    lint: LintReport | None = None


class BundleMetadata(Record):
    """`metadata.json` of a converted folder."""

    schema_version: Literal[1] = 1
    model_id: str
    checkpoint_fingerprint: str
    dimensions: Dimensions
    token_ids: TokenIds
    timestamp_segment_ms: float
    longest_clip_s: float | None = None  # that the checkpoint was trained on, where its config says so
    audio_frames: list[int]
    decoder_lengths: list[int]
    precision: Literal["mixed", "float16", "float32"]
    deployment_target: str
    compute_units: Literal["ALL", "CPU_AND_GPU"]
    optimized: bool
    compress: str = "none"  # as --compress was given
    calibration_clips: int = 0  # 0: it was not calibrated
    components: dict[str, ComponentRecord]
    processor_files: dict[BareName, str]  # SHA-256 by file name
    tool_versions: dict[str, str]

    @property
    def package_sha256(self) -> dict[str, str]:
        """The digest of each package, by component: what tells one conversion from another."""
        return {key: record.sha256 for key, record in self.components.items()}

    @property
    def head_end_s(self) -> float:
        """Where the head's classes end: 400 s."""
        return self.dimensions.num_classes * self.timestamp_segment_ms / 1000


RecordT = TypeVar("RecordT", bound=Record)


def read_json(record: type[RecordT], path: Path, remedy: str) -> RecordT:
    """Read `path` as a `record`.

    Raises:
        UserError: it is not there, cannot be read, or a key is missing, unknown or of another type.
            `remedy` ends the sentence: how to get a good file.
    """
    try:
        return record.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"no {path.name} at {path}: {remedy}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path} ({error}): {remedy}") from None
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"] == ("schema_version",):
            found = f"is of version {first['input']!r}, which this version of the program does not read"
            raise UserError(f"{path} {found}: use the version that wrote it, or {remedy}") from None
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{path} is not a valid {path.name}: {where}: {first['msg']}; {remedy}") from None


def write_json(record: Record, path: Path) -> None:
    """Write `record` to `path` in one step.

    Raises:
        UserError: the place cannot be written.
    """
    write_whole(path, record.model_dump_json(indent=2) + "\n")
