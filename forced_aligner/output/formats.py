"""Word times in file formats of other programs: json, srt, vtt, ass, textgrid, ctm, audacity, tsv.

The page of a recording, `html`, needs its sound as well; see `page`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from forced_aligner.base.errors import UserError
from forced_aligner.base.text import visible
from forced_aligner.output.cues import MILLISECOND_NS, CueOptions, Span, join_words, spans, subtitle_spans
from forced_aligner.output.reading import language_code
from forced_aligner.output.records import TimedFile, joined
from forced_aligner.output.subtitles import subtitles


def _textgrid(file: TimedFile, options: CueOptions) -> str:
    """Praat's TextGrid, long form: tiers of words, of their confidences and of sentences.

    Its times are exact to the nanosecond, so each word has a length.
    """
    from praatio.utilities import textgrid_io

    words = spans(file, tick_ns=1)
    tiers = {
        "words": [(word.start_ms, word.end_ms, word.text) for word in words],
        "confidence": [(word.start_ms, word.end_ms, f"{word.confidence:.3f}") for word in words],
        "sentences": _sentences(file),
    }
    last_s = round(file.duration_s, 6)
    grid = {
        "xmin": 0.0,
        "xmax": last_s,
        "tiers": [
            {
                "class": "IntervalTier",
                "name": name,
                "xmin": 0.0,
                "xmax": last_s,
                "entries": [(round(start / 1000, 9), round(end / 1000, 9), text) for start, end, text in entries],
            }
            for name, entries in tiers.items()
        ],
    }
    # praatio drops intervals below 10 ns, unless it is told not to.
    return str(textgrid_io.getTextgridAsStr(grid, "long_textgrid", True, minimumIntervalLength=None))


def _sentences(file: TimedFile) -> list[tuple[float, float, str]]:
    """Start and end in ms, and text of each sentence, with a speaker's label where one stands before it."""
    sentences: list[list[Span]] = [[]]
    for word in subtitle_spans(file, language_code(file.language, joined(file.words)[0]), tick_ns=1):
        if sentences[-1] and (word.begins_turn or sentences[-1][-1].ends_sentence):
            sentences.append([])
        sentences[-1].append(word)
    return [(words[0].start_ms, words[-1].end_ms, join_words(words)) for words in sentences if words]


def _ctm(file: TimedFile, options: CueOptions) -> str:
    """NIST CTM: recording, channel, start s, duration s, word, confidence, parted by spaces; `;;` begins a comment."""
    name = re.sub("^;", "_", _token(visible(Path(file.audio).stem)))
    return "".join(
        f"{name} 1 {word.start_ms / 1000:.3f} {(word.end_ms - word.start_ms) / 1000:.3f} "
        f"{_token(word.text)} {word.confidence:.3f}\n"
        for word in spans(file)
    )


def _token(text: str) -> str:
    """`text` as a field that ends at white space: never empty, and without any."""
    return re.sub(r"\s", "_", text) or "_"


def _audacity(file: TimedFile, options: CueOptions) -> str:
    """Audacity's label track: start s, end s, label. Labels may have no length, so the raw times are written."""
    rows = []
    for word in file.timed:
        start, end = (file.tick(time_ms, MILLISECOND_NS) for time_ms in (word.start_time_ms, word.end_time_ms))
        rows.append(f"{start / 1000:.3f}\t{end / 1000:.3f}\t{word.one_line}\n")
    return "".join(rows)


def _tsv(file: TimedFile, options: CueOptions) -> str:
    """Start ms, end ms, word, confidence, under a header; words without times have empty cells.

    Quotes are those of spreadsheets and of pandas (Python's `excel-tab`): a cell with a quote in it is put in quotes,
    and its own are doubled. Without that, a word such as `"no` would swallow the rows after it.
    """
    table = io.StringIO()
    writer = csv.writer(table, "excel-tab", lineterminator="\n")
    writer.writerow(["start_ms", "end_ms", "word", "confidence"])
    for word in file.words:
        times = [
            None if time_ms is None else file.tick(time_ms, 1000) / 1000
            for time_ms in (word.start_time_ms, word.end_time_ms)
        ]
        start, end, confidence = map(_number, (*times, word.confidence))
        writer.writerow([start, end, word.one_line, confidence])
    return table.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")


@dataclass(frozen=True)
class Format:
    """An output format.

    Attributes:
        suffix: of its files.
        write: makes the content of a file.
        needs_length: whether it cannot express a word without a length.
    """

    suffix: str
    write: Callable[[TimedFile, CueOptions], str]
    needs_length: bool = False


FORMATS: dict[str, Format] = {
    "json": Format(".json", lambda file, _: file.model_dump_json(indent=2) + "\n"),
    "srt": Format(".srt", lambda file, options: subtitles(file, options, "srt"), needs_length=True),
    "vtt": Format(".vtt", lambda file, options: subtitles(file, options, "vtt"), needs_length=True),
    "ass": Format(".ass", lambda file, options: subtitles(file, options, "ass"), needs_length=True),
    "textgrid": Format(".TextGrid", _textgrid, needs_length=True),
    "ctm": Format(".ctm", _ctm, needs_length=True),
    "audacity": Format(".labels.txt", _audacity),
    "tsv": Format(".tsv", _tsv),
}

PAGE = "html"
SUFFIXES = {name: form.suffix for name, form in FORMATS.items()} | {PAGE: ".html"}


def parse_formats(text: str) -> list[str]:
    """The names in a comma-separated list of formats, in order, each once.

    Raises:
        UserError: a name is not in `SUFFIXES`.
    """
    names = list(dict.fromkeys(part.strip().lower() for part in text.split(",")))
    for name in names:
        if name not in SUFFIXES:
            raise UserError(f"no format {name!r}; expected some of {', '.join(SUFFIXES)}")
    return names
