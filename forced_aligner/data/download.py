"""Archives from the network: resumed after an interruption, checked, and unpacked whole or not at all."""

from __future__ import annotations

import shutil
import tarfile
from functools import partial
from pathlib import Path

import pooch
import requests
from requests import exceptions
from urllib3.exceptions import ReadTimeoutError

from forced_aligner.base.console import log
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import require_writable

TIMEOUT_S = 30  # for the server's answer, and between two pieces of it
PIECE_BYTES = 1 << 16  # what is lost at most when the connection breaks: urllib3 drops a short piece


def fetch(url: str, md5: str, archive: Path) -> None:
    """Download `url` to `archive`, by pooch, if it is not there with the right checksum already.

    Raises:
        UserError: no network, another checksum, or a disk that cannot be written.
    """
    require_writable(archive)
    part = archive.with_name(f"{archive.name}.part")
    pooch.get_logger().setLevel("ERROR")  # its lines would go between ours
    try:
        pooch.retrieve(url, f"md5:{md5}", archive.name, archive.parent, downloader=partial(_resume, part=part))
    except exceptions.RequestException as error:
        came = f" after {part.stat().st_size / 1e6:.1f} MB" if part.exists() else ""
        remedy = f"run the same command again to go on, or put {archive.name} into {archive.parent} by hand"
        raise UserError(f"cannot download {url} ({_reason(error)}{came}): {remedy}") from None
    except ValueError as error:
        if "does not match the known hash" not in str(error):
            raise
        # pooch has removed the file
        raise UserError(f"{url} came with another checksum than is published: run the same command again") from None
    except OSError as error:
        raise UserError(f"cannot write {archive} ({error.strerror}): free space, or choose another place") from None


def _resume(url: str, output_file: str, _pooch: object, *, part: Path) -> None:
    """A downloader for pooch, which has none that goes on: what came is in `part` until it is whole."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        if response.status_code != requests.codes.requested_range_not_satisfiable:  # that is: nothing is missing
            response.raise_for_status()
            goes_on = response.status_code == requests.codes.partial_content
            _save(response, part, have if goes_on else 0)
    part.replace(output_file)


def _save(response: requests.Response, part: Path, have: int) -> None:
    """Write a response behind the first `have` bytes of `part`, with progress where somebody sees it."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    length = response.headers.get("Content-Length", "")
    total = have + int(length) if length.isdecimal() else None
    with (
        part.open("ab" if have else "wb") as file,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        task = progress.add_task("", total=total, completed=have)
        for piece in response.iter_content(PIECE_BYTES):
            file.write(piece)
            progress.advance(task, len(piece))


def _reason(error: exceptions.RequestException) -> str:
    """What went wrong, without the names of the libraries' classes."""
    if error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, exceptions.Timeout):
        return f"no answer in {TIMEOUT_S} s"
    if error.args and isinstance(error.args[0], ReadTimeoutError):  # requests has it as a ConnectionError
        return f"nothing came for {TIMEOUT_S} s"
    if isinstance(error, exceptions.ChunkedEncodingError):
        return "the connection broke"
    return "no connection" if isinstance(error, exceptions.ConnectionError) else "its answer cannot be read"


def unpack(archive: Path, inner: str, folder: Path) -> None:
    """Unpack the entries of the archive's folder `inner` to `folder`, each when it is whole; what is there stays.

    Raises:
        UserError: a damaged archive, one that reaches out of its folder, or a disk that cannot be written.
    """
    log(f"unpacking {archive}")
    aside = folder / f".{archive.name}.unpacking"
    shutil.rmtree(aside, ignore_errors=True)  # of a run that was killed
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(aside, filter="data")  # refuses what would land elsewhere
        for made in (aside / inner).iterdir():
            if not (folder / made.name).exists():
                made.rename(folder / made.name)
    except (OSError, EOFError, tarfile.TarError) as error:
        raise UserError(f"cannot unpack {archive} ({error}): free some space, or remove the archive") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
