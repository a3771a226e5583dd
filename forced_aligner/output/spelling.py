"""The transcript's own words beside the aligner's: spelling and punctuation are kept, and every word in order."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from itertools import pairwise

from forced_aligner.base.errors import UserError

OPENING = {"Ps", "Pi"}  # Unicode categories of opening brackets and quotes: they belong to the word after them


@dataclass(frozen=True)
class WrittenWord:
    """A stretch of the transcript as it was written.

    Attributes:
        text: its letters and its punctuation.
        word: the index of the aligner's word in it; None where it has none, as a dash between spaces.
        no_space_before: whether no space stands before it.
    """

    text: str
    word: int | None
    no_space_before: bool


def written_words(transcript: str, words: list[str]) -> list[WrittenWord]:
    """Cut a transcript into a stretch for each word, with its punctuation, and stretches without a word.

    Args:
        transcript: as the user wrote it.
        words: the aligner's words, each a run of the transcript's letters and digits in order.

    Raises:
        UserError: the words are not the transcript's, which a tokenizer that rewrites letters could cause.
    """
    spans = _spans(transcript, words)
    cuts = [0]
    for (_, end), (start, _) in pairwise(spans):
        cuts.append(end + _cut(transcript[end:start]))
    cuts.append(len(transcript))
    return [
        stretch
        for index, (begin, end) in enumerate(pairwise(cuts))
        for stretch in _split_stretch(transcript, begin, end, spans[index], index)
    ]


def _spans(transcript: str, words: list[str]) -> list[tuple[int, int]]:
    """First character and last + 1 of each word.

    nagisa, for Japanese, writes the compatible letter (NFKC) for a full-width or half-width one: where the words are
    not found as they are, they are looked for so.
    """
    as_written = [(letter, place, place + 1) for place, letter in enumerate(transcript)]
    spans, _ = _find(as_written, words)
    if len(spans) < len(words):
        spans, missing = _find(_compatible(transcript), words)
        if missing is not None:
            raise UserError(f"the word {missing!r} is not spelled so in the transcript: write it as it is read")
    return spans


def _find(letters: list[tuple[str, int, int]], words: list[str]) -> tuple[list[tuple[int, int]], str | None]:
    """The spans of the words that are there in order, and the first one that is not."""
    spans: list[tuple[int, int]] = []
    rest = iter(letters)
    for word in words:
        places = [next(((start, end) for letter, start, end in rest if letter == wanted), None) for wanted in word]
        if places[0] is None or places[-1] is None:
            return spans, word
        spans.append((places[0][0], places[-1][1]))
    return spans, None


def _compatible(transcript: str) -> list[tuple[str, int, int]]:
    """The letters of the transcript in NFKC, each with the first character and last + 1 that it was made from."""
    starts = [place for place, letter in enumerate(transcript) if not (place and _joins(letter))]
    return [
        (letter, start, end)
        for start, end in pairwise([*starts, len(transcript)])
        for letter in unicodedata.normalize("NFKC", transcript[start:end])
    ]


def _joins(letter: str) -> bool:
    """Whether NFKC may compose a character with the one before it, as it does a half-width voicing mark."""
    return unicodedata.combining(unicodedata.normalize("NFKC", letter)[0]) != 0


def _cut(between: str) -> int:
    """Where the text between two words is cut: after its last space, else before its opening brackets and quotes."""
    for index in range(len(between), 0, -1):
        if between[index - 1].isspace():
            return index
    index = len(between)
    while index and unicodedata.category(between[index - 1]) in OPENING:
        index -= 1
    return index


def _split_stretch(transcript: str, begin: int, end: int, span: tuple[int, int], word: int) -> list[WrittenWord]:
    """The stretch that holds the word, and what stands alone between spaces before and after it."""
    start, stop = span
    while start > begin and not transcript[start - 1].isspace():
        start -= 1
    while stop < end and not transcript[stop].isspace():
        stop += 1
    no_space_before = start > 0 and not transcript[start - 1].isspace()
    before = [WrittenWord(piece, None, False) for piece in transcript[begin:start].split()]
    after = [WrittenWord(piece, None, False) for piece in transcript[stop:end].split()]
    return [*before, WrittenWord(transcript[start:stop], word, no_space_before), *after]
