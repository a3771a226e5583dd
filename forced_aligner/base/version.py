"""The name and the version of this project."""

from __future__ import annotations

import tomllib

from forced_aligner.base.paths import ROOT

PROJECT = "qwen3-forcedaligner-coreml"


def version_string() -> str:
    """The version, from pyproject.toml."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
