"""Where a checkpoint is: a hub id, a local folder or `demo`."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path

from forced_aligner.base.console import log
from forced_aligner.base.errors import UserError
from forced_aligner.base.model_ids import DEMO_MODEL_ID, FULL_MODEL_ID
from forced_aligner.base.paths import DEMO_FOLDER
from forced_aligner.checkpoint.files import CHECKPOINT_FILES, weight_files

HUB_TIMEOUT_S = 6.0


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk.

    Attributes:
        model_id: hub id, `demo`, or `./` and the name of a local folder, whose path is nobody's business.
        folder: where it is.
        is_fallback: nobody named it; the full one could not be had.
    """

    model_id: str
    folder: Path
    is_fallback: bool = False

    def fingerprint(self) -> str:
        """SHA-256 (hex) over the config and the weights, in the order of their file names."""
        digest = hashlib.sha256()
        for path in [self.folder / "config.json", *weight_files(self.folder)]:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


def find_checkpoint(model_id: str | None) -> Checkpoint:
    """Find the checkpoint `model_id`: `demo`, a local folder, or a hub id.

    A named checkpoint never falls back. Without a name: the full model where the hub cache has it or the hub
    answers within `HUB_TIMEOUT_S`, else the bundled demo.

    Raises:
        UserError: the named checkpoint cannot be had or is incomplete.
    """
    if model_id == DEMO_MODEL_ID:
        return _complete(Checkpoint(DEMO_MODEL_ID, DEMO_FOLDER / "model"))
    if model_id is None:
        folder = _cached(FULL_MODEL_ID)
        if folder is None and _hub_answers(FULL_MODEL_ID):
            folder = _download(FULL_MODEL_ID)
        if folder is None:
            return _complete(Checkpoint(DEMO_MODEL_ID, DEMO_FOLDER / "model", is_fallback=True))
        return _complete(Checkpoint(FULL_MODEL_ID, folder))
    if Path(model_id).is_dir():
        folder = Path(model_id)
        return _complete(Checkpoint(f"./{folder.resolve().name}", folder))
    if Path(model_id).is_absolute() or model_id.count("/") != 1 or model_id.startswith("."):
        raise UserError(f"no checkpoint {model_id!r}: expected a folder, a hub id such as {FULL_MODEL_ID}, or 'demo'")
    return _complete(Checkpoint(model_id, _cached(model_id) or _download(model_id)))


def announce_fallback(checkpoint: Checkpoint) -> None:
    """Say plainly, on stderr, that the demo stands in; the shells call it first and last."""
    if checkpoint.is_fallback:
        log(
            f"NOTE: this is the bundled demo aligner: {FULL_MODEL_ID} is not in the hub cache and the hub does "
            f"not answer. With a network, get the full model by --model-id {FULL_MODEL_ID}"
        )


def _complete(checkpoint: Checkpoint) -> Checkpoint:
    folder = checkpoint.folder
    missing = [path.name for path in [folder / "config.json", *weight_files(folder)] if not path.is_file()]
    if missing:
        raise UserError(f"{folder} is not a checkpoint: {' and '.join(missing)} not found there")
    return checkpoint


def _cached(model_id: str) -> Path | None:
    """The snapshot of `model_id` in the local hub cache, if its weights are there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(model_id, local_files_only=True, allow_patterns=CHECKPOINT_FILES))
    except LocalEntryNotFoundError:
        return None
    except HFValidationError:
        raise UserError(
            f"{model_id!r} is neither a folder nor a hub id; expected one such as {FULL_MODEL_ID}"
        ) from None
    return folder if _is_complete(folder) else None


def _is_complete(folder: Path) -> bool:
    """Whether a snapshot has its config, a tokenizer and every file of its weights: a download may have stopped."""
    files = [folder / "config.json", folder / "tokenizer_config.json", *weight_files(folder)]
    return all(path.is_file() for path in files)


def _hub_answers(model_id: str) -> bool:
    """Ask the hub for `model_id`; the thread bounds name look-up too, which no HTTP time-out covers."""
    from huggingface_hub import HfApi

    answers: list[bool] = []

    def ask() -> None:
        try:
            HfApi().model_info(model_id, timeout=HUB_TIMEOUT_S)
            answers.append(True)
        except Exception:  # whatever keeps the hub from answering, the answer is no
            answers.append(False)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(HUB_TIMEOUT_S)
    return answers == [True]


def _download(model_id: str) -> Path:
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
