"""Subtitles: SRT, WebVTT and ASS."""

from __future__ import annotations

from forced_aligner.output.cues import CueOptions, Span, group_cues, join_words, subtitle_spans
from forced_aligner.output.records import TimedFile


def subtitles(file: TimedFile, options: CueOptions, kind: str) -> str:
    """The content of a subtitle file; `kind` is `srt`, `vtt` or `ass`."""
    import pysubs2

    subtitles = pysubs2.SSAFile()
    for cue in group_cues(subtitle_spans(file), options):
        text = join_words(cue, _clean if kind != "vtt" else _clean_vtt)
        if options.karaoke and kind == "vtt":
            text = join_words(cue, lambda word: f"<{_vtt_time(word.start_ms)}>{_clean_vtt(word)}")
        elif options.karaoke and kind == "ass":
            text = _ass_karaoke(cue)
        subtitles.append(pysubs2.SSAEvent(start=round(cue[0].start_ms), end=round(cue[-1].end_ms), text=text))
    return subtitles.to_string(kind)


def _clean(word: Span) -> str:
    """The word without braces, which open style tags in these formats."""
    return word.text.replace("{", "(").replace("}", ")")


def _clean_vtt(word: Span) -> str:
    return _clean(word).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _vtt_time(time_ms: float) -> str:
    seconds, ms = divmod(round(time_ms), 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"


def _ass_karaoke(cue: list[Span]) -> str:
    text, position = "", cue[0].start_ms
    for index, word in enumerate(cue):
        gap = "" if index == 0 or word.no_space_before else " "
        pause = f"{{\\k{round((word.start_ms - position) / 10)}}}" if word.start_ms > position else ""
        text += f"{pause}{gap}{{\\k{round((word.end_ms - word.start_ms) / 10)}}}{_clean(word)}"
        position = word.end_ms
    return text
