"""`config.json` of a host kit: every constant of the host's part, with its unit.

The values come from where the chain takes them; the records say what each is, and make the JSON schema.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from forced_aligner.base.records import Record
from forced_aligner.package.metadata import BareName, FunctionName, PackageName, Sha256, ShortText, Size, TokenId
from forced_aligner.package.token_table import FILES as TABLE_FILES

KitPath = Annotated[str, Field(pattern=r"^([A-Za-z0-9_-]+/)?[A-Za-z0-9_-][A-Za-z0-9_.-]*$", max_length=255)]


class Files(Record):
    """The files of the kit, by their paths in it. Raw numbers are little-endian, the last axis runs fastest."""

    host: KitPath = "host.py"
    config_schema: KitPath = "config.schema.json"
    mel_filters: Annotated[KitPath, Field(description="float32 (mel_bins, n_fft // 2 + 1)")] = "mel_filters.f32"
    window: Annotated[KitPath, Field(description="float32 (n_fft,)")] = "window.f32"
    token_table: Annotated[KitPath, Field(description="float16 (vocabulary, hidden), for memory mapping")] = (
        TABLE_FILES["float16"]
    )
    tokenizer: Annotated[KitPath, Field(description="byte-level BPE: vocabulary and merges")] = (
        "tokenizer/tokenizer.json"
    )


class Sizes(Record):
    """Sizes of the checkpoint."""

    mel_bins: Size
    audio_hidden: Size
    hidden: Size
    head_dim: Size
    vocabulary: int
    classes: Size


class Mel(Record):
    """How samples become the log-mel spectrogram, which has samples // hop_samples frames."""

    sample_rate_hz: int
    min_samples: int = Field(description="shorter clips get zeros at their end")
    max_s: float = Field(description="where the head's time classes end")
    n_fft: int
    hop_samples: int
    window: Literal["hann, periodic"] = "hann, periodic"
    centred: Literal[True] = True
    padding: Literal["reflect"] = Field(description="n_fft // 2 samples at each end")
    power: float = Field(description="exponent of the spectrum's magnitude")
    scale: Literal["slaney"] = "slaney"
    norm: Literal["slaney"] = "slaney"
    min_frequency_hz: float = 0.0
    max_frequency_hz: float
    log_floor: float = Field(description="x = log10(max(power, log_floor))")
    dynamic_range: float = Field(description="x = max(x, max(x) - dynamic_range), over the clip")
    log_offset: float = Field(description="x = (x + log_offset) / log_divisor")
    log_divisor: float
    drop_last_frame: Literal[True] = True


class Audio(Record):
    """How mel frames become audio tokens."""

    chunk_frames: Size = Field(description="mel frames of one call of audio_conv; the last chunk gets zeros")
    chunk_tokens: Size = Field(description="rows that it gives")
    halvings: int = Field(description="a last chunk of r frames gives r halved so often, each time rounded up")
    window_tokens: Size = Field(description="tokens attend within windows of so many, never across them")
    tokens_per_call: Size = Field(description="real tokens in one call of audio_transformer: whole windows")
    masked: float = Field(description="value of attention_mask where a row must not attend, elsewhere 0")


class PromptTokens(Record):
    """The special tokens of the prompt."""

    audio_start: TokenId
    audio_end: TokenId
    audio_pad: TokenId
    timestamp: TokenId


class Prompt(Record):
    """The token ids: audio_start, audio_pad for each audio token, audio_end, and each word with two timestamps."""

    token_ids: PromptTokens
    layout: list[ShortText]
    spaces_between_words: Literal[False] = False
    unicode_normalization: Literal["NFC"] = "NFC"


class Rotary(Record):
    """Angles of position p: p * inverse_frequencies in float32, written twice side by side; p starts at 0."""

    inverse_frequencies: list[float]


class Head(Record):
    """The class with the highest score, of equal ones the first, times segment_ms is the time."""

    segment_ms: float
    rows: ShortText = "those of the decoder's output at the timestamp tokens: start and end of each word"


class Repair(Record):
    """Times out of order: all that is not in the longest non-decreasing subsequence, the first of the longest."""

    snapped_run: int = Field(description="up to so many in a row go to the nearer neighbour, the left one of equal")
    longer: ShortText = "more in a row are interpolated between both neighbours, and cut to whole ms"
    at_an_end: ShortText = "where one side has no neighbour, all take the time of the other"


class Function(Record):
    """A function of a package; its size in rows, or null where it has no fixed one."""

    name: FunctionName
    size: Size | None


class Tensor(Record):
    """An input or an output. An axis that is text varies: frames and length by function, seq freely from 1."""

    name: FunctionName
    shape: list[int | ShortText]
    dtype: Literal["float32", "int32"]
    description: ShortText


class Component(Record):
    """A package, with its functions, smallest first."""

    package: PackageName
    sha256: Sha256
    inputs: list[Tensor]
    outputs: list[Tensor]
    functions: list[Function]


class GoldenFile(Record):
    """One file of golden vectors."""

    name: BareName
    sha256: Sha256
    duration_s: float
    transcript: ShortText
    description: ShortText


class GoldenVectors(Record):
    """What each stage gives for some clips: by PyTorch in float32, and by the packages of this folder."""

    folder: KitPath = "golden"
    clips: list[GoldenFile]
    cut: dict[ShortText, ShortText] = Field(description="tensors that are not whole, and what is kept of them")


class HostConfig(Record):
    """Every constant of the host's part of an alignment."""

    schema_version: Literal[1] = 1
    model_id: ShortText
    checkpoint_fingerprint: Sha256
    files: Files
    sizes: Sizes
    mel: Mel
    audio: Audio
    prompt: Prompt
    rotary: Rotary
    head: Head
    repair: Repair
    components: dict[ShortText, Component]
    choice_of_function: ShortText = "the first function whose size is not less than the rows; pad with zeros at the end"
    golden_vectors: GoldenVectors
    sha256: Annotated[dict[KitPath, Sha256], Field(description="of the other files; golden vectors have theirs above")]
