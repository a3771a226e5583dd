"""A manifest, which lists recordings: JSON Lines or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from forced_aligner.base.errors import UserError
from forced_aligner.base.reading import read_text
from forced_aligner.data.records import Clip

MAX_FIELD_CHARS = 1 << 24  # the csv module's default of 131 072 is too short for a transcript of several hours


def manifest_clips(path: Path, language: str | None) -> list[Clip]:
    """The clips of a manifest: JSON Lines, or CSV with a header; the keys are `audio`, `text` and perhaps `language`.

    NeMo's key `audio_filepath` is taken for `audio`. Audio paths are relative to the manifest.

    Args:
        path: the manifest.
        language: of the rows that have none.

    Raises:
        UserError: the manifest cannot be read, lists nothing, or a row lacks a key.
    """
    clips = []
    for number, row in _rows(path):
        audio, text = row.get("audio") or row.get("audio_filepath"), row.get("text")
        clip_language = row.get("language") or language
        if not isinstance(audio, str) or not isinstance(text, str) or not isinstance(clip_language, str | None):
            found = ", ".join(map(str, row))
            raise UserError(f"{path} line {number}: expected the keys audio and text, both texts, found {found}")
        clips.append(Clip(audio=str(path.parent / audio), transcript=text, language=clip_language))
    if not clips:
        raise UserError(f"{path} lists no recordings")
    return clips


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and content of each row."""
    text = read_text(path)
    if path.suffix.lower() == ".csv":
        csv.field_size_limit(MAX_FIELD_CHARS)
        reader = csv.DictReader(io.StringIO(text, newline=""))
        try:
            yield from ((reader.line_num, row) for row in reader)
        except csv.Error as error:
            raise UserError(f"{path} line {reader.line_num} is not CSV ({error})") from None
        return
    for number, line in enumerate(
        text.split("\n"), 1
    ):  # not splitlines: JSON strings may contain other line separators
        try:
            row = json.loads(line) if line.strip() else None
        except ValueError as error:
            raise UserError(
                f"{path} line {number} is not JSON ({error}); expected JSON Lines, or name it .csv"
            ) from None
        if isinstance(row, dict):
            yield number, row
        elif row is not None:
            raise UserError(f"{path} line {number}: expected an object with the keys audio and text")
