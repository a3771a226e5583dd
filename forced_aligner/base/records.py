"""JSON files: one typed reader and writer, so that each key is spelled once, in the record of its room."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from forced_aligner.base.errors import UserError
from forced_aligner.base.files import write_whole


class Record(BaseModel):
    """Base of all records: immutable; an unknown or missing key and a number that is not finite are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


RecordT = TypeVar("RecordT", bound=Record)


def read_json(record: type[RecordT], path: Path, remedy: str) -> RecordT:
    """Read `path` as a `record`.

    Raises:
        UserError: it is not there, cannot be read, or a key is missing, unknown or of another type.
            `remedy` ends the sentence: how to get a good file.
    """
    try:
        return record.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"no {path.name} at {path}: {remedy}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path} ({error}): {remedy}") from None
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"] == ("schema_version",):
            found = f"is of version {first['input']!r}, which this version of the program does not read"
            raise UserError(f"{path} {found}: use the version that wrote it, or {remedy}") from None
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{path} is not a valid {path.name}: {where}: {first['msg']}; {remedy}") from None


def write_json(record: Record, path: Path) -> None:
    """Write `record` to `path` in one step.

    Raises:
        UserError: the place cannot be written.
    """
    write_whole(path, record.model_dump_json(indent=2) + "\n")
