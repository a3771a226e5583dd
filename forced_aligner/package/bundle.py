"""A converted model: one self-contained folder, verified when it is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from forced_aligner.base.errors import UserError
from forced_aligner.base.files import file_digest, is_file, is_folder, is_leftover
from forced_aligner.base.paths import METADATA_FILE
from forced_aligner.base.reading import read_json_value
from forced_aligner.base.records import read_json
from forced_aligner.package.contract import (
    MANIFEST,
    SPEC_FILE,
    TOKEN_TABLE,
    WEIGHTS_FILE,
    Layout,
    layout_of,
)
from forced_aligner.package.folder import recover_folder
from forced_aligner.package.metadata import BundleMetadata, ComponentRecord
from forced_aligner.package.token_table import TokenTable

CONVERT_HINT = "convert the model with convert-coreml.py"
SHOWN_FILES = 3  # that an error names
PACKAGE_FILES = (MANIFEST, SPEC_FILE, WEIGHTS_FILE)


def package_files(package: Path) -> list[Path]:
    """All files of a package, in the order of their relative names; file managers' hidden files are left out."""
    return sorted(path for path in package.rglob("*") if path.is_file() and not path.name.startswith("."))


def package_size(package: Path) -> int:
    """Bytes of all files of a package."""
    return sum(path.stat().st_size for path in package_files(package))


def package_digest(package: Path) -> str:
    """SHA-256 (hex) over the names and contents of all files of a package."""
    digest = hashlib.sha256()
    for path in package_files(package):
        digest.update(path.relative_to(package).as_posix().encode())
        digest.update(bytes.fromhex(file_digest(path)))
    return digest.hexdigest()


def processor_digests(folder: Path) -> dict[str, str]:
    """SHA-256 (hex) of each file in a folder that a processor was saved to, by name."""
    return {path.name: file_digest(path) for path in sorted(folder.iterdir())}


def files_of(folder: Path, metadata: BundleMetadata) -> list[Path]:
    """The files and packages of the conversion in `folder`."""
    packages = [record.package for record in metadata.components.values()]
    return [folder / name for name in (METADATA_FILE, *metadata.files, *packages)]


def require_own_files(folder: Path, also: Collection[str] = (), *, remedy: str) -> None:
    """Refuse a folder that holds anything that a conversion did not put there, before it is replaced.

    Args:
        folder: the folder.
        also: names of further files, and of folders with all that lies in them, that may be in it.
        remedy: ends the sentence.

    Raises:
        UserError: it is not a converted model, or holds other files too.
    """
    if not is_file(folder / METADATA_FILE):
        raise UserError(f"{folder} is not a converted model: {remedy}")
    processor_files, packages = _named_files(folder / METADATA_FILE)
    files = {Path(name) for name in (METADATA_FILE, *processor_files)}
    files |= {Path(package) / file for package in packages for file in PACKAGE_FILES}
    expected = {parent for file in files for parent in (file, *file.parents)}
    found = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if not _is_nobodys(path.name)]
    foreign = [
        str(path)  # without what lies in a folder that is foreign itself
        for path in found
        if path not in expected and path.parent in expected and path.parts[0] not in also
    ]
    if foreign:
        more = f" and {len(foreign) - SHOWN_FILES} more" if len(foreign) > SHOWN_FILES else ""
        named = ", ".join(foreign[:SHOWN_FILES]) + more
        raise UserError(f"{folder} also holds {named}, which is not of the conversion: {remedy}")


def _is_nobodys(name: str) -> bool:
    return name == ".DS_Store" or is_leftover(name)


def _named_files(metadata: Path) -> tuple[list[str], list[str]]:
    """The single files and the packages that a `metadata.json` of any version names; none where it is damaged."""
    try:
        content = read_json_value(metadata)
        records, table = content["components"].values(), content.get(TOKEN_TABLE)
        files = [*content["processor_files"], *([str(table["file"])] if table else [])]
        return files, [str(record["package"]) for record in records]
    except (UserError, LookupError, TypeError, AttributeError):
        return [], []


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
        recover_folder(folder)
        if not is_folder(folder):
            raise UserError(f"no converted model at {folder}: {CONVERT_HINT}")
        bundle = cls(folder, read_json(BundleMetadata, folder / METADATA_FILE, CONVERT_HINT))
        for record in bundle.metadata.components.values():
            package = folder / record.package
            if not package.is_dir():
                raise UserError(f"{folder} lacks {record.package}, which its {METADATA_FILE} lists: {CONVERT_HINT}")
            if package_digest(package) != record.sha256:
                raise UserError(f"{package} is damaged: its SHA-256 is not that of {METADATA_FILE}; {CONVERT_HINT}")
            bundle._require_compiled(record)
        for name, digest in bundle.metadata.files.items():
            if not (folder / name).is_file() or file_digest(folder / name) != digest:
                raise UserError(f"{folder / name} is missing or damaged: {CONVERT_HINT}")
        return bundle

    def _require_compiled(self, record: ComponentRecord) -> None:
        if record.compiled is None:
            return
        compiled = self.folder / record.compiled.name
        if not is_folder(compiled) or package_digest(compiled) != record.compiled.sha256:
            raise UserError(f"{compiled} is missing or damaged: download it again, or {CONVERT_HINT}")

    def record(self, component: str) -> ComponentRecord:
        """The record of one component.

        Raises:
            UserError: it was not converted.
        """
        self._require(component)
        return self.metadata.components[component]

    def _require(self, component: str) -> None:
        present = self.metadata.package_sha256
        if component not in present:
            raise UserError(f"{self.folder} has no {component}, only {', '.join(present)}: convert it by --components")

    def layout(self) -> Layout:
        """The layout of the components: with the split encoder wherever it is there, else the monolithic one.

        The monolithic encoder does not attend across chunks, so it is less accurate.

        Raises:
            UserError: a component that an alignment needs was not converted.
        """
        layout = layout_of(self.metadata.package_sha256)
        for component in layout.components:
            self._require(component)
        return layout

    def package(self, component: str) -> Path:
        """Path of one component's package."""
        return self.folder / self.record(component).package

    def token_table(self) -> TokenTable:
        """The token table, mapped into memory.

        Raises:
            UserError: it was not converted, or is not of the model's sizes.
        """
        self._require(TOKEN_TABLE)
        record = self.metadata.token_table
        assert record is not None
        return TokenTable(self.folder / record.file, record.encoding, self.metadata.dimensions)
