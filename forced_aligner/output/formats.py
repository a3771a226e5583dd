"""Word times in file formats of other programs: json, srt, vtt, ass, textgrid, ctm, audacity, tsv."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from forced_aligner.base.errors import UserError
from forced_aligner.output.cues import CueOptions, spans
from forced_aligner.output.records import TimedFile
from forced_aligner.output.subtitles import subtitles


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
    """Audacity's label track: start s, end s, label. Labels may have no length, so the raw times are written."""
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


def parse_formats(text: str) -> list[str]:
    """The names in a comma-separated list of formats, in order, each once.

    Raises:
        UserError: a name is not in `FORMATS`.
    """
    names = list(dict.fromkeys(part.strip().lower() for part in text.split(",")))
    for name in names:
        if name not in FORMATS:
            raise UserError(f"no format {name!r}; expected some of {', '.join(FORMATS)}")
    return names
