"""The words of a transcript, and the tokens of the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from forced_aligner.base.errors import UserError
from forced_aligner.package.metadata import BundleMetadata

if TYPE_CHECKING:
    from transformers import Qwen3ASRProcessor


PROMPT_MARKS = 2  # <|audio_start|> and <|audio_end|>


def require_processor_of(metadata: BundleMetadata, processor: Qwen3ASRProcessor) -> None:
    """Refuse a processor whose special tokens or time classes are not those of the metadata.

    Raises:
        UserError: they differ.
    """
    tokens = metadata.token_ids
    expected = (tokens.audio_start, tokens.audio_end, tokens.audio_pad, tokens.timestamp, metadata.timestamp_segment_ms)
    found = (
        processor.audio_bos_token_id,
        processor.audio_eos_token_id,
        processor.audio_token_id,
        processor.tokenizer.convert_tokens_to_ids("<timestamp>"),
        processor.timestamp_segment_time,
    )
    if found != expected:
        raise UserError(
            f"the processor's special tokens and segment, {found}, are not those of metadata.json, {expected}: "
            "convert the model with convert-coreml.py"
        )


def split_words(processor: Qwen3ASRProcessor, transcript: str, language: str | None) -> list[str]:
    """The words of a transcript, as the checkpoint's own processor splits them; `language` is a name or a code.

    Raises:
        UserError: the language is not served or needs an extra package, or the transcript has no words.
    """
    from transformers.models.qwen3_asr.processing_qwen3_asr import FORCED_ALIGNER_LANGUAGES, LANGUAGE_CODE_TO_NAME

    name = LANGUAGE_CODE_TO_NAME.get((language or "").lower(), (language or "").capitalize())
    if language is not None and name not in FORCED_ALIGNER_LANGUAGES:
        codes = {name: code for code, name in LANGUAGE_CODE_TO_NAME.items()}
        served = ", ".join(f"{name} ({codes[name]})" for name in sorted(FORCED_ALIGNER_LANGUAGES))
        raise UserError(f"language {language!r} is not served; expected one of {served}")
    try:
        words = processor.split_words_for_alignment(transcript, name or None)
    except ImportError:
        raise UserError(f"{name} needs an extra package: uv sync --extra {name.lower()}") from None
    if not words:
        raise UserError(f"the transcript {transcript!r} has no words to align")
    return words


def prompt_ids(processor: Qwen3ASRProcessor, words: list[str], audio_tokens: int) -> NDArray[np.int32]:
    """(n,) token ids of the processor's own prompt, with one audio pad for each audio token."""
    content = [{"type": "audio", "audio": ""}, *({"type": "text", "text": word} for word in words)]
    text = processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
    pad = processor.audio_token
    ids = processor.tokenizer(text.replace(pad, pad * audio_tokens, 1), add_special_tokens=False).input_ids
    return np.array(ids, dtype=np.int32)


def word_tokens(processor: Qwen3ASRProcessor, words: list[str]) -> NDArray[np.int64]:
    """How many prompt tokens each word takes, with its two `<timestamp>`: (words,)."""
    return np.array([len(ids) + 2 for ids in processor.tokenizer(words, add_special_tokens=False).input_ids])
