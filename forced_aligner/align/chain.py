"""The chain: audio + transcript -> mel -> audio tokens -> prompt -> scores -> word times."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.audio import SAMPLE_RATE_HZ, check_duration
from forced_aligner.align.clock import LOAD_STAGE, Clock
from forced_aligner.align.confidence import bins_of, word_confidences
from forced_aligner.align.decoders import Decoder, JointDecoder, SplitDecoder
from forced_aligner.align.encoders import Encoder, JointEncoder, Mask, MonolithicEncoder, SplitEncoder
from forced_aligner.align.mel import HOP_SAMPLES, MIN_SAMPLES, log_mel
from forced_aligner.align.packages import Packages
from forced_aligner.align.positions import choose_length, window_mask
from forced_aligner.align.prompt import PROMPT_MARKS, Prompt
from forced_aligner.align.scores import Scores
from forced_aligner.align.times import word_times
from forced_aligner.align.words import split_words
from forced_aligner.data.records import WordTime
from forced_aligner.package.bundle import Bundle
from forced_aligner.package.contract import COMPACT, MONOLITHIC, Layout
from forced_aligner.runtime.protocol import Backend


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

    @property
    def heard(self) -> list[int]:
        """The indices of the words that were found."""
        return [index for index in range(len(self.words)) if index not in self.not_found]

    @property
    def words_within(self) -> list[WordTime]:
        """The words with no time after the end of the audio, which the last bin of 80 ms may pass."""
        end_ms = math.floor(self.duration_s * 1000)
        return [
            replace(word, start_time_ms=min(word.start_time_ms, end_ms), end_time_ms=min(word.end_time_ms, end_ms))
            for word in self.words
        ]


class Aligner:
    """A converted model, ready to align many clips."""

    def __init__(self, bundle: Bundle, backend: Backend, mask: Mask = window_mask) -> None:
        """Choose the layout by what the folder holds, and load the tokenizer.

        Args:
            bundle: the converted folder.
            backend: executes its packages.
            mask: makes the mask of a split encoder's transformer; others than the default are for experiments on its
                effect.

        Raises:
            UserError: a component is missing, or the tokenizer is not that of the metadata.
        """
        self.metadata, self.backend = bundle.metadata, backend
        layout, packages = bundle.layout(), Packages(bundle, backend)
        self.monolithic = layout is MONOLITHIC
        self.prompt = Prompt.open(bundle.folder, self.metadata.token_ids)
        self._encoder = _encoder(layout, packages, mask)
        self._decoder: Decoder = JointDecoder(packages) if layout is COMPACT else SplitDecoder(packages)

    def align(self, samples: NDArray[np.float32], transcript: str, language: str | None = None) -> Alignment:
        """Align `transcript` with (samples,) of 16 kHz mono audio.

        Raises:
            UserError: the transcript has no words, the language is not served, the audio is longer than the head's
                time range, or the prompt is longer than every converted decoder.
        """
        return self.align_words(samples, split_words(transcript, language))

    def align_words(self, samples: NDArray[np.float32], words: list[str]) -> Alignment:
        """Align `words`, a transcript that is already split, with (samples,) of 16 kHz mono audio; see `align`."""
        clock = Clock()
        scores = self.timestamp_scores(samples, words, clock)
        times = self.word_times(scores, words)
        clock.lap("head")
        confidences = word_confidences(scores, bins_of(times, self.metadata.timestamp_segment_ms))
        return Alignment(times, confidences, samples.size / SAMPLE_RATE_HZ, clock.laps)

    def timestamp_scores(self, samples: NDArray[np.float32], words: list[str], clock: Clock | None = None) -> Scores:
        """Scores of the time classes, two rows a word, for (samples,) of 16 kHz mono audio.

        Raises:
            UserError: the audio is longer than the head's time range, the prompt is longer than every converted
                decoder, or a package gives numbers that are not finite or of another shape.
        """
        check_duration(samples, self.metadata.head_end_s)
        clock = clock or Clock()
        input_ids = self.prompt.ids(words, self.audio_tokens(samples.size) - PROMPT_MARKS)
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
        clock.lap("mel")
        self._encoder.load(self.metadata.dimensions.audio_tokens(mel.shape[1]))
        clock.lap(LOAD_STAGE)
        audio = self._encoder.encode(mel)
        clock.lap("audio_encoder")
        return audio

    def score_words(self, audio: NDArray[np.float32], words: list[str], clock: Clock) -> Scores:
        """Scores of the time classes, two rows a word, of `words` in (tokens, hidden) audio tokens.

        Raises:
            UserError: the prompt is longer than every converted decoder, or a package gives numbers that are not finite
                or of another shape.
        """
        input_ids = self.prompt.ids(words, len(audio))
        length = choose_length(input_ids.size, self.decoder_lengths)
        clock.lap("embedding")
        return self._score(audio, input_ids, length, clock)

    def _score(self, audio: NDArray[np.float32], input_ids: NDArray[np.int32], length: int, clock: Clock) -> Scores:
        """Scores at the `<timestamp>` of a prompt, (n,), with (tokens, hidden) audio, by the decoder for `length`."""
        self._decoder.load(length)
        clock.lap(LOAD_STAGE)
        hidden = self._decoder.embed(input_ids)  # (1, n, hidden)
        hidden[0, input_ids == self.metadata.token_ids.audio_pad] = audio
        clock.lap("embedding")
        timestamp_rows = np.flatnonzero(input_ids == self.metadata.token_ids.timestamp)
        return self._decoder.score(hidden, timestamp_rows, length, clock)

    @property
    def decoder_lengths(self) -> list[int]:
        """The prompt lengths of the converted decoders, in tokens, shortest first."""
        return self._decoder.lengths

    def audio_tokens(self, samples: int) -> int:
        """Prompt tokens of `samples` samples of 16 kHz audio: one for each frame, and a mark on each side."""
        frames = max(samples, MIN_SAMPLES) // HOP_SAMPLES
        return self.metadata.dimensions.audio_tokens(frames) + PROMPT_MARKS

    def word_tokens(self, words: list[str]) -> NDArray[np.int64]:
        """How many prompt tokens each word takes, with its two `<timestamp>`: (words,)."""
        return self.prompt.word_tokens(words)

    def fits(self, samples: int, words: list[str]) -> bool:
        """Whether the converted functions can take a clip of `samples` samples with these words in one pass."""
        audio_tokens = self.audio_tokens(samples)
        if not self._encoder.takes(audio_tokens - PROMPT_MARKS):
            return False
        return audio_tokens + int(self.word_tokens(words).sum()) <= self.decoder_lengths[-1]

    def word_times(self, scores: Scores, words: list[str]) -> list[WordTime]:
        """The times of `words` from two rows of scores a word; see `times.word_times`."""
        return word_times(scores.classes, words, self.metadata.timestamp_segment_ms)


def _encoder(layout: Layout, packages: Packages, mask: Mask) -> Encoder:
    if layout is COMPACT:
        return JointEncoder(packages)
    return MonolithicEncoder(packages) if layout is MONOLITHIC else SplitEncoder(packages, mask)
