"""A journal of results: what a run has computed is not computed again after it failed or was killed.

The journal is a file beside the run's output, with a line for each result. A result is found by the digest of all that
it depends on, so a journal may hold the results of several runs. It is removed when a run is complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic

from pydantic import ValidationError

from forced_aligner.base.errors import RunError, UserError
from forced_aligner.base.files import cannot_write, is_there, require_regular
from forced_aligner.base.lock import locked
from forced_aligner.base.records import Record, RecordT
from forced_aligner.base.stopping import uninterrupted

JOURNAL_SUFFIX = ".journal"
PREFIX = '{"file": "journal of qwen3-forcedaligner-coreml", "schema_version": '
FIRST_LINE = PREFIX + "1}\n"


def digest_of(*parts: Record | str) -> str:
    """SHA-256 (hex) over records and texts."""
    texts = [part if isinstance(part, str) else part.model_dump_json() for part in parts]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


class Journal(Generic[RecordT]):
    """The results of a run so far."""

    def __init__(self, path: Path, record: type[RecordT], *, restart: bool = False) -> None:
        self.path = path
        self._record = record
        if is_there(path):
            self._require_journal()
            if restart:
                self.remove()
        self._places = dict(self._read()) if is_there(path) else {}  # where the line of each result begins, in bytes

    def get(self, key: str) -> RecordT | None:
        """The result with the digest `key`, if there is one. It is read from the file: a set may be large."""
        if key not in self._places:
            return None
        with self.path.open("rb") as file:
            file.seek(self._places[key])
            return self._parse(file.readline())

    def put(self, key: str, result: RecordT) -> None:
        """Keep a result.

        Raises:
            RunError: the journal cannot be written.
        """
        line = json.dumps({"key": key, "result": result.model_dump(mode="json", by_alias=True)})
        end = 0
        try:
            with uninterrupted(), self.path.open("ab") as file:
                end = file.tell()
                if not end:
                    file.write(FIRST_LINE.encode())
                self._places[key] = file.tell()
                file.write(f"{line}\n".encode())
        except OSError as error:
            self._places.pop(key, None)
            with contextlib.suppress(OSError):
                os.truncate(self.path, end)  # half a line would spoil the next one
            raise RunError(f"cannot write {self.path} ({error.strerror}): free space, then run it again") from None

    def remove(self) -> None:
        """Remove the file, once the run's output is written and complete."""
        self.path.unlink(missing_ok=True)

    def _require_journal(self) -> None:
        """Refuse a file that is none, whatever is asked for."""
        require_regular(self.path)
        with self.path.open("rb") as file:
            found = file.read(len(PREFIX))
        if found not in (b"", PREFIX.encode()):
            raise UserError(f"{self.path} is there already, and is no journal: move it away")

    def _read(self) -> Iterator[tuple[str, int]]:
        """The digests of the results in the file, and where their lines begin.

        What a kill has cut off at its end is removed, so that lines can be added.
        """
        with self.path.open("rb+") as file:
            first = file.readline()
            if first != FIRST_LINE.encode():  # of another version, or cut off
                file.truncate(0)
                return
            end = file.tell()
            for line in file:
                if not line.endswith(b"\n"):
                    break
                if (key := _key_of(line)) is not None:
                    yield key, end
                end += len(line)
            file.truncate(end)

    def _parse(self, line: bytes) -> RecordT | None:
        """The result in a line; None where it is of another version or damaged."""
        try:
            return self._record.model_validate(json.loads(line)["result"])
        except (ValueError, TypeError, KeyError, ValidationError, RecursionError):
            return None


def _key_of(line: bytes) -> str | None:
    """The key in a line; None where it is damaged."""
    try:
        return str(json.loads(line)["key"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def journal_path(output: Path) -> Path:
    """Where the journal of a run that writes `output` lies."""
    return output.with_name(output.name + JOURNAL_SUFFIX)


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
    path = journal_path(output)
    with locked(output, "choose another name"):
        try:
            journal = Journal(path, record, restart=restart)
        except OSError as error:
            raise cannot_write(path, error) from None
        yield journal
