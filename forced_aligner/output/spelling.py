"""Map the aligner's cleaned words back to the transcript, whose spelling and punctuation are kept."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import pairwise

from forced_aligner.base.errors import UserError
from forced_aligner.data.marks import MarkKind
from forced_aligner.data.spoken import SpokenText

OPENING = {"Ps", "Pi"}  # Unicode categories of opening brackets and quotes, which belong to the word after them


@dataclass(frozen=True)
class WrittenWord:
    """A stretch of the transcript as it was written.

    Attributes:
        text: its letters and its punctuation.
        word: the index of the aligner's word in it; None where it has none, such as a dash between spaces.
        no_space_before: whether it follows the stretch before it without a space.
        mark: what it is, if it is not spoken, such as a speaker's label.
        begins_line: whether it is the first of its line in the transcript.
    """

    text: str
    word: int | None
    no_space_before: bool
    mark: MarkKind | None = None
    begins_line: bool = False


def written_words(transcript: str, words: list[str], spoken: SpokenText | None = None) -> list[WrittenWord]:
    """Cut a transcript into stretches: one for each word with its punctuation, and some without a word.

    Together, the stretches have every character of the transcript but white space.

    Args:
        transcript: as the user wrote it.
        words: the aligner's words; their letters and digits occur in the transcript in this order.
        spoken: what the aligner got of the transcript; by default all. Each mark of it is one stretch.

    Raises:
        UserError: a word is not in the transcript; a tokenizer that rewrites letters can cause this.
    """
    spoken = spoken or SpokenText(transcript)
    spans = list(enumerate(_spans(spoken.text, words)))
    stretches: list[WrittenWord] = []
    begin = first = 0
    for mark in spoken.marks:
        after = bisect_right(spans, mark.start, lo=first, key=lambda found: found[1][0])
        stretches += _between_marks(transcript, begin, mark.start, spans[first:after])
        stretches.append(WrittenWord(transcript[mark.start : mark.end], None, False, mark.kind))
        begin, first = mark.end, after
    stretches += _between_marks(transcript, begin, len(transcript), spans[first:])
    return _with_lines(transcript, stretches)


def _with_lines(transcript: str, stretches: list[WrittenWord]) -> list[WrittenWord]:
    """The stretches, each with whether it begins a line: what stands between two is white space."""
    found: list[WrittenWord] = []
    at = 0
    for stretch in stretches:
        start = transcript.index(stretch.text, at)
        begins = not found or len(f"{transcript[at:start]}.".splitlines()) > 1
        found.append(replace(stretch, begins_line=begins))
        at = start + len(stretch.text)
    return found


def _between_marks(
    transcript: str, begin: int, end: int, spans: list[tuple[int, tuple[int, int]]]
) -> list[WrittenWord]:
    """The stretches of `transcript[begin:end]`, whose words have the `spans`, each with the word's index."""
    if not spans:
        return [WrittenWord(piece, None, False) for piece in transcript[begin:end].split()]
    cuts = [begin]
    for (_, (_, stop)), (_, (start, _)) in pairwise(spans):
        cuts.append(stop + _cut(transcript[stop:start]))
    cuts.append(end)
    return [
        stretch
        for (word, span), (start, stop) in zip(spans, pairwise(cuts), strict=True)
        for stretch in _split_stretch(transcript, start, stop, span, word)
    ]


def _spans(transcript: str, words: list[str]) -> list[tuple[int, int]]:
    """(start, end) of each word in the transcript, as characters; the end is exclusive.

    nagisa, the Japanese tokenizer, replaces full-width and half-width letters by their compatible forms (NFKC). Where
    the words do not occur as they are, they are therefore looked for in the transcript's NFKC form.
    """
    as_written = [(letter, index, index + 1) for index, letter in enumerate(transcript)]
    spans, _ = _find(as_written, words)
    if len(spans) < len(words):
        spans, missing = _find(_compatible(transcript), words)
        if missing is not None:
            raise UserError(f"the word {missing!r} is not spelled so in the transcript: write it as it is read")
    return spans


def _find(letters: list[tuple[str, int, int]], words: list[str]) -> tuple[list[tuple[int, int]], str | None]:
    """The spans of the words up to the first that does not follow in order, and that word; None if all are found.

    Args:
        letters: the transcript, as (letter, start, end).
        words: the words to find.
    """
    spans: list[tuple[int, int]] = []
    remaining = iter(letters)
    for word in words:
        letter_spans = [
            next(((start, end) for letter, start, end in remaining if letter == expected), None) for expected in word
        ]
        if letter_spans[0] is None or letter_spans[-1] is None:
            return spans, word
        spans.append((letter_spans[0][0], letter_spans[-1][1]))
    return spans, None


def _compatible(transcript: str) -> list[tuple[str, int, int]]:
    """The transcript's letters in NFKC, each with the (start, end) of the characters that it was made from."""
    starts = [index for index, letter in enumerate(transcript) if not (index and _joins(letter))]
    return [
        (letter, start, end)
        for start, end in pairwise([*starts, len(transcript)])
        for letter in unicodedata.normalize("NFKC", transcript[start:end])
    ]


def _joins(letter: str) -> bool:
    """Whether NFKC may merge a character with the one before it, such as a half-width voicing mark."""
    return unicodedata.combining(unicodedata.normalize("NFKC", letter)[0]) != 0


def _cut(between: str) -> int:
    """Where to cut the text between two words: after its last space, else before its opening brackets and quotes."""
    for index in range(len(between), 0, -1):
        if between[index - 1].isspace():
            return index
    index = len(between)
    while index and unicodedata.category(between[index - 1]) in OPENING:
        index -= 1
    return index


def _split_stretch(transcript: str, begin: int, end: int, span: tuple[int, int], word: int) -> list[WrittenWord]:
    """The stretch of `transcript[begin:end]` that has the word, and the stretches without a word around it."""
    start, stop = span
    while start > begin and not transcript[start - 1].isspace():
        start -= 1
    while stop < end and not transcript[stop].isspace():
        stop += 1
    no_space_before = start > 0 and not transcript[start - 1].isspace()
    before = [WrittenWord(piece, None, False) for piece in transcript[begin:start].split()]
    after = [WrittenWord(piece, None, False) for piece in transcript[stop:end].split()]
    return [*before, WrittenWord(transcript[start:stop], word, no_space_before), *after]
