"""Makes a package that coremltools has saved the same in every conversion, and readable like any other file."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

from forced_aligner.package.contract import MANIFEST, SPEC_FILE
from forced_aligner.package.spec import read_spec

_READ_AND_WRITE = 0o666
_AND_ENTER = 0o777


def make_reproducible(package: Path) -> None:
    """Make a saved package the same byte by byte in every process.

    Its items get identifiers that follow from their paths, in place of coremltools' random ones. The spec is written
    with the entries of its maps in order, which differs from process to process otherwise.
    """
    (package / SPEC_FILE).write_bytes(read_spec(package).SerializeToString(deterministic=True))
    path = package / MANIFEST
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    items = manifest["itemInfoEntries"]
    names = {name: str(uuid.uuid5(uuid.NAMESPACE_URL, item["path"])) for name, item in items.items()}
    manifest["itemInfoEntries"] = {names[name]: item for name, item in items.items()}
    manifest["rootModelIdentifier"] = names[manifest["rootModelIdentifier"]]
    path.write_text(json.dumps(manifest, indent=4, sort_keys=True) + "\n", encoding="utf-8")


def share(package: Path) -> None:
    """Give all files of a package the permissions of a new file: coremltools writes the spec for its owner alone."""
    umask = os.umask(0)  # there is no other way to read it
    os.umask(umask)
    for path in [package, *package.rglob("*")]:
        path.chmod((_AND_ENTER if path.is_dir() else _READ_AND_WRITE) & ~umask)
