"""The part of `metadata.json` that is known before the packages are converted."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from forced_aligner.base.errors import UserError
from forced_aligner.base.text import visible
from forced_aligner.checkpoint.find import Checkpoint
from forced_aligner.checkpoint.layouts import load_config
from forced_aligner.checkpoint.processor import save_processor
from forced_aligner.convert.options import Options
from forced_aligner.package.bundle import processor_digests
from forced_aligner.package.metadata import BundleMetadata, Dimensions, TokenIds
from forced_aligner.package.provenance import tool_versions

if TYPE_CHECKING:
    from transformers import Qwen3ASRConfig, Qwen3ASRProcessor

# coremltools casts the classes of FP16 packages to int16, and each row of probabilities has two columns more.
MAX_CLASSES = 32_765


def expected_metadata(
    checkpoint: Checkpoint,
    processor: Qwen3ASRProcessor,
    options: Options,
    calibration_digest: str | None = None,
    fitted_to: Sequence[str] = (),
) -> BundleMetadata:
    """The metadata of a conversion of `checkpoint` with `options`, without its packages.

    Args:
        checkpoint: what is converted.
        processor: the checkpoint's.
        options: of the conversion.
        calibration_digest: SHA-256 (hex) over the calibration clips.
        fitted_to: SHA-256 (hex) of the recordings that the compressed weights are fitted to.

    Raises:
        UserError: the config cannot be read or holds what no aligner has, `--audio-frames` is less than one attention
            window or not of whole chunks where it must be, or `--decoder-lengths` goes beyond the decoder's positions.
    """
    config = load_config(checkpoint)
    try:
        expected = _metadata(checkpoint, processor, options, config)
        clips = {"calibration_digest": calibration_digest, "calibration_audio": sorted(fitted_to)}
        return expected.model_copy(update=clips)
    except (ValidationError, ArithmeticError, LookupError, RuntimeError, TypeError) as error:
        reason = str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc'])) or type(error).__name__}: {first['msg']}"
        path = checkpoint.folder / "config.json"
        raise UserError(f"{path} cannot be used ({visible(reason)}); expected that of an aligner") from error


def _metadata(
    checkpoint: Checkpoint, processor: Qwen3ASRProcessor, options: Options, config: Qwen3ASRConfig
) -> BundleMetadata:
    dimensions, positions = read_dimensions(config), config.text_config.max_position_embeddings
    if max(options.audio_frames) < dimensions.window_tokens:
        raise UserError(
            f"--audio-frames {max(options.audio_frames)} is less than one window of {dimensions.window_tokens}"
        )
    chunk = dimensions.chunk_tokens
    if options.layout == "compact" and any(frames % chunk for frames in options.audio_frames):
        raise UserError(
            f"--layout compact encodes whole chunks: --audio-frames takes multiples of {chunk} with it, not "
            f"{','.join(map(str, options.audio_frames))}"
        )
    if options.layout == "compact" and dimensions.num_classes > MAX_CLASSES:
        raise UserError(
            f"--layout compact takes at most {MAX_CLASSES} time classes, not {dimensions.num_classes}: "
            "give --layout five"
        )
    if max(options.decoder_lengths) > positions:
        raise UserError(
            f"--decoder-lengths {max(options.decoder_lengths)} is more than the {positions} positions that the "
            "checkpoint's decoder has"
        )
    return BundleMetadata(
        model_id=checkpoint.model_id,
        checkpoint_fingerprint=checkpoint.fingerprint(),
        dimensions=dimensions,
        token_ids=read_token_ids(processor, config),
        timestamp_segment_ms=processor.timestamp_segment_time,
        longest_clip_s=getattr(config, "longest_clip_s", None),
        audio_frames=sorted(set(options.audio_frames)),
        decoder_lengths=sorted(set(options.decoder_lengths)),
        precision=options.precision,
        deployment_target=options.deployment_target,
        compute_units="ALL" if options.ane else "CPU_AND_GPU",
        optimized=options.optimize,
        compress=",".join(part.strip() for part in options.compress.split(",")),
        calibration_clips=options.calibrate,
        components={},
        processor_files=_saved_digests(processor),
        tool_versions=tool_versions(),
    )


def read_dimensions(config: Qwen3ASRConfig) -> Dimensions:
    """The sizes of a checkpoint that the packages and the host need."""
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


def read_token_ids(processor: Qwen3ASRProcessor, config: Qwen3ASRConfig) -> TokenIds:
    """The special tokens of the prompt, as the tokenizer and the config number them."""
    return TokenIds(
        audio_start=processor.audio_bos_token_id,
        audio_end=processor.audio_eos_token_id,
        audio_pad=processor.audio_token_id,
        timestamp=config.timestamp_token_id,
    )


def _saved_digests(processor: Qwen3ASRProcessor) -> dict[str, str]:
    """SHA-256 (hex) of each file that the processor saves."""
    with tempfile.TemporaryDirectory() as folder:
        save_processor(processor, Path(folder))
        return processor_digests(Path(folder))
