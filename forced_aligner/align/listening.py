"""Any words of a transcript, asked for in any stretch of a recording."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.audio import SAMPLE_RATE_HZ
from forced_aligner.align.chain import Aligner
from forced_aligner.align.clock import Clock
from forced_aligner.align.confidence import word_confidences
from forced_aligner.align.findings import Findings, judge_words
from forced_aligner.align.silences import SILENCE_S, find_silences

KEPT = 4  # stretches whose audio tokens are kept


class Listener:
    """One recording and its words. Times are in bins of the head, 80 ms, from the start of the recording.

    Attributes:
        aligner: the model.
        samples: (samples,) of 16 kHz audio.
        words: of the transcript.
        length: bins of the recording.
        clock: the time of each stage.
    """

    def __init__(self, aligner: Aligner, samples: NDArray[np.float32], words: Sequence[str]) -> None:
        self.aligner, self.samples, self.words = aligner, samples, words
        self.clock = Clock()
        self.segment_ms = aligner.metadata.timestamp_segment_ms
        self.bin_samples = round(self.segment_ms * SAMPLE_RATE_HZ / 1000)
        self.length = -(-samples.size // self.bin_samples)
        self._tokens = aligner.word_tokens(list(words))
        self._audio: OrderedDict[tuple[int, int], NDArray[np.float32]] = OrderedDict()

    @cached_property
    def silences(self) -> NDArray[np.int64]:
        """(silences, 2) first and last sample of each; see `find_silences`."""
        return find_silences(self.samples, SILENCE_S)

    def bins(self, seconds: float) -> int:
        """Whole bins of a duration."""
        return int(seconds * 1000 / self.segment_ms)

    def seconds(self, bins: float) -> float:
        """The duration of some bins."""
        return bins * self.segment_ms / 1000

    def hear(self, start: int, end: int, words: Sequence[int] | NDArray[np.int64]) -> Findings:
        """What the head says of these words, by index, in the bins from `start` to `end`: those that fit are asked for.

        The times are those of the recording.
        """
        first, last = start * self.bin_samples, min(min(end, self.length) * self.bin_samples, self.samples.size)
        heard = self.hear_samples(first, last, words)
        heard.bins[:] += start
        return heard

    def hear_samples(self, start: int, end: int, words: Sequence[int] | NDArray[np.int64]) -> Findings:
        """The same from sample `start` to `end`; the times are those of this stretch."""
        fitting = self.fitting(start, end, words)
        if fitting == 0:
            return judge_words(np.zeros((0, 2), np.int64), np.zeros(0))
        audio = self.encoded(start, end)
        scores = self.aligner.score_words(audio, [self.words[index] for index in words[:fitting]], self.clock)
        bins = scores.classes.reshape(-1, 2)
        confidences = np.array(word_confidences(scores, bins))
        self.clock.lap("head")
        return judge_words(bins, confidences)

    def fitting(self, start: int, end: int, words: Sequence[int] | NDArray[np.int64]) -> int:
        """How many of the words fit in the longest decoder with the audio from sample `start` to `end`."""
        room = self.aligner.decoder_lengths[-1] - self.aligner.audio_tokens(end - start)
        return int(np.searchsorted(self._tokens[np.asarray(words, int)].cumsum(), room, side="right"))

    def encoded(self, start: int, end: int) -> NDArray[np.float32]:
        """(tokens, hidden) from sample `start` to `end`; the last are kept, since many words are asked for in one."""
        key = (start, end)
        if key not in self._audio:
            while len(self._audio) >= KEPT:
                self._audio.popitem(last=False)
            self._audio[key] = self.aligner.encode(self.samples[start:end], self.clock)
        self._audio.move_to_end(key)
        return self._audio[key]
