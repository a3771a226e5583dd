"""The PyTorch model with its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forced_aligner.base.errors import UserError

if TYPE_CHECKING:
    import torch
    from transformers import Qwen3ASRForTokenClassification


from forced_aligner.checkpoint.files import raw_config
from forced_aligner.checkpoint.find import Checkpoint
from forced_aligner.checkpoint.layouts import LEGACY_KEYS, is_legacy, load_config


def load_model(checkpoint: Checkpoint, dtype: torch.dtype | None = None) -> Qwen3ASRForTokenClassification:
    """Load the model with its weights as `dtype`; the default is float32, as in the reference and the conversion.

    Raises:
        UserError: the weights cannot be read, are missing, or differ in shape from the config.
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
