"""`metadata.json` of a converted folder."""

from __future__ import annotations

import hashlib
import json
import math
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from forced_aligner.base.records import Record
from forced_aligner.package.contract import LAYOUTS, MAX_AUDIO_FRAMES, MAX_DECODER_LENGTH, MAX_FUNCTIONS, TOKEN_TABLE

Precision = Literal["float16", "float32"]
Compression = Literal["none", "int8", "int6", "int4"]
TableEncoding = Literal["float16", "int8"]
DeploymentTarget = Literal["iOS17", "iOS18"]

# Bounds far beyond every known aligner: what is outside of them is damage, and could fill the memory.
Size = Annotated[int, Field(ge=1, le=1 << 16)]
Count = Annotated[int, Field(ge=0, le=1 << 48)]
Magnitude = Annotated[float, Field(ge=0, allow_inf_nan=False)]
TokenId = Annotated[int, Field(ge=0, lt=1 << 24)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ShortText = Annotated[str, Field(max_length=2000)]
# Files beside `metadata.json`. The metadata may be downloaded, so no path leads elsewhere and no file is hidden.
BareName = Annotated[str, Field(pattern=r"^[^./\\\x00][^/\\\x00]*$", max_length=255)]
PackageName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=255)]
FunctionName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]
CONV_HALVINGS = 3  # the stride-2 convolutions of the audio encoder
COMPONENT_NAMES = tuple(
    dict.fromkeys(component for layout in LAYOUTS for component in layout.components if component != TOKEN_TABLE)
)


class Dimensions(Record):
    """Every size of a checkpoint that the packages and the host need; taken from its config."""

    mel_bins: Size
    chunk_frames: Size  # mel frames in one convolution chunk: 100, 1 s
    window_frames: Size  # mel frames in one attention window: 800, 8 s
    audio_hidden: Size
    hidden: Size
    head_dim: Size
    inverse_frequencies: list[Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]]  # see `_check`
    vocab_size: Annotated[int, Field(ge=1, le=1 << 24)]
    num_classes: Size

    @model_validator(mode="after")
    def _check(self) -> Self:
        """The frequencies of the rotary angles are the powers theta^(-2i / head_dim): 1, and ever smaller."""
        frequencies = self.inverse_frequencies
        if self.head_dim != 2 * len(frequencies):
            raise ValueError(f"head_dim {self.head_dim} has {len(frequencies)} inverse_frequencies, not half as many")
        if frequencies[0] != 1.0 or any(later >= earlier for earlier, later in pairwise(frequencies)):
            raise ValueError("inverse_frequencies do not fall from 1")
        if self.window_frames < self.chunk_frames:
            raise ValueError(f"window_frames {self.window_frames} is less than chunk_frames {self.chunk_frames}")
        return self

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
    for _ in range(CONV_HALVINGS):
        frames = math.ceil(frames / 2)
    return frames


class TokenIds(Record):
    """The special tokens of the prompt."""

    audio_start: TokenId
    audio_end: TokenId
    audio_pad: TokenId
    timestamp: TokenId

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.model_dump().values())) < len(type(self).model_fields):
            raise ValueError("two tokens have one number")
        return self


class KeptOp(Record):
    """An op that calibration keeps in FP32, by its name before the cast to FP16.

    `piece` is the part that was converted ("layer": once, for all layers), `at` where the magnitude was seen.
    """

    function: ShortText
    piece: ShortText
    op: ShortText
    value: ShortText
    kind: ShortText
    reason: Literal["writes", "reads", "squares"]
    magnitude: Magnitude | None  # None: it was not finite
    at: ShortText


class Calibration(Record):
    """What a calibration found in one FP16 package. `largest` is over the ops that stay in FP16."""

    largest: Magnitude
    largest_op: ShortText
    limit: Magnitude
    has_wide_state: bool  # the state between the layers is FP32
    kept_float32: list[KeptOp]


class LintReport(Record):
    """What the lint of one saved package counted over all its functions. A package with a fault is never kept."""

    ops: Count  # that run: without constants
    constants: Count
    fp16_ops_percent: Magnitude  # of the ops that make floating-point values, casts left out
    max_rank: Count
    largest_constant: Magnitude


class CompiledRecord(Record):
    """A package that was compiled on macOS, beside it in a published folder."""

    name: PackageName
    sha256: Sha256


class ComponentRecord(Record):
    """One converted package. `functions` maps a function's name to its size (decoder tokens, audio frames) or None."""

    package: PackageName
    precision: Precision
    functions: Annotated[dict[FunctionName, Size | None], Field(min_length=1, max_length=MAX_FUNCTIONS)]
    size_bytes: Count
    sha256: Sha256
    compression: Compression = "none"
    compiled: CompiledRecord | None = None
    calibration: Calibration | None = None
    lint: LintReport | None = None


class TokenTableRecord(Record):
    """The file with a vector for each token; see `package.token_table` for its bytes."""

    file: BareName
    encoding: TableEncoding
    size_bytes: Count
    sha256: Sha256


class BundleMetadata(Record):
    """`metadata.json` of a converted folder.

    A folder's metadata is sealed: `digest` is over all that the times depend on. A conversion that is under way has no
    components and no digest.
    """

    schema_version: Literal[2] = 2
    model_id: ShortText
    checkpoint_fingerprint: Sha256
    dimensions: Dimensions
    token_ids: TokenIds
    timestamp_segment_ms: Annotated[float, Field(ge=1, le=10_000, allow_inf_nan=False)]
    # That the checkpoint was trained on, where its config says so.
    longest_clip_s: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = None
    audio_frames: Annotated[
        list[Annotated[int, Field(ge=1, le=MAX_AUDIO_FRAMES)]], Field(min_length=1, max_length=MAX_FUNCTIONS)
    ]
    decoder_lengths: Annotated[
        list[Annotated[int, Field(ge=1, le=MAX_DECODER_LENGTH)]], Field(min_length=1, max_length=MAX_FUNCTIONS)
    ]
    precision: Literal["mixed", "float16", "float32"]
    deployment_target: DeploymentTarget
    compute_units: Literal["ALL", "CPU_AND_GPU"]
    optimized: bool
    compress: Annotated[str, Field(pattern=r"^[a-z0-9_=, ]*$", max_length=500)] = "none"  # as --compress was given
    calibration_clips: Count = 0  # 0: it was not calibrated
    calibration_digest: Sha256 | None = None  # over the clips and their transcripts
    calibration_audio: list[Sha256] = Field(default_factory=list)  # that the compressed weights were fitted to
    components: dict[str, ComponentRecord]
    token_table: TokenTableRecord | None = None  # of the compact layout
    processor_files: dict[BareName, Sha256]
    tool_versions: dict[ShortText, ShortText]
    digest: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, sizes in (("audio_frames", self.audio_frames), ("decoder_lengths", self.decoder_lengths)):
            if any(later <= earlier for earlier, later in pairwise(sizes)):
                raise ValueError(f"{name} does not rise")
        if max(self.token_ids.model_dump().values()) >= self.dimensions.vocab_size:
            raise ValueError(f"token_ids go beyond the vocabulary of {self.dimensions.vocab_size}")
        for key, record in self.components.items():
            if key not in COMPONENT_NAMES:
                raise ValueError(f"no component {key!r} is known, only {', '.join(COMPONENT_NAMES)}")
            if sorted(map(str, record.functions.values())) != sorted(map(str, self._sizes_of(key))):
                raise ValueError(f"the functions of {key} are not of the sizes {self._sizes_of(key)}")
        if "audio" in self.components and any(frames % self.dimensions.chunk_tokens for frames in self.audio_frames):
            raise ValueError(f"audio_frames are not multiples of the {self.dimensions.chunk_tokens} of a chunk")
        if len({record.package for record in self.components.values()}) < len(self.components):
            raise ValueError("two components have one package")
        if (self.components or self.digest) and self.digest != self._computed_digest():
            raise ValueError("it was changed after the conversion: its digest is another")
        return self

    def _sizes_of(self, component: str) -> list[int] | list[None]:
        """The sizes that the functions of a component have."""
        frames, lengths = self.audio_frames, self.decoder_lengths
        varying = {"audio_transformer": frames, "audio": frames, "decoder_prefill": lengths, "text": lengths}
        return varying.get(component, [None])

    def _computed_digest(self) -> str:
        """SHA-256 (hex) over all that the times depend on: sizes, tokens, and which packages with which functions."""
        content = self.model_dump(
            mode="json",
            include={
                "dimensions": True,
                "token_ids": True,
                "timestamp_segment_ms": True,
                "audio_frames": True,
                "decoder_lengths": True,
                "components": {"__all__": {"package", "precision", "functions", "sha256"}},
            },
        )
        if compiled := {key: record.compiled.sha256 for key, record in self.components.items() if record.compiled}:
            content["compiled"] = compiled
        if self.token_table:
            content[TOKEN_TABLE] = self.token_table.model_dump(mode="json")
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def sealed(self) -> BundleMetadata:
        """The same with its digest, as it is written to a folder.

        Raises:
            pydantic.ValidationError: it holds what could not be read back. That is a bug of the conversion.
        """
        return BundleMetadata.model_validate({**self.model_dump(), "digest": self._computed_digest()})

    @property
    def package_sha256(self) -> dict[str, str]:
        """The digest of each package and of the token table, by component: what tells one conversion from another."""
        digests = {key: record.sha256 for key, record in self.components.items()}
        return digests | ({TOKEN_TABLE: self.token_table.sha256} if self.token_table else {})

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 (hex) of each file beside the packages: those of the processor, and the token table."""
        return self.processor_files | ({self.token_table.file: self.token_table.sha256} if self.token_table else {})

    @property
    def size_bytes(self) -> int:
        """Of all packages and the token table."""
        table = self.token_table.size_bytes if self.token_table else 0
        return sum(record.size_bytes for record in self.components.values()) + table

    @property
    def head_end_s(self) -> float:
        """Where the head's classes end: 400 s."""
        return self.dimensions.num_classes * self.timestamp_segment_ms / 1000
