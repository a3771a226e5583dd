"""Transcript files: plain text, subtitles, and the JSON of speech recognisers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forced_aligner.base.errors import UserError
from forced_aligner.base.reading import MAX_TIMES_BYTES, MAX_TRANSCRIPT_BYTES, read_json_value, read_text
from forced_aligner.data.cue_sheets import KINDS, CueSheet, read_cue_sheet

JSON_HINT = "the JSON of WhisperX, Whisper, whisper.cpp or infer: segments, transcription, words or text"


@dataclass(frozen=True)
class Transcript:
    """What a file says is spoken, and the cues in which it says so, if it is a subtitle file."""

    text: str
    cues: CueSheet | None = None


def read_transcript(path: Path) -> Transcript:
    """Read a transcript: `.srt`, `.vtt` and `.ass` are subtitles, `.json` is JSON, and all else is plain text.

    Raises:
        UserError: the file cannot be read, is not what its suffix says, or has a text above `MAX_TRANSCRIPT_BYTES`.
    """
    suffix = path.suffix.lower()
    if suffix in KINDS:
        sheet = read_cue_sheet(path)
        return Transcript(_within_limit(path, sheet.transcript), sheet)
    if suffix == ".json":
        return Transcript(_within_limit(path, _json_text(path)))
    return Transcript(read_text(path))


def _within_limit(path: Path, text: str) -> str:
    if len(text) > MAX_TRANSCRIPT_BYTES:
        raise UserError(
            f"{path} has a text of {len(text)} characters; at most {MAX_TRANSCRIPT_BYTES} are read: split it"
        )
    return text.strip()


def _json_text(path: Path) -> str:
    """The text of a JSON transcript.

    WhisperX and Whisper have `segments`, whisper.cpp has `transcription`, `infer` has `words`; each holds objects with
    a `text`. The API of OpenAI may give `text` alone. In those of whisper.cpp and `infer`, a word may go on in the next
    object.
    """
    found = read_json_value(path, MAX_TIMES_BYTES, JSON_HINT)
    content = found if isinstance(found, dict) else {}
    if isinstance(content.get("segments"), list):
        return "\n".join(_texts(path, content["segments"]))
    if isinstance(content.get("transcription"), list):
        texts = _texts(path, content["transcription"])
        has_spaces = any(text[:1].isspace() for text in texts)  # before each text that begins a word
        return "".join(text if has_spaces and not text[:1].isspace() else f"\n{text.strip()}" for text in texts)
    if isinstance(content.get("words"), list):
        texts = _texts(path, content["words"])
        glued = [word.get("glued") is True for word in content["words"]]
        return "".join(text if is_glued else f" {text}" for text, is_glued in zip(texts, glued, strict=True))
    if isinstance(content.get("text"), str):
        return str(content["text"])
    raise UserError(f"{path} has no transcript; expected {JSON_HINT}")


def _texts(path: Path, items: list[Any]) -> list[str]:
    texts = [item.get("text") if isinstance(item, dict) else None for item in items]
    for number, text in enumerate(texts, 1):
        if not isinstance(text, str):
            raise UserError(f"{path}: entry {number} has no text; expected {JSON_HINT}")
    return [text for text in texts if isinstance(text, str)]
