"""The PyTorch checkpoint: a hub id, a local folder or `demo`, in the native or the legacy layout."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forced_aligner.console import log
from forced_aligner.errors import UserError
from forced_aligner.paths import DEMO_FOLDER
from forced_aligner.schemas import Dimensions, TokenIds

if TYPE_CHECKING:
    import torch
    from transformers import Qwen3ASRConfig, Qwen3ASRForTokenClassification, Qwen3ASRProcessor

LEGACY_MODEL_ID = "Qwen/Qwen3-ForcedAligner-0.6B"
FULL_MODEL_ID = f"{LEGACY_MODEL_ID}-hf"
DEMO_MODEL_ID = "demo"
HUB_TIMEOUT_S = 6.0
CHECKPOINT_FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja"]

# The aligner's prompt has no chat prefix: `<|im_start|>user` moves boundaries by +92 ms on average
# (vllm-omni issue 7240). Legacy checkpoints carry the chat template of the ASR model; this one replaces it.
ALIGNER_CHAT_TEMPLATE = (
    "{%- for message in messages -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'audio' -%}<|audio_start|><|audio_pad|><|audio_end|>"
    "{%- else -%}{{ part['text'] }}<timestamp><timestamp>{%- endif -%}"
    "{%- endfor -%}{%- endfor -%}"
)

# Legacy key (qwen-asr package) -> native key (transformers).
LEGACY_KEYS = {
    r"^thinker\.audio_tower\.proj1\.": "model.multi_modal_projector.linear_1.",
    r"^thinker\.audio_tower\.proj2\.": "model.multi_modal_projector.linear_2.",
    r"^thinker\.audio_tower\.": "model.audio_tower.",
    r"^thinker\.model\.": "model.language_model.",
    r"^thinker\.lm_head\.": "score.",
}


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


def resolve(model_id: str | None) -> Checkpoint:
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


def weight_files(folder: Path) -> list[Path]:
    """The files of a checkpoint's weights, as `from_pretrained` chooses them; other files may lie beside them.

    Raises:
        UserError: the index is not valid.
    """
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file() or not index.is_file():
        return [folder / "model.safetensors"]
    try:
        return sorted({folder / name for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{index} is not valid ({error}); fetch the checkpoint again") from None


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


def raw_config(folder: Path) -> Any:
    """The content of a checkpoint's `config.json`, whatever it is.

    Raises:
        UserError: it is not JSON.
    """
    path = folder / "config.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); fetch the checkpoint again") from None


def load_config(checkpoint: Checkpoint) -> Qwen3ASRConfig:
    """Read the config in either layout.

    Raises:
        UserError: the folder holds another kind of model, or its config is not valid.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import Qwen3ASRConfig

    path, raw = checkpoint.folder / "config.json", raw_config(checkpoint.folder)
    expected = f"expected that of a Qwen3 forced aligner such as {FULL_MODEL_ID}"
    if not isinstance(raw, dict) or raw.get("model_type") != "qwen3_asr":
        raise UserError(f"{path} is not a Qwen3 forced aligner's config; {expected}")
    try:
        return _legacy_config(raw) if is_legacy(raw) else Qwen3ASRConfig.from_dict(raw)
    except (KeyError, TypeError, ValueError, AttributeError, StrictDataclassError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} cannot be used ({type(error).__name__}: {reason}); {expected}") from None


def is_legacy(raw_config: dict[str, Any]) -> bool:
    """Whether a config is of the qwen-asr package: nested under `thinker_config`."""
    return "thinker_config" in raw_config


def _legacy_config(raw: dict[str, Any]) -> Qwen3ASRConfig:
    from transformers import Qwen3ASRConfig, Qwen3ASREncoderConfig, Qwen3Config

    thinker = raw["thinker_config"]
    text = dict(thinker["text_config"])
    # The three MRoPE axes carry the same positions here, so interleaved MRoPE equals plain RoPE bit for bit.
    text.pop("rope_scaling", None)
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": text.pop("rope_theta")}
    text = {key: value for key, value in text.items() if key != "model_type" and key in _fields(Qwen3Config)}
    audio = {key: value for key, value in thinker["audio_config"].items() if key in _fields(Qwen3ASREncoderConfig)}
    audio.pop("model_type", None)
    return Qwen3ASRConfig(
        audio_config={"model_type": Qwen3ASREncoderConfig.model_type, **audio},
        text_config={"model_type": Qwen3Config.model_type, **text},
        audio_token_id=thinker["audio_token_id"],
        timestamp_token_id=raw["timestamp_token_id"],
        num_labels=thinker["classify_num"],
        tie_word_embeddings=False,
    )


def _fields(config_class: type) -> set[str]:
    return set(config_class().to_dict())


def load_model(checkpoint: Checkpoint, dtype: torch.dtype | None = None) -> Qwen3ASRForTokenClassification:
    """Load the weights once, as `dtype` (default float32, which the reference and the conversion compute in).

    Raises:
        UserError: weights are missing, or of another shape than the config says.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import Qwen3ASRForTokenClassification
    from transformers.utils import logging

    logging.disable_progress_bar()
    config = load_config(checkpoint)
    try:
        model, report = Qwen3ASRForTokenClassification.from_pretrained(
            checkpoint.folder,
            config=config,
            dtype=dtype or torch.float32,
            key_mapping=LEGACY_KEYS if is_legacy(raw_config(checkpoint.folder)) else None,
            output_loading_info=True,
        )
    except (SafetensorError, RuntimeError, OSError, ValueError) as error:
        raise UserError(f"cannot load the weights in {checkpoint.folder}: {str(error).splitlines()[0]}") from None
    for kind in ("missing_keys", "mismatched_keys"):
        if report.get(kind):
            first = sorted(str(key) for key in report[kind])[0]
            raise UserError(f"the weights in {checkpoint.folder} do not fit their config: {kind}, first {first}")
    return model.eval()


def load_processor(folder: Path) -> Qwen3ASRProcessor:
    """Load the processor of a checkpoint in either layout, or of a converted folder.

    Raises:
        UserError: its files are missing or broken.
    """
    from transformers import AutoProcessor, Qwen2Tokenizer, Qwen3ASRFeatureExtractor, Qwen3ASRProcessor

    try:
        if (folder / "processor_config.json").exists():
            return AutoProcessor.from_pretrained(folder)
        tokenizer = Qwen2Tokenizer.from_pretrained(
            folder,
            extra_special_tokens={
                "audio_token": "<|audio_pad|>",
                "audio_bos_token": "<|audio_start|>",
                "audio_eos_token": "<|audio_end|>",
            },
        )
        return Qwen3ASRProcessor(
            Qwen3ASRFeatureExtractor(),
            tokenizer,
            chat_template=ALIGNER_CHAT_TEMPLATE,
            timestamp_segment_time=raw_config(folder).get("timestamp_segment_time", 80),
        )
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"no usable processor in {folder}: {str(error).splitlines()[0]}") from None


def dimensions(config: Qwen3ASRConfig) -> Dimensions:
    """The sizes that the packages and the host need."""
    from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding

    audio, text = config.audio_config, config.text_config
    return Dimensions(
        mel_bins=audio.num_mel_bins,
        chunk_frames=audio.n_window * 2,
        window_frames=audio.n_window_infer,
        audio_hidden=audio.d_model,
        hidden=text.hidden_size,
        head_dim=text.head_dim,
        inverse_frequencies=Qwen3RotaryEmbedding(text).inv_freq.tolist(),
        vocab_size=text.vocab_size,
        num_classes=config.num_labels,
    )


def token_ids(processor: Qwen3ASRProcessor, config: Qwen3ASRConfig) -> TokenIds:
    """The special tokens of the prompt, as the tokenizer and the config number them."""
    return TokenIds(
        audio_start=processor.audio_bos_token_id,
        audio_end=processor.audio_eos_token_id,
        audio_pad=processor.audio_token_id,
        timestamp=config.timestamp_token_id,
    )
