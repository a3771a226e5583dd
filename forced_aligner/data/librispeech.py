"""LibriSpeech (openslr.org/12): found on disk, or downloaded, checked and unpacked."""

from __future__ import annotations

from pathlib import Path

from forced_aligner.base.console import log
from forced_aligner.base.errors import UserError
from forced_aligner.data.records import Clip

NAME = "LibriSpeech"  # the folder inside every archive
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
PLACES = (
    Path("data") / NAME,
    Path("datasets") / NAME,
    Path(NAME),
    Path.home() / "datasets" / NAME,
    Path.home() / NAME,
)


def find_subset(subset: str, folder: Path | None) -> Path | None:
    """The folder of a subset: `folder` itself, or below it, or below one of `PLACES`."""
    for place in [folder, folder / NAME] if folder else list(PLACES):
        for candidate in (place / subset, place):
            if candidate.name == subset and candidate.is_dir():
                return candidate
    return None


def load_subset(subset: str, folder: Path | None, *, download: bool) -> list[Clip]:
    """The utterances of a subset, in the order of their ids.

    Args:
        subset: one of `ARCHIVES`.
        folder: where LibriSpeech lies, if not in one of `PLACES`; a download goes there, or to the first of them.
        download: fetch_subset a subset that is not there.

    Raises:
        UserError: no such subset, or it is not there, cannot be downloaded, or holds no utterance.
    """
    if subset not in ARCHIVES:
        raise UserError(f"LibriSpeech has no subset {subset!r}; expected one of {', '.join(ARCHIVES)}")
    found = find_subset(subset, folder)
    if found is None and download:
        found = fetch_subset(subset, PLACES[0] if folder is None else folder if folder.name == NAME else folder / NAME)
    if found is None:
        places = folder or ", ".join(map(str, PLACES))
        raise UserError(f"no LibriSpeech {subset} in {places}; give its folder by --dataset-dir, or --download")
    return _clips(found)


def _clips(subset: Path) -> list[Clip]:
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


def fetch_subset(subset: str, root: Path) -> Path:
    """Download the archive of a subset into `root`, unpack it there, and remove the archive.

    Raises:
        UserError: no network, another checksum, or a disk that cannot be written.
    """
    from forced_aligner.data.download import fetch, unpack

    archive = root / f"{subset}.tar.gz"
    url = BASE_URL + archive.name
    log(f"downloading {url} to {root}")
    fetch(url, ARCHIVES[subset], archive)
    unpack(archive, NAME, root)
    archive.unlink()
    return root / subset
