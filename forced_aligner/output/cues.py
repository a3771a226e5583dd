"""How words become subtitle cues."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from forced_aligner.data.cue_sheets import CueSheet
from forced_aligner.output.records import TimedFile

# The model may give a word no length, which not every format can express. There, the word lasts one mel frame, and
# the next word starts later if the two would overlap; at the end of the audio, the words before it start earlier.
# JSON always has the raw times.
MIN_WORD_MS = 10.0
MILLISECOND_NS = 1_000_000
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
    """The same, with the text of words without times: each is joined to the word before it, or else to the first.

    A speaker's label and a heading are joined to the next word, with what stands between. Line numbers are left out.
    """
    joined_spans, text_before, begins_turn, timed = [], "", False, iter(spans(file, tick_ns))
    for word in file.words:
        if word.start_time_ms is not None:
            span = next(timed)
            joined_spans.append(replace(span, text=text_before + span.text, begins_turn=begins_turn))
            text_before, begins_turn = "", False
        elif word.mark == "number":
            continue
        elif word.mark in ("label", "heading") or begins_turn:
            text_before, begins_turn = f"{text_before}{word.one_line} ", True
        elif joined_spans:
            joined_spans[-1] = replace(joined_spans[-1], text=f"{joined_spans[-1].text} {word.one_line}")
        else:
            text_before += f"{word.one_line} "
    return joined_spans


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
