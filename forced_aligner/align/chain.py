"""The chain: audio + transcript -> mel -> conv -> transformer -> embeddings -> decoder -> head -> word times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.audio import SAMPLE_RATE_HZ, check_duration
from forced_aligner.align.clock import LOAD_STAGE, Clock
from forced_aligner.align.confidence import bins_of, word_confidences
from forced_aligner.align.mel import HOP_SAMPLES, MIN_SAMPLES, log_mel, mel_chunks
from forced_aligner.align.positions import choose_length, frames_per_call, rotary_embedding, window_mask
from forced_aligner.align.prompt import PROMPT_MARKS, prompt_ids, require_processor_of, split_words, word_tokens
from forced_aligner.align.times import word_times
from forced_aligner.base.errors import UserError
from forced_aligner.checkpoint.processor import load_processor
from forced_aligner.data.records import WordTime
from forced_aligner.package.bundle import CONVERT_HINT, Bundle
from forced_aligner.package.contract import MAIN, MONOLITHIC_ENCODER
from forced_aligner.runtime.protocol import Arrays, Backend

# (real frames, frames of the input, frames of a window) -> additive mask (1, 1, frames, frames)
Mask = Callable[[int, int, int], NDArray[np.float32]]


@dataclass(frozen=True)
class Alignment:
    """The aligned words of one clip or recording.

    Attributes:
        words: with their times, in the transcript's order.
        confidences: of each word, 0 to 1, see `confidence.word_confidences`.
        duration_s: duration of the audio.
        stage_ms: wall time of each stage of the chain.
        not_found: indices of words that are not spoken, as far as the aligner can tell; their times mean nothing.
        untranscribed_s: (start, end) of stretches of sound, of some seconds each, that have no word.
    """

    words: list[WordTime]
    confidences: list[float]
    duration_s: float
    stage_ms: dict[str, float] = field(default_factory=dict)
    not_found: frozenset[int] = frozenset()
    untranscribed_s: list[tuple[float, float]] = field(default_factory=list)

    @property
    def latency_ms(self) -> float:
        """Wall time of the chain, without the time to load packages."""
        return sum(ms for stage, ms in self.stage_ms.items() if stage != LOAD_STAGE)


class Aligner:
    """A converted model, ready to align many clips."""

    def __init__(self, bundle: Bundle, backend: Backend, mask: Mask = window_mask) -> None:
        """Choose the encoder and load the processor.

        Args:
            bundle: the converted folder.
            backend: executes its packages.
            mask: makes the audio transformer's mask; others than the default are for experiments on its effect.

        Raises:
            UserError: a component is missing, or the processor is not that of the metadata.
        """
        self.metadata, sizes = bundle.metadata, bundle.metadata.dimensions
        self._encoder = bundle.encoder()
        self.monolithic = self._encoder == MONOLITHIC_ENCODER
        self.processor = load_processor(bundle.folder)
        require_processor_of(self.metadata, self.processor)
        self.backend = backend
        self._mask = mask
        self._decoders = _by_size(bundle, "decoder_prefill")
        self._transformers = {} if self.monolithic else _by_size(bundle, "audio_transformer")
        largest = max(self._transformers, default=0)
        self._frames_per_call = frames_per_call(largest, sizes.window_tokens) or largest
        widths = {"audio_conv": sizes.audio_hidden, "lm_head": sizes.num_classes}
        self._widths = {component: widths.get(component, sizes.hidden) for component in bundle.metadata.components}

    def align(self, samples: NDArray[np.float32], transcript: str, language: str | None = None) -> Alignment:
        """Align `transcript` with (samples,) of 16 kHz mono audio.

        Raises:
            UserError: the transcript has no words, the language is not served, the audio is longer than the head's
                time range, or the prompt is longer than every converted decoder.
        """
        return self.align_words(samples, split_words(self.processor, transcript, language))

    def align_words(self, samples: NDArray[np.float32], words: list[str]) -> Alignment:
        """Align `words`, a transcript that is already split, with (samples,) of 16 kHz mono audio; see `align`."""
        clock = Clock()
        logits = self.timestamp_logits(samples, words, clock)
        times = self.word_times(logits, words)
        clock.lap("head")
        confidences = word_confidences(logits, bins_of(times, self.metadata.timestamp_segment_ms))
        return Alignment(times, confidences, samples.size / SAMPLE_RATE_HZ, clock.laps)

    def timestamp_logits(
        self, samples: NDArray[np.float32], words: list[str], clock: Clock | None = None
    ) -> NDArray[np.float32]:
        """Scores of the time classes, (1, 2 * words, classes), for (samples,) of 16 kHz mono audio.

        Raises:
            UserError: the audio is longer than the head's time range, the prompt is longer than every converted
                decoder, or a package gives numbers that are not finite or of another shape.
        """
        check_duration(samples, self.metadata.head_end_s)
        clock = clock or Clock()
        input_ids = prompt_ids(self.processor, words, self.audio_tokens(samples.size) - PROMPT_MARKS)
        length = choose_length(input_ids.size, self.decoder_lengths)  # before the audio is encoded
        return self._score(self.encode(samples, clock), input_ids, length, clock)

    def encode(self, samples: NDArray[np.float32], clock: Clock) -> NDArray[np.float32]:
        """(tokens, hidden) audio tokens of (samples,) of 16 kHz mono audio.

        Raises:
            UserError: the audio is longer than the head's time range, or a package gives numbers that are not finite or
                of another shape.
        """
        check_duration(samples, self.metadata.head_end_s)
        mel = log_mel(samples, self.metadata.dimensions.mel_bins)  # (128, frames)
        groups = self._groups(self.metadata.dimensions.audio_tokens(mel.shape[1]))
        clock.lap("mel")
        self.backend.load(self._encoder[0], MAIN)
        for frames in {frames for _, frames in groups}:
            self.backend.load("audio_transformer", self._transformers[frames])
        clock.lap(LOAD_STAGE)
        audio = self._encode(mel, groups)
        clock.lap("audio_encoder")
        return audio

    def score_words(self, audio: NDArray[np.float32], words: list[str], clock: Clock) -> NDArray[np.float32]:
        """Scores of the time classes, (1, 2 * words, classes), of `words` in (tokens, hidden) audio tokens.

        Raises:
            UserError: the prompt is longer than every converted decoder, or a package gives numbers that are not finite
                or of another shape.
        """
        input_ids = prompt_ids(self.processor, words, len(audio))
        length = choose_length(input_ids.size, self.decoder_lengths)
        clock.lap("embedding")
        return self._score(audio, input_ids, length, clock)

    def _score(
        self, audio: NDArray[np.float32], input_ids: NDArray[np.int32], length: int, clock: Clock
    ) -> NDArray[np.float32]:
        """Scores at the `<timestamp>` of a prompt, (n,), with (tokens, hidden) audio, by the decoder for `length`."""
        for component in ("embedding", "lm_head"):
            self.backend.load(component, MAIN)
        self.backend.load("decoder_prefill", self._decoders[length])
        clock.lap(LOAD_STAGE)
        hidden = self._predict("embedding", input_ids=input_ids[None])  # (1, n, hidden)
        hidden[0, input_ids == self.metadata.token_ids.audio_pad] = audio
        clock.lap("embedding")
        decoded = self._decode(hidden, length)  # (1, n, hidden)
        clock.lap("decoder")
        timestamp_rows = np.flatnonzero(input_ids == self.metadata.token_ids.timestamp)
        return self._predict("lm_head", hidden_states=decoded[:, timestamp_rows])

    @property
    def decoder_lengths(self) -> list[int]:
        """The prompt lengths of the converted decoders, in tokens, shortest first."""
        return sorted(self._decoders)

    def audio_tokens(self, samples: int) -> int:
        """Prompt tokens of `samples` samples of 16 kHz audio: one for each frame, and a mark on each side."""
        frames = max(samples, MIN_SAMPLES) // HOP_SAMPLES
        return self.metadata.dimensions.audio_tokens(frames) + PROMPT_MARKS

    def word_tokens(self, words: list[str]) -> NDArray[np.int64]:
        """How many prompt tokens each word takes, with its two `<timestamp>`: (words,)."""
        return word_tokens(self.processor, words)

    def fits(self, samples: int, words: list[str]) -> bool:
        """Whether the converted functions can take a clip of `samples` samples with these words in one pass."""
        audio_tokens = self.audio_tokens(samples)
        # A calibration may convert an audio transformer that is shorter than one window.
        is_below_window = self._frames_per_call < self.metadata.dimensions.window_tokens
        if not self.monolithic and is_below_window and audio_tokens - PROMPT_MARKS > self._frames_per_call:
            return False
        return audio_tokens + int(self.word_tokens(words).sum()) <= self.decoder_lengths[-1]

    def _groups(self, tokens: int) -> list[tuple[slice, int]]:
        """Groups of whole attention windows of `tokens` audio tokens, each with the frames of its call."""
        if self.monolithic:
            return []
        sizes, group_frames = sorted(self._transformers), self._frames_per_call
        return [
            (
                slice(start, start + group_frames),
                next(size for size in sizes if size >= min(group_frames, tokens - start)),
            )
            for start in range(0, tokens, group_frames)
        ]

    def _predict(
        self, component: str, function: str = MAIN, real: int | None = None, **inputs: NDArray[Any]
    ) -> NDArray[np.float32]:
        """Run a component that has one output, (1, rows, width), and return the first `real` rows; the rest is padding.

        Raises:
            UserError: the output has another shape than the model's sizes, or a real row is not finite.
        """
        outputs = list(self.backend.predict(component, function, inputs).values())
        expected = (1, self._rows(component, inputs), self._widths[component])
        if [output.shape for output in outputs] != [expected]:
            found = ", ".join(str(list(output.shape)) for output in outputs) or "nothing"
            raise UserError(f"{component} (function {function}) gave {found}, not {list(expected)}: {CONVERT_HINT}")
        output = outputs[0][:, :real]
        if not np.isfinite(output).all():
            raise UserError(
                f"{component} (function {function}) gave numbers that are not finite, as where FP16 overflows: "
                "convert the model with --precision float32, or with --calibrate"
            )
        return output

    def _rows(self, component: str, inputs: Arrays) -> int:
        """The rows of a component's output: those of its input, or the tokens of a chunk of mel."""
        if component == self._encoder[0]:
            return self.metadata.dimensions.chunk_tokens
        return int(next(iter(inputs.values())).shape[1])

    def _encode(self, mel: NDArray[np.float32], groups: list[tuple[slice, int]]) -> NDArray[np.float32]:
        """(bins, frames) -> (audio tokens, hidden)."""
        dimensions = self.metadata.dimensions
        tokens = dimensions.audio_tokens(mel.shape[1])
        chunks, chunk_tokens = mel_chunks(mel, dimensions.chunk_frames), dimensions.chunk_tokens
        features = np.concatenate(
            [
                self._predict(self._encoder[0], real=tokens - number * chunk_tokens, mel_input=chunk)[0]
                for number, chunk in enumerate(chunks)
            ]
        )
        if self.monolithic:
            return features
        return np.concatenate([self._transform(features[group], frames) for group, frames in groups])

    def _transform(self, group: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
        """Run the audio transformer's function for `frames` on whole windows: (n, audio_hidden) -> (n, hidden)."""
        padded = np.pad(group, ((0, frames - len(group)), (0, 0)))[None]
        mask = self._mask(len(group), frames, self.metadata.dimensions.window_tokens)
        function = self._transformers[frames]
        return self._predict("audio_transformer", function, len(group), features=padded, attention_mask=mask)[0]

    def _decode(self, hidden: NDArray[np.float32], length: int) -> NDArray[np.float32]:
        """Run the decoder's function for `length` on (1, n, hidden), zero-padded on the right: (1, n, hidden).

        The decoder is causal, so the padding cannot change a real position.
        """
        real = hidden.shape[1]
        cos, sin = rotary_embedding(length, self.metadata.dimensions.inverse_frequencies)
        padded = np.pad(hidden, ((0, 0), (0, length - real), (0, 0)))
        return self._predict(
            "decoder_prefill",
            self._decoders[length],
            real,
            hidden_states=padded,
            position_cos=cos,
            position_sin=sin,
        )

    def word_times(self, logits: NDArray[np.float32], words: list[str]) -> list[WordTime]:
        """(1, 2 * words, classes) -> the times of `words`; see `times.word_times`."""
        return word_times(
            self.processor, logits, words, self.metadata.token_ids.timestamp, self.metadata.timestamp_segment_ms
        )


def _by_size(bundle: Bundle, component: str) -> dict[int, str]:
    """A component's functions by size: tokens of the decoder, or frames of the audio transformer."""
    return {size: name for name, size in bundle.record(component).functions.items() if size is not None}
