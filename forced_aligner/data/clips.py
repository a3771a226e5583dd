"""Recordings to align or to verify on: the demo clips, LibriSpeech, a folder of pairs, or a manifest."""

from __future__ import annotations

import os
from pathlib import Path

from forced_aligner.base.console import log, log_always
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import is_file, is_folder
from forced_aligner.base.paths import DEMO_FOLDER, MANIFEST_FILE
from forced_aligner.base.reading import require_audio_file
from forced_aligner.base.records import read_json
from forced_aligner.data.librispeech import ARCHIVES, find_subset, load_subset
from forced_aligner.data.manifest import manifest_clips
from forced_aligner.data.pairs import paired_clips, tell_of_subfolders
from forced_aligner.data.records import Clip, ClipManifest
from forced_aligner.data.transcripts import Transcript, read_transcript

# Clips with true times, see demo/README.md. Those to calibrate with are in voices of the training, the others are not.
CALIBRATION_SET = "demo-calibration"
DEMO_SETS = {
    "demo": DEMO_FOLDER / "clips",
    "demo-120": DEMO_FOLDER / "clips-120",
    CALIBRATION_SET: DEMO_FOLDER / "clips-calibration",
}
DEFAULT_SUBSET = "test-clean"
# Those of LibriSpeech that nobody reports scores on come first.
CALIBRATION_SUBSETS = ("dev-clean", "dev-other", *(name for name in ARCHIVES if name.startswith("train")))


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
        dataset: `auto`, one of `DEMO_SETS`, `librispeech`, or a folder of pairs such as `talk.flac` + `talk.txt`.
        folder: where LibriSpeech is; None searches `librispeech.SEARCH_FOLDERS`.
        is_demo_model: with `auto`, the demo model always gets the demo clips.
        language: of the clips in a folder of pairs.
        subset: of LibriSpeech; None means `DEFAULT_SUBSET`.
        download: fetch the subset if it is not on disk.

    Raises:
        UserError: the data set is not found, holds no pair, or does not take one of the options.
    """
    if language is not None and dataset in ("auto", *DEMO_SETS, "librispeech"):
        raise UserError(
            "--language is for --audio-file or a folder of pairs: the demo's clips and LibriSpeech have theirs"
        )
    has_librispeech_options = folder is not None or subset is not None or download
    if has_librispeech_options and (dataset not in ("auto", "librispeech") or (dataset == "auto" and is_demo_model)):
        raise UserError("--dataset-dir, --subset and --download need --dataset librispeech")
    subset = subset or DEFAULT_SUBSET
    if dataset == "auto":
        use_demo = is_demo_model or (not has_librispeech_options and find_subset(subset, None) is None)
        dataset = "demo" if use_demo else "librispeech"
        log(f"data set: {dataset}")
    if dataset in DEMO_SETS:
        return _demo_clips(DEMO_SETS[dataset])
    if dataset == "librispeech":
        return load_subset(subset, folder, download=download)
    if not is_folder(Path(dataset)):
        raise UserError(
            f"no data set {dataset!r}; expected auto, {', '.join(DEMO_SETS)}, librispeech or a folder of pairs"
        )
    return paired_clips(Path(dataset), language)


def load_calibration_clips(dataset: str, *, is_demo_model: bool) -> list[Clip]:
    """Clips to calibrate with, which need not be those that are scored.

    Args:
        dataset: `auto`, one of `DEMO_SETS`, a subset of LibriSpeech, a folder of pairs, or a manifest.
        is_demo_model: with `auto`, the demo model always gets the demo's clips for it.

    Raises:
        UserError: the data set is not found, or holds no clip.
    """
    if dataset == "auto":
        subsets = [] if is_demo_model else [subset for subset in CALIBRATION_SUBSETS if find_subset(subset, None)]
        dataset = subsets[0] if subsets else CALIBRATION_SET
        log(f"calibration set: {dataset}")
        if not subsets and not is_demo_model:
            log_always("it is synthetic English: give --calibration-dataset speech like that which you will align")
    if dataset in DEMO_SETS:
        return _demo_clips(DEMO_SETS[dataset])
    if dataset in ARCHIVES:
        return load_subset(dataset, None, download=False)
    if is_folder(Path(dataset)):
        return paired_clips(Path(dataset), None)
    if is_file(Path(dataset)):
        return manifest_clips(Path(dataset), None)
    raise UserError(
        f"no calibration set {dataset[:80]!r}; expected auto, {', '.join(DEMO_SETS)}, a subset of LibriSpeech such as "
        "dev-clean, a folder of pairs or a manifest"
    )


def as_typed(text: str) -> str:
    """A text of the command line: UTF-8, whatever the locale says. A byte that is not stays half a surrogate pair."""
    return os.fsencode(text).decode(errors="surrogateescape")


def input_clips(
    audio_file: Path | None,
    text: str | None,
    text_file: Path | None,
    files: Path | None,
    language: str | None,
    *,
    recursive: bool = False,
) -> list[Clip]:
    """The clips that `infer` was given: one recording with its transcript, or many.

    `recursive` takes those in the subfolders of `files` too.

    Raises:
        UserError: both or neither were given, `recursive` without a folder, or an input cannot be read.
    """
    if recursive and (files is None or not is_folder(files)):
        raise UserError("--recursive takes the subfolders of a folder of pairs: give --files FOLDER with it")
    if files is not None and audio_file is None and text is None and text_file is None:
        return _clips_of(files, language, recursive)
    if files is not None or audio_file is None or (text is None) == (text_file is None):
        raise UserError("give --audio-file with --text or --text-file, or --files with a folder of pairs or a manifest")
    require_audio_file(audio_file)
    transcript = Transcript(as_typed(text or "")) if text_file is None else read_transcript(text_file)
    sources = () if text_file is None else (str(text_file),)
    return [
        Clip(
            audio=str(audio_file),
            transcript=transcript.text,
            language=language,
            cues=transcript.cues,
            sources=sources,
        )
    ]


def _clips_of(files: Path, language: str | None, recursive: bool) -> list[Clip]:
    if not is_folder(files):
        return manifest_clips(files, language)
    if not recursive:
        tell_of_subfolders(files)
    return paired_clips(files, language, recursive=recursive)


def _demo_clips(folder: Path) -> list[Clip]:
    path = folder / MANIFEST_FILE
    manifest = read_json(ClipManifest, path, "it belongs to the repository: restore it from git")
    return [
        clip.model_copy(update={"audio": str(folder / clip.audio), "speaker": clip.voice, "sources": (str(path),)})
        for clip in manifest.samples
    ]
