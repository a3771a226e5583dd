"""Whether a converted folder, a hub folder and a host kit may be written where the options say."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path

from forced_aligner.base.errors import UserError
from forced_aligner.base.files import MayReplace, file_digest, is_file
from forced_aligner.base.journal import JOURNAL_SUFFIX
from forced_aligner.base.paths import (
    BENCHMARK_FILE,
    BENCHMARK_PAGE,
    BENCHMARK_PICTURE,
    METADATA_FILE,
    PARITY_FILE,
    PARITY_PAGE,
)
from forced_aligner.base.records import file_of, read_json
from forced_aligner.output.own_files import is_own_parity_page, is_own_picture, is_own_results_page
from forced_aligner.package.bundle import require_own_files
from forced_aligner.package.contract import COMPACT, FIVE, compiled_name, layout_of
from forced_aligner.package.folder import Check, check_place, refuse_existing
from forced_aligner.package.host_kit.config import HostConfig
from forced_aligner.package.host_kit.stages import CONFIG_FILE, HOST_FOLDER
from forced_aligner.package.metadata import BundleMetadata
from forced_aligner.package.provenance import find_provenance
from forced_aligner.runtime.measurements import BenchmarkReport
from forced_aligner.score.records import ParityReport

# What is measured of a conversion lies in its folder too.
_MEASURED: dict[str, MayReplace] = {
    PARITY_FILE: file_of(ParityReport),
    BENCHMARK_FILE: file_of(BenchmarkReport),
    BENCHMARK_PICTURE: is_own_picture,
    BENCHMARK_PAGE: is_own_results_page,
    PARITY_PAGE: is_own_parity_page,
}
CARD_FILE = "README.md"
LICENSE_FILE = "LICENSE"
NOTICE_FILE = "NOTICE"


def check_converted_folder(folder: Path, *, force: bool) -> None:
    """Refuse, before a conversion into `folder`, a file and a folder that no conversion may replace.

    Whether a folder with another conversion may be replaced is not known here.

    Raises:
        UserError: it is one.
    """
    check_place(folder, lambda place: None if is_file(place / METADATA_FILE) else refuse_or_replace(force=force)(place))


def refuse_or_replace(*, force: bool) -> Check:
    """What `write_folder` asks of a converted folder that is there already."""
    return _require_replaceable if force else refuse_existing


def _require_replaceable(folder: Path) -> None:
    """Refuse to replace a folder that holds anything but a conversion and what was measured of it."""
    remedy = "choose another --output-dir, or remove it yourself"
    require_own_files(folder, [*_measured(folder), PARITY_FILE + JOURNAL_SUFFIX], remedy=remedy)


def _measured(folder: Path) -> list[str]:
    """The files of `_MEASURED` in a folder that are what their names say."""
    return [name for name, is_own in _MEASURED.items() if is_own(folder / name)]


def check_hub_folder(
    folder: Path, source: Path, components: Collection[str], model_id: str, base_model: str | None
) -> None:
    """Refuse, before the conversion into `source`, everything that `lay_out` would refuse after it.

    Raises:
        UserError: `folder` was not made by `--package`, `components` cannot align, or `base_model` does not fit.
    """
    find_provenance(model_id, base_model)
    if folder.resolve() == source.resolve():
        raise UserError(f"--package {folder} is the converted folder itself: choose another one")
    if not {*layout_of(components).components} <= {*components}:
        raise UserError(f"--package needs components that can align, not only {', '.join(components)}")
    check_place(folder, require_own_hub_folder)


def require_own_hub_folder(folder: Path) -> None:
    """Refuse a folder that `--package` did not make. A folder that it made is written anew."""
    remedy = "choose another folder for --package"
    if not all((folder / name).is_file() for name in (METADATA_FILE, CARD_FILE, NOTICE_FILE)):
        raise UserError(f"{folder} is not a folder that --package made: {remedy}")
    check_place(folder / HOST_FOLDER, partial(require_kit, option="--package"))
    metadata = read_json(BundleMetadata, folder / METADATA_FILE, remedy)
    compiled = [compiled_name(record.package) for record in metadata.components.values()]
    require_own_files(
        folder,
        [*_measured(folder), PARITY_FILE, BENCHMARK_FILE, CARD_FILE, LICENSE_FILE, NOTICE_FILE, HOST_FOLDER, *compiled],
        remedy=remedy,
    )


def check_kit(folder: Path, components: Collection[str], *others: Path) -> None:
    """Refuse, before the conversion of `components`, what `write_kit` would refuse after it.

    Args:
        folder: of the kit.
        components: of the converted folder.
        others: the converted folder, and others that are written.

    Raises:
        UserError: a component is missing, `folder` is in one of `others` or around it, or is there and is no kit.
    """
    if layout_of(components) is COMPACT:
        raise UserError("a host kit is for the five packages: leave out --layout compact, or --host-kit")
    if missing := missing_for_kit(components):
        raise UserError(f"a host kit needs {', '.join(missing)} too: add to --components, or leave out --host-kit")
    kit = folder.resolve()
    for other in others:
        if kit.is_relative_to(other.resolve()) or other.resolve().is_relative_to(kit):
            raise UserError(f"--host-kit {folder} and {other} are the same or one in the other: choose another place")
    check_place(folder, require_kit)


def missing_for_kit(components: Collection[str]) -> list[str]:
    """The components that a kit needs beside `components`."""
    return [key for key in FIVE.components if key not in components]


def require_kit(folder: Path, option: str = "--host-kit") -> None:
    """Refuse a folder that is not a host kit, or that holds other files or changed ones.

    Raises:
        UserError: it is none; the sentence ends with the option to give another folder to.
    """
    remedy = f"choose another folder for {option}"
    if not file_of(HostConfig)(folder / CONFIG_FILE):
        raise UserError(f"{folder} is not a host kit: {remedy}")
    config = read_json(HostConfig, folder / CONFIG_FILE, remedy)
    written = config.sha256 | {
        f"{config.golden_vectors.folder}/{clip.name}": clip.sha256 for clip in config.golden_vectors.clips
    }
    foreign = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        is_ours = path.is_dir() or path.name == ".DS_Store" or name == CONFIG_FILE
        if not is_ours and (name not in written or file_digest(path) != written[name]):
            foreign.append(name)
    if foreign:
        raise UserError(f"{folder} holds {', '.join(foreign[:3])}, which no host kit was written with: {remedy}")
