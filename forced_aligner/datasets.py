"""Recordings to align or to verify on: the demo clips, LibriSpeech, a folder of pairs, or a manifest."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from forced_aligner import librispeech
from forced_aligner.console import log
from forced_aligner.errors import UserError
from forced_aligner.files import require_audio_file
from forced_aligner.paths import DEMO_FOLDER, MANIFEST_FILE
from forced_aligner.schemas import Clip, ClipManifest, read_json

DEMO_CLIPS = DEMO_FOLDER / "clips"
DEFAULT_SUBSET = "test-clean"
MAX_FIELD_CHARS = 1 << 24  # csv ends at 131 072, which the transcript of some hours exceeds
AUDIO_SUFFIXES = (".flac", ".wav", ".ogg", ".mp3")
TEXT_SUFFIXES = (".txt", ".lab")


def load_clips(
    dataset: str,
    folder: Path | None,
    *,
    is_demo_model: bool,
    language: str | None,
    subset: str | None = None,
    download: bool = False,
) -> list[Clip]:
    """The clips of `dataset`, their `audio` as full paths, in a stable order.

    Args:
        dataset: `auto`, `demo`, `librispeech`, or a folder of pairs such as `talk.flac` + `talk.txt`.
        folder: where LibriSpeech lies, if not in one of `librispeech.PLACES`.
        is_demo_model: with `auto`, the demo model always gets the demo clips.
        language: given to the clips of a folder of pairs.
        subset: of LibriSpeech; None is `DEFAULT_SUBSET`.
        download: fetch the subset if it is not there.

    Raises:
        UserError: the data set is not there, or holds no pair, or an option is not for it.
    """
    if language is not None and dataset in ("auto", "demo", "librispeech"):
        raise UserError(
            "--language is for --audio-file or a folder of pairs: the demo's clips and LibriSpeech have theirs"
        )
    asks_librispeech = folder is not None or subset is not None or download
    if asks_librispeech and (dataset not in ("auto", "librispeech") or (dataset == "auto" and is_demo_model)):
        raise UserError("--dataset-dir, --subset and --download need --dataset librispeech")
    subset = subset or DEFAULT_SUBSET
    if dataset == "auto":
        wants_demo = is_demo_model or (not asks_librispeech and librispeech.find(subset, None) is None)
        dataset = "demo" if wants_demo else "librispeech"
        log(f"data set: {dataset}")
    if dataset == "demo":
        return _manifest_clips(DEMO_CLIPS)
    if dataset == "librispeech":
        return librispeech.load(subset, folder, download=download)
    if not Path(dataset).is_dir():
        raise UserError(f"no data set {dataset!r}; expected auto, demo, librispeech or a folder of pairs")
    return paired_clips(Path(dataset), language)


def input_clips(
    audio_file: Path | None, text: str | None, text_file: Path | None, files: Path | None, language: str | None
) -> list[Clip]:
    """What `infer` was given: one recording with its transcript, or many.

    Raises:
        UserError: neither or both, or an input that cannot be read.
    """
    if files is not None and audio_file is None and text is None and text_file is None:
        return paired_clips(files, language) if files.is_dir() else manifest_clips(files, language)
    if files is not None or audio_file is None or (text is None) == (text_file is None):
        raise UserError("give --audio-file with --text or --text-file, or --files with a folder of pairs or a manifest")
    require_audio_file(audio_file)
    transcript = text if text_file is None else read_text(text_file)
    return [Clip(audio=str(audio_file), transcript=transcript or "", language=language)]


def _manifest_clips(folder: Path) -> list[Clip]:
    manifest = read_json(ClipManifest, folder / MANIFEST_FILE, "it belongs to the repository: restore it from git")
    return [clip.model_copy(update={"audio": str(folder / clip.audio)}) for clip in manifest.samples]


def paired_clips(folder: Path, language: str | None) -> list[Clip]:
    """The pairs of a folder, such as `talk.flac` + `talk.txt` (or `talk.lab`); what has no partner is listed.

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
    """A pair whose transcript cannot be read does not stop the others."""
    try:
        return Clip(audio=str(audio), transcript=read_text(text), language=language)
    except UserError as error:
        return Clip(audio=str(audio), transcript="", language=language, problem=str(error))


def read_text(path: Path) -> str:
    """The content of a transcript or a manifest, UTF-8.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}); expected a text file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read {path} (byte {error.start} is not UTF-8); save it as UTF-8") from None


def manifest_clips(path: Path, language: str | None) -> list[Clip]:
    """The clips of a manifest: JSON Lines or CSV with a header, with `audio`, `text` and perhaps `language`.

    NeMo's `audio_filepath` will do for `audio`. Audio paths are relative to the manifest.

    Raises:
        UserError: it cannot be read, or a line lacks a key.
    """
    clips = []
    for number, row in _rows(path):
        audio, text = row.get("audio") or row.get("audio_filepath"), row.get("text")
        spoken = row.get("language") or language
        if not isinstance(audio, str) or not isinstance(text, str) or not isinstance(spoken, str | None):
            found = ", ".join(map(str, row))
            raise UserError(f"{path} line {number}: expected the keys audio and text, both texts, found {found}")
        clips.append(Clip(audio=str(path.parent / audio), transcript=text, language=spoken))
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
    for number, line in enumerate(text.split("\n"), 1):  # JSON may hold other line ends inside
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
