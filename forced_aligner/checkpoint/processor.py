"""The processor: tokenizer, feature extractor and prompt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from forced_aligner.base.errors import UserError

if TYPE_CHECKING:
    from transformers import Qwen3ASRProcessor


from forced_aligner.checkpoint.files import raw_config

# The aligner's prompt has no chat prefix: `<|im_start|>user` moves boundaries by +92 ms on average
# (vllm-omni issue 7240). Legacy checkpoints carry the chat template of the ASR model; this one replaces it.
ALIGNER_CHAT_TEMPLATE = (
    "{%- for message in messages -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'audio' -%}<|audio_start|><|audio_pad|><|audio_end|>"
    "{%- else -%}{{ part['text'] }}<timestamp><timestamp>{%- endif -%}"
    "{%- endfor -%}{%- endfor -%}"
)


def load_processor(folder: Path) -> Qwen3ASRProcessor:
    """Load the processor of a checkpoint in either layout, or of a converted folder.

    Raises:
        UserError: its files are missing or damaged.
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
