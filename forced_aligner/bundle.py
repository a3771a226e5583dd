"""A converted model: one self-contained folder, written whole or not at all, and verified when it is opened."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from forced_aligner.errors import UserError
from forced_aligner.paths import METADATA_FILE
from forced_aligner.schemas import BundleMetadata, ComponentRecord, read_json

CONVERT_HINT = "convert the model with convert-coreml.py"


def package_files(package: Path) -> list[Path]:
    """All files of a package, in the order of their relative names."""
    return sorted(path for path in package.rglob("*") if path.is_file())


def package_size(package: Path) -> int:
    """Bytes of all files of a package."""
    return sum(path.stat().st_size for path in package_files(package))


def package_digest(package: Path) -> str:
    """SHA-256 (hex) over the names and contents of all files of a package."""
    digest = hashlib.sha256()
    for path in package_files(package):
        digest.update(path.relative_to(package).as_posix().encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


@dataclass(frozen=True)
class Bundle:
    """An opened folder."""

    folder: Path
    metadata: BundleMetadata

    @classmethod
    def open(cls, folder: Path, needed: tuple[str, ...] = ()) -> Bundle:
        """Read the metadata of `folder` and compare every package with its digest.

        Args:
            folder: the converted folder.
            needed: components that must be there.

        Raises:
            UserError: not a converted folder, or a package is missing, damaged or was never converted.
        """
        if not folder.is_dir():
            raise UserError(f"no converted model at {folder}: {CONVERT_HINT}")
        bundle = cls(folder, read_json(BundleMetadata, folder / METADATA_FILE, CONVERT_HINT))
        for key in needed:
            bundle.record(key)
        for record in bundle.metadata.components.values():
            package = folder / record.package
            if not package.is_dir():
                raise UserError(f"{folder} lacks {record.package}, which its {METADATA_FILE} lists: {CONVERT_HINT}")
            if package_digest(package) != record.sha256:
                raise UserError(f"{package} is damaged: its SHA-256 is not that of {METADATA_FILE}; {CONVERT_HINT}")
        return bundle

    def record(self, component: str) -> ComponentRecord:
        """The record of one component.

        Raises:
            UserError: it was not converted.
        """
        components = self.metadata.components
        if component not in components:
            raise UserError(
                f"{self.folder} has no {component}, only {', '.join(components)}: convert it by --components"
            )
        return components[component]

    def package(self, component: str) -> Path:
        """Path of one component's package."""
        return self.folder / self.record(component).package


def _remove_abandoned(folder: Path) -> None:
    """Remove what killed conversions to the same place have left: their processes are gone."""
    for left in folder.parent.glob(f".{folder.name}.*.partial"):
        process = left.name.split(".")[-2]
        if process.isdecimal() and not _is_running(int(process)):
            shutil.rmtree(left, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def writing(folder: Path, *, replace: bool) -> Iterator[Path]:
    """Give a new folder beside `folder`, and move it there when the block ends without an error.

    An error or a kill leaves `folder` as it was.

    Raises:
        UserError: `folder` is there and `replace` is false, or it is no converted model, or cannot be written.
    """
    if folder.exists() and not (replace and (folder / METADATA_FILE).is_file()):
        why = "is there already: give --force to replace it" if replace is False else "is not a converted model"
        raise UserError(f"{folder} {why}, or choose another --output-dir")
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    _remove_abandoned(folder)
    try:
        partial.mkdir(parents=True)
        yield partial
        old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "filesystem error" not in str(
            error
        ):  # as coremltools reports a full disk
            raise
        raise UserError(f"cannot write {folder} ({error}): free some space or choose another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
