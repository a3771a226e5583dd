"""The chain: audio + transcript -> mel -> conv -> transformer -> embeddings -> decoder -> head -> word times."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forced_aligner import confidence, features, positions
from forced_aligner.backends import Backend
from forced_aligner.bundle import Bundle
from forced_aligner.checkpoint import load_processor
from forced_aligner.errors import UserError
from forced_aligner.schemas import MAIN, WordTime

if TYPE_CHECKING:
    from transformers import Qwen3ASRProcessor

SPLIT_ENCODER = ("audio_conv", "audio_transformer")
MONOLITHIC_ENCODER = ("audio_encoder",)
LOAD_STAGE = "load"
TEXT_COMPONENTS = ("embedding", "decoder_prefill", "lm_head")

# (real frames, frames of the input, frames of a window) -> additive mask (1, 1, frames, frames)
Mask = Callable[[int, int, int], NDArray[np.float32]]


@dataclass(frozen=True)
class Alignment:
    """Word times of one clip with their confidences (see `confidence.confidences`), and how long each stage took.

    `cuts_s` says where a long recording was cut into pieces, `doubts` what is to be looked at there.
    """

    words: list[WordTime]
    confidences: list[float]
    duration_s: float
    stage_ms: dict[str, float] = field(default_factory=dict)
    cuts_s: list[float] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    @property
    def latency_ms(self) -> float:
        """Wall time of the chain, without loading what was not loaded yet."""
        return sum(ms for stage, ms in self.stage_ms.items() if stage != LOAD_STAGE)


def split_words(processor: Qwen3ASRProcessor, transcript: str, language: str | None) -> list[str]:
    """The words of a transcript, as the checkpoint's own processor splits them.

    Raises:
        UserError: a language that is not served or needs an extra package, or a transcript without words.
    """
    from transformers.models.qwen3_asr.processing_qwen3_asr import FORCED_ALIGNER_LANGUAGES, LANGUAGE_CODE_TO_NAME

    name = LANGUAGE_CODE_TO_NAME.get((language or "").lower(), (language or "").capitalize())
    if language is not None and name not in FORCED_ALIGNER_LANGUAGES:
        codes = {name: code for code, name in LANGUAGE_CODE_TO_NAME.items()}
        served = ", ".join(f"{name} ({codes[name]})" for name in sorted(FORCED_ALIGNER_LANGUAGES))
        raise UserError(f"language {language!r} is not served; expected one of {served}")
    try:
        words = processor.split_words_for_alignment(transcript, name or None)
    except ImportError:
        raise UserError(f"{name} needs an extra package: uv sync --extra {name.lower()}") from None
    if not words:
        raise UserError(f"the transcript {transcript!r} has no words to align")
    return words


def check_duration(samples: NDArray[np.float32], end_s: float) -> None:
    """Refuse (samples,) of 16 kHz audio that lasts longer than the head has classes for: `end_s`, 400 s.

    Raises:
        UserError: it does.
    """
    duration_s = samples.size / features.SAMPLE_RATE_HZ
    if duration_s > end_s:
        raise UserError(f"the audio lasts {duration_s:.1f} s, but the model's times end at {end_s:.0f} s: cut it there")


class Aligner:
    """A converted model, ready to align many clips."""

    def __init__(self, bundle: Bundle, backend: Backend, mask: Mask = positions.window_mask) -> None:
        """Choose the encoder and load the processor.

        Args:
            bundle: the converted folder.
            backend: who executes its packages.
            mask: makes the audio transformer's mask; another than the default is for measuring what it is worth.

        Raises:
            UserError: a component is missing.
        """
        self.metadata = bundle.metadata
        there = self.metadata.components.keys()
        # The split encoder wherever it is there: the monolithic one does not attend across chunks.
        self.monolithic = there >= {*MONOLITHIC_ENCODER} and not there >= {*SPLIT_ENCODER}
        self._encoder = MONOLITHIC_ENCODER if self.monolithic else SPLIT_ENCODER
        for key in (*self._encoder, *TEXT_COMPONENTS):
            bundle.record(key)
        self.processor = load_processor(bundle.folder)
        self._backend = backend
        self._mask = mask
        self._decoders = _by_size(bundle, "decoder_prefill")
        self._transformers = {} if self.monolithic else _by_size(bundle, "audio_transformer")
        largest, window = max(self._transformers, default=0), self.metadata.dimensions.window_tokens
        self._frames_per_call = positions.frames_per_call(largest, window) or largest

    def align(self, samples: NDArray[np.float32], transcript: str, language: str | None = None) -> Alignment:
        """Align `transcript` with (samples,) of 16 kHz mono audio.

        Raises:
            UserError: no words, a language that is not served, audio beyond the head's end, or a prompt longer than
                every converted decoder.
        """
        return self.align_words(samples, split_words(self.processor, transcript, language))

    def align_words(self, samples: NDArray[np.float32], words: list[str]) -> Alignment:
        """The same for a transcript that is split already."""
        clock = Clock()
        logits = self.timestamp_logits(samples, words, clock)
        times = self.word_times(logits, words)
        clock.lap("head")
        sure = confidence.confidences(logits, confidence.bins_of(times, self.metadata.timestamp_segment_ms))
        return Alignment(times, sure, samples.size / features.SAMPLE_RATE_HZ, clock.laps)

    def timestamp_logits(
        self, samples: NDArray[np.float32], words: list[str], clock: Clock | None = None
    ) -> NDArray[np.float32]:
        """Scores of the time classes, (1, 2 * words, classes), of (samples,) of 16 kHz mono audio.

        Raises:
            UserError: audio beyond the head's end, or a prompt longer than every converted decoder.
        """
        check_duration(samples, self.metadata.head_end_s)
        clock = clock or Clock()
        mel = features.log_mel(samples, self.metadata.dimensions.mel_bins)  # (128, frames)
        input_ids = self._prompt(words, self.metadata.dimensions.audio_tokens(mel.shape[1]))  # (n,)
        length = positions.choose_length(input_ids.size, self.decoder_lengths)
        groups = self._groups(int((input_ids == self.metadata.token_ids.audio_pad).sum()))
        clock.lap("mel")
        self._load(length, groups)
        clock.lap(LOAD_STAGE)
        audio = self._encode(mel, groups)  # (tokens, hidden)
        clock.lap("audio_encoder")
        hidden = self._predict("embedding", input_ids=input_ids[None])  # (1, n, hidden)
        hidden[0, input_ids == self.metadata.token_ids.audio_pad] = audio
        clock.lap("embedding")
        decoded = self._decode(hidden, length)  # (1, length, hidden)
        clock.lap("decoder")
        marks = np.flatnonzero(input_ids == self.metadata.token_ids.timestamp)
        return self._predict("lm_head", hidden_states=decoded[:, marks])

    @property
    def decoder_lengths(self) -> list[int]:
        """The prompt lengths that were converted, shortest first."""
        return sorted(self._decoders)

    def audio_tokens(self, samples: int) -> int:
        """Prompt tokens of so many samples of 16 kHz audio: its frames, and a mark on each side."""
        frames = max(samples, features.MIN_SAMPLES) // features.HOP_SAMPLES
        return self.metadata.dimensions.audio_tokens(frames) + positions.PROMPT_MARKS

    def word_tokens(self, words: list[str]) -> NDArray[np.int64]:
        """(words,) prompt tokens of each word with its two `<timestamp>`."""
        return np.array([len(ids) + 2 for ids in self.processor.tokenizer(words, add_special_tokens=False).input_ids])

    def fits(self, samples: int, words: list[str]) -> bool:
        """Whether a clip of so many samples with these words goes through the converted functions in one pass."""
        audio_tokens = self.audio_tokens(samples)
        is_part = self._frames_per_call < self.metadata.dimensions.window_tokens  # a calibration has such ones
        if not self.monolithic and is_part and audio_tokens - positions.PROMPT_MARKS > self._frames_per_call:
            return False
        return audio_tokens + int(self.word_tokens(words).sum()) <= self.decoder_lengths[-1]

    def _groups(self, tokens: int) -> list[tuple[slice, int]]:
        """Groups of whole attention windows of the audio tokens, each with the frames of the call that takes it."""
        if self.monolithic:
            return []
        sizes, step = sorted(self._transformers), self._frames_per_call
        starts = range(0, tokens, step)
        return [
            (slice(start, start + step), next(size for size in sizes if size >= min(step, tokens - start)))
            for start in starts
        ]

    def _load(self, length: int, groups: list[tuple[slice, int]]) -> None:
        """Load every function that a clip needs."""
        for component in (self._encoder[0], "embedding", "lm_head"):
            self._backend.load(component, MAIN)
        for frames in {frames for _, frames in groups}:
            self._backend.load("audio_transformer", self._transformers[frames])
        self._backend.load("decoder_prefill", self._decoders[length])

    def _predict(self, component: str, function: str = MAIN, **inputs: NDArray[Any]) -> NDArray[np.float32]:
        """The only output of a component."""
        (output,) = self._backend.predict(component, function, inputs).values()
        return output

    def _prompt(self, words: list[str], audio_tokens: int) -> NDArray[np.int32]:
        """The token ids of the processor's own prompt, with one audio pad for each audio token."""
        content = [{"type": "audio", "audio": ""}, *({"type": "text", "text": word} for word in words)]
        text = self.processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
        pad = self.processor.audio_token
        ids = self.processor.tokenizer(text.replace(pad, pad * audio_tokens, 1), add_special_tokens=False).input_ids
        return np.array(ids, dtype=np.int32)

    def _encode(self, mel: NDArray[np.float32], groups: list[tuple[slice, int]]) -> NDArray[np.float32]:
        """(bins, frames) -> (audio tokens, hidden)."""
        dimensions = self.metadata.dimensions
        component = "audio_encoder" if self.monolithic else "audio_conv"
        parts = [
            self._predict(component, mel_input=chunk)[0] for chunk in features.chunks(mel, dimensions.chunk_frames)
        ]
        tokens = np.concatenate(parts)[: dimensions.audio_tokens(mel.shape[1])]
        return tokens if self.monolithic else np.concatenate([self._transform(tokens[at], n) for at, n in groups])

    def _transform(self, group: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
        """Run the audio transformer's function of `frames` over whole windows: (n, audio_hidden) -> (n, hidden)."""
        padded = np.pad(group, ((0, frames - len(group)), (0, 0)))[None]
        mask = self._mask(len(group), frames, self.metadata.dimensions.window_tokens)
        function = self._transformers[frames]
        return self._predict("audio_transformer", function, features=padded, attention_mask=mask)[0, : len(group)]

    def _decode(self, hidden: NDArray[np.float32], length: int) -> NDArray[np.float32]:
        """Zero-pad on the right, which a causal decoder cannot see, and run the function of `length`."""
        cos, sin = positions.rotary(length, self.metadata.dimensions.inverse_frequencies)
        padded = np.pad(hidden, ((0, 0), (0, length - hidden.shape[1]), (0, 0)))
        return self._predict(
            "decoder_prefill",
            self._decoders[length],
            hidden_states=padded,
            position_cos=cos,
            position_sin=sin,
        )

    def word_times(self, logits: NDArray[np.float32], words: list[str]) -> list[WordTime]:
        """(1, 2 * words, classes) to times and monotonic repair, by the processor; it sees the timestamp rows only."""
        import torch

        timestamp = self.metadata.token_ids.timestamp
        (items,) = self.processor.decode_forced_alignment(
            torch.from_numpy(logits),
            torch.full(logits.shape[:2], timestamp),
            [words],
            timestamp,
            self.metadata.timestamp_segment_ms,
        )
        return [word_time(item) for item in items]


def _by_size(bundle: Bundle, component: str) -> dict[int, str]:
    """The functions of a component by their size: decoder tokens, or frames of the audio transformer."""
    return {size: name for name, size in bundle.record(component).functions.items() if size is not None}


def word_time(item: dict[str, Any]) -> WordTime:
    """A word as the processor returns it (seconds) -> a record (milliseconds)."""
    return WordTime(
        text=item["text"],
        start_time_ms=round(item["start_time"] * 1000),
        end_time_ms=round(item["end_time"] * 1000),
    )


class Clock:
    """Wall time between laps, in ms; a stage that comes again adds to its time."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps[stage] = self.laps.get(stage, 0.0) + (now - self._last) * 1000
        self._last = now
