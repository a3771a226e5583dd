"""True word times beside a recording: Praat TextGrid, NIST CTM or Buckeye's .words; and which word is which."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from forced_aligner.console import log
from forced_aligner.errors import UserError
from forced_aligner.schemas import Clip, WordTime

WORD_TIERS = ("words", "word")
# Montreal Forced Aligner, Kaldi and HTK: silence, short pause, spoken and other noise.
SILENCES = {"", "sil", "sp", "spn", "nsn"}
# <SIL>, <eps>, [noise], {B_TRANS}. Buckeye's <LAUGH-yeah>, <EXT-so> and <HES-um> stand for words, spoken so.
_MARK = re.compile(r"<.*>|\[.*\]|\{.*\}")
_SPOKEN_MARK = re.compile(r"<(?:LAUGH|EXT|HES)-(.+)>")


class Interval(NamedTuple):
    """A label of the file, before it is known to be a word."""

    start_s: float
    end_s: float
    label: str


def true_times(clip: Clip, words: list[str]) -> list[WordTime] | None:
    """True times of the aligner's `words` of a clip: the data set's own, or those of a file beside the audio.

    A file that cannot be used is said on stderr, and the clip has no true times.

    Returns:
        One for each of `words`, or None.
    """
    audio = Path(clip.audio)
    try:
        truth = _read_beside(audio) if clip.alignments is None else clip.alignments
        return match(truth, words) if truth is not None else None
    except UserError as error:
        log(f"no true times for {audio.name}: {error}")
        return None


def _read_beside(audio: Path) -> list[WordTime] | None:
    for suffix, reader in READERS.items():
        path = audio.with_suffix(suffix)
        if path.is_file():
            return _words(path, reader(path))
    return None


def match(truth: list[WordTime], words: list[str]) -> list[WordTime]:
    """The times of `words`, by their letters: case, accents, punctuation and where words are cut may differ.

    Args:
        truth: words with their true times.
        words: the aligner's words of the same recording; one may be several of `truth`.

    Raises:
        UserError: other letters, or a word that begins or ends inside a word of `truth`, where no time is known.
    """
    spelled = [_letters(word.text) for word in truth]
    wanted = [_letters(word) for word in words]
    _check_same_letters("".join(spelled), "".join(wanted))
    starts, ends, place = {}, {}, 0
    for known, letters in zip(truth, spelled, strict=True):
        if letters:
            starts[place] = known.start_time_ms
            place += len(letters)
            ends[place] = known.end_time_ms
    matched, place = [], 0
    for word, letters in zip(words, wanted, strict=True):
        begin, place = place, place + len(letters)
        if begin not in starts or place not in ends or not letters:
            raise UserError(f"no true time for both ends of the aligner's word {word!r}")
        matched.append(WordTime(text=word, start_time_ms=starts[begin], end_time_ms=ends[place]))
    return matched


def _check_same_letters(true: str, wanted: str) -> None:
    if true != wanted:
        differ = (place for place, (a, b) in enumerate(zip(true, wanted, strict=False)) if a != b)
        place = next(differ, min(len(true), len(wanted)))
        raise UserError(
            f"its words are not the transcript's: after {wanted[:place][-12:]!r} the true times go on with "
            f"{true[place : place + 12]!r}, the transcript with {wanted[place : place + 12]!r}"
        )


def _letters(text: str) -> str:
    """Letters and digits, without case, accents and width."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(letter for letter in plain if unicodedata.category(letter)[0] in "LN")


def _words(path: Path, intervals: list[Interval]) -> list[WordTime]:
    """The intervals that are words.

    Raises:
        UserError: times that go back.
    """
    found, last_s = [], 0.0
    for start_s, end_s, label in intervals:
        if not last_s <= start_s <= end_s:
            raise UserError(f"{path.name}: the times of {label!r} ({start_s} s to {end_s} s) go back")
        last_s = start_s
        if word := _spoken(label.strip()):
            found.append(WordTime(text=word, start_time_ms=start_s * 1000, end_time_ms=end_s * 1000))
    return found


def _spoken(label: str) -> str:
    """The word that a label stands for, or nothing."""
    if spoken := _SPOKEN_MARK.fullmatch(label):
        return spoken[1]
    return "" if label.casefold() in SILENCES or _MARK.fullmatch(label) else label


def _textgrid(path: Path) -> list[Interval]:
    """The tier of words, as the Montreal Forced Aligner names it, or the only tier of intervals."""
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
    """NIST CTM: recording, channel, start s, duration s, word, perhaps confidence; `;;` begins a comment."""
    rows = [line.split() for line in _lines(path) if line.strip() and not line.startswith(";;")]
    names = {row[0] for row in rows}
    if len(names) > 1 and path.stem not in names:
        raise UserError(f"{path.name} holds several recordings, none of which is {path.stem}")
    wanted = path.stem if path.stem in names else next(iter(names), "")
    try:
        parsed = [(float(row[2]), float(row[3]), row[4]) for row in rows if row[0] == wanted]
    except (ValueError, IndexError):
        raise UserError(f"{path.name} is not CTM: expected recording, channel, start, duration and word") from None
    return [Interval(start_s, start_s + length_s, word) for start_s, length_s, word in parsed]


def _buckeye(path: Path) -> list[Interval]:
    """Buckeye's .words: a header up to a line `#`, then `end s, color, word; pronunciations; part of speech`."""
    lines = [line.strip() for line in _lines(path)]
    if "#" not in lines:
        raise UserError(f"{path.name} is not Buckeye's: its header has no last line '#'")
    found, start_s = [], 0.0
    for line in filter(None, lines[lines.index("#") + 1 :]):
        fields = line.split(";")[0].split(maxsplit=2)
        try:
            end_s = float(fields[0])
        except (ValueError, IndexError):
            raise UserError(f"{path.name}: expected an end time, a color and a word, found {line!r}") from None
        found.append(Interval(start_s, end_s, fields[2] if len(fields) > 2 else ""))
        start_s = end_s
    return found


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
