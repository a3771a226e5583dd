"""Recordings to verify on: the demo clips, LibriSpeech on disk, or a folder of pairs."""

from __future__ import annotations

from pathlib import Path

from forced_aligner.console import log
from forced_aligner.errors import UserError
from forced_aligner.paths import DEMO_FOLDER, MANIFEST_FILE
from forced_aligner.schemas import Clip, ClipManifest, read_json

DEMO_CLIPS = DEMO_FOLDER / "clips"
LIBRISPEECH_SUBSET = "test-clean"
LIBRISPEECH_PLACES = (
    Path("data/LibriSpeech"),
    Path("datasets/LibriSpeech"),
    Path("LibriSpeech"),
    Path.home() / "datasets/LibriSpeech",
    Path.home() / "LibriSpeech",
)
AUDIO_SUFFIXES = (".flac", ".wav", ".ogg", ".mp3")


def load_clips(dataset: str, folder: Path | None, *, is_demo_model: bool, language: str | None) -> list[Clip]:
    """The clips of `dataset`, their `audio` as full paths, in a stable order.

    Args:
        dataset: `auto`, `demo`, `librispeech`, or a folder of pairs such as `talk.flac` + `talk.txt`.
        folder: where LibriSpeech lies, if not in one of `LIBRISPEECH_PLACES`.
        is_demo_model: with `auto`, the demo model always gets the demo clips.
        language: given to the clips of a folder of pairs.

    Raises:
        UserError: the data set is not there, or holds no pair.
    """
    if dataset == "auto":
        dataset = "demo" if is_demo_model or find_librispeech(folder) is None else "librispeech"
        log(f"data set: {dataset}")
    if dataset == "demo":
        return _manifest_clips(DEMO_CLIPS)
    if dataset == "librispeech":
        subset = find_librispeech(folder)
        if subset is None:
            places = folder or ", ".join(map(str, LIBRISPEECH_PLACES))
            raise UserError(f"no LibriSpeech {LIBRISPEECH_SUBSET} in {places}; give its folder by --dataset-dir")
        return _librispeech_clips(subset)
    if not Path(dataset).is_dir():
        raise UserError(f"no data set {dataset!r}; expected auto, demo, librispeech or a folder of pairs")
    return _paired_clips(Path(dataset), language)


def find_librispeech(folder: Path | None) -> Path | None:
    """The folder of test-clean: `folder` itself, or below it, or below a usual place."""
    places = [folder, folder / "LibriSpeech"] if folder else list(LIBRISPEECH_PLACES)
    for place in places:
        for candidate in (place / LIBRISPEECH_SUBSET, place):
            if candidate.name == LIBRISPEECH_SUBSET and candidate.is_dir():
                return candidate
    return None


def _manifest_clips(folder: Path) -> list[Clip]:
    manifest = read_json(ClipManifest, folder / MANIFEST_FILE, "it belongs to the repository: restore it from git")
    return [clip.model_copy(update={"audio": str(folder / clip.audio)}) for clip in manifest.samples]


def _librispeech_clips(subset: Path) -> list[Clip]:
    """`speaker/chapter/*.trans.txt`: a line is an utterance's id and its transcript in capitals."""
    clips = []
    for transcripts in sorted(subset.glob("*/*/*.trans.txt")):
        for line in transcripts.read_text(encoding="utf-8").splitlines():
            utterance, _, transcript = line.partition(" ")
            audio = transcripts.parent / f"{utterance}.flac"
            clips.append(Clip(audio=str(audio), transcript=transcript, language="English"))
    if not clips:
        raise UserError(f"{subset} holds no transcripts; expected speaker/chapter/*.trans.txt, as LibriSpeech has")
    return clips


def _paired_clips(folder: Path, language: str | None) -> list[Clip]:
    audios = sorted(path for path in folder.iterdir() if path.suffix.lower() in AUDIO_SUFFIXES)
    clips = []
    for audio in audios:
        text = audio.with_suffix(".txt")
        if text.is_file():
            transcript = text.read_text(encoding="utf-8").strip()
            clips.append(Clip(audio=str(audio), transcript=transcript, language=language))
        else:
            log(f"left out: {audio.name} has no {text.name} beside it")
    if not clips:
        raise UserError(f"{folder} holds no pair such as talk.flac + talk.txt")
    return clips
