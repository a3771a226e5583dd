"""How words become subtitle cues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from forced_aligner.output.records import TimedFile

# Zero-length words are legal for this model, but not in every format: there they last one mel frame, and what
# follows is moved by as much where it would overlap. JSON always has the raw times.
MIN_WORD_MS = 10.0
SENTENCE_END = (".", "?", "!", "…", "\u3002", "\uff1f", "\uff01")  # the last three: Chinese and Japanese


@dataclass(frozen=True)
class CueOptions:
    """How words become subtitle cues."""

    max_line_chars: int = 42
    max_cue_s: float = 6.0
    max_pause_s: float = 0.8
    karaoke: bool = False


@dataclass(frozen=True)
class Span:
    """A word as subtitle and label formats take it: never empty, never overlapping the one before."""

    text: str
    start_ms: float
    end_ms: float
    confidence: float
    no_space_before: bool


def spans(file: TimedFile) -> list[Span]:
    """The words with times, each at least `MIN_WORD_MS` long and after the one before."""
    found: list[Span] = []
    previous_end = 0.0
    for word in file.words:
        if word.start_time_ms is None or word.end_time_ms is None:
            continue
        start = max(word.start_time_ms, previous_end)
        previous_end = max(word.end_time_ms, start + MIN_WORD_MS)
        found.append(Span(word.text, start, previous_end, word.confidence or 0.0, word.no_space_before))
    return found


def subtitle_spans(file: TimedFile) -> list[Span]:
    """The same with the whole text: what has no times is joined to the word before it, or else to the first."""
    found, waiting, timed = [], "", iter(spans(file))
    for word in file.words:
        if word.start_time_ms is not None:
            span = next(timed)
            found.append(replace(span, text=waiting + span.text))
            waiting = ""
        elif found:
            found[-1] = replace(found[-1], text=f"{found[-1].text} {word.text}")
        else:
            waiting += f"{word.text} "
    return found


def without_length(file: TimedFile) -> int:
    """How many words are shorter than `MIN_WORD_MS`."""
    return sum((word.end_time_ms or 0) - (word.start_time_ms or 0) < MIN_WORD_MS for word in file.timed)


def group_cues(words: list[Span], options: CueOptions) -> list[list[Span]]:
    """Group words into cues: up to a line's length and a cue's time, apart at pauses and at ends of sentences."""
    found: list[list[Span]] = []
    for word in words:
        if not found or _starts_cue(found[-1], word, options):
            found.append([])
        found[-1].append(word)
    return found


def _starts_cue(cue: list[Span], word: Span, options: CueOptions) -> bool:
    return (
        len(joined([*cue, word])) > options.max_line_chars
        or word.end_ms - cue[0].start_ms > options.max_cue_s * 1000
        or word.start_ms - cue[-1].end_ms > options.max_pause_s * 1000
        or cue[-1].text.endswith(SENTENCE_END)
    )


def joined(words: list[Span], mark: Callable[[Span], str] = lambda word: word.text) -> str:
    text = ""
    for index, word in enumerate(words):
        text += ("" if index == 0 or word.no_space_before else " ") + mark(word)
    return text
