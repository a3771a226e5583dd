"""The compiled form of the packages, from which Core ML loads functions: made once, and kept in the user's cache."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import weakref
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import platformdirs

from forced_aligner.base.console import log, warn
from forced_aligner.base.files import cannot_write
from forced_aligner.base.machine import system_name
from forced_aligner.base.stopping import ends_at_once, unfinished
from forced_aligner.base.version import PROJECT
from forced_aligner.package.bundle import Bundle, package_digest
from forced_aligner.package.contract import compiled_name

MAX_CACHE_BYTES = 16 << 30  # the 0.6B checkpoint has 3.7 GB in float32
DIGEST_FILE = "sha256"  # beside a compiled package, of its files
UNFINISHED = "unfinished-"  # begins the names of folders that are not whole
OLDEST_UNFINISHED_S = 24 * 3600  # then the run that made it was killed


def compile_package(package: Path, destination: Path) -> None:
    """Compile `package` to `destination`, a new `.mlmodelc` folder. Only macOS can.

    Raises:
        RuntimeError: Core ML's compiler refuses the package.
        OSError: `destination` cannot be written.
    """
    from coremltools.models.utils import compile_model

    with ends_at_once(), _stdout_as_stderr():
        made = Path(compile_model(str(package)))  # in the system's folder for temporary files
    with unfinished(made):
        try:
            shutil.move(made, destination)
        finally:
            shutil.rmtree(made, ignore_errors=True)  # of a move to another disk that failed


@contextmanager
def _stdout_as_stderr() -> Iterator[None]:
    """What the compiler prints must not come between results. coremltools hides it where it compiles itself."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def cache_folder() -> Path:
    """The folder of compiled packages; another system version compiles anew, since the compiler is the system's."""
    return platformdirs.user_cache_path(PROJECT) / "compiled" / system_name().replace(" ", "-")


def remove_oldest(folder: Path, max_bytes: int, keep: Collection[Path]) -> None:
    """Remove what was used longest ago in the folders below `folder`, until at most `max_bytes` are left.

    Another run may do the same at the same time, so what is gone already is no error.
    """
    sizes: dict[Path, int] = {}
    used: dict[Path, float] = {}
    for entry in [entry for place in folder.iterdir() for entry in _entries(place)]:
        with suppress(FileNotFoundError):
            age_s = time.time() - entry.stat().st_mtime
            if entry.name.startswith(UNFINISHED) and age_s < OLDEST_UNFINISHED_S:
                continue  # of another run
            used[entry] = entry.stat().st_mtime
            sizes[entry] = sum(file.stat().st_size for file in entry.rglob("*") if file.is_file())
    for entry in sorted(set(sizes).difference(keep), key=used.__getitem__):
        if sum(sizes.values()) > max_bytes or entry.name.startswith(UNFINISHED):
            with suppress(FileNotFoundError):
                remove_whole(entry)
            del sizes[entry]


def _entries(folder: Path) -> list[Path]:
    """What lies in `folder`; nothing if it is gone or no folder."""
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def remove_whole(folder: Path) -> None:
    """Remove `folder`; its name goes first, so that a killed run leaves no part of it under that name.

    Raises:
        OSError: it is gone already, or may not be removed.
    """
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder.parent) as gone, unfinished(Path(gone)):
        folder.rename(Path(gone) / folder.name)


class CompiledPackages:
    """Finds the compiled form of each package: beside the package, in the user's cache, or made now."""

    def __init__(self, bundle: Bundle, *, use_cache: bool = True) -> None:
        """Nothing is compiled yet.

        Args:
            bundle: the converted folder.
            use_cache: take compiled packages from the folder and from the user's cache, and keep new ones there;
                otherwise compile anew, into a temporary folder.
        """
        self._bundle, self._uses_cache = bundle, use_cache
        self._paths: dict[str, Path] = {}
        self._temporary: Path | None = None
        self._made_now: set[str] = set()

    def path(self, component: str) -> Path:
        """The compiled package of `component`.

        Raises:
            RuntimeError: Core ML's compiler refuses the package.
            UserError: the compiled package cannot be written.
        """
        if component not in self._paths:
            self._paths[component] = self._find(component)
        return self._paths[component]

    def made_anew(self, component: str) -> bool:
        """Whether the compiled package of `component` came from the cache, was damaged there, and is now compiled anew.

        Raises:
            RuntimeError: see `path`.
        """
        path = self._paths[component]
        if component in self._made_now or path.parent == self._bundle.folder or _is_whole(path):
            return False
        with suppress(OSError):  # it is gone already, or the cache may only be read
            remove_whole(path.parent)
        self._paths[component] = self._make(component)
        return True

    def _find(self, component: str) -> Path:
        record = self._bundle.record(component)
        if not self._uses_cache:
            return self._make(component)
        if record.compiled:
            return self._bundle.folder / record.compiled.name
        kept = self._in(cache_folder(), component)
        if not kept.is_dir():
            return self._make(component)
        with suppress(OSError):  # a cache that may only be read: its age does not count
            os.utime(kept.parent)
        return kept

    def _in(self, folder: Path, component: str) -> Path:
        """The place of a compiled package below a folder of compiled packages."""
        record = self._bundle.record(component)
        return folder / record.sha256 / compiled_name(record.package)

    def _make(self, component: str) -> Path:
        package = self._bundle.package(component)
        log(f"{package.name}: compile for Core ML")
        self._made_now.add(component)
        folder = cache_folder() if self._uses_cache else self._temporary_folder()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            new = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder))
        except OSError as error:
            warn(f"{folder} cannot be written ({error.strerror}): {package.name} is not kept")
            folder = self._temporary_folder()
            new = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder))
        final = self._in(folder, component)
        with unfinished(new):
            try:
                compile_package(package, new / final.name)
                (new / DIGEST_FILE).write_text(package_digest(new / final.name), encoding="utf-8")
                new.rename(final.parent)
            except OSError as error:
                if not final.is_dir():  # else another run was first, with the same package
                    raise cannot_write(final, error) from None
            finally:
                shutil.rmtree(new, ignore_errors=True)
        if folder != self._temporary:  # beside that lies what is not ours
            remove_oldest(folder.parent, MAX_CACHE_BYTES, keep=[path.parent for path in (*self._paths.values(), final)])
        return final

    def _temporary_folder(self) -> Path:
        if self._temporary is None:
            stack = ExitStack()
            self._temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            stack.enter_context(unfinished(self._temporary))
            weakref.finalize(self, stack.close)
        return self._temporary


def _is_whole(compiled: Path) -> bool:
    """Whether a compiled package of the cache has all the files that it was kept with."""
    digest = compiled.parent / DIGEST_FILE
    return digest.is_file() and digest.read_text(encoding="utf-8") == package_digest(compiled)
