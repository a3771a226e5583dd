"""The files of a checkpoint's folder. It may come from anybody, and is read within bounds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from forced_aligner.base.errors import UserError
from forced_aligner.base.files import is_file
from forced_aligner.base.reading import read_json_value
from forced_aligner.base.text import visible

CHECKPOINT_FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja"]
MAX_CONFIG_BYTES = 16 << 20  # a config with 5,000 labels has 0.2 MB, an index of 1,000 weights 0.1 MB
_INDEX = "model.safetensors.index.json"
_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors")
_AGAIN = "fetch the checkpoint again"


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a checkpoint: those that `from_pretrained` loads. Other files in the folder are ignored.

    Raises:
        UserError: the index `model.safetensors.index.json` is not valid, or names a file outside of the folder.
    """
    index = folder / _INDEX
    if is_file(folder / "model.safetensors") or not is_file(index):
        return [folder / "model.safetensors"]
    content = read_json_value(index, MAX_CONFIG_BYTES, f"the index of the weights; {_AGAIN}")
    shards = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(shards, dict) or not shards:
        raise UserError(f"{index} is not valid (weight_map is missing or empty); {_AGAIN}")
    for name in shards.values():
        if not isinstance(name, str) or not _SHARD.fullmatch(name):
            found = visible(repr(name))[:80]
            raise UserError(f"{index} is not valid ({found} is no name of a safetensors file beside it); {_AGAIN}")
    return sorted({folder / name for name in shards.values()})


def raw_config(folder: Path) -> Any:
    """The parsed `config.json` of a checkpoint.

    Raises:
        UserError: see `read_settings`.
    """
    return read_settings(folder / "config.json")


def read_settings(path: Path) -> Any:
    """The parsed content of one of the checkpoint's JSON files, whose fields are not checked.

    Raises:
        UserError: the file cannot be read, is not JSON, or names code of its own.
    """
    content = read_json_value(path, MAX_CONFIG_BYTES, f"a checkpoint's {path.name}; {_AGAIN}")
    if isinstance(content, dict) and content.get("auto_map"):
        raise UserError(
            f"{path} names code that the checkpoint brings along (auto_map), and such code is never run: "
            "use a checkpoint of the classes of transformers"
        )
    return content
