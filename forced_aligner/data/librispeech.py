"""LibriSpeech (openslr.org/12): finds a subset on disk, or downloads, checks and unpacks it."""

from __future__ import annotations

from pathlib import Path

from forced_aligner.base.console import log
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import is_folder
from forced_aligner.base.reading import MAX_MANIFEST_BYTES, list_folder, read_text
from forced_aligner.data.records import Clip

FOLDER_NAME = "LibriSpeech"  # of the folder inside every archive
BASE_URL = "https://www.openslr.org/resources/12/"
# MD5 of `<subset>.tar.gz`, from md5sum.txt at BASE_URL
ARCHIVES = {
    "dev-clean": "42e2234ba48799c1f50f24a7926300a1",
    "dev-other": "c8d0bcc9cca99d4f8b62fcc847357931",
    "test-clean": "32fa31d27d2e1cad72775fff3f4849a9",
    "test-other": "fb5a50374b501bb3bac4815ee91d3135",
    "train-clean-100": "2a93770f6d5c6c964bc36631d331a522",
    "train-clean-360": "c0e676e450a7ff2f54aeade5171606fa",
    "train-other-500": "d1a0fd59409feb2c614ce4d30c387708",
}
SEARCH_FOLDERS = (
    Path("data") / FOLDER_NAME,
    Path("datasets") / FOLDER_NAME,
    Path(FOLDER_NAME),
    Path.home() / "datasets" / FOLDER_NAME,
    Path.home() / FOLDER_NAME,
)


def find_subset(subset: str, folder: Path | None) -> Path | None:
    """The folder of a subset: `folder` or a folder in it; without `folder`, the same for each of `SEARCH_FOLDERS`."""
    for parent in [folder, folder / FOLDER_NAME] if folder else list(SEARCH_FOLDERS):
        for candidate in (parent / subset, parent):
            if candidate.name == subset and is_folder(candidate):
                return candidate
    return None


def load_subset(subset: str, folder: Path | None, *, download: bool) -> list[Clip]:
    """The utterances of a subset, in the order of their ids.

    Args:
        subset: one of `ARCHIVES`.
        folder: where LibriSpeech is, or a download goes; None searches `SEARCH_FOLDERS` and downloads to the first.
        download: fetch a subset that is not on disk.

    Raises:
        UserError: the subset is unknown, is not found, cannot be downloaded, or holds no utterance.
    """
    if subset not in ARCHIVES:
        raise UserError(f"LibriSpeech has no subset {subset!r}; expected one of {', '.join(ARCHIVES)}")
    subset_folder = find_subset(subset, folder)
    if subset_folder is None and download:
        subset_folder = fetch_subset(subset, _download_root(folder))
    if subset_folder is None:
        searched = folder or ", ".join(map(str, SEARCH_FOLDERS))
        raise UserError(f"no LibriSpeech {subset} in {searched}; give its folder by --dataset-dir, or --download")
    return _clips(subset_folder)


def _download_root(folder: Path | None) -> Path:
    """The folder that the archives are unpacked to; it is always called LibriSpeech."""
    if folder is None:
        return SEARCH_FOLDERS[0]
    return folder if folder.name == FOLDER_NAME else folder / FOLDER_NAME


def _clips(subset_folder: Path) -> list[Clip]:
    """The clips of all `speaker/chapter/*.trans.txt`.

    Raises:
        UserError: there are none, or a folder cannot be listed.
    """
    clips = []
    for speaker in _folders(subset_folder):
        for chapter in _folders(speaker):
            files = list_folder(chapter)
            for transcripts in files:
                if transcripts.name.endswith(".trans.txt"):
                    clips += _chapter(transcripts, [path for path in files if path.suffix == ".flac"])
    if not clips:
        raise UserError(
            f"{subset_folder} holds no transcripts; expected speaker/chapter/*.trans.txt, as LibriSpeech has"
        )
    return clips


def _folders(folder: Path) -> list[Path]:
    return [path for path in list_folder(folder) if is_folder(path)]


def _chapter(transcripts: Path, recordings: list[Path]) -> list[Clip]:
    """The clips of a chapter; a line of `transcripts` is an utterance's id and its transcript in capitals.

    If `transcripts` cannot be read, all `recordings` of the chapter have that `problem`.

    Raises:
        UserError: it cannot be read, and there are no recordings.
    """

    def clip(audio: Path, transcript: str, problem: str | None = None) -> Clip:
        return Clip(
            audio=str(audio),
            transcript=transcript,
            language="English",
            speaker=transcripts.parent.parent.name,
            problem=problem,
            sources=(str(transcripts),),
        )

    try:
        lines = [line.strip() for line in read_text(transcripts, MAX_MANIFEST_BYTES).split("\n")]
    except UserError as error:
        if not recordings:
            raise
        return [clip(audio, "", str(error)) for audio in recordings]
    rows = [line.partition(" ") for line in lines if line]
    return [clip(transcripts.parent / f"{utterance}.flac", transcript) for utterance, _, transcript in rows]


def fetch_subset(subset: str, root: Path) -> Path:
    """Download the archive of a subset into `root`, unpack it there, and remove the archive.

    Raises:
        UserError: no network, a wrong checksum, or a disk that cannot be written.
    """
    from forced_aligner.data.download import fetch, unpack

    archive = root / f"{subset}.tar.gz"
    url = BASE_URL + archive.name
    log(f"downloading {url} to {root}")
    fetch(url, ARCHIVES[subset], archive)
    unpack(archive, FOLDER_NAME, root)
    archive.unlink()
    return root / subset
