"""Reads word times from a file beside a recording: Praat TextGrid, NIST CTM or Buckeye's .words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from forced_aligner.base.errors import UserError
from forced_aligner.data.records import WordTime

WORD_TIERS = ("words", "word")
# Labels of the Montreal Forced Aligner, Kaldi and HTK: silence, short pause, spoken noise, other noise.
SILENCES = {"", "sil", "sp", "spn", "nsn"}
# Marks such as <SIL>, <eps>, [noise] and {B_TRANS} are no words. Buckeye's <LAUGH-yeah>, <EXT-so> and <HES-um> are
# words that are laughed, drawn out or hesitated.
_MARK = re.compile(r"<.*>|\[.*\]|\{.*\}")
_SPOKEN_MARK = re.compile(r"<(?:LAUGH|EXT|HES)-(.+)>")


class Interval(NamedTuple):
    """A label of the file and its times. The label may be a word, a silence or a mark."""

    start_s: float
    end_s: float
    label: str


def spoken_words(path: Path, intervals: list[Interval]) -> list[WordTime]:
    """The intervals that are words.

    Raises:
        UserError: an interval starts before the one before it, or ends before it starts.
    """
    words, last_s = [], 0.0
    for start_s, end_s, label in intervals:
        if not last_s <= start_s <= end_s:
            raise UserError(f"{path.name}: the times of {label!r} ({start_s} s to {end_s} s) go back")
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
    from praatio import textgrid
    from praatio.data_classes.interval_tier import IntervalTier
    from praatio.utilities.errors import PraatioException

    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False, reportingMode="silence")
    except (PraatioException, ValueError, LookupError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path.name} cannot be read as a TextGrid ({reason})") from None
    tiers = {tier.name: tier for tier in grid.tiers if isinstance(tier, IntervalTier)}
    named = [tier for name, tier in tiers.items() if name.casefold().split(" - ")[-1] in WORD_TIERS]
    chosen = named or list(tiers.values())
    if len(chosen) != 1:
        raise UserError(f"{path.name} has the tiers {', '.join(grid.tierNames)}; expected one that is named words")
    return [Interval(*entry) for entry in chosen[0].entries]


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
            raise UserError(f"{path.name}: expected an end time, a color and a word, found {line!r}") from None
        intervals.append(Interval(start_s, end_s, fields[2] if len(fields) > 2 else ""))
        start_s = end_s
    return intervals


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path.name} cannot be read ({error})") from None


READERS: dict[str, Callable[[Path], list[Interval]]] = {
    ".TextGrid": _textgrid,
    ".textgrid": _textgrid,
    ".ctm": _ctm,
    ".words": _buckeye,
}
