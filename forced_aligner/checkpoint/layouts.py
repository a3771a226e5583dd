"""The two layouts of a checkpoint, native and legacy: they differ in the config and in the names of the weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from forced_aligner.base.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import Qwen3ASRConfig


from forced_aligner.base.model_ids import FULL_MODEL_ID
from forced_aligner.checkpoint.files import raw_config
from forced_aligner.checkpoint.find import Checkpoint

# Legacy key (qwen-asr package) -> native key (transformers).
LEGACY_KEYS = {
    r"^thinker\.audio_tower\.proj1\.": "model.multi_modal_projector.linear_1.",
    r"^thinker\.audio_tower\.proj2\.": "model.multi_modal_projector.linear_2.",
    r"^thinker\.audio_tower\.": "model.audio_tower.",
    r"^thinker\.model\.": "model.language_model.",
    r"^thinker\.lm_head\.": "score.",
}


# The largest sizes that are taken. transformers makes lists of labels and layers, however many a config asks for.
MAX_LAYERS = 1024
MAX_WIDTH = 1 << 16
MAX_ENTRIES = 1 << 24
_LIMITS = {
    **dict.fromkeys(("num_hidden_layers", "encoder_layers"), MAX_LAYERS),
    **dict.fromkeys(("num_labels", "classify_num", "hidden_size", "intermediate_size", "head_dim"), MAX_WIDTH),
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "encoder_attention_heads"), MAX_WIDTH),
    **dict.fromkeys(("d_model", "encoder_ffn_dim", "output_dim", "downsample_hidden_size"), MAX_WIDTH),
    **dict.fromkeys(("num_mel_bins", "n_window", "n_window_infer"), MAX_WIDTH),
    **dict.fromkeys(("vocab_size", "max_position_embeddings", "max_source_positions"), MAX_ENTRIES),
}


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
        _check_sizes(raw)
        return _legacy_config(raw) if is_legacy(raw) else Qwen3ASRConfig.from_dict(raw)
    except (KeyError, TypeError, ValueError, AttributeError, ImportError, StrictDataclassError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} cannot be used ({type(error).__name__}: {reason}); {expected}") from None


def _check_sizes(raw: Any) -> None:
    """Look for sizes beyond `_LIMITS` in a config and in the configs inside."""
    for name, value in raw.items() if isinstance(raw, dict) else ():
        if name in _LIMITS and isinstance(value, int) and not 0 < value <= _LIMITS[name]:
            raise ValueError(f"{name} is {value}, not between 1 and {_LIMITS[name]}")
        _check_sizes(value)


def require_finite(name: str, weight: Tensor, folder: Path) -> None:
    """Refuse a weight that holds NaN or infinity: every time that it gives would be one of no meaning.

    Raises:
        UserError: the tensor `name` of the checkpoint in `folder` is not finite.
    """
    # Both are NaN where a value is, and neither needs a copy.
    if weight.is_floating_point() and weight.numel() and not all(bound.isfinite() for bound in weight.aminmax()):
        raise UserError(f"the weights in {folder} are damaged: {name} is not finite; fetch the checkpoint again")


def is_legacy(raw_config: dict[str, Any]) -> bool:
    """Whether a config has the layout of the qwen-asr package, nested under `thinker_config`."""
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
