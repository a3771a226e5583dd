"""The files of a checkpoint's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from forced_aligner.base.errors import UserError

CHECKPOINT_FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja"]


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a checkpoint: those that `from_pretrained` loads. Other files in the folder are ignored.

    Raises:
        UserError: the index `model.safetensors.index.json` is not valid.
    """
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file() or not index.is_file():
        return [folder / "model.safetensors"]
    try:
        return sorted({folder / name for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{index} is not valid ({error}); fetch the checkpoint again") from None


def raw_config(folder: Path) -> Any:
    """The parsed `config.json` of a checkpoint, without a check of its content.

    Raises:
        UserError: the file is not JSON.
    """
    path = folder / "config.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); fetch the checkpoint again") from None
