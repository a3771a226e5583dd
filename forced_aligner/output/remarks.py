"""What the user should know of a result: words that were not found, sound without words, doubtful and weak words."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from itertools import groupby

from forced_aligner.base.errors import IncompleteError
from forced_aligner.output.records import NotFound, TimedFile, TimedWord, joined

SHOWN_RANGES = 10  # most ranges of a kind that are told; JSON has all of them
QUOTED_WORDS = 2  # at each end of a range


@dataclass(frozen=True)
class _Range:
    """Words in a row, of which the first has the number `first`, counted from 1."""

    first: int
    words: list[TimedWord]

    @property
    def last(self) -> int:
        return self.first + len(self.words) - 1

    @property
    def start_s(self) -> float:
        return (self.words[0].start_time_ms or 0.0) / 1000

    @property
    def end_s(self) -> float:
        return (self.words[-1].end_time_ms or 0.0) / 1000

    @property
    def numbers(self) -> str:
        return f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"

    @property
    def name(self) -> str:
        return f"word{'s' if len(self.words) > 1 else ''} {self.numbers}"

    @property
    def quote(self) -> str:
        if len(self.words) <= 2 * QUOTED_WORDS:
            return f'"{joined(self.words)[0]}"'
        return f'"{joined(self.words[:QUOTED_WORDS])[0]}" ... "{joined(self.words[-QUOTED_WORDS:])[0]}"'


def _ranges(words: list[TimedWord], kind_of: Callable[[TimedWord], Hashable]) -> list[_Range]:
    """The ranges of words that are of one kind; a word whose kind is false is in none."""
    ranges = []
    for kind, items in groupby(enumerate(words, 1), lambda item: kind_of(item[1])):
        numbered = list(items)
        ranges += [_Range(numbered[0][0], [word for _, word in numbered])] if kind else []
    return ranges


def not_found_ranges(words: list[TimedWord]) -> list[NotFound]:
    """The ranges of words that were not found, among those with a letter or a digit."""
    first_s = next((word.start_time_ms / 1000 for word in words if word.start_time_ms is not None), None)
    found = []
    for missing in _ranges(words, lambda word: word.status):
        before = words[missing.first - 2] if missing.first > 1 else None
        near_s = first_s if before is None else (before.end_time_ms or 0.0) / 1000
        found.append(NotFound(first_word=missing.first, last_word=missing.last, near_s=near_s))
    return found


def remarks(file: TimedFile, min_confidence: float) -> list[str]:
    """What the user should know of the words and of the sound between them, each with its place.

    Words that were not found are told where others were found.
    """
    found = [
        f"no words from {part.start_s:.1f} to {part.end_s:.1f} s, where there is sound" for part in file.untranscribed
    ]
    if not file.timed:
        return found
    return [
        *_missing(file),
        *_first(found, "stretches of sound without words"),
        *_doubtful(file),
        *_weak(file, min_confidence),
        *_digits(file),
    ]


def _missing(file: TimedFile) -> list[str]:
    lines = []
    for part in file.not_found:
        missing = _Range(part.first_word, file.spoken[part.first_word - 1 : part.last_word])
        was = "was" if len(missing.words) == 1 else "were"
        lines.append(f"{missing.name} {was} not found (about {part.near_s or 0.0:.1f} s): {missing.quote}")
    return _first(lines, "ranges of words that were not found")


def _doubtful(file: TimedFile) -> list[str]:
    lines = []
    for part in _ranges(file.spoken, lambda word: word.doubtful and (word.doubtful, word.start_time_ms)):
        if part.words[0].doubtful == "long":
            what = f"lasts {part.end_s - part.start_s:.1f} s, from {part.start_s:.1f} to {part.end_s:.1f} s"
        else:
            what = f"{'all lie' if len(part.words) > 1 else 'lies'} at {part.start_s:.1f} s and last no time"
        lines.append(f"{part.name}, {part.quote}, {what}: does the transcript say what is spoken there?")
    return _first(lines, "places with doubtful times")


def _weak(file: TimedFile, min_confidence: float) -> list[str]:
    ranges = _ranges(file.spoken, lambda word: word.weak)
    if not ranges:
        return []
    count = sum(len(part.words) for part in ranges)
    places = [f"{part.numbers} ({part.start_s:.1f} to {part.end_s:.1f} s)" for part in ranges]
    listed = ", ".join(_first(places, "ranges"))
    return [f"{count} of {len(file.timed)} words are weak (confidence below {min_confidence:g}): {listed}"]


def _digits(file: TimedFile) -> list[str]:
    """A hint where numbers may be why words were not found, or are weak or doubtful."""
    words = [word for word in file.spoken if word.status or word.doubtful or word.weak]
    numbers = [word for word in words if any(letter.isdigit() for letter in word.text)]
    if not numbers:
        return []
    example = f'such as "{numbers[0].one_line}"'
    return [f"{len(numbers)} of these words are in digits, {example}: write numbers as they are spoken"]


def _first(lines: list[str], what: str) -> list[str]:
    """The first `SHOWN_RANGES` lines, and how many more there are."""
    more = len(lines) - SHOWN_RANGES
    return lines[:SHOWN_RANGES] + ([f"and {more} more {what}; JSON has all of them"] if more > 0 else [])


def require_complete(file: TimedFile) -> None:
    """Refuse a result, which is written already, where words were not found or sound has no words.

    Raises:
        IncompleteError: something is missing.
    """
    count = len(file.spoken) - len(file.timed)
    sound_s = sum(part.end_s - part.start_s for part in file.untranscribed)
    missing = [f"{count} of {len(file.spoken)} words {'was' if count == 1 else 'were'} not found"] if count else []
    missing += [f"{sound_s:.1f} s of sound have no words"] if file.untranscribed else []
    if missing:
        raise IncompleteError(f"{' and '.join(missing)}; the result is written, and --strict makes this an error")
