"""The outputs of a run: nothing that the run reads, and nothing that it did not make, is ever overwritten."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from forced_aligner.base.errors import UserError
from forced_aligner.base.files import (
    MOVE_IT,
    FileId,
    MayReplace,
    file_id,
    identity,
    is_folder,
    never,
    not_ours,
    require_name,
    require_regular,
    write_whole,
)


class Outputs:
    """The files that a run writes. It knows what the run reads, and what it has written for whom.

    A file is told by its device and inode, so that links and names that differ only in case count as one file wherever
    the disk takes them for one.
    """

    def __init__(self, inputs: Iterable[Path] = (), remedy: str = MOVE_IT) -> None:
        """Take what the run reads, and the end of the sentence about a file that is there already."""
        self._remedy = remedy
        self._inputs: dict[FileId, Path] = {}
        self._owners: dict[str | FileId, str] = {}
        self._replaceable: set[FileId] = set()
        self._written: dict[FileId, str] = {}
        self.protect(inputs)

    def protect(self, inputs: Iterable[Path]) -> None:
        """Never write over `inputs`. A folder, such as a package, stands for all files in it."""
        for path in inputs:
            for file in path.rglob("*") if is_folder(path) else [path]:
                if found := file_id(file):
                    self._inputs[found] = file

    def claim(self, path: Path, owner: str) -> None:
        """Keep `path` for the results of `owner`.

        Raises:
            UserError: it is kept for another owner.
        """
        other = self._owners.setdefault(file_id(path) or identity(path), owner)
        if other != owner:
            raise _belongs_to(path, other)

    def was_written_for_another(self, path: Path, owner: str) -> bool:
        """Whether this run has written `path` for another owner."""
        found = file_id(path)
        return found is not None and self._written.get(found, owner) != owner

    def check(self, path: Path, owner: str, may_replace: MayReplace) -> None:
        """Refuse, before the work, what `write` would refuse after it.

        Raises:
            UserError: `path` is an input or belongs to another owner, it is no regular file, or it is there already and
                must not be replaced.
        """
        self.claim(path, owner)
        found = file_id(path)
        if found is None:
            require_name(path)
            return
        if found in self._inputs:
            raise UserError(f"{path} would overwrite {self._inputs[found]}, which this run reads: choose another name")
        if self.was_written_for_another(path, owner):
            raise _belongs_to(path, self._written[found])
        require_regular(path)
        if found in self._written or found in self._replaceable:
            return
        if not may_replace(path):
            raise not_ours(path, self._remedy)
        self._replaceable.add(found)

    def write(self, path: Path, content: str | bytes, owner: str = "", may_replace: MayReplace = never) -> None:
        """Write `content` to `path` in one step, if it is ours. A link stays, and the file that it names is written.

        Raises:
            UserError: see `check`, or the place cannot be written.
        """
        self.check(path, owner, may_replace)
        checked = file_id(path)
        write_whole(Path(identity(path)), content, lambda place: file_id(place) == checked)
        if found := file_id(path):
            self._written[found] = owner


def _belongs_to(path: Path, owner: str) -> UserError:
    return UserError(f"{path} would overwrite what belongs to {owner}: rename one, or run it by itself")
