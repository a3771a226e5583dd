"""The processor: tokenizer, feature extractor and prompt.

The folder says which values they have, never which code runs: the classes and the chat template are named here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forced_aligner.base.console import log_always
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import is_file
from forced_aligner.base.reading import read_text
from forced_aligner.base.text import visible
from forced_aligner.checkpoint.files import raw_config, read_settings

if TYPE_CHECKING:
    from transformers import Qwen2Tokenizer, Qwen3ASRFeatureExtractor, Qwen3ASRProcessor


# The aligner's prompt has no chat prefix: `<|im_start|>user` moves boundaries by +92 ms on average
# (vllm-omni issue 7240). Legacy checkpoints carry the chat template of the ASR model, and a template is a program: so
# this one always takes the place of the folder's, which is not run.
ALIGNER_CHAT_TEMPLATE = (
    "{%- for message in messages -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'audio' -%}<|audio_start|><|audio_pad|><|audio_end|>"
    "{%- else -%}{{ part['text'] }}<timestamp><timestamp>{%- endif -%}"
    "{%- endfor -%}{%- endfor -%}"
)
_SPECIAL_TOKENS = {
    "audio_token": "<|audio_pad|>",
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
}
_TIMESTAMP = "<timestamp>"
# By their names in `metadata.json`.
PROMPT_TOKENS = {
    "audio_start": _SPECIAL_TOKENS["audio_bos_token"],
    "audio_end": _SPECIAL_TOKENS["audio_eos_token"],
    "audio_pad": _SPECIAL_TOKENS["audio_token"],
    "timestamp": _TIMESTAMP,
}
TOKENIZER_FILE = "tokenizer.json"  # of `tokenizers`; a converted folder always has it
_TOKENIZER_FILES = (TOKENIZER_FILE, "vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json")
MAX_TOKENIZER_BYTES = 128 << 20  # that of the 0.6B checkpoint has 11 MB
_TOKENIZERS = ("Qwen2Tokenizer", "Qwen2TokenizerFast", None)
_SEGMENT_MS = 80  # of Qwen's aligners, whose legacy folders may not name it
_MAX_SEGMENT_MS = 10_000
_MAX_MEL_BINS = 1024
# What `align/mel.py` computes; other values would give another mel to PyTorch than to the packages.
_FEATURES = ("sampling_rate", "hop_length", "n_fft", "n_window", "min_length", "dither", "padding_value")


def load_processor(folder: Path) -> Qwen3ASRProcessor:
    """Load the processor of a checkpoint in either layout, or of a converted folder.

    Raises:
        UserError: its files are missing or damaged, or want other classes than those of Qwen's aligner.
    """
    from transformers import Qwen3ASRProcessor

    is_native = is_file(folder / "processor_config.json")
    settings = read_settings(folder / "processor_config.json") if is_native else {}
    if not isinstance(settings, dict):
        raise UserError(f"{folder / 'processor_config.json'} holds no settings; fetch the checkpoint again")
    _require_class(folder, "processor", settings.get("processor_class"), ("Qwen3ASRProcessor", None))
    segment_ms = (settings if is_native else _legacy_settings(folder)).get("timestamp_segment_time", _SEGMENT_MS)
    if not _is_number(segment_ms) or not 0 < segment_ms <= _MAX_SEGMENT_MS:
        found = visible(repr(segment_ms))[:40]
        raise UserError(f"no usable processor in {folder}: timestamp_segment_time is {found}, not a time in ms")
    if is_native:
        _note_another_template(folder, settings)
    with one_sentence(folder):
        processor = Qwen3ASRProcessor(
            _feature_extractor(folder, settings.get("feature_extractor") or {}),
            _tokenizer(folder, is_native),
            chat_template=ALIGNER_CHAT_TEMPLATE,
            timestamp_segment_time=segment_ms,
        )
        _require_tokens_of_config(folder, processor)
        return processor


def _require_tokens_of_config(folder: Path, processor: Qwen3ASRProcessor) -> None:
    """Compare the numbers of the prompt's tokens with those in `config.json`; a converted folder has none."""
    if not is_file(folder / "config.json"):
        return
    config = raw_config(folder)
    inner = config.get("thinker_config", config)
    found = (processor.audio_token_id, processor.tokenizer.convert_tokens_to_ids(_TIMESTAMP))
    expected = (inner.get("audio_token_id", found[0]), config.get("timestamp_token_id", found[1]))
    if found != expected:
        raise UserError(
            f"no usable tokenizer in {folder}: it numbers {_SPECIAL_TOKENS['audio_token']} and {_TIMESTAMP} "
            f"{found[0]} and {found[1]}, and config.json {visible(f'{expected[0]} and {expected[1]}')}"
        )


def save_processor(processor: Qwen3ASRProcessor, folder: Path) -> None:
    """Save the files of `processor` to `folder`: the same ones from wherever and however it was loaded."""
    for name in ("is_local", "local_files_only"):
        processor.tokenizer.init_kwargs.pop(name, None)
    processor.save_pretrained(folder)


def _legacy_settings(folder: Path) -> Mapping[str, Any]:
    config = raw_config(folder)
    return config if isinstance(config, dict) else {}


def _require_class(folder: Path, what: str, found: object, expected: tuple[str | None, ...]) -> None:
    if found not in expected:
        raise UserError(f"no usable {what} in {folder}: its class is {visible(repr(found))[:80]}, not {expected[0]}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _note_another_template(folder: Path, settings: Mapping[str, Any]) -> None:
    """Say on stderr that the folder has another chat template than the aligner's, for its owner may rely on it."""
    path = folder / "chat_template.jinja"
    found = settings.get("chat_template") or (read_text(path) if is_file(path) else None)
    if found is not None and found != ALIGNER_CHAT_TEMPLATE:
        log_always(f"NOTE: the chat template in {folder} is not run: the prompt is that of Qwen's forced aligner")


def _feature_extractor(folder: Path, settings: object) -> Qwen3ASRFeatureExtractor:
    from transformers import Qwen3ASRFeatureExtractor

    if not isinstance(settings, dict):
        raise UserError(f"no usable processor in {folder}: its feature_extractor holds no settings")
    kind = settings.get("feature_extractor_type")
    _require_class(folder, "feature extractor", kind, ("Qwen3ASRFeatureExtractor", None))
    bins = settings.get("feature_size", 128)
    if not isinstance(bins, int) or not 0 < bins <= _MAX_MEL_BINS:
        raise UserError(f"no usable processor in {folder}: feature_size is {visible(repr(bins))[:40]}")
    extractor = Qwen3ASRFeatureExtractor(feature_size=bins)
    for name in _FEATURES:
        expected = getattr(extractor, name)
        if (found := settings.get(name, expected)) != expected:
            raise UserError(f"no usable processor in {folder}: {name} is {visible(repr(found))[:40]}, not {expected}")
    return extractor


def _tokenizer(folder: Path, is_native: bool) -> Qwen2Tokenizer:
    """The tokenizer, which has every special token of the prompt."""
    from transformers import Qwen2Tokenizer

    path = folder / "tokenizer_config.json"
    settings = read_settings(path) if is_file(path) else {}
    if not isinstance(settings, dict):
        raise UserError(f"{path} holds no settings; fetch the checkpoint again")
    _require_class(folder, "tokenizer", settings.get("tokenizer_class"), _TOKENIZERS)
    for name in _TOKENIZER_FILES:
        if is_file(folder / name) and (folder / name).stat().st_size > MAX_TOKENIZER_BYTES:
            raise UserError(f"{folder / name} has more than {MAX_TOKENIZER_BYTES} bytes; fetch the checkpoint again")
    extra = {} if is_native else {"extra_special_tokens": _SPECIAL_TOKENS}
    tokenizer = Qwen2Tokenizer.from_pretrained(folder, trust_remote_code=False, **extra)
    tokenizer.chat_template = ALIGNER_CHAT_TEMPLATE
    marks = [*_SPECIAL_TOKENS.values(), _TIMESTAMP]
    ids = tokenizer("".join(marks), add_special_tokens=False).input_ids
    if [getattr(tokenizer, name, None) for name in _SPECIAL_TOKENS] != marks[:-1] or len(set(ids)) != len(marks):
        raise UserError(f"no usable tokenizer in {folder}: it lacks some of {', '.join(marks)}")
    if tokenizer.convert_ids_to_tokens(ids) != marks:
        raise UserError(f"no usable tokenizer in {folder}: {', '.join(marks)} are no tokens of their own")
    return tokenizer


@contextmanager
def one_sentence(folder: Path) -> Iterator[None]:
    """Turn whatever transformers and tokenizers raise over damaged files into one sentence; they have no common base.

    A panic of the tokenizers' Rust code is no `Exception`.
    """
    try:
        yield
    except UserError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        lines = visible(str(error).strip().split("\n")[0])[:200]
        raise UserError(f"no usable processor in {folder}: {lines or type(error).__name__}") from error
