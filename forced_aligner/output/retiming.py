"""A subtitle file with new times: each cue lasts from its first word to its last."""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate, pairwise

import numpy as np

from forced_aligner.data.cue_sheets import CueSheet
from forced_aligner.output.cues import MIN_WORD_MS, spans
from forced_aligner.output.records import TimedFile

Times = tuple[float, float]  # start and end, ms
_INLINE_TIME = re.compile(r"<(?:(\d+):)?(\d{2}):(\d{2})\.(\d{3})>")  # of WebVTT: a word's start inside a cue


def new_times(file: TimedFile, sheet: CueSheet, tick_ns: int) -> list[Times]:
    """The times of each cue, in ms.

    A cue of which no word has times, such as `[applause]`, moves as the cues around it do: between two times of cues
    that were found, its old times are mapped linearly; before the first and after the last, they are shifted as these.
    If no cue was found, all keep their times.

    Args:
        file: the words of the sheet's transcript, in its order; together, they have all its characters but white space.
        sheet: the subtitle file.
        tick_ns: the resolution of the format, in nanoseconds.
    """
    found = _found(file, sheet, tick_ns)
    old, new = _anchors(sheet, found)
    times = []
    for index, cue in enumerate(sheet.cues):
        if index in found:
            times.append(found[index])
            continue
        start, end = (_moved(time, old, new) for time in (cue.start_ms, cue.end_ms))
        times.append((start, max(end, start + MIN_WORD_MS)))
    return times


def _found(file: TimedFile, sheet: CueSheet, tick_ns: int) -> dict[int, Times]:
    """The times of the cues that have a word with times. The words are told apart by counting their characters."""
    ends = list(accumulate(_count(cue.text) for cue in sheet.cues))
    timed = iter(spans(file, tick_ns))
    found: dict[int, Times] = {}
    at = 0
    for word in file.words:
        if word.start_time_ms is not None:
            span, cue = next(timed), bisect_right(ends, at)
            start, _ = found.get(cue, (span.start_ms, 0.0))
            found[cue] = (start, span.end_ms)
        at += _count(word.text)
    return found


def _count(text: str) -> int:
    return sum(map(len, text.split()))


def _anchors(sheet: CueSheet, found: dict[int, Times]) -> tuple[list[float], list[float]]:
    """Old times and their new ones, both rising; what would go back, as in overlapping cues, is left out."""
    old: list[float] = []
    new: list[float] = []
    for index, times in sorted(found.items()):
        cue = sheet.cues[index]
        for before, after in zip((cue.start_ms, cue.end_ms), times, strict=True):
            if not old or (before > old[-1] and after >= new[-1]):
                old.append(before)
                new.append(after)
    return old, new


def _moved(time_ms: float, old: list[float], new: list[float]) -> float:
    if not old:
        return time_ms
    inside_ms = min(max(time_ms, old[0]), old[-1])
    return max(float(np.interp(inside_ms, old, new)) + time_ms - inside_ms, 0.0)


def with_new_times(file: TimedFile, sheet: CueSheet, tick_ns: int) -> str:
    """The subtitle file as it is, but for its times.

    The times of words inside a WebVTT cue move with the cue. What ASS counts from the start of a line, such as `\\k`,
    stays.
    """
    times = new_times(file, sheet, tick_ns)
    changes = []
    for slot in sheet.slots:
        cue, (start_ms, end_ms) = sheet.cues[slot.cue], times[slot.cue]
        changes += [(slot.start, _time(start_ms, sheet.kind)), (slot.end, _time(end_ms, sheet.kind))]
        if sheet.kind == "vtt":
            old = [cue.start_ms, max(cue.end_ms, cue.start_ms + MIN_WORD_MS)]
            body = _with_moved_words(sheet.content[slice(*slot.body)], old, [start_ms, end_ms])
            changes.append((slot.body, body))
    changes.sort()
    gaps = pairwise([0, *(edge for place, _ in changes for edge in place), len(sheet.content)])
    kept = [sheet.content[begin:end] for begin, end in list(gaps)[::2]]
    return "".join(text for pair in zip(kept, [*(text for _, text in changes), ""], strict=True) for text in pair)


def _with_moved_words(body: str, old: list[float], new: list[float]) -> str:
    """The text of a WebVTT cue; its words' times, if it has some, are mapped from its old times to its new ones."""

    def moved(match: re.Match[str]) -> str:
        hours, minutes, seconds, ms = (int(part or 0) for part in match.groups())
        time_ms = float(((hours * 60 + minutes) * 60 + seconds) * 1000 + ms)
        return f"<{_time(_moved(min(max(time_ms, old[0]), old[1]), old, new), 'vtt')}>"

    return _INLINE_TIME.sub(moved, body)


def _time(time_ms: float, kind: str) -> str:
    """A time as each format writes it; ASS has hundredths of a second and one digit of hours."""
    seconds, ms = divmod(round(time_ms), 1000)
    clock = f"{seconds // 60 % 60:02}:{seconds % 60:02}"
    if kind == "ass":
        return f"{seconds // 3600}:{clock}.{ms // 10:02}"
    return f"{seconds // 3600:02}:{clock}{',' if kind == 'srt' else '.'}{ms:03}"
