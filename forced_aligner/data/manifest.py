"""A manifest, which lists recordings: JSON Lines or CSV."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from forced_aligner.base.errors import UserError
from forced_aligner.base.reading import (
    MAX_MANIFEST_BYTES,
    MAX_MANIFEST_ROWS,
    MAX_PATH_CHARS,
    MAX_TRANSCRIPT_BYTES,
    parse_json,
    read_text,
)
from forced_aligner.data.records import DURATION_TOLERANCE_S, Clip
from forced_aligner.data.transcripts import Transcript, read_transcript

MAX_FIELD_CHARS = MAX_MANIFEST_BYTES  # the csv module's default of 131 072 is too short for a transcript of hours
SHOWN_CHARS = 200  # of the names of a row's keys


def manifest_clips(path: Path, language: str | None) -> list[Clip]:
    """The clips of a manifest: JSON Lines, or CSV with a header; the keys are `audio`, `text` and perhaps `language`.

    Where a row has no `text`, `text_file` names a transcript, such as `talk.srt`, relative to the manifest.
    NeMo's key `audio_filepath` is taken for `audio`. Its `offset` and `duration`, which may name a part of a file, must
    stand for the whole file. Audio paths are relative to the manifest. What is wrong with one recording alone, such as
    a transcript that is too long, is the `problem` of its clip.

    Args:
        path: the manifest.
        language: of the rows that have none.

    Raises:
        UserError: the manifest cannot be read, is larger than the limits of `base.reading`, lists nothing, or a row is
            damaged or lacks a key.
    """
    clips: list[Clip] = []
    for number, row in _rows(path):
        if len(clips) == MAX_MANIFEST_ROWS:
            raise UserError(f"{path} lists more than {MAX_MANIFEST_ROWS} recordings: split it")
        clips.append(_clip(path, number, row, language))
    if not clips:
        raise UserError(f"{path} lists no recordings")
    return clips


def _clip(path: Path, number: int, row: dict[str, Any], language: str | None) -> Clip:
    """The clip of the row that begins in line `number`."""
    audio, text = row.get("audio") or row.get("audio_filepath"), row.get("text")
    text_file = None
    if not text and isinstance(row.get("text_file"), str) and row["text_file"]:
        text, text_file = "", path.parent / row["text_file"]
    clip_language = row.get("language") or language
    if not isinstance(audio, str) or not isinstance(text, str) or not isinstance(clip_language, str | None):
        found = ", ".join(map(str, row))[:SHOWN_CHARS]
        raise UserError(f"{path} line {number}: expected the keys audio and text, both texts, found {found}")
    if max(len(audio), len(clip_language or "")) > MAX_PATH_CHARS:
        raise UserError(f"{path} line {number}: the audio's path or the language has over {MAX_PATH_CHARS} characters")
    duration_s, problem = _duration_s(row)
    try:
        transcript = read_transcript(text_file) if text_file else _transcript(text)
    except UserError as error:
        transcript, problem = Transcript(""), str(error)
    return Clip(
        audio=str(path.parent / audio),
        transcript=transcript.text,
        language=clip_language,
        declared_duration_s=duration_s,
        problem=problem,
        cues=transcript.cues,
        sources=(str(path), str(text_file)) if text_file else (str(path),),
    )


def _transcript(text: str) -> Transcript:
    if len(text) > MAX_TRANSCRIPT_BYTES:
        raise UserError(f"its transcript has {len(text)} characters; at most {MAX_TRANSCRIPT_BYTES} are read")
    return Transcript(text.strip())


def _duration_s(row: dict[str, Any]) -> tuple[float | None, str | None]:
    """NeMo's duration of a row, if it has one, and what is wrong with it, or with the row's offset."""
    numbers: dict[str, float | None] = {}
    for key in ("offset", "duration"):
        value = row.get(key)
        try:
            is_number = isinstance(value, int | float | str) and not isinstance(value, bool)
            numbers[key] = None if value in (None, "") else float(value) if is_number else math.nan
        except ValueError:
            numbers[key] = math.nan
        if not math.isfinite(numbers[key] or 0):
            return None, f"its {key} {str(value)[:SHOWN_CHARS]!r} is no number of seconds"
    if abs(numbers["offset"] or 0) > DURATION_TOLERANCE_S:
        return None, f"it starts at {numbers['offset']:.2f} s of its file: parts of files are not read; cut the audio"
    return numbers["duration"], None


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """First line's number and content of each row."""
    text = read_text(path, MAX_MANIFEST_BYTES, "a manifest")
    if path.suffix.lower() == ".csv":
        yield from _csv_rows(path, text)
        return
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: JSON strings may hold other line separators
        if line.strip():
            remedy = "expected JSON Lines, or name it .csv"
            row = parse_json(line, f"{path} line {number}", remedy, lone_surrogates=True)
            if not isinstance(row, dict):
                raise UserError(f"{path} line {number}: expected an object with the keys audio and text")
            yield number, row


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(MAX_FIELD_CHARS)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    number = 1
    try:
        for cells in reader:
            if not header:
                header = _header(path, cells)
            elif cells:
                _check_cells(path, number, header, cells)
                yield number, dict(zip(header, cells, strict=True))
            number = reader.line_num + 1
    except csv.Error as error:
        reason = "a quote is not closed" if "unexpected end of data" in str(error) else error
        raise UserError(f"{path} line {number} is not CSV ({reason})") from None


def _header(path: Path, cells: list[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    twice = [name for name in header if name and header.count(name) > 1] if len(header) <= SHOWN_CHARS else header
    if twice:
        raise UserError(f"{path} line 1 has the column {twice[0][:SHOWN_CHARS]!r} twice, or very many columns")
    return header


def _check_cells(path: Path, number: int, header: list[str], cells: list[str]) -> None:
    """Refuse a row whose cells are not those of the header, or one of which holds another row."""
    if len(cells) != len(header):
        found = f"found {len(cells)} cells, but the header has {len(header)}"
        expected = "expected the keys audio and text, both texts"
        raise UserError(f"{path} line {number}: {expected}, {found}: write a text with commas in quotes")
    row = dict(zip(header, cells, strict=True))
    suffix = Path(row.get("audio") or row.get("audio_filepath") or "").suffix.lower()
    for cell in cells:
        parts = [part.strip().lower() for part in re.split("[,\r\n]", cell)] if "\n" in cell or "\r" in cell else []
        if suffix and any(part.endswith(suffix) for part in parts):
            found = f"a quote takes in other rows, since {suffix} is in the text"
            raise UserError(f"{path} line {number}: {found}; write each quote of a text twice, and the text in quotes")
