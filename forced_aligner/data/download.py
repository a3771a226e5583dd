"""Downloads archives: resumes after an interruption, checks the checksum, and unpacks completely or not at all."""

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
from forced_aligner.base.stopping import unfinished

TIMEOUT_S = 30  # for the server's answer, and between two chunks of it
CHUNK_BYTES = 1 << 16  # the most that a broken connection loses: urllib3 drops an incomplete chunk


def fetch(url: str, md5: str, archive: Path) -> None:
    """Download `url` to `archive` with pooch, unless a file with this checksum is already there.

    Raises:
        UserError: no network, a wrong checksum, or a disk that cannot be written.
    """
    require_writable(archive)
    part = archive.with_name(f"{archive.name}.part")
    pooch.get_logger().setLevel("ERROR")  # its messages would mix with ours
    try:
        pooch.retrieve(url, f"md5:{md5}", archive.name, archive.parent, downloader=partial(_resume, part=part))
    except exceptions.RequestException as error:
        received = f" after {part.stat().st_size / 1e6:.1f} MB" if part.exists() else ""
        remedy = f"run the same command again to go on, or put {archive.name} into {archive.parent} by hand"
        raise UserError(f"cannot download {url} ({_reason(error)}{received}): {remedy}") from None
    except ValueError as error:
        if "does not match the known hash" not in str(error):
            raise
        # pooch has removed the file
        raise UserError(f"{url} came with another checksum than is published: run the same command again") from None
    except OSError as error:
        raise UserError(f"cannot write {archive} ({error.strerror}): free space, or choose another place") from None


def _resume(url: str, output_file: str, _pooch: object, *, part: Path) -> None:
    """A downloader for pooch, whose own cannot resume. `part` holds the received bytes until the file is complete."""
    received_bytes = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={received_bytes}-"} if received_bytes else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        if response.status_code != requests.codes.requested_range_not_satisfiable:  # the status when nothing is missing
            response.raise_for_status()
            resumes = response.status_code == requests.codes.partial_content
            _save(response, part, received_bytes if resumes else 0)
    part.replace(output_file)


def _save(response: requests.Response, part: Path, received_bytes: int) -> None:
    """Append a response to the `received_bytes` of `part`, or replace it if 0; a terminal gets a progress bar."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    length = response.headers.get("Content-Length", "")
    total = received_bytes + int(length) if length.isdecimal() else None
    with (
        part.open("ab" if received_bytes else "wb") as file,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        task = progress.add_task("", total=total, completed=received_bytes)
        for chunk in response.iter_content(CHUNK_BYTES):
            file.write(chunk)
            progress.advance(task, len(chunk))


def _reason(error: exceptions.RequestException) -> str:
    """What went wrong, without class names of the libraries."""
    if error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, exceptions.Timeout):
        return f"no answer in {TIMEOUT_S} s"
    if error.args and isinstance(error.args[0], ReadTimeoutError):  # requests raises it as a ConnectionError
        return f"nothing came for {TIMEOUT_S} s"
    if isinstance(error, exceptions.ChunkedEncodingError):
        return "the connection broke"
    return "no connection" if isinstance(error, exceptions.ConnectionError) else "its answer cannot be read"


def unpack(archive: Path, inner: str, folder: Path) -> None:
    """Move each entry of the archive's folder `inner` to `folder` once all are unpacked; existing entries stay.

    Raises:
        UserError: the archive is damaged or would write outside of its folder, or the disk cannot be written.
    """
    log(f"unpacking {archive}")
    scratch_dir = folder / f".{archive.name}.unpacking"
    shutil.rmtree(scratch_dir, ignore_errors=True)  # from a run that was killed
    try:
        with unfinished(scratch_dir), tarfile.open(archive) as tar:
            tar.extractall(scratch_dir, filter="data")  # the filter refuses paths outside of the folder
        for entry in _entries(scratch_dir / inner):
            if not (folder / entry.name).exists():
                entry.rename(folder / entry.name)
    except (OSError, EOFError, tarfile.TarError) as error:
        raise UserError(f"cannot unpack {archive} ({error}): free some space, or remove the archive") from None
    finally:
        shutil.rmtree(scratch_dir, ignore_errors=True)


def _entries(inner: Path) -> list[Path]:
    """What the archive's folder holds. A link in its place, or in it, could point at the place that it is moved to.

    Raises:
        OSError: it is not there, or is a link, or holds one.
    """
    entries = sorted(inner.iterdir())
    links = [path.name for path in [inner, *entries] if path.is_symlink()]
    if links:
        raise OSError(f"{', '.join(links)} in it is a link, not a folder or a file")
    return entries
