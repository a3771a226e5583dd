"""Subtitles: SRT, WebVTT and ASS. pysubs2 writes them; what each format reads as markup is escaped here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from forced_aligner.base.errors import UserError
from forced_aligner.output.cue_breaks import Cue, make_cues
from forced_aligner.output.cues import MILLISECOND_NS, CueOptions, Span, join_words
from forced_aligner.output.records import TimedFile
from forced_aligner.output.retiming import new_times, with_new_times

TICKS_NS = {"srt": MILLISECOND_NS, "vtt": MILLISECOND_NS, "ass": 10 * MILLISECOND_NS}
LAST_HOURS = {"srt": 100, "vtt": 100, "ass": 10}  # pysubs2 writes any later time as the last one before it
LINE_END = "\\N"  # in what pysubs2 gets
WORD_JOINER = "\u2060"  # has no width, and parts two characters that together mean something
# Stands for a backslash in what pysubs2 gets for SRT and VTT, where it would take `\N`, `\n` and `\h` for white space.
# No text has it, since all control characters are removed.
BACKSLASH = "\x1a"


def subtitles(file: TimedFile, options: CueOptions, kind: str) -> str:
    """The content of a subtitle file; `kind` is `srt`, `vtt` or `ass`.

    Raises:
        UserError: the recording is longer than the format can tell.
    """
    import pysubs2

    if file.duration_s >= LAST_HOURS[kind] * 3600:
        reason = f"{kind} holds times below {LAST_HOURS[kind]} hours, and it has {file.duration_s / 3600:.1f}"
        raise UserError(f"no subtitles for {file.audio}: {reason}; choose another format, such as json")
    if options.sheet is not None and options.sheet.kind == kind:
        return with_new_times(file, options.sheet, TICKS_NS[kind])
    subtitles = pysubs2.SSAFile()
    for start_ms, end_ms, text in _cues(file, options, kind):
        subtitles.append(pysubs2.SSAEvent(start=round(start_ms), end=round(end_ms), text=text))
    if kind == "ass":
        return subtitles.to_string("ass")
    # Without this option pysubs2 would leave out what stands in braces.
    return subtitles.to_string(kind, keep_ssa_tags=True).replace(BACKSLASH, "\\")


def _cues(file: TimedFile, options: CueOptions, kind: str) -> Iterator[tuple[float, float, str]]:
    """Start and end in ms, and text of each cue: those of the transcript, if it has some, without their styles."""
    if options.sheet is not None:
        times = new_times(file, options.sheet, TICKS_NS[kind])
        for cue, (start_ms, end_ms) in zip(options.sheet.cues, times, strict=True):
            yield start_ms, end_ms, LINE_END.join(map(_ESCAPES[kind], cue.text.splitlines()))
        return
    write = _KARAOKE.get(kind) if options.karaoke else None
    for made in make_cues(file, options, TICKS_NS[kind]):
        yield made.start_ms, made.end_ms, write(made) if write else _plain(made, _ESCAPES[kind])


def _plain(cue: Cue, escape: Callable[[str], str]) -> str:
    """A line without text would end a cue of SRT and WebVTT."""
    return LINE_END.join(text for line in cue.lines if (text := escape(join_words(line))))


def _srt(text: str) -> str:
    """SRT has no escapes, so text is written as it is. A brace that players take for a style and hide, as in `{\\an8}`
    and `{y:i}`, is parted from what follows it.
    """
    return re.sub(r"\{(?=\\|[A-Za-z]:)", f"{{{WORD_JOINER}", text).replace("\\", BACKSLASH)


def _vtt(text: str) -> str:
    """WebVTT escapes as HTML does."""
    for character, escape in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\\", BACKSLASH)):
        text = text.replace(character, escape)
    return text


def _ass(text: str) -> str:
    """ASS takes `\\N`, `\\n` and `\\h` for white space, and has no escape for a backslash: it is parted from what
    follows. Braces open style tags, and only libass has an escape for them, so they become parentheses.
    """
    return text.replace("\\", f"\\{WORD_JOINER}").replace("{", "(").replace("}", ")")


def _vtt_karaoke(cue: Cue) -> str:
    """A time inside a cue must be later than its start (W3C, WebVTT: cue timestamp), so the first word has none."""

    def marked(word: Span) -> str:
        time = f"<{_vtt_time(word.start_ms)}>" if word.start_ms > cue.start_ms else ""
        return time + _vtt(word.text)

    return LINE_END.join(join_words(line, marked) for line in cue.lines)


def _vtt_time(time_ms: float) -> str:
    seconds, ms = divmod(round(time_ms), 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"


def _ass_karaoke(cue: Cue) -> str:
    text, position = "", cue.start_ms
    for index, line in enumerate(cue.lines):
        for number, word in enumerate(line):
            gap = LINE_END if index and not number else " " if number and not word.no_space_before else ""
            mark = f"{_ass_time(word.end_ms - word.start_ms)}{_ass(word.text)}"
            text += f"{_ass_time(word.start_ms - position)}{gap}{mark}"
            position = word.end_ms
    return text + _ass_time(cue.end_ms - position)


def _ass_time(lasts_ms: float) -> str:
    return f"{{\\k{round(lasts_ms / 10)}}}" if lasts_ms > 0 else ""


_ESCAPES: dict[str, Callable[[str], str]] = {"srt": _srt, "vtt": _vtt, "ass": _ass}
_KARAOKE: dict[str, Callable[[Cue], str]] = {"vtt": _vtt_karaoke, "ass": _ass_karaoke}  # SRT cannot mark words
