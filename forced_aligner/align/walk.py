"""The first pass over a recording: from left to right, which words are spoken, and about when.

A piece of audio is asked for more words than are spoken in it. Those that were found up to the first hole are kept, and
the next piece begins where the last of them ends. Where no words are found, `search` looks for the place at which the
transcript and the audio meet again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.findings import EVIDENCE, HOLE, Findings
from forced_aligner.align.listening import Listener

SURPLUS = 2.0  # words asked for in a piece, relative to the average of the remaining recording in the same time
LEAST_PER_S = 2.0  # least words per second asked for, if enough are left
MARGIN_S = 1.0  # not trusted at a piece's end, where a word may be cut off: one convolution chunk
UNCONFIRMED = 2  # words at the end of what was found, which no later word confirms
SHORTEST_S = 0.5  # of audio in which words may be
LEAST_WORD_S = 0.08  # of audio for each word that is looked for between two others
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """Where the walk goes on: the time bin `at`, and the index of the next `word`."""

    at: int
    word: int


class Walk:
    """What is known of each word so far.

    Attributes:
        found: (words,) whether a word is spoken.
        bins: (words, 2) about when, for those that are.
        confidences: (words,).
    """

    def __init__(self, listener: Listener, piece_length: int) -> None:
        self.listener, self.piece_length = listener, piece_length
        self.count = len(listener.words)
        self.found = np.zeros(self.count, bool)
        self.bins = np.zeros((self.count, 2), np.int64)
        self.confidences = np.zeros(self.count)

    def run(self, find_again: Callable[[Walk, Place], Place | None], progress: Progress) -> None:
        """Walk to the end of the words or of the audio; `find_again` is asked where no words are found."""
        place: Place | None = Place(0, 0)
        shortest = self.listener.bins(SHORTEST_S)
        while place and place.word < self.count and self.listener.length - place.at > shortest:
            place = self.step(place, self.piece_length) or find_again(self, place)
            at_s = self.listener.seconds(place.at if place else self.listener.length)
            progress(f"{at_s:.0f} of {self.listener.seconds(self.listener.length):.0f} s, {self.found.sum()} words")
        self._fill()

    def step(self, place: Place, length: int) -> Place | None:
        """Keep the words that are found from a place on, and say where to go on; None where none are found."""
        end = min(place.at + length, self.listener.length)
        words = range(place.word, place.word + self._asked(place, end))
        heard = self.listener.hear(place.at, end, words)
        if heard.found.any() and (skipped := int(heard.found.argmax())):
            # Words that are not spoken may stand before: ask again without them.
            without = self.listener.hear(place.at, end, words[skipped:])
            if without.inside >= heard.inside - skipped and self._is_enough(without, words[skipped:]):
                return self._keep(without, words[skipped:], end)
        return self._keep(heard, words, end) if self._is_enough(heard, words) else None

    def mark(self, words: NDArray[np.int64], heard: Findings) -> None:
        """Keep what was heard of `words`, by index."""
        found = np.flatnonzero(heard.found[: words.size])
        kept = words[found]
        self.found[kept] = True
        self.bins[kept], self.confidences[kept] = heard.bins[found], heard.confidences[found]

    def forget(self, first: int, last: int) -> None:
        """Take back what is known of the words from `first` to before `last`."""
        self.found[first:last] = False

    def found_pairs(self) -> list[tuple[int, int]]:
        """Each two found words that follow each other, by index; -1 is before the first, and `count` after the last."""
        return list(pairwise([-1, *np.flatnonzero(self.found).tolist(), self.count]))

    def _asked(self, place: Place, end: int) -> int:
        """How many words are asked for: more than are spoken."""
        left, audio_left = self.count - place.word, self.listener.length - place.at
        per_bin = max(SURPLUS * left / audio_left, LEAST_PER_S * self.listener.seconds(1))
        return min(left, math.ceil(per_bin * (end - place.at)) + EVIDENCE)

    def _is_enough(self, heard: Findings, words: range) -> bool:
        """Whether what was found before the first hole is more than chance; at the words' end, a few are enough."""
        count = heard.before_hole
        excess = 2 * int(heard.found[:count].sum()) - count
        is_end = count == len(words) and words.stop == self.count
        return heard.is_sure(count) and (excess >= EVIDENCE or (is_end and 2 * excess > count))

    def _keep(self, heard: Findings, words: range, end: int) -> Place | None:
        count, is_last = heard.before_hole, end == self.listener.length
        if not is_last:
            latest = end - self.listener.bins(MARGIN_S)
            while count and (not heard.found[count - 1] or heard.bins[count - 1, 1] > latest):
                count -= 1
        if count < len(heard.found) or words.stop < self.count:
            count -= UNCONFIRMED
        while count > 0 and not heard.found[count - 1]:
            count -= 1
        if count <= 0:
            return None
        self.mark(np.arange(words.start, words.start + count), heard)
        return Place(int(heard.bins[count - 1, 1]), words.start + count)

    def _fill(self) -> None:
        """Look for words between others in the audio that is left between them."""
        for before, after in self.found_pairs():
            words = range(before + 1, after)
            start = int(self.bins[before, 1]) if before >= 0 else 0
            end = int(self.bins[after, 0]) if after < self.count else self.listener.length
            if not words or self.listener.seconds(end - start) < max(LEAST_WORD_S * len(words), 3 * LEAST_WORD_S):
                continue
            if len(words) < HOLE and self.listener.seconds(end - start) < SHORTEST_S:
                continue
            heard = self.listener.hear(max(0, start - 2), min(end, start + self.piece_length) + 2, words)
            count = heard.before_hole
            is_all = count == len(words)
            if heard.is_sure(count) and (heard.excess >= EVIDENCE or is_all):
                np.clip(heard.bins, start, end, out=heard.bins)
                self.mark(np.arange(words.start, words.start + count), heard)
