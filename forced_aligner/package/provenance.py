"""What may be said of a checkpoint in public."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from forced_aligner.base.errors import UserError
from forced_aligner.base.languages import LANGUAGES
from forced_aligner.base.model_ids import DEMO_MODEL_ID, FULL_MODEL_ID, LEGACY_MODEL_ID
from forced_aligner.base.paths import ROOT
from forced_aligner.base.version import PROJECT, version_string

CONVERTING_ROOMS = ("checkpoint", "convert", "package")
ALIGNING_ROOMS = ("align", "checkpoint", "data", "jobs", "package", "runtime")
APACHE = "apache-2.0"  # the hub's identifier


@dataclass(frozen=True)
class Provenance:
    """What is known of a checkpoint. Nothing is guessed: what is not known is `None`."""

    title: str
    base_model: str | None = None
    license: str | None = None
    languages: dict[str, str] | None = None  # names by code
    is_demo: bool = False

    @property
    def author(self) -> str:
        """Who made the packages, and who made the weights where that is known."""
        return f"{'Qwen team; ' if self.license and not self.is_demo else ''}converted by {PROJECT}"

    @property
    def license_name(self) -> str:
        """The licence, in words."""
        return "Apache-2.0" if self.license == APACHE else "that of the checkpoint"


def find_provenance(model_id: str, base_model: str | None) -> Provenance:
    """What is known of the checkpoint `model_id`; `base_model` is the hub id that a user names for a folder.

    Raises:
        UserError: `base_model` is no hub id, or is given for the demo aligner.
    """
    if model_id == DEMO_MODEL_ID:
        if base_model is not None:
            raise UserError("the demo aligner has no base model: leave out --base-model")
        return Provenance("Demo forced aligner", license=APACHE, languages={"en": "English"}, is_demo=True)
    if base_model is not None and not _is_hub_id(base_model):
        raise UserError(f"--base-model takes a hub id such as {FULL_MODEL_ID}, not {base_model!r}")
    if base_model is None and _is_hub_id(model_id) and not Path(model_id).is_dir():
        base_model = model_id
    if base_model is None:
        return Provenance("Qwen3 forced aligner")
    title = base_model.split("/")[1]
    if base_model in (FULL_MODEL_ID, LEGACY_MODEL_ID):
        return Provenance(title, base_model, APACHE, LANGUAGES)
    return Provenance(title, base_model)


def _is_hub_id(text: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(text)
    except HFValidationError:
        return False
    return "/" in text


def tool_versions() -> dict[str, str]:
    """The versions of what makes packages: the libraries, and this project with a digest of the sources that do it."""
    versions = {name: version(name) for name in ("coremltools", "torch", "transformers", "numpy")}
    return versions | {PROJECT: f"{version_string()}+{source_digest(CONVERTING_ROOMS)[:8]}"}


def everything_digest() -> str:
    """SHA-256 (hex) of all that a result of this project comes from: its sources, and the versions of the libraries."""
    package = ROOT / "forced_aligner"
    rooms = [path.name for path in package.iterdir() if (path / "__init__.py").is_file()]
    return hashlib.sha256(json.dumps([source_digest(rooms), tool_versions()]).encode()).hexdigest()


def source_digest(rooms: Collection[str]) -> str:
    """SHA-256 (hex) of the sources of some rooms and of the wrappers: results of other sources may differ."""
    files = [path for room in sorted(rooms) for path in sorted((ROOT / "forced_aligner" / room).rglob("*.py"))]
    digest = hashlib.sha256()
    for path in [ROOT / "individual_components.py", *files]:
        digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
