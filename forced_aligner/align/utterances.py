"""The second pass: each utterance by itself, between two pauses, with just its words.

The first pass asks for many words in long pieces, and a word after a pause may begin with the pause there. An utterance
by itself has little silence around it, and no words of others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.audio import SAMPLE_RATE_HZ
from forced_aligner.align.confidence import bins_of, word_confidences
from forced_aligner.align.findings import HOLE, trust
from forced_aligner.align.walk import Walk

PAUSE_S = 0.3  # between two utterances
SHORTEST_S = 1.5  # an utterance that is shorter is joined to the next
LONGEST_S = 12.0
CONTEXT_S = 0.2  # of silence kept on each side
DOUBTFUL = 0.7  # confidence of a word that may belong to the utterance before or after
LEAST_GAIN = 0.5  # of trust, for words to move there
MOVED = 4  # most words that are tried there, beside none and all


@dataclass(frozen=True)
class Times:
    """Of all words; those that were not found have none.

    Attributes:
        milliseconds: (words, 2) start and end.
        confidences: (words,).
        found: (words,) whether a word is spoken.
    """

    milliseconds: NDArray[np.float64]
    confidences: NDArray[np.float64]
    found: NDArray[np.bool_]


@dataclass(frozen=True)
class _Utterance:
    """The `words`, by index, of the segments `first` to `last`."""

    first: int
    last: int
    words: NDArray[np.int64]
    milliseconds: NDArray[np.float64]
    confidences: NDArray[np.float64]

    @property
    def trust(self) -> float:
        """How much all its words speak for it."""
        return float(trust(self.confidences).sum())


class Utterances:
    """The words of a walk, gathered between pauses."""

    def __init__(self, walk: Walk, longest_s: float) -> None:
        self._walk, self._listener = walk, walk.listener
        self._longest = longest_s * SAMPLE_RATE_HZ
        self._silences = self._listener.silences
        self._bins = walk.bins.astype(np.float64)
        self._spoken = self._with_small_holes()

    def align(self) -> Times:
        """The times of the words, utterance by utterance."""
        groups = [self._aligned(first, last, words) for first, last, words in self._groups()]
        for index in range(len(groups) - 1):
            groups[index : index + 2] = self._shared_anew(groups[index], groups[index + 1])
        milliseconds = self._bins * self._listener.segment_ms
        confidences = self._walk.confidences.copy()
        for group in groups:
            milliseconds[group.words], confidences[group.words] = group.milliseconds, group.confidences
        return Times(milliseconds, confidences, self._spoken)

    def _shared_anew(self, left: _Utterance, right: _Utterance) -> list[_Utterance]:
        """Two utterances, of which one is doubtful: their words are shared in the way that is trusted most."""
        doubtful = [group.confidences.size and group.confidences.min() < DOUBTFUL for group in (left, right)]
        if not any(doubtful):
            return [left, right]
        words = np.concatenate([left.words, right.words])
        choices = [(left.trust + right.trust + LEAST_GAIN, 0, left, right)]
        border = left.words.size
        for first in sorted({0, words.size, *range(max(0, border - MOVED), min(words.size, border + MOVED) + 1)}):
            if first != border:
                sides = (
                    self._aligned(left.first, left.last, words[:first]),
                    self._aligned(right.first, right.last, words[first:]),
                )
                choices.append((sides[0].trust + sides[1].trust, -abs(first - border), *sides))
        _, _, *chosen = max(choices, key=lambda choice: choice[:2])
        return chosen

    def _with_small_holes(self) -> NDArray[np.bool_]:
        """The words that were found and those few between them, which get a share of the time there."""
        spoken, walk = self._walk.found.copy(), self._walk
        for before, after in walk.found_pairs():
            count = after - before - 1
            if 0 < count < HOLE and walk.found.any():
                start = walk.bins[before, 1] if before >= 0 else max(0, walk.bins[after, 0] - 8)
                end = walk.bins[after, 0] if after < walk.count else min(self._listener.length, start + 8)
                shares = np.linspace(start, max(start, end), count + 1)
                self._bins[before + 1 : after] = np.stack([shares[:-1], shares[1:]], 1)
                spoken[before + 1 : after] = True
        return spoken

    def _groups(self) -> list[tuple[int, int, NDArray[np.int64]]]:
        """Utterances: their first and last segment, and the indices of their words.

        A segment lies between two silences. A word belongs to the one in which it ends, since its start may be early.
        """
        words = np.flatnonzero(self._spoken)
        if not words.size:
            return []
        ends = np.maximum.accumulate(self._bins[words, 1]) * self._listener.bin_samples
        segments = np.searchsorted(self._silences.mean(1), ends - self._listener.bin_samples / 2)
        groups: list[tuple[int, int, NDArray[np.int64]]] = []
        for segment in np.unique(segments).tolist():
            here = words[segments == segment]
            if groups and groups[-1][1] == segment - 1 and self._belongs(groups[-1][0], segment):
                first, _, earlier = groups.pop()
                groups.append((first, segment, np.concatenate([earlier, here])))
            else:
                groups.append((segment, segment, here))
        return [group for group in groups if self._size(group[0], group[1]) <= self._longest]

    def _belongs(self, first: int, segment: int) -> bool:
        """Whether a segment belongs to the utterance from segment `first` to the one before it."""
        pause = float(np.diff(self._silences[segment - 1])[0])
        is_short = self._size(first, segment - 1) < SHORTEST_S * SAMPLE_RATE_HZ
        return (pause < PAUSE_S * SAMPLE_RATE_HZ or is_short) and self._size(
            first, segment
        ) <= LONGEST_S * SAMPLE_RATE_HZ

    def _bounds(self, first: int, last: int) -> tuple[int, int]:
        """The samples of some segments with a little silence on each side."""
        context = CONTEXT_S * SAMPLE_RATE_HZ
        start, end = 0.0, float(self._listener.samples.size)
        if first > 0:
            start = max(self._silences[first - 1].mean(), self._silences[first - 1, 1] - context)
        if last < len(self._silences):
            end = min(self._silences[last].mean(), self._silences[last, 0] + context)
        return int(start), int(end)

    def _size(self, first: int, last: int) -> int:
        start, end = self._bounds(first, last)
        return end - start

    def _aligned(self, first: int, last: int, words: NDArray[np.int64]) -> _Utterance:
        """The words of some segments."""
        if not words.size:
            return _Utterance(first, last, words, np.zeros((0, 2)), np.zeros(0))
        aligner, listener = self._listener.aligner, self._listener
        start, end = self._bounds(first, last)
        texts = [listener.words[index] for index in words]
        logits = aligner.score_words(listener.encoded(start, end), texts, listener.clock)
        times = aligner.word_times(logits, texts)
        confidences = word_confidences(logits, bins_of(times, listener.segment_ms))
        listener.clock.lap("head")
        offset_ms, end_ms = 1000 * start / SAMPLE_RATE_HZ, 1000 * end / SAMPLE_RATE_HZ
        found = [(word.start_time_ms + offset_ms, word.end_time_ms + offset_ms) for word in times]
        return _Utterance(first, last, words, np.minimum(np.array(found), end_ms), np.array(confidences))
