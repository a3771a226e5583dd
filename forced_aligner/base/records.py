"""JSON files: one typed reader and writer, so that each key is spelled once, in the record of its room."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from forced_aligner.base.errors import UserError
from forced_aligner.base.files import MayReplace, always, is_there, write_whole
from forced_aligner.base.reading import read_json_value


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
    if not is_there(path):
        raise UserError(f"no {path.name} at {path}: {remedy}")
    content = read_json_value(path, what=f"a {path.name}: {remedy}")
    try:
        return record.model_validate(content)
    except ValidationError as error:
        errors = error.errors()
        for version in (found for found in errors if found["loc"] == ("schema_version",)):
            found = f"is of version {version['input']!r}, which this version of the program does not read"
            raise UserError(f"{path} {found}: use the version that wrote it, or {remedy}") from None
        where = ".".join(str(part) for part in errors[0]["loc"]) or "the file"
        raise UserError(f"{path} is not as it must be: {where}: {errors[0]['msg']}; {remedy}") from None


def to_json(record: Record, *others: Record) -> str:
    """The content of the record's file. With `others`, a list of them all."""
    if others:
        return json.dumps([each.model_dump(mode="json") for each in (record, *others)], indent=2) + "\n"
    return record.model_dump_json(indent=2) + "\n"


def write_json(record: Record, path: Path, may_replace: MayReplace = always) -> None:
    """Write `record` to `path` in one step.

    Raises:
        UserError: the place cannot be written, or a file is there that must not be replaced.
    """
    write_whole(path, to_json(record), may_replace)


def file_of(record: type[Record]) -> MayReplace:
    """Whether a file is one of `record`, of this version or another: it has most of its keys, and few others."""

    def is_own(path: Path) -> bool:
        try:
            found = read_json_value(path)
        except UserError:
            return False
        keys = found.keys() if isinstance(found, dict) else set()
        fields = record.model_fields.keys()
        return "schema_version" in keys and len(keys & fields) > max(len(keys), len(fields)) / 2

    return is_own
