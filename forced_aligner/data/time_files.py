"""Reads word times from a file beside a recording: Praat TextGrid, NIST CTM or Buckeye's .words."""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from forced_aligner.base.errors import UserError
from forced_aligner.base.reading import MAX_TIMES_BYTES, read_bytes, read_text
from forced_aligner.data.records import WordTime

MAX_TIME_S = 1e7  # about four months
SHOWN_CHARS = 40  # of a label or a line, in an error
WORD_TIERS = ("words", "word")
# Labels of the Montreal Forced Aligner, Kaldi and HTK: silence, short pause, spoken noise, other noise.
SILENCES = {"", "sil", "sp", "spn", "nsn"}
# Marks such as <SIL>, <eps>, [noise] and {B_TRANS} are no words. Buckeye's <LAUGH-yeah>, <EXT-so> and <HES-um> are
# words that are laughed, drawn out or hesitated.
_MARK = re.compile(r"<.*>|\[.*\]|\{.*\}")
_SPOKEN_MARK = re.compile(r"<(?:LAUGH|EXT|HES)-(.+)>")
_TEXTGRID_TOKEN = re.compile(r'"(?P<text>[^"]*(?:""[^"]*)*)"|(?<!\S)(?P<number>[-+]?[.\d]\S*)(?!\S)')


class Interval(NamedTuple):
    """A label of the file and its times. The label may be a word, a silence or a mark."""

    start_s: float
    end_s: float
    label: str


def spoken_words(path: Path, intervals: list[Interval]) -> list[WordTime]:
    """The intervals that are words.

    Raises:
        UserError: an interval starts before the one before it, or ends before it starts, or its times are not finite.
    """
    words, last_s = [], 0.0
    for start_s, end_s, label in intervals:
        if not last_s <= start_s <= end_s <= MAX_TIME_S:
            are_times = all(math.isfinite(time_s) and time_s <= MAX_TIME_S for time_s in (start_s, end_s))
            reason = "go back" if are_times else "are not finite, or beyond any recording"
            raise UserError(f"{path.name}: the times of {label[:SHOWN_CHARS]!r} ({start_s} s to {end_s} s) {reason}")
        last_s = start_s
        if word := _spoken(label.strip()):
            words.append(WordTime(text=word, start_time_ms=start_s * 1000, end_time_ms=end_s * 1000))
    return words


def _spoken(label: str) -> str:
    """The word that a label stands for, or an empty string."""
    if spoken := _SPOKEN_MARK.fullmatch(label):
        return spoken[1]
    return "" if label.casefold() in SILENCES or _MARK.fullmatch(label) else label


def _textgrid(path: Path) -> list[Interval]:
    """The tier that is named as the Montreal Forced Aligner names its words, or the only interval tier."""
    content = read_bytes(path, MAX_TIMES_BYTES, "a TextGrid")
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        tiers = _tiers(content.decode(encoding))
    except (ValueError, OverflowError, StopIteration) as error:  # of a decoder, or of `_tiers`
        reason = str(error)[:SHOWN_CHARS] or "it ends too early"
        raise UserError(f"{path.name} cannot be read as a TextGrid ({reason})") from None
    named = [tier for name, tier in tiers if name.casefold().split(" - ")[-1] in WORD_TIERS]
    chosen = named or [tier for _, tier in tiers]
    if len(chosen) != 1:
        names = ", ".join(name for name, _ in tiers)[:SHOWN_CHARS]
        raise UserError(f"{path.name} has the tiers {names}; expected one that is named words")
    return chosen[0]


def _tiers(text: str) -> list[tuple[str, list[Interval]]]:
    """Name and content of each interval tier of a TextGrid, in the long or the short text format.

    Both are read as Praat does (fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html): what counts are the quoted
    texts and the numbers that stand alone, in their order; all the rest is for people.

    Raises:
        ValueError: another token is expected.
        OverflowError: a number of entries is infinite.
        StopIteration: the text ends too early.
    """
    tokens = _TEXTGRID_TOKEN.finditer(text)

    def label() -> str:
        quoted = next(tokens)["text"]
        if quoted is None:
            raise ValueError("a number where a text is expected")
        return quoted.replace('""', '"').strip()

    def number() -> float:
        found = next(tokens)["number"]
        if found is None:
            raise ValueError("a text where a number is expected")
        return float(found)

    if not label().startswith("ooTextFile") or label() != "TextGrid":
        raise ValueError("its first line is not Praat's")
    number(), number()  # start and end
    tiers = []
    for _ in range(int(number())):
        kind, name = label(), label()
        number(), number()
        entries = range(int(number()))
        if kind == "IntervalTier":
            tiers.append((name, [Interval(number(), number(), label()) for _ in entries]))
        else:
            for _ in entries:
                number(), label()
    return tiers


def _ctm(path: Path) -> list[Interval]:
    """NIST CTM: recording, channel, start s, duration s, word, optional confidence; `;;` begins a comment."""
    rows = [line.split() for line in _lines(path) if line.strip() and not line.startswith(";;")]
    names = {row[0] for row in rows}
    if len(names) > 1 and path.stem not in names:
        raise UserError(f"{path.name} holds several recordings, none of which is {path.stem}")
    recording = path.stem if path.stem in names else next(iter(names), "")
    try:
        parsed = [(float(row[2]), float(row[3]), row[4]) for row in rows if row[0] == recording]
    except (ValueError, IndexError):
        raise UserError(f"{path.name} is not CTM: expected recording, channel, start, duration and word") from None
    return [Interval(start_s, start_s + duration_s, word) for start_s, duration_s, word in parsed]


def _buckeye(path: Path) -> list[Interval]:
    """Buckeye's .words: a header, a line `#`, then lines of `end s, color, word; pronunciations; part of speech`."""
    lines = [line.strip() for line in _lines(path)]
    if "#" not in lines:
        raise UserError(f"{path.name} is not Buckeye's: its header has no last line '#'")
    intervals, start_s = [], 0.0
    for line in filter(None, lines[lines.index("#") + 1 :]):
        fields = line.split(";")[0].split(maxsplit=2)
        try:
            end_s = float(fields[0])
        except (ValueError, IndexError):
            raise UserError(
                f"{path.name}: expected an end time, a color and a word, found {line[:SHOWN_CHARS]!r}"
            ) from None
        intervals.append(Interval(start_s, end_s, fields[2] if len(fields) > 2 else ""))
        start_s = end_s
    return intervals


def _lines(path: Path) -> list[str]:
    return read_text(path, MAX_TIMES_BYTES).splitlines()


READERS: dict[str, Callable[[Path], list[Interval]]] = {
    ".TextGrid": _textgrid,
    ".textgrid": _textgrid,
    ".ctm": _ctm,
    ".words": _buckeye,
}
