"""Faults of a transcript: edits of the list of its words, which keep the truth about each word."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from demo.clips import ClipMaker, Recipe

# What becomes of a word of the transcript.
SPOKEN = "spoken"  # it is spoken, and must be found
INSERTED = "inserted"  # nobody speaks it
REPLACED = "replaced"  # another word is spoken in its place
REPEATED = "repeated"  # of the second copy of a passage that is spoken once: one copy may be found, or a part of each
MOVED = "moved"  # it is spoken, but elsewhere, so it cannot be found in order: what it gets is not judged
# Faults that leave no word with a label of its own.
MISSING, LEFT_OUT, SHORT_INSERTIONS = "missing", "left out", "short insertions"

WHOLE_SENTENCES = 15  # words from which on a fault begins where a sentence does
SHORT_INSERTION_WORDS = (1, 5)
WORDS_PER_SHORT_INSERTION = 40
LEAST_MOVE_WORDS = 30
COMMAS = 0.15


@dataclass(frozen=True)
class Edit:
    """One fault.

    Attributes:
        kind: `inserted`, `missing`, `repeated` or `moved`, of a run of words; `replaced`, `left out` or `short
            insertions`, of single words all over; or a sound that is put into the audio, see `demo/sounds.py`.
        amount: words of a run; the share of all words, of `replaced` and `left out`; the seconds of a sound.
        at: where, from 0 at the start to 1 at the end.
    """

    kind: str
    amount: float = 0.0
    at: float = 0.0


@dataclass(frozen=True)
class Entry:
    """A word of a transcript.

    Attributes:
        token: as written, with punctuation.
        spoken: the spoken word that it stands for, by its number; None where there is none.
        label: what becomes of it.
    """

    token: str
    spoken: int | None
    label: str = SPOKEN

    @property
    def begins_sentence(self) -> bool:
        """Whether it is written as the first word of a sentence."""
        return self.token[0].isupper()


class Editor:
    """A transcript on its way to being wrong."""

    def __init__(self, tokens: list[str], seed: int) -> None:
        self.entries = [Entry(token, number) for number, token in enumerate(tokens)]
        self._seed, self._rng = seed, np.random.default_rng((seed, 3))

    def apply(self, edits: list[Edit]) -> None:
        """Make all faults: first those all over, then the runs, from the last, so that none moves the next one's place.

        Raises:
            ValueError: a run is longer than its transcript.
        """
        for edit in edits:
            if edit.kind in self._all_over:
                self._all_over[edit.kind](edit.amount)
        words = len(self.entries)
        for edit in sorted((edit for edit in edits if edit.kind in self._runs), key=lambda edit: -edit.at):
            count = int(edit.amount)
            last = words if edit.kind == INSERTED else words - count
            if last < 0:
                raise ValueError(f"{edit} in a transcript of {words} words")
            begin = round(edit.at * last)
            is_snapped = count >= WHOLE_SENTENCES and begin < last
            self._runs[edit.kind](self._sentence_start(begin) if is_snapped else begin, count)

    @property
    def _runs(self) -> dict[str, Callable[[int, int], None]]:
        return {INSERTED: self._insert, MISSING: self._drop, REPEATED: self._repeat, MOVED: self._move}

    @property
    def _all_over(self) -> dict[str, Callable[[float], None]]:
        return {REPLACED: self._replace, LEFT_OUT: self._leave_out, SHORT_INSERTIONS: self._insert_often}

    @cached_property
    def _maker(self) -> ClipMaker:
        return ClipMaker(self._seed + 1)

    def _sentence_start(self, index: int) -> int:
        """The last start of a sentence up to `index`."""
        while index > 0 and not self.entries[index].begins_sentence:
            index -= 1
        return index

    def _foreign(self, count: int) -> list[Entry]:
        """Words that nobody speaks, in sentences."""
        _, text = self._maker.text(Recipe(count, 0, COMMAS))
        return [Entry(token, None, INSERTED) for token in text.split()]

    def _insert(self, begin: int, count: int) -> None:
        self.entries[begin:begin] = self._foreign(count)

    def _drop(self, begin: int, count: int) -> None:
        del self.entries[begin : begin + count]

    def _repeat(self, begin: int, count: int) -> None:
        passage = self.entries[begin : begin + count]
        self.entries[begin + count : begin + count] = [Entry(each.token, each.spoken, REPEATED) for each in passage]

    def _move(self, begin: int, count: int) -> None:
        """Exchange a passage and a longer one: the longer one can be found in order, and the passage cannot."""
        longer = count + max(count, LEAST_MOVE_WORDS)
        passage = [Entry(entry.token, entry.spoken, MOVED) for entry in self.entries[begin : begin + count]]
        if self._rng.random() < 0.5:  # forward, else backward
            after = self.entries[begin + count : begin + count + longer]
            self.entries[begin : begin + count + len(after)] = [*after, *passage]
        else:
            before = self.entries[max(0, begin - longer) : begin]
            self.entries[begin - len(before) : begin + count] = [*passage, *before]

    def _drawn(self, share: float) -> list[int]:
        """A share of all words, from the last."""
        words = len(self.entries)
        return sorted(self._rng.choice(words, round(share * words), replace=False).tolist(), reverse=True)

    def _replace(self, share: float) -> None:
        drawn = self._drawn(share)
        for index, other in zip(drawn, self._foreign(2 * len(drawn))[::2], strict=True):
            if plain(other.token) == plain(self.entries[index].token):
                continue
            self.entries[index] = Entry(other.token, None, REPLACED)

    def _leave_out(self, share: float) -> None:
        for index in self._drawn(share):
            del self.entries[index]

    def _insert_often(self, _: float) -> None:
        for index in self._drawn(1 / WORDS_PER_SHORT_INSERTION):
            self._insert(index, int(self._rng.integers(*SHORT_INSERTION_WORDS)))


def plain(token: str) -> str:
    """A word without the punctuation of its sentence, in lower case."""
    return token.strip(".,").lower()
