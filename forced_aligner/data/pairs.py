"""A folder of recordings, each with its transcript beside it."""

from __future__ import annotations

from pathlib import Path

from forced_aligner.base.console import log
from forced_aligner.base.errors import UserError
from forced_aligner.base.reading import read_text
from forced_aligner.data.records import Clip

AUDIO_SUFFIXES = (".flac", ".wav", ".ogg", ".mp3")
TEXT_SUFFIXES = (".txt", ".lab")


def paired_clips(folder: Path, language: str | None) -> list[Clip]:
    """The pairs of a folder, such as `talk.flac` + `talk.txt` (or `talk.lab`); files without a partner are logged.

    Raises:
        UserError: the folder holds no pair.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())
    texts = {path.stem: path for path in files if path.suffix.lower() in TEXT_SUFFIXES}
    clips, used = [], set()
    for audio in (path for path in files if path.suffix.lower() in AUDIO_SUFFIXES):
        if audio.stem in texts:
            used.add(audio.stem)
            clips.append(_pair(audio, texts[audio.stem], language))
        else:
            log(f"left out: {audio.name} has no {audio.stem}.txt or .lab beside it")
    for stem in texts.keys() - used:
        log(f"left out: {texts[stem].name} has no audio beside it")
    if not clips:
        raise UserError(f"{folder} holds no pair such as talk.flac + talk.txt")
    return clips


def _pair(audio: Path, text: Path, language: str | None) -> Clip:
    """The clip of a pair. If its transcript cannot be read, the clip says so, and the other pairs go on."""
    try:
        return Clip(audio=str(audio), transcript=read_text(text), language=language)
    except UserError as error:
        return Clip(audio=str(audio), transcript="", language=language, problem=str(error))
