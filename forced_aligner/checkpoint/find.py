"""Finds a checkpoint by its hub id, its local folder or the name `demo`."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path

from forced_aligner.base.console import log_always
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import file_digest, is_file, is_folder
from forced_aligner.base.model_ids import DEMO_MODEL_ID, FULL_MODEL_ID
from forced_aligner.base.paths import DEMO_FOLDER
from forced_aligner.base.text import visible
from forced_aligner.checkpoint.files import CHECKPOINT_FILES, weight_files

HUB_TIMEOUT_S = 6.0  # after which the hub counts as unreachable


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk.

    Attributes:
        model_id: hub id, `demo`, or `./` and the name of a local folder; its full path stays private.
        folder: where it is.
        is_fallback: it is the demo, because no checkpoint was named and the full one is not available.
    """

    model_id: str
    folder: Path
    is_fallback: bool = False

    def fingerprint(self) -> str:
        """SHA-256 (hex) over the config and the weights, in the order of their file names.

        Raises:
            UserError: a file cannot be read.
        """
        digest = hashlib.sha256()
        for path in [self.folder / "config.json", *weight_files(self.folder)]:
            try:
                digest.update(bytes.fromhex(file_digest(path)))
            except OSError as error:
                raise UserError(f"cannot read {path} ({error.strerror}): make it readable") from None
        return digest.hexdigest()


def find_checkpoint(model_id: str | None) -> Checkpoint:
    """Find the checkpoint `model_id`: `demo`, a local folder, or a hub id.

    A named checkpoint never falls back to another. Without a name, it is the full model if the hub cache has it or
    the hub answers within `HUB_TIMEOUT_S`, else the bundled demo.

    Raises:
        UserError: the checkpoint is not found, cannot be downloaded or is incomplete.
    """
    if model_id == DEMO_MODEL_ID:
        return _require_complete(Checkpoint(DEMO_MODEL_ID, DEMO_FOLDER / "model"))
    if model_id is None:
        folder = _cached(FULL_MODEL_ID)
        if folder is None and _hub_answers(FULL_MODEL_ID):
            folder = _download(FULL_MODEL_ID)
        if folder is None:
            return _require_complete(Checkpoint(DEMO_MODEL_ID, DEMO_FOLDER / "model", is_fallback=True))
        return _require_complete(Checkpoint(FULL_MODEL_ID, folder))
    if is_folder(Path(model_id)):
        folder = Path(model_id)
        return _require_complete(Checkpoint(f"./{visible(folder.resolve().name)}", folder))
    if Path(model_id).is_absolute() or model_id.count("/") != 1 or model_id.startswith("."):
        raise UserError(
            f"no checkpoint {_short(model_id)}: expected a folder, a hub id such as {FULL_MODEL_ID}, or 'demo'"
        )
    return _require_complete(Checkpoint(model_id, _cached(model_id) or _download(model_id)))


def announce_fallback(checkpoint: Checkpoint) -> None:
    """Say on stderr that the demo replaces the full model; the shells call this first and last."""
    if checkpoint.is_fallback:
        log_always(
            f"NOTE: this is the bundled demo aligner: {FULL_MODEL_ID} is not in the hub cache and the hub does "
            f"not answer. With a network, get the full model by --model-id {FULL_MODEL_ID}"
        )


def _short(model_id: str) -> str:
    """A name that was given, quoted, as it fits into a sentence."""
    return repr(model_id if len(model_id) <= 80 else f"{model_id[:80]}…")


def _require_complete(checkpoint: Checkpoint) -> Checkpoint:
    """The same checkpoint, or an error that names the missing files."""
    folder = checkpoint.folder
    missing = [path.name for path in [folder / "config.json", *weight_files(folder)] if not is_file(path)]
    if missing:
        listed = " and ".join(missing[:3]) + (f" and {len(missing) - 3} more" if missing[3:] else "")
        raise UserError(f"{folder} is not a checkpoint: {listed} not found there")
    return checkpoint


def _cached(model_id: str) -> Path | None:
    """The snapshot of `model_id` in the local hub cache, or None if it is missing or incomplete."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(model_id, local_files_only=True, allow_patterns=CHECKPOINT_FILES))
    except LocalEntryNotFoundError:
        return None
    except HFValidationError:
        raise UserError(
            f"{_short(model_id)} is neither a folder nor a hub id; expected one such as {FULL_MODEL_ID}"
        ) from None
    return folder if _is_complete(folder) else None


def _is_complete(folder: Path) -> bool:
    """Whether a snapshot has config, tokenizer and every weight file; an interrupted download does not."""
    files = [folder / "config.json", folder / "tokenizer_config.json", *weight_files(folder)]
    return all(map(is_file, files))


def _hub_answers(model_id: str) -> bool:
    """Whether the hub knows `model_id`. The thread also limits the DNS look-up, which no HTTP time-out covers."""
    from huggingface_hub import HfApi

    answers: list[bool] = []

    def ask() -> None:
        try:
            HfApi().model_info(model_id, timeout=HUB_TIMEOUT_S)
            answers.append(True)
        except Exception:  # any failure means that the hub does not answer
            answers.append(False)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(HUB_TIMEOUT_S)
    return answers == [True]


def _download(model_id: str) -> Path:
    """The snapshot of `model_id`, downloaded into the hub cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return Path(snapshot_download(model_id, allow_patterns=CHECKPOINT_FILES))
    except RepositoryNotFoundError:
        raise UserError(f"the hub has no checkpoint {model_id!r}, or it needs a login: check its name") from None
    except Exception as error:  # network, disk and login errors have no common base
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"cannot download {model_id} ({reason}): connect to the network, or give a local folder or 'demo'"
        ) from None
