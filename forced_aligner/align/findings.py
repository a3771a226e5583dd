"""Which of the words that were asked for are spoken in a piece of audio.

In this model the audio precedes the text and the decoder is causal, so words that are not spoken do not change those
before them by a bit. They themselves come out of order or with a low confidence, and they ruin what follows: three or
four in a row are survived, eight are not (measured on the demo aligner, `problems_encountered.md`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

LIKELY = 0.5  # least confidence at which a word in order counts as found
EVIDENCE = 6  # least excess of found words over others; by chance, three or four words come in order
SURE = 0.7  # least mean confidence of found words that are taken
HOLE = 3  # so many words in a row that were not found are not spoken, or it must be shown that they are


@dataclass(frozen=True)
class Findings:
    """What the head says of the words that were asked for in a piece.

    Attributes:
        bins: (words, 2) time bin of start and end, as the head chose them, before any repair.
        found: (words,) whether a word is in order and likely.
        confidences: (words,) see `confidence.word_confidences`.
    """

    bins: NDArray[np.int64]
    found: NDArray[np.bool_]
    confidences: NDArray[np.float64]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(words,) whether a word is likely and has a length: surplus words may all get one time, and be sure of it."""
        return (self.confidences >= LIKELY) & (self.bins[:, 0] < self.bins[:, 1])

    @property
    def inside(self) -> int:
        """How many words lie inside: the prefix in which the excess of found words over others is largest."""
        return int(self._balance.argmax())

    @property
    def excess(self) -> int:
        """The excess of found words over others in that prefix."""
        return int(self._balance.max())

    @property
    def score(self) -> float:
        """The trust in the words found in that prefix, less the number of the others."""
        found = self.found[: self.inside]
        return float(trust(self.confidences[: self.inside][found]).sum()) - int((~found).sum())

    @property
    def before_hole(self) -> int:
        """How many words lie inside before the first `HOLE` words in a row that were not found."""
        run = 0
        for index in range(self.inside):
            run = 0 if self.found[index] else run + 1
            if run == HOLE:
                return index + 1 - HOLE
        return self.inside

    @property
    def longest_hole(self) -> int:
        """The most words in a row that were not found."""
        return max((len(list(run)) for found, run in groupby(self.found.tolist()) if not found), default=0)

    def is_sure(self, count: int) -> bool:
        """Whether the first `count` words were found so clearly that it is not by chance."""
        found = self.found[:count]
        return bool(found.any()) and float(self.confidences[:count][found].mean()) > SURE

    @property
    def _balance(self) -> NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(np.where(self.found, 1, -1))])


def trust(confidences: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much a word speaks for a choice, 0 to 1. Words heard by mistake often have 0.8 to 0.95, right ones 0.99."""
    return confidences**4


def judge_words(bins: NDArray[np.int64], confidences: NDArray[np.float64]) -> Findings:
    """Mark the words that were found: the chain of likely words in order of time with the highest total confidence.

    Args:
        bins: (words, 2) time bin of start and end.
        confidences: (words,).
    """
    heard = Findings(bins, np.zeros(len(bins), bool), confidences)
    usable = heard.usable
    best, before = np.where(usable, confidences, 0.0), np.full(len(bins), -1)
    for index in np.flatnonzero(usable):
        earlier = usable[:index] & (bins[:index, 1] <= bins[index, 0])
        if earlier.any():
            before[index] = np.where(earlier, best[:index], -1.0).argmax()
            best[index] += best[before[index]]
    index = int(best.argmax()) if usable.any() else -1
    while index >= 0:
        heard.found[index] = True
        index = int(before[index])
    return heard
