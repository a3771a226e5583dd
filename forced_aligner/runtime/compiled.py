"""The compiled form of the packages, from which Core ML loads functions: made once, and kept in the user's cache."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Collection
from contextlib import ExitStack, suppress
from pathlib import Path

import platformdirs

from forced_aligner.base.console import log
from forced_aligner.base.machine import system_name
from forced_aligner.base.stopping import unfinished
from forced_aligner.package.bundle import Bundle
from forced_aligner.package.contract import COMPILED_SUFFIX
from forced_aligner.package.provenance import PROJECT

MAX_CACHE_BYTES = 16 << 30  # the 0.6B checkpoint has 3.7 GB in float32


def compile_package(package: Path, destination: Path) -> None:
    """Compile `package` to `destination`, a new `.mlmodelc` folder. Only macOS can.

    Raises:
        RuntimeError: Core ML's compiler refuses the package.
    """
    from coremltools.models.utils import compile_model

    compile_model(str(package), str(destination))


def cache_folder() -> Path:
    """The folder of compiled packages; another system version compiles anew, since the compiler is the system's."""
    return platformdirs.user_cache_path(PROJECT) / "compiled" / system_name().replace(" ", "-")


def remove_oldest(folder: Path, max_bytes: int, keep: Collection[Path]) -> None:
    """Remove what was used longest ago in the folders below `folder`, until at most `max_bytes` are left."""
    entries = [entry for system in folder.iterdir() if system.is_dir() for entry in system.iterdir()]
    sizes = {entry: sum(file.stat().st_size for file in entry.rglob("*") if file.is_file()) for entry in entries}
    for entry in sorted(set(entries).difference(keep), key=lambda entry: entry.stat().st_mtime):
        if sum(sizes.values()) <= max_bytes:
            return
        remove_whole(entry)
        del sizes[entry]


def remove_whole(folder: Path) -> None:
    """Remove `folder`; its name goes first, so that a killed run leaves no part of it under that name."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as gone, unfinished(Path(gone)):
        folder.rename(Path(gone) / folder.name)


class CompiledPackages:
    """Finds the compiled form of each package: beside the package, in the user's cache, or made now."""

    def __init__(self, bundle: Bundle, *, use_cache: bool) -> None:
        self._bundle = bundle
        self._cache = cache_folder() if use_cache else None
        self._paths: dict[str, Path] = {}
        self._temporary: Path | None = None
        self._made_now: set[str] = set()

    def path(self, component: str) -> Path:
        """The compiled package of `component`.

        Raises:
            RuntimeError: Core ML's compiler refuses the package.
        """
        if component not in self._paths:
            self._paths[component] = self._find(component)
        return self._paths[component]

    def compile_again(self, component: str) -> bool:
        """Replace a compiled package that does not load, as one that the cache has lost a part of.

        Returns whether that was done: one that was compiled in this run or published is not made again.
        """
        if self._bundle.record(component).compiled or component in self._made_now:
            return False
        remove_whole(self._paths.pop(component))
        self._paths[component] = self._make(component)
        return True

    def _find(self, component: str) -> Path:
        compiled = self._bundle.record(component).compiled
        if compiled:
            return self._bundle.folder / compiled.name
        if self._cache and (kept := self._cache / self._name(component)).is_dir():
            with suppress(OSError):  # a cache that may only be read: its age is not known then
                os.utime(kept)
            return kept
        return self._make(component)

    def _make(self, component: str) -> Path:
        package, name = self._bundle.package(component), self._name(component)
        log(f"{package.name}: compile for Core ML")
        self._made_now.add(component)
        if self._cache:
            try:
                return self._compile_into(self._cache, package, name)
            except OSError as error:
                log(f"warning: {self._cache} cannot be written ({error.strerror}): {package.name} is compiled for now")
        return self._compile_into(self._temporary_folder(), package, name)

    def _compile_into(self, folder: Path, package: Path, name: str) -> Path:
        """Compile beside the final place and rename, so that a killed run leaves nothing that looks whole."""
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as partial, unfinished(Path(partial)):
            compile_package(package, Path(partial) / name)
            try:
                (Path(partial) / name).rename(folder / name)
            except OSError:
                if not (folder / name).is_dir():  # else another run was first, with the same package
                    raise
        if folder == self._cache:
            remove_oldest(folder.parent, MAX_CACHE_BYTES, keep=[*self._paths.values(), folder / name])
        return folder / name

    def _temporary_folder(self) -> Path:
        if self._temporary is None:
            stack = ExitStack()
            self._temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            stack.enter_context(unfinished(self._temporary))
            weakref.finalize(self, stack.close)
        return self._temporary

    def _name(self, component: str) -> str:
        return self._bundle.record(component).sha256 + COMPILED_SUFFIX
