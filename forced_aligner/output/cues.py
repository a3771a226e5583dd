"""How words become subtitle cues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby

from forced_aligner.data.cue_sheets import CueSheet
from forced_aligner.output.records import TimedFile, TimedWord

# The model may give a word no length, which not every format can express. There, the word lasts one mel frame, and
# the next word starts later if the two would overlap; at the end of the audio, the words before it start earlier.
# JSON always has the raw times.
MIN_WORD_MS = 10.0
MILLISECOND_NS = 1_000_000
# Up to so many words in a row that were not found are shown with their neighbours: they may be said in another way, or
# the aligner may have missed them. A longer run is hardly spoken at all, and nobody could read it in one cue.
SHOWN_NOT_FOUND = 4
SENTENCE_END = (".", "?", "!", "…", "\u3002", "\uff1f", "\uff01")  # the last three: Chinese and Japanese


@dataclass(frozen=True)
class CueOptions:
    """How words become subtitle cues.

    Attributes:
        max_line_chars: longest text of a cue.
        max_cue_s: longest duration of a cue.
        max_pause_s: a longer pause between two words starts a new cue.
        karaoke: whether VTT and ASS mark the time of each word inside its cue.
        sheet: the subtitle file that is the transcript. If it is given, its cues are kept, whatever the rest says.
    """

    max_line_chars: int = 42
    max_cue_s: float = 6.0
    max_pause_s: float = 0.8
    karaoke: bool = False
    sheet: CueSheet | None = None


@dataclass(frozen=True)
class Span:
    """A word as subtitle and label formats need it: it has a length, and does not overlap the word before."""

    text: str
    start_ms: float
    end_ms: float
    confidence: float
    no_space_before: bool
    begins_turn: bool = False  # a speaker's label or a heading stands before it


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


def subtitle_spans(file: TimedFile, tick_ns: int = MILLISECOND_NS) -> list[Span]:
    """The same, with the text of words without times, each joined to the word before it, or else to the first.

    A word that was not found and begins a sentence is joined to the word after it, and so are a speaker's label and a
    heading, with what stands between. Line numbers are left out, and so are runs of more than `SHOWN_NOT_FOUND` words
    that were not found.
    """
    parts: list[list[TimedWord]] = []  # one for each word with times
    turns: list[bool] = []  # whether each begins a speaker's turn
    waiting: list[TimedWord] = []
    begins_turn = False
    for word in _shown([word for word in file.words if word.mark != "number"]):
        begins_sentence = word.status is not None and bool(parts) and parts[-1][-1].one_line.endswith(SENTENCE_END)
        begins_turn = begins_turn or word.mark in ("label", "heading")
        if word.start_time_ms is not None:
            parts.append([*waiting, word])
            turns.append(begins_turn)
            waiting, begins_turn = [], False
        elif parts and not waiting and not begins_sentence and not begins_turn:
            parts[-1].append(word)
        else:
            waiting.append(word)
    if parts:
        parts[-1] += waiting
    return [
        replace(span, text=words_text(part), no_space_before=part[0].no_space_before, begins_turn=turn)
        for span, part, turn in zip(spans(file, tick_ns), parts, turns, strict=True)
    ]


def _shown(words: list[TimedWord]) -> list[TimedWord]:
    """The words without the long runs that were not found, and without the dashes inside such a run."""
    numbered = [(number, word) for number, word in enumerate(words) if word.word is not None]
    left_out: set[int] = set()
    for is_found, run in groupby(numbered, lambda item: item[1].status is None):
        numbers = [number for number, _ in run]
        if not is_found and len(numbers) > SHOWN_NOT_FOUND:
            left_out |= set(range(numbers[0], numbers[-1] + 1))
    return [word for number, word in enumerate(words) if number not in left_out]


def words_text(words: list[TimedWord]) -> str:
    """The text of `words` on one line, with spaces where the transcript has them."""
    return join_words([Span(word.one_line, 0, 0, 0, word.no_space_before) for word in words])


def count_words_without_length(file: TimedFile) -> int:
    """How many words with times are shorter than `MIN_WORD_MS`."""
    return sum((word.end_time_ms or 0) - (word.start_time_ms or 0) < MIN_WORD_MS for word in file.timed)


def group_cues(words: list[Span], options: CueOptions) -> list[list[Span]]:
    """Group words into cues within the limits of `options`; a pause or the end of a sentence starts a new cue."""
    cues: list[list[Span]] = []
    for word in words:
        if not cues or _starts_cue(cues[-1], word, options):
            cues.append([])
        cues[-1].append(word)
    return cues


def _starts_cue(cue: list[Span], word: Span, options: CueOptions) -> bool:
    return (
        word.begins_turn
        or len(join_words([*cue, word])) > options.max_line_chars
        or word.end_ms - cue[0].start_ms > options.max_cue_s * 1000
        or word.start_ms - cue[-1].end_ms > options.max_pause_s * 1000
        or cue[-1].text.endswith(SENTENCE_END)
    )


def join_words(words: list[Span], to_text: Callable[[Span], str] = lambda word: word.text) -> str:
    """The text of `words`, with spaces where the transcript has them; `to_text` may escape or mark each word."""
    text = ""
    for index, word in enumerate(words):
        text += ("" if index == 0 or word.no_space_before else " ") + to_text(word)
    return text
