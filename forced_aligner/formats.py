"""Word times in the form that the next program reads: json, srt, vtt, ass, textgrid, ctm, audacity, tsv."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from forced_aligner.errors import UserError
from forced_aligner.schemas import TimedFile

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
    glued: bool


def spans(file: TimedFile) -> list[Span]:
    """The words with times, each at least `MIN_WORD_MS` long and after the one before."""
    found: list[Span] = []
    previous_end = 0.0
    for word in file.words:
        if word.start_time_ms is None or word.end_time_ms is None:
            continue
        start = max(word.start_time_ms, previous_end)
        previous_end = max(word.end_time_ms, start + MIN_WORD_MS)
        found.append(Span(word.text, start, previous_end, word.confidence or 0.0, word.glued))
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


def cues(words: list[Span], options: CueOptions) -> list[list[Span]]:
    """Group words into cues: up to a line's length and a cue's time, apart at pauses and at ends of sentences."""
    found: list[list[Span]] = []
    for word in words:
        if not found or _starts_cue(found[-1], word, options):
            found.append([])
        found[-1].append(word)
    return found


def _starts_cue(cue: list[Span], word: Span, options: CueOptions) -> bool:
    return (
        len(_joined([*cue, word])) > options.max_line_chars
        or word.end_ms - cue[0].start_ms > options.max_cue_s * 1000
        or word.start_ms - cue[-1].end_ms > options.max_pause_s * 1000
        or cue[-1].text.endswith(SENTENCE_END)
    )


def _joined(words: list[Span], mark: Callable[[Span], str] = lambda word: word.text) -> str:
    text = ""
    for index, word in enumerate(words):
        text += ("" if index == 0 or word.glued else " ") + mark(word)
    return text


def _subtitles(file: TimedFile, options: CueOptions, kind: str) -> str:
    import pysubs2

    subtitles = pysubs2.SSAFile()
    for cue in cues(subtitle_spans(file), options):
        text = _joined(cue, _clean if kind != "vtt" else _clean_vtt)
        if options.karaoke and kind == "vtt":
            text = _joined(cue, lambda word: f"<{_vtt_time(word.start_ms)}>{_clean_vtt(word)}")
        elif options.karaoke and kind == "ass":
            text = _ass_karaoke(cue)
        subtitles.append(pysubs2.SSAEvent(start=round(cue[0].start_ms), end=round(cue[-1].end_ms), text=text))
    return subtitles.to_string(kind)


def _clean(word: Span) -> str:
    """Braces open style tags in these formats."""
    return word.text.replace("{", "(").replace("}", ")")


def _clean_vtt(word: Span) -> str:
    return _clean(word).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _vtt_time(time_ms: float) -> str:
    seconds, ms = divmod(round(time_ms), 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"


def _ass_karaoke(cue: list[Span]) -> str:
    text, position = "", cue[0].start_ms
    for index, word in enumerate(cue):
        gap = "" if index == 0 or word.glued else " "
        pause = f"{{\\k{round((word.start_ms - position) / 10)}}}" if word.start_ms > position else ""
        text += f"{pause}{gap}{{\\k{round((word.end_ms - word.start_ms) / 10)}}}{_clean(word)}"
        position = word.end_ms
    return text


def _textgrid(file: TimedFile, options: CueOptions) -> str:
    from praatio import textgrid
    from praatio.data_classes.interval_tier import IntervalTier

    words = [(word.start_ms / 1000, word.end_ms / 1000, word.text) for word in spans(file)]
    end_s = max(file.duration_s, words[-1][1] if words else 0.0)
    grid = textgrid.Textgrid()
    grid.addTier(IntervalTier("words", words, 0.0, end_s))
    with tempfile.TemporaryDirectory() as folder:  # praatio writes to files only
        grid.save(f"{folder}/words", format="long_textgrid", includeBlankSpaces=True)
        return Path(folder, "words").read_text(encoding="utf-8")


def _ctm(file: TimedFile, options: CueOptions) -> str:
    """NIST CTM: recording, channel, start s, duration s, word, confidence."""
    name = Path(file.audio).stem.replace(" ", "_")
    return "".join(
        f"{name} 1 {word.start_ms / 1000:.3f} {(word.end_ms - word.start_ms) / 1000:.3f} "
        f"{word.text.replace(' ', '_')} {word.confidence:.3f}\n"
        for word in spans(file)
    )


def _audacity(file: TimedFile, options: CueOptions) -> str:
    """Audacity's label track: start s, end s, label. It takes labels without a length, so the times are raw."""
    return "".join(
        f"{(word.start_time_ms or 0) / 1000:.3f}\t{(word.end_time_ms or 0) / 1000:.3f}\t{word.text}\n"
        for word in file.timed
    )


def _tsv(file: TimedFile, options: CueOptions) -> str:
    """Start ms, end ms, word, confidence, under a header; words without times have empty cells."""
    rows = ["start_ms\tend_ms\tword\tconfidence\n"]
    for word in file.words:
        cells = [word.start_time_ms, word.end_time_ms, word.confidence]
        start, end, confidence = ("" if cell is None else f"{cell:.3f}".rstrip("0").rstrip(".") for cell in cells)
        rows.append(f"{start}\t{end}\t{word.text}\t{confidence}\n")
    return "".join(rows)


@dataclass(frozen=True)
class Format:
    """A form of output: the suffix of its files, and what makes their content."""

    suffix: str
    write: Callable[[TimedFile, CueOptions], str]
    needs_length: bool = False  # cannot hold a word without a length


FORMATS: dict[str, Format] = {
    "json": Format(".json", lambda file, _: file.model_dump_json(indent=2) + "\n"),
    "srt": Format(".srt", lambda file, options: _subtitles(file, options, "srt"), needs_length=True),
    "vtt": Format(".vtt", lambda file, options: _subtitles(file, options, "vtt"), needs_length=True),
    "ass": Format(".ass", lambda file, options: _subtitles(file, options, "ass"), needs_length=True),
    "textgrid": Format(".TextGrid", _textgrid, needs_length=True),
    "ctm": Format(".ctm", _ctm, needs_length=True),
    "audacity": Format(".labels.txt", _audacity),
    "tsv": Format(".tsv", _tsv),
}


def parse_formats(text: str) -> list[str]:
    """Comma-separated names of formats.

    Raises:
        UserError: a name that is not in `FORMATS`.
    """
    names = list(dict.fromkeys(part.strip().lower() for part in text.split(",")))
    for name in names:
        if name not in FORMATS:
            raise UserError(f"no format {name!r}; expected some of {', '.join(FORMATS)}")
    return names
