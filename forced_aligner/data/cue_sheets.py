"""Subtitle files as transcripts: SRT, WebVTT and ASS.

A file stays as it is, but for its times. pysubs2 would lose WebVTT's styles, notes and settings and ASS's unknown
sections, so the places of the times are kept here, and the rest is never parsed.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from forced_aligner.base.errors import UserError
from forced_aligner.base.reading import MAX_TIMES_BYTES, read_text
from forced_aligner.base.text import without_controls

SubtitleKind = Literal["srt", "vtt", "ass"]
KINDS: dict[str, SubtitleKind] = {".srt": "srt", ".vtt": "vtt", ".ass": "ass"}
Place = tuple[int, int]  # [start, end) in characters of the file

_TIME = r"(?:\d{1,4}:)?\d{1,2}:\d{2}(?:[.,]\d{1,3})?"
_TIMING = re.compile(rf"^[ \t]*(?P<start>{_TIME})[ \t]*-->[ \t]*(?P<end>{_TIME})[^\n]*(?:\n|\Z)", re.MULTILINE)
_NEXT_NUMBER = re.compile(r"(?:\A|\n)[ \t]*\d+\s*\Z")  # of the next cue of an SRT file
_BLANK_LINE = re.compile(r"(?:\A|\n)[ \t]*\r?(?:\n|\Z)")
_TAG = re.compile(r"</?[A-Za-z0-9][^<>]*>|\{\\[^{}]*\}")
_VTT_TAG = re.compile(r"<[^<>]*>")
ASS_FIELDS = "Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text"


@dataclass(frozen=True)
class Cue:
    """What a cue says, without tags, and its times in the file."""

    text: str
    start_ms: float
    end_ms: float


@dataclass(frozen=True)
class Slot:
    """Where a file has the times and the text of a cue.

    Attributes:
        start: the place of the start time.
        end: the place of the end time.
        body: the place of the text.
        cue: the index of the cue. Layers of ASS that say the same at the same time are one cue.
    """

    start: Place
    end: Place
    body: Place
    cue: int


@dataclass(frozen=True)
class CueSheet:
    """A subtitle file.

    Attributes:
        kind: its format.
        content: the file.
        cues: in the order of their times.
        slots: where they are in the file, in the order of the file.
    """

    kind: SubtitleKind
    content: str
    cues: tuple[Cue, ...]
    slots: tuple[Slot, ...]

    @property
    def transcript(self) -> str:
        """What the cues say, one after the other."""
        return "\n".join(cue.text for cue in self.cues)


def read_cue_sheet(path: Path) -> CueSheet:
    """Read an SRT, WebVTT or ASS file, whose suffix says which it is.

    Raises:
        UserError: it cannot be read, or has no cue.
    """
    kind = KINDS[path.suffix.lower()]
    text = without_controls(read_text(path, MAX_TIMES_BYTES, f"a subtitle file ({kind})"))
    content = re.sub(r"\r(?!\n)", "\n", text) + ("\r\n" if "\r\n" in text else "\n")
    found = list(_ass_lines(content) if kind == "ass" else _timed_blocks(content, kind))
    if not found:
        expected = (
            "lines that begin with 'Dialogue:'" if kind == "ass" else "lines such as 00:00:01,000 --> 00:00:02,500"
        )
        raise UserError(f"{path} has no subtitle cues; expected {kind.upper()}, with {expected}")
    cues = sorted(dict.fromkeys(cue for cue, *_ in found), key=lambda cue: (cue.start_ms, cue.end_ms))
    index = {cue: number for number, cue in enumerate(cues)}
    slots = tuple(Slot(start, end, body, index[cue]) for cue, start, end, body in found)
    return CueSheet(kind, content, tuple(cues), slots)


def _timed_blocks(content: str, kind: SubtitleKind) -> Iterator[tuple[Cue, Place, Place, Place]]:
    """The cues of SRT and WebVTT, each with the places of its start, its end and its text.

    The text of an SRT cue may have blank lines, as many programs write them; a blank line ends that of a WebVTT cue.
    """
    timings = list(_TIMING.finditer(content))
    for number, timing in enumerate(timings, 1):
        end = timings[number].start() if number < len(timings) else len(content)
        body = content[timing.end() : end]
        last = None
        if kind == "vtt":
            last = _BLANK_LINE.search(body)
        elif number < len(timings):
            last = _NEXT_NUMBER.search(body)
        body = body[: last.start()] if last else body
        plain = html.unescape(_VTT_TAG.sub("", body)) if kind == "vtt" else _TAG.sub("", body)
        yield (
            Cue(_clean(plain), _ms(timing["start"]), _ms(timing["end"])),
            timing.span("start"),
            timing.span("end"),
            (timing.end(), timing.end() + len(body)),
        )


def _ass_lines(content: str) -> Iterator[tuple[Cue, Place, Place, Place]]:
    """The same of ASS: its dialogue lines, without drawings. Commas part the fields, and the last may have commas."""
    import pysubs2

    fields, is_events = ASS_FIELDS, False
    for line in re.finditer(r"[^\r\n]+", content):
        key, _, rest = line[0].partition(":")
        if key.lstrip().startswith("["):
            is_events = key.strip().casefold() == "[events]"
        elif is_events and key.strip() == "Format":
            fields = rest
        elif is_events and key.strip() == "Dialogue":
            names = [name.strip() for name in fields.split(",")]
            places = _fields(line[0], len(key) + 1, line.start(), names)
            if not {"Start", "End", "Text"} <= places.keys():
                continue
            start, end, body = (places[name] for name in ("Start", "End", "Text"))
            event = pysubs2.SSAEvent(text=content[slice(*body)])
            times = [content[slice(*place)] for place in (start, end)]
            if all(re.fullmatch(_TIME, time) for time in times) and not event.is_drawing:
                yield Cue(_clean(event.plaintext), *map(_ms, times)), start, end, body


def _fields(line: str, begin: int, offset: int, names: list[str]) -> dict[str, Place]:
    """The places of a line's fields in the file, without spaces around all but the last."""
    places = {}
    values = line[begin:].split(",", len(names) - 1)
    for name, value in zip(names, values, strict=False):
        left = len(value) - len(value.lstrip()) if name != "Text" else 0
        right = len(value.rstrip()) if name != "Text" else len(value)
        places[name] = (offset + begin + left, offset + begin + max(left, right))
        begin += len(value) + 1
    return places


def _clean(text: str) -> str:
    return without_controls(text).strip()


def _ms(time: str) -> float:
    """The milliseconds of `1:02:03,450`, `02:03.45` or `02:03`."""
    clock, _, fraction = time.replace(",", ".").partition(".")
    seconds = 0
    for part in clock.split(":"):
        seconds = seconds * 60 + int(part)
    return seconds * 1000 + float(f"0.{fraction or 0}") * 1000
