"""Calibration clips: they are run through packages, to see what FP16 cannot hold, and their inputs fit the weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.audio import check_duration, load_clip
from forced_aligner.align.chain import Aligner
from forced_aligner.align.mel import MIN_SAMPLES, log_mel, mel_chunks
from forced_aligner.align.positions import rotary_embedding
from forced_aligner.align.prompt import Prompt
from forced_aligner.align.words import split_words
from forced_aligner.base.console import log
from forced_aligner.base.errors import UserError
from forced_aligner.base.journal import digest_of
from forced_aligner.checkpoint.lazy_weights import LazyModel
from forced_aligner.convert.calibration import Watch, summarize
from forced_aligner.convert.gptq.quantize import CalibrationClip, Presets, Quantizer
from forced_aligner.convert.gptq.store import QuantizedWeights, store_folder
from forced_aligner.convert.options import Options
from forced_aligner.data.records import Clip
from forced_aligner.package.bundle import Bundle
from forced_aligner.package.contract import LENGTH_STEP, TOKEN_TABLE
from forced_aligner.package.metadata import BundleMetadata, Calibration, Compression
from forced_aligner.package.provenance import ALIGNING_ROOMS, CONVERTING_ROOMS, source_digest
from forced_aligner.runtime.mil.backend import MilBackend

if TYPE_CHECKING:
    from transformers import Qwen3ASRProcessor

LOUDEST_CLIPS = 2  # with the largest magnitudes, which go through every function


def quantize_weights(
    model: LazyModel,
    processor: Qwen3ASRProcessor,
    metadata: BundleMetadata,
    options: Options,
    clips: list[Clip],
    output_dir: Path,
) -> QuantizedWeights:
    """Compress the weights of `model` so that the outputs on `clips` stay.

    Args:
        model: the checkpoint's model.
        processor: the checkpoint's.
        metadata: of the conversion, with the digest of the clips.
        options: its options.
        clips: the calibration clips.
        output_dir: the converted folder. The weights are kept beside it until it is complete.

    Raises:
        UserError: a clip that cannot be used, or a place that cannot be written.
    """
    parts = parts_of(options.presets)
    rooms = {*ALIGNING_ROOMS, *CONVERTING_ROOMS}
    run = digest_of(metadata, repr(parts), source_digest(rooms))
    store = QuantizedWeights(store_folder(output_dir), run)
    prompt = Prompt.of_processor(processor, metadata.token_ids)
    inputs = [calibration_inputs(prompt, metadata, clip) for clip in clips]
    Quantizer(model, parts, inputs, store).compress_all()
    return store


def parts_of(presets: Mapping[str, Compression]) -> Presets:
    """The presets of the model's parts from those of the components, in either layout."""

    def first(*components: str) -> Compression:
        return next((presets[component] for component in components if component in presets), "none")

    return Presets(
        conv=first("audio_conv", "audio"),
        transformer=first("audio_transformer", "audio"),
        embedding=first("embedding", TOKEN_TABLE),
        decoder=first("decoder_prefill", "text"),
        head=first("lm_head"),
    )


def calibration_inputs(prompt: Prompt, metadata: BundleMetadata, clip: Clip) -> CalibrationClip:
    """What a host makes of a clip before it calls the packages.

    Raises:
        UserError: the recording or its transcript cannot be used.
    """
    samples, dimensions = load_clip(clip), metadata.dimensions
    check_duration(samples, metadata.head_end_s)
    mel = log_mel(samples, dimensions.mel_bins)
    audio_tokens = dimensions.audio_tokens(mel.shape[1])
    token_ids = prompt.ids(split_words(clip.transcript, clip.language), audio_tokens)
    length = -(-token_ids.size // LENGTH_STEP) * LENGTH_STEP
    cos, sin = rotary_embedding(length, dimensions.inverse_frequencies)
    return CalibrationClip(np.concatenate(mel_chunks(mel, dimensions.chunk_frames)), audio_tokens, token_ids, cos, sin)


def measure_magnitudes(bundle: Bundle, clips: list[Clip]) -> dict[str, Calibration]:
    """Run `clips` through the packages of `bundle`; findings of the FP16 components, by key.

    Each clip goes through the functions that a host chooses for it; if it is too long for all, it is cut. The functions
    of a component compute the same, so the clips with its largest magnitudes then go through each of its functions, cut
    where they do not fit.

    Raises:
        UserError: a clip that cannot be used.
    """
    watches = {key: Watch() for key, record in bundle.metadata.components.items() if record.precision == "float16"}
    if not watches:
        return {}
    backend = MilBackend(bundle, watches)
    log(f"calibration: magnitudes of {len(clips)} clips")
    aligner = Aligner(bundle, backend)
    largest: dict[str, list[float]] = {key: [] for key in watches}
    for clip in clips:
        aligner.align_words(*_cut(aligner, clip))
        for key, watch in watches.items():
            largest[key].append(watch.take_largest())
    for key in watches:
        record = bundle.record(key)
        loudest = [clips[index] for index in np.argsort(largest[key])[: -LOUDEST_CLIPS - 1 : -1]]
        for name, size in record.functions.items() if len(record.functions) > 1 else ():
            only = record.model_copy(update={"functions": {name: size}})
            components = {**bundle.metadata.components, key: only}
            restricted = Bundle(bundle.folder, bundle.metadata.model_copy(update={"components": components}))
            aligner = Aligner(restricted, backend)
            for clip in loudest:
                aligner.align_words(*_cut(aligner, clip))
    return {key: summarize(bundle, key, watch) for key, watch in watches.items()}


def _cut(aligner: Aligner, clip: Clip) -> tuple[NDArray[np.float32], list[str]]:
    """(samples,) and words of a clip, both from its start and in proportion, so that they fit."""
    samples = load_clip(clip)
    words = split_words(clip.transcript, clip.language)
    while not aligner.fits(samples.size, words):
        if samples.size < MIN_SAMPLES and len(words) == 1:
            raise UserError(f"{clip.audio} cannot be cut for calibration: its first word is too long; use other clips")
        samples, words = samples[: samples.size * 4 // 5], words[: max(1, len(words) * 4 // 5)]
    return samples, words
