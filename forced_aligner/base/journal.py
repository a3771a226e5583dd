"""A journal of results: what a run has computed is not computed again after it failed or was killed.

The journal is a file beside the run's output, with a line for each result. A result is found by the digest of all that
it depends on, so a journal may hold the results of several runs. It is removed when a run is complete.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic

from pydantic import ValidationError

from forced_aligner.base.errors import UserError
from forced_aligner.base.files import is_there, require_regular
from forced_aligner.base.lock import locked
from forced_aligner.base.records import Record, RecordT
from forced_aligner.base.stopping import uninterrupted

JOURNAL_SUFFIX = ".journal"
FIRST_LINE = '{"file": "journal of qwen3-forcedaligner-coreml", "schema_version": 1}\n'


def digest_of(*parts: Record | str) -> str:
    """SHA-256 (hex) over records and texts."""
    texts = [part if isinstance(part, str) else part.model_dump_json() for part in parts]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Journal(Generic[RecordT]):
    """The results of a run so far."""

    def __init__(self, path: Path, record: type[RecordT]) -> None:
        self.path = path
        self._record = record
        self._results = dict(self._read())

    def get(self, key: str) -> RecordT | None:
        """The result with the digest `key`, if there is one."""
        return self._results.get(key)

    def put(self, key: str, result: RecordT) -> None:
        """Keep a result.

        Raises:
            UserError: the journal cannot be written.
        """
        line = json.dumps({"key": key, "result": result.model_dump(mode="json", by_alias=True)})
        self._results[key] = result
        try:
            with uninterrupted(), self.path.open("a", encoding="utf-8") as file:
                file.write(("" if file.tell() else FIRST_LINE) + line + "\n")
        except OSError as error:
            raise UserError(f"cannot write {self.path} ({error.strerror}): free space, then run it again") from None

    def remove(self) -> None:
        """Remove the file, once the run's output is written and complete."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> Iterator[tuple[str, RecordT]]:
        """The results in the file. What a kill has cut off at its end is removed, so that lines can be added."""
        if not is_there(self.path):
            return
        require_regular(self.path)
        with self.path.open("rb+") as file:
            if (first := file.readline()) and not FIRST_LINE.encode().startswith(first):
                raise UserError(f"{self.path} is there already, and is no journal: move it away")
            end = file.tell() if first.endswith(b"\n") else 0
            for line in file:
                if not line.endswith(b"\n"):
                    break
                end += len(line)
                if (entry := self._parse(line)) is not None:
                    yield entry
            file.truncate(end)

    def _parse(self, line: bytes) -> tuple[str, RecordT] | None:
        """The key and the result in a line; None where it is of another version or damaged."""
        try:
            entry: Any = json.loads(line)
            return entry["key"], self._record.model_validate(entry["result"])
        except (ValueError, TypeError, KeyError, ValidationError, RecursionError):
            return None


@contextmanager
def journal_of(output: Path, record: type[RecordT], *, restart: bool = False) -> Iterator[Journal[RecordT]]:
    """The journal of a run that writes `output`; no other run writes it within the block.

    Args:
        output: the file with all results. The caller removes the journal once that is written and complete.
        record: of one result.
        restart: forget what earlier runs have left.

    Raises:
        UserError: another run writes `output`, or the journal cannot be read or written.
    """
    path = output.with_name(output.name + JOURNAL_SUFFIX)
    with locked(output, "choose another name"):
        try:
            journal = Journal(path, record)
            if restart:
                journal.remove()
                journal = Journal(path, record)
        except OSError as error:
            raise UserError(f"cannot write {path} ({error.strerror}): choose a folder that can be written") from None
        yield journal
