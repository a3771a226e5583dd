"""`metadata.json` of a converted folder."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from forced_aligner.base.records import Record

Precision = Literal["float16", "float32"]
Compression = Literal["none", "int8", "int6", "int4"]


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
    """What a calibration found in one FP16 package. `largest` is over the ops that stay in FP16."""

    largest: float
    largest_op: str
    limit: float
    has_wide_state: bool  # the state between the layers is FP32
    kept_float32: list[KeptOp]


class LintReport(Record):
    """What the lint of one saved package counted over all its functions. A package with a fault is never kept."""

    ops: int  # that run: without constants
    constants: int
    fp16_ops_percent: float  # of the ops that make floating-point values, casts left out
    max_rank: int
    largest_constant: float


# A file beside `metadata.json`. The metadata may be downloaded, so no path leads elsewhere and no file is hidden.
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
