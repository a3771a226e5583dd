"""A folder of recordings, each with its transcript beside it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from forced_aligner.base.console import log_always
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import is_folder
from forced_aligner.base.reading import list_folder
from forced_aligner.data.cue_sheets import KINDS
from forced_aligner.data.records import Clip
from forced_aligner.data.transcripts import Transcript, read_transcript

# What libsndfile decodes.
AUDIO_SUFFIXES = (".flac", ".wav", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64")
# Sound and video that it does not decode. The list is for a message: any other file is no recording.
UNREAD_SUFFIXES = (
    *(".3gp", ".aac", ".ac3", ".amr", ".ape", ".avi", ".dts", ".flv", ".m4a", ".m4b", ".m4v", ".mka", ".mkv", ".mov"),
    *(".mp2", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".tta", ".webm", ".wma", ".wmv", ".wv"),
)
TEXT_SUFFIXES = (".txt", ".lab")


def paired_clips(folder: Path, language: str | None, *, recursive: bool = False) -> list[Clip]:
    """The pairs of a folder, such as `talk.flac` + `talk.txt` (or `talk.lab`); files without a partner are logged.

    Subtitles (`talk.srt`, `.vtt`, `.ass`) are the transcript where there is no text file: beside one, they may well be
    the output of an earlier run.

    Args:
        folder: the folder.
        language: of its recordings.
        recursive: take the pairs of its subfolders too, after its own, in the order of the names. Hidden folders and
            links to folders are left out.

    Raises:
        UserError: the folder cannot be listed, or holds no pair.
    """
    clips = _pairs_of(folder, Path(), list_folder(folder), language)
    if recursive:
        for place, entries in subfolders(folder, log_always):
            clips += _pairs_of(folder, place, entries, language)
    if not clips:
        raise UserError(f"{folder} holds no pair such as talk.flac + talk.txt")
    return clips


def tell_of_subfolders(folder: Path) -> None:
    """Log a line if subfolders hold recordings.

    Raises:
        UserError: the folder cannot be listed.
    """
    for _, entries in subfolders(folder):
        for path in entries:
            if path.suffix.lower() in AUDIO_SUFFIXES and not is_folder(path):
                found = path.relative_to(folder)
                log_always(f"left out: subfolders hold recordings, such as {found}; --recursive takes them too")
                return


def subfolders(folder: Path, say: Callable[[str], None] = lambda line: None) -> Iterator[tuple[Path, list[Path]]]:
    """Each folder within `folder`, relative to it, and what it holds; one after another in the order of the names.

    Hidden folders are left out. So are links to folders, which may lead out of `folder` or in circles, and folders that
    cannot be listed: `say` gets a line for each of these.

    Raises:
        UserError: `folder` itself cannot be listed.
    """

    def within(entries: list[Path]) -> list[Path]:
        return [path for path in reversed(entries) if is_folder(path) and not path.name.startswith(".")]

    pending = within(list_folder(folder))
    while pending:
        path = pending.pop()
        place = path.relative_to(folder)
        if path.is_symlink():
            say(f"left out: {place} is a link to a folder")
            continue
        try:
            entries = list_folder(path)
        except UserError as error:
            say(f"left out: {error}")
            continue
        yield place, entries
        pending += within(entries)


def _pairs_of(folder: Path, place: Path, entries: list[Path], language: str | None) -> list[Clip]:
    """The pairs among the `entries` of `folder / place`. What is left out of them is logged."""
    files = [path for path in entries if not is_folder(path)]
    texts: dict[str, list[Path]] = {}
    for path in files:
        if path.suffix.lower() in (*TEXT_SUFFIXES, *KINDS):
            texts.setdefault(path.stem, []).append(path)
    recordings = [path for path in files if path.suffix.lower() in AUDIO_SUFFIXES]
    read = {path.stem for path in recordings}
    # Beside talk.wav, talk.mp4 is where it came from.
    unread = [path for path in files if path.suffix.lower() in UNREAD_SUFFIXES and path.stem not in read]
    clips = []
    for audio in recordings:
        if audio.stem in texts:
            clips.append(_pair(audio, texts[audio.stem], language, place))
        else:
            log_always(f"left out: {place / audio.name} has no {audio.stem}.txt or .lab beside it")
    for path in unread:
        name, target = (shlex.quote(str(place / name)) for name in (path.name, f"{path.stem}.flac"))
        remedy = f"convert it, for example by ffmpeg -i {name} {target}"
        log_always(f"left out: {place / path.name}: this format is not read; {remedy}")
    has_audio = read.union(path.stem for path in unread)
    for path in files:
        if path in texts.get(path.stem, []) and path.stem not in has_audio:
            log_always(f"left out: {place / path.name} has no audio beside it")
    return clips


def _pair(audio: Path, texts: list[Path], language: str | None, place: Path) -> Clip:
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
        subfolder=str(place),
    )
