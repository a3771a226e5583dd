"""Where a piece of a long recording may be cut: in a gap between two words that are surely spoken in it.

The model gets more words than are spoken in a piece. In this model the audio precedes the text and the decoder is
causal, so the surplus words do not change the others by a bit. The surplus words themselves are not in the audio: their
times come out of order and with a low confidence. This tells them from the words inside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# How these were chosen was not recorded; benchmarks/long_recording.py measures what they give.
LIKELY = 0.5  # least confidence at which a word in order counts as found
SURE = 0.8  # the same for the last words found, which no later word confirms
NEIGHBOURS = 2  # words found in a row on each side of a cut
EVIDENCE = 6  # least excess of found words over others inside; by chance, three or four words come in order


@dataclass(frozen=True)
class Cut:
    """A place to cut a piece: it keeps its first `words`, and the next piece starts at its time bin `at`."""

    words: int
    at: int


@dataclass(frozen=True)
class Findings:
    """What the head says of the words that were given to a piece.

    Attributes:
        bins: (words, 2) time bin of start and end, as the head chose them, before any repair.
        found: (words,) whether a word is in order and likely.
        confidences: (words,) see `confidence.word_confidences`.
        length: time bins of the piece.
    """

    bins: NDArray[np.int64]
    found: NDArray[np.bool_]
    confidences: NDArray[np.float64]
    length: int

    @property
    def inside(self) -> int:
        """How many words lie inside: the prefix in which the excess of found words over others is largest."""
        return int(self._balance.argmax())

    @property
    def has_evidence(self) -> bool:
        """Whether enough words were found inside to rule out chance."""
        return bool(self._balance.max() >= EVIDENCE)

    @property
    def _balance(self) -> NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(np.where(self.found, 1, -1))])


def judge_words(bins: NDArray[np.int64], confidences: NDArray[np.float64], length: int) -> Findings:
    """Mark the words that were found: the chain of likely words in order of time with the highest total confidence.

    Args:
        bins: (words, 2) time bin of start and end.
        confidences: (words,).
        length: bins of the piece.
    """
    # Words without a length do not count: surplus words may all get one time, with a high confidence.
    usable = (confidences >= LIKELY) & (bins[:, 0] < bins[:, 1])
    best, before = np.where(usable, confidences, 0.0), np.full(len(bins), -1)
    for index in np.flatnonzero(usable):
        earlier = usable[:index] & (bins[:index, 1] <= bins[index, 0])
        if earlier.any():
            before[index] = np.where(earlier, best[:index], -1.0).argmax()
            best[index] += best[before[index]]
    found = np.zeros(len(bins), bool)
    index = int(best.argmax()) if usable.any() else -1
    while index >= 0:
        found[index] = True
        index = int(before[index])
    return Findings(bins, found, confidences, length)


def all_found(piece: Findings, margin: int) -> bool:
    """Whether all words given to the piece lie inside: the last one was found, and not at the piece's end."""
    count = len(piece.bins)
    return piece.inside == count and _ends_surely(piece, count - 1) and piece.bins[-1, 1] <= piece.length - margin


def possible_cuts(piece: Findings, margin: int) -> list[Cut]:
    """The places to cut a piece, best first: long gaps in the later half of what was found.

    Args:
        piece: what was found in it; more words of the transcript follow.
        margin: bins at the piece's end that are not trusted, since a word may be cut off there.
    """
    inside = piece.inside
    if inside == 0:
        return []
    places = [index for index in range(inside) if _is_gap(piece, index, margin)]
    ends, starts = piece.bins[:, 1], piece.bins[1:, 0]  # the gap after word i is from ends[i] to starts[i]
    later = [index for index in places if ends[index] >= ends[places[-1]] / 2]
    ranked = sorted(later, key=lambda index: (starts[index] - ends[index], index), reverse=True)
    middles = [Cut(index + 1, int(starts[index] + ends[index]) // 2) for index in ranked]
    return [*_before_a_pause(piece), *middles]


def _is_gap(piece: Findings, index: int, margin: int) -> bool:
    """Whether the words around the gap after word `index` were found, away from the piece's end."""
    after = index + 1 + NEIGHBOURS
    return (
        after <= piece.inside
        and bool(piece.found[max(0, index + 1 - NEIGHBOURS) : after].all())
        and bool(piece.bins[after - 1, 1] <= piece.length - margin)
    )


def _before_a_pause(piece: Findings) -> list[Cut]:
    """A cut after the last word inside, if none of the given words lies in the later half of the piece."""
    last = piece.inside - 1
    speaks_late = piece.bins[last, 1] > piece.length / 2
    if speaks_late or piece.inside == len(piece.bins) or not _ends_surely(piece, last):
        return []
    return [Cut(last + 1, int(piece.bins[last, 1]) + 1)]


def _ends_surely(piece: Findings, last: int) -> bool:
    """Whether the words up to `last`, which no later word confirms, are sure."""
    tail = slice(max(0, last + 1 - NEIGHBOURS), last + 1)
    return bool(piece.found[tail].all() and piece.confidences[tail].min() >= SURE)


def shared_words(piece: Findings, cut: Cut, following: Findings, tolerance: int) -> int | None:
    """How many words after the cut were found in both pieces at the same time; None if the pieces disagree."""
    both = [
        (index, index - cut.words)
        for index in range(cut.words, min(cut.words + NEIGHBOURS, piece.inside))
        if piece.found[index] and index - cut.words < len(following.bins)
    ]
    same = [
        following.found[new] and abs(following.bins[new] + cut.at - piece.bins[old]).max() <= tolerance
        for old, new in both
    ]
    return len(both) if all(same) else None
