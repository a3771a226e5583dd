"""How words become subtitle cues."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise

from forced_aligner.base.errors import UserError
from forced_aligner.data.cue_sheets import CueSheet
from forced_aligner.output.reading import GUIDELINES, LEAST_CUE_S, LONGEST_CUE_S, MAX_LINES, width
from forced_aligner.output.records import TimedFile, TimedWord, joined
from forced_aligner.output.sentences import sentence_ends
from forced_aligner.output.spelling import OPENING

# The model may give a word no length, which not every format can express. There, the word lasts one mel frame, and
# the next word starts later if the two would overlap; at the end of the audio, the words before it start earlier.
# JSON always has the raw times.
MIN_WORD_MS = 10.0
MILLISECOND_NS = 1_000_000
# Up to so many words in a row that were not found are shown with their neighbours: they may be said in another way, or
# the aligner may have missed them. A longer run is hardly spoken at all, and nobody could read it in one cue.
SHOWN_NOT_FOUND = 4
TURNS = ("label", "heading")  # marks that begin a turn


@dataclass(frozen=True)
class CueOptions:
    """How words become subtitle cues. What is None is as `reading.GUIDELINES` has it for the language.

    Attributes:
        max_line_chars: widest line of a cue.
        max_lines: most lines of a cue.
        max_cue_s: longest duration of a cue.
        min_cue_s: least duration of a cue, where there is room; by default that of the guideline, or `max_cue_s`.
        max_cps: most characters a second, where there is room.
        max_pause_s: a longer pause between two words starts a new cue.
        cue_per_line: whether each line of the transcript is a cue, whatever its length.
        karaoke: whether VTT and ASS mark the time of each word inside its cue.
        sheet: the subtitle file that is the transcript. If it is given, its cues are kept, whatever the rest says.
    """

    max_line_chars: int | None = None
    max_lines: int = MAX_LINES
    max_cue_s: float = LONGEST_CUE_S
    min_cue_s: float | None = None
    max_cps: float | None = None
    max_pause_s: float = 0.8
    cue_per_line: bool = False
    karaoke: bool = False
    sheet: CueSheet | None = None

    def __post_init__(self) -> None:
        """Raises `UserError` if the least duration is beyond the longest."""
        if self.min_cue_s is not None and self.min_cue_s > self.max_cue_s:
            raise UserError(
                f"a cue cannot last {self.min_cue_s:g} s at least and {self.max_cue_s:g} s at most: "
                "give a smaller --min-cue-s or a larger --max-cue-s"
            )


@dataclass(frozen=True)
class Span:
    """A word as subtitle and label formats need it: it has a length, and does not overlap the word before."""

    text: str
    start_ms: float
    end_ms: float
    confidence: float
    no_space_before: bool
    begins_turn: bool = False  # a speaker's label or a heading stands before it
    begins_line: bool = False  # in the transcript
    ends_sentence: bool = False


@dataclass(frozen=True)
class Limits:
    """What a cue may be in one language: `CueOptions` with the guideline's figures."""

    code: str  # of the language
    line_chars: int
    lines: int
    longest_ms: float
    least_ms: float
    chars_per_s: float
    pause_ms: float
    per_line: bool
    has_wide_letters: bool

    def width(self, word: Span, *, follows: bool) -> float:
        """The width of a word; with the space before it, if it `follows` another on its line."""
        text = f" {word.text}" if follows and not word.no_space_before else word.text
        return width(text, has_wide_letters=self.has_wide_letters)

    def cue_width(self, cue: list[Span]) -> float:
        """The width of a cue's text on one line."""
        return sum(self.width(word, follows=index > 0) for index, word in enumerate(cue))


def limits_of(options: CueOptions, code: str) -> Limits:
    """The limits for a language; see `reading.language_code`."""
    guideline = GUIDELINES[code]
    return Limits(
        code,
        options.max_line_chars or guideline.line_chars,
        options.max_lines,
        options.max_cue_s * 1000,
        1000 * (min(LEAST_CUE_S, options.max_cue_s) if options.min_cue_s is None else options.min_cue_s),
        options.max_cps or guideline.chars_per_s,
        options.max_pause_s * 1000,
        options.cue_per_line,
        guideline.has_wide_letters,
    )


def spans(file: TimedFile, tick_ns: int = MILLISECOND_NS) -> list[Span]:
    """The words that have times, each at least `MIN_WORD_MS` long, after the word before, and within the audio.

    In audio that is too short for that, each word lasts at least an even share of it.

    Args:
        file: the words; their raw times may overlap, and may lie beyond the end of the audio.
        tick_ns: the resolution of the format, in nanoseconds: times are multiples of it. One share may be less than
            a tick; then words may have no length.
    """
    words, last = file.timed, file.ticks(tick_ns)
    least = min(round(MIN_WORD_MS * 1e6) // tick_ns, last // max(len(words), 1))
    times: list[tuple[int, int]] = []  # in ticks
    end = 0
    for word in words:  # forwards: each word has its length, and the next starts after it
        start = max(file.tick(word.start_time_ms, tick_ns), end)
        end = max(file.tick(word.end_time_ms, tick_ns), start + least)
        times.append((start, end))
    for index, (start, end) in reversed(list(enumerate(times))):  # backwards: none goes past the end
        end = min(end, last)
        last = min(start, end - least)
        times[index] = (last, end)
    return [
        Span(word.one_line, start * tick_ns / 1e6, end * tick_ns / 1e6, word.confidence or 0.0, word.no_space_before)
        for word, (start, end) in zip(words, times, strict=True)
    ]


def subtitle_spans(file: TimedFile, code: str, tick_ns: int = MILLISECOND_NS, *, per_line: bool = False) -> list[Span]:
    """The same, with the text of words without times, each joined to the word before it, or else to the first.

    A word that was not found and begins a sentence is joined to the word after it, and so are what begins a line of
    the transcript, an opening quote, and a speaker's label and a heading, with what stands between. Line numbers are
    left out, and so are runs of more than `SHOWN_NOT_FOUND` words that were not found.

    Args:
        file: the words.
        code: of their language; see `reading.language_code`.
        tick_ns: as `spans` takes it.
        per_line: whether a direction that begins a line is joined to the word after it, too.
    """
    words = _shown([word for word in file.words if word.mark != "number"])
    ends = sentence_ends(words, code)
    parts: list[_Part] = []  # one for each word with times
    waiting = _Part()
    for index, word in enumerate(words):
        begins_sentence = word.status is not None and bool(parts) and ends[index - 1]
        waiting.begins_turn |= word.mark in TURNS
        waiting.begins_line |= word.begins_line and (per_line or word.mark is None or word.start_time_ms is not None)
        waits = waiting.words or begins_sentence or waiting.begins_turn or waiting.begins_line or _opens(word)
        if word.start_time_ms is not None or not parts or waits:
            waiting.words.append(word)
            waiting.ends_sentence |= ends[index]
        else:
            parts[-1].words.append(word)
            parts[-1].ends_sentence |= ends[index]
        if word.start_time_ms is not None:
            waiting.ends_sentence = ends[index]
            parts.append(waiting)
            waiting = _Part()
    if parts:
        parts[-1].words += waiting.words
    return [
        replace(
            span,
            text=joined(part.words)[0],
            no_space_before=part.words[0].no_space_before,
            begins_turn=part.begins_turn,
            begins_line=part.begins_line,
            ends_sentence=part.ends_sentence,
        )
        for span, part in zip(spans(file, tick_ns), parts, strict=True)
    ]


def _opens(word: TimedWord) -> bool:
    """Whether it is an opening quote or bracket before a space, as in French."""
    return word.mark is None and word.word is None and unicodedata.category(word.one_line[:1] or "x") in OPENING


@dataclass
class _Part:
    """A word with times, and the words without that are shown with it."""

    words: list[TimedWord] = field(default_factory=list)
    begins_turn: bool = False
    begins_line: bool = False
    ends_sentence: bool = False


def _shown(words: list[TimedWord]) -> list[TimedWord]:
    """The words without the long runs that were not found, without the dashes inside such a run, and without the label
    or heading of a turn that they are all of.
    """
    numbered = [(number, word) for number, word in enumerate(words) if word.word is not None]
    left_out: set[int] = set()
    for is_found, run in groupby(numbered, lambda item: item[1].status is None):
        numbers = [number for number, _ in run]
        if not is_found and len(numbers) > SHOWN_NOT_FOUND:
            left_out |= set(range(numbers[0], numbers[-1] + 1))
    turns = [number for number, word in enumerate(words) if word.mark in TURNS]
    for begin, end in pairwise([*turns, len(words)]):
        spoken = {number for number in range(begin, end) if words[number].word is not None}
        if spoken and spoken <= left_out:
            left_out |= set(range(begin, end))
    return [word for number, word in enumerate(words) if number not in left_out]


def count_words_without_length(file: TimedFile) -> int:
    """How many words with times are shorter than `MIN_WORD_MS`."""
    return sum((word.end_time_ms or 0) - (word.start_time_ms or 0) < MIN_WORD_MS for word in file.timed)


def join_words(words: list[Span], to_text: Callable[[Span], str] = lambda word: word.text) -> str:
    """The text of `words`, with spaces where the transcript has them; `to_text` may escape or mark each word."""
    text = ""
    for index, word in enumerate(words):
        text += ("" if index == 0 or word.no_space_before else " ") + to_text(word)
    return text
