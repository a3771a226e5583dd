"""A folder of recordings, each with its transcript beside it."""

from __future__ import annotations

from pathlib import Path

from forced_aligner.base.console import log_always
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import is_folder
from forced_aligner.base.reading import list_folder
from forced_aligner.data.cue_sheets import KINDS
from forced_aligner.data.records import Clip
from forced_aligner.data.transcripts import Transcript, read_transcript

AUDIO_SUFFIXES = (".flac", ".wav", ".ogg", ".mp3")
TEXT_SUFFIXES = (".txt", ".lab")


def paired_clips(folder: Path, language: str | None) -> list[Clip]:
    """The pairs of a folder, such as `talk.flac` + `talk.txt` (or `talk.lab`); files without a partner are logged.

    Subtitles (`talk.srt`, `.vtt`, `.ass`) are the transcript where there is no text file: beside one, they may well be
    the output of an earlier run.

    Raises:
        UserError: the folder cannot be listed, or holds no pair.
    """
    files = [path for path in list_folder(folder) if not is_folder(path)]
    texts: dict[str, list[Path]] = {}
    for path in files:
        if path.suffix.lower() in (*TEXT_SUFFIXES, *KINDS):
            texts.setdefault(path.stem, []).append(path)
    clips, used = [], set()
    for audio in (path for path in files if path.suffix.lower() in AUDIO_SUFFIXES):
        if audio.stem in texts:
            used.add(audio.stem)
            clips.append(_pair(audio, texts[audio.stem], language))
        else:
            log_always(f"left out: {audio.name} has no {audio.stem}.txt or .lab beside it")
    for path in files:
        if path in texts.get(path.stem, []) and path.stem not in used:
            log_always(f"left out: {path.name} has no audio beside it")
    if not clips:
        raise UserError(f"{folder} holds no pair such as talk.flac + talk.txt")
    return clips


def _pair(audio: Path, texts: list[Path], language: str | None) -> Clip:
    """The clip of a recording and the files of its transcript. If these cannot be used, it has a `problem`."""
    texts = [path for path in texts if path.suffix.lower() in TEXT_SUFFIXES] or texts
    transcript, problem = Transcript(""), None
    try:
        transcript, *others = (read_transcript(path) for path in texts)
        if any(other.text != transcript.text for other in others):
            names = " and ".join(path.name for path in texts)
            problem = f"{names} beside it hold different transcripts: remove all but one"
    except UserError as error:
        problem = str(error)
    return Clip(
        audio=str(audio),
        transcript="" if problem else transcript.text,
        language=language,
        cues=transcript.cues,
        problem=problem,
        sources=tuple(map(str, texts)),
    )
