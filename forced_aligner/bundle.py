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
from forced_aligner.paths import METADATA_FILE, PARITY_FILE
from forced_aligner.schemas import BundleMetadata, ComponentRecord, read_json

CONVERT_HINT = "convert the model with convert-coreml.py"
OWN_FILES = (METADATA_FILE, PARITY_FILE)


def package_files(package: Path) -> list[Path]:
    """All files of a package, in the order of their relative names; not those that a file manager leaves there."""
    return sorted(path for path in package.rglob("*") if path.is_file() and not path.name.startswith("."))


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


def processor_digests(folder: Path) -> dict[str, str]:
    """SHA-256 (hex) of each file of the tokenizer and processor, by name: all that the processor has saved."""
    names = (path.name for path in sorted(folder.iterdir()) if path.is_file() and path.name not in OWN_FILES)
    return {name: _file_digest(folder / name) for name in names if not name.startswith(".")}


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Bundle:
    """An opened folder."""

    folder: Path
    metadata: BundleMetadata

    @classmethod
    def open(cls, folder: Path) -> Bundle:
        """Read the metadata of `folder` and compare every package and processor file with its digest.

        Raises:
            UserError: not a converted folder, or a package is missing, damaged or was never converted.
        """
        if not folder.is_dir():
            raise UserError(f"no converted model at {folder}: {CONVERT_HINT}")
        bundle = cls(folder, read_json(BundleMetadata, folder / METADATA_FILE, CONVERT_HINT))
        for record in bundle.metadata.components.values():
            package = folder / record.package
            if not package.is_dir():
                raise UserError(f"{folder} lacks {record.package}, which its {METADATA_FILE} lists: {CONVERT_HINT}")
            if package_digest(package) != record.sha256:
                raise UserError(f"{package} is damaged: its SHA-256 is not that of {METADATA_FILE}; {CONVERT_HINT}")
        for name, digest in bundle.metadata.processor_files.items():
            if not (folder / name).is_file() or _file_digest(folder / name) != digest:
                raise UserError(f"{folder / name} is missing or damaged: {CONVERT_HINT}")
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


@contextmanager
def writing(folder: Path, *, replace: bool) -> Iterator[Path]:
    """Give a new folder beside `folder`, and move it there when the block ends without an error.

    An error or a kill leaves `folder` as it was. If the kill comes just between the two renames of a replacement,
    the next conversion to the same place first puts the old folder back.

    Raises:
        UserError: `folder` is there and `replace` is false, or it is no converted model, or cannot be written.
    """
    folder = folder.absolute()
    _tidy(folder)
    if folder.exists() and not (replace and (folder / METADATA_FILE).is_file()):
        why = "is there already: give --force to replace it" if replace is False else "is not a converted model"
        raise UserError(f"{folder} {why}, or choose another --output-dir")
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        yield partial
        _exchange(partial, folder)
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "filesystem error" not in str(error):  # coremltools, on a full disk
            raise
        raise UserError(f"cannot write {folder} ({error}): free some space or choose another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _exchange(new: Path, folder: Path) -> None:
    """Move `new` to `folder`; what was there comes back if that fails."""
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _tidy(folder: Path) -> None:
    """Undo what killed conversions to the same place have left: their processes are gone."""
    for left in folder.parent.glob(f".{folder.name}.*.*"):
        process, kind = left.name.split(".")[-2:]
        if not process.isdecimal() or _is_running(int(process)):
            continue
        if kind == "old" and not folder.exists():
            left.rename(folder)
        elif kind in ("old", "partial"):
            shutil.rmtree(left, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
