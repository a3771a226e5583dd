"""The PyTorch model with its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forced_aligner.base.errors import UserError

if TYPE_CHECKING:
    import torch
    from transformers import Qwen3ASRForTokenClassification


from forced_aligner.checkpoint.files import raw_config, weight_files
from forced_aligner.checkpoint.find import Checkpoint
from forced_aligner.checkpoint.layouts import LEGACY_KEYS, is_legacy, load_config, require_finite


def load_model(checkpoint: Checkpoint, dtype: torch.dtype | None = None) -> Qwen3ASRForTokenClassification:
    """Load the model with its weights as `dtype`; the default is float32, as in the reference and the conversion.

    Raises:
        UserError: the weights cannot be read, are missing, differ in shape from the config, or are not finite.
    """
    import torch
    from transformers import Qwen3ASRForTokenClassification
    from transformers.utils import logging

    logging.disable_progress_bar()
    config = load_config(checkpoint)
    weight_files(checkpoint.folder)  # transformers would follow an index to any file
    try:
        model, report = Qwen3ASRForTokenClassification.from_pretrained(
            checkpoint.folder,
            config=config,
            dtype=dtype or torch.float32,
            key_mapping=LEGACY_KEYS if is_legacy(raw_config(checkpoint.folder)) else None,
            output_loading_info=True,
            use_safetensors=True,
            local_files_only=True,
        )
    except Exception as error:  # whatever transformers, torch and safetensors make of damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"cannot load the weights in {checkpoint.folder}: {reason}") from error
    for kind in ("missing_keys", "mismatched_keys"):
        if report.get(kind):
            first = sorted(str(key) for key in report[kind])[0]
            raise UserError(f"the weights in {checkpoint.folder} do not fit their config: {kind}, first {first}")
    for name, parameter in model.named_parameters():
        require_finite(name, parameter.detach(), checkpoint.folder)
    return model.eval()
