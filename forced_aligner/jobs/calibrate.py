"""Calibration clips: they are run through packages, to see what FP16 cannot hold, and their inputs fit the weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.audio import check_duration, load_clip
from forced_aligner.align.chain import Aligner
from forced_aligner.align.mel import MIN_SAMPLES, log_mel, mel_chunks
from forced_aligner.align.positions import rotary_embedding
from forced_aligner.align.prompt import prompt_ids, split_words
from forced_aligner.base.console import log
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import identity
from forced_aligner.base.journal import digest_of
from forced_aligner.base.model_ids import DEMO_MODEL_ID
from forced_aligner.base.reading import require_audio_file
from forced_aligner.checkpoint.find import Checkpoint
from forced_aligner.checkpoint.lazy_weights import LazyModel
from forced_aligner.convert.calibration import Watch, summarize
from forced_aligner.convert.compression import parse_compress
from forced_aligner.convert.gptq.quantize import CalibrationClip, Presets, Quantizer
from forced_aligner.convert.gptq.store import FOLDER_NAME, QuantizedWeights
from forced_aligner.convert.options import Options
from forced_aligner.data.choice import choose
from forced_aligner.data.clips import load_calibration_clips
from forced_aligner.data.records import Clip
from forced_aligner.package.bundle import Bundle
from forced_aligner.package.contract import TOKEN_TABLE
from forced_aligner.package.metadata import BundleMetadata, Calibration
from forced_aligner.runtime.mil.backend import MilBackend
from individual_components import LENGTH_STEP

if TYPE_CHECKING:
    from transformers import Qwen3ASRProcessor


def calibration_clips(checkpoint: Checkpoint, options: Options) -> list[Clip]:
    """The clips that `--calibrate` and `--calibration-dataset` ask for: a seeded draw, spread over the speakers.

    Raises:
        UserError: the data set is not found, or has fewer.
    """
    is_demo = checkpoint.model_id == DEMO_MODEL_ID
    clips = load_calibration_clips(options.calibration_dataset, is_demo_model=is_demo)
    if len(clips) < options.calibrate:
        raise UserError(f"--calibrate {options.calibrate} asks for more than the {len(clips)} clips of the set")
    chosen = choose(clips, options.calibrate)
    for clip in chosen:
        clip.check()
        require_audio_file(Path(clip.audio))
    return chosen


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
        metadata: of the conversion.
        options: its options.
        clips: the calibration clips.
        output_dir: the converted folder. The weights are kept beside it until it is complete.

    Raises:
        UserError: a clip that cannot be used, or a place that cannot be written.
    """
    place = Path(identity(output_dir))
    transcripts = [clip.model_dump_json(include={"transcript", "language"}) for clip in clips]
    store = QuantizedWeights(place.with_name(FOLDER_NAME.format(place.name)), digest_of(metadata, *transcripts))
    presets = parse_compress(options.compress, options.components)
    joint = presets.get("audio", "none"), presets.get("text", "none"), presets.get(TOKEN_TABLE, "none")
    parts = Presets(
        conv=presets.get("audio_conv", joint[0]),
        transformer=presets.get("audio_transformer", joint[0]),
        embedding=presets.get("embedding", joint[2]),
        decoder=presets.get("decoder_prefill", joint[1]),
        head=presets.get("lm_head", "none"),
    )
    inputs = [calibration_inputs(processor, metadata, clip) for clip in clips]
    Quantizer(model, parts, inputs, store).run()
    return store


def calibration_inputs(processor: Qwen3ASRProcessor, metadata: BundleMetadata, clip: Clip) -> CalibrationClip:
    """What a host makes of a clip before it calls the packages.

    Raises:
        UserError: the recording or its transcript cannot be used.
    """
    samples, dimensions = load_clip(clip), metadata.dimensions
    check_duration(samples, metadata.head_end_s)
    mel = log_mel(samples, dimensions.mel_bins)
    audio_tokens = dimensions.audio_tokens(mel.shape[1])
    token_ids = prompt_ids(processor, split_words(processor, clip.transcript, clip.language), audio_tokens)
    length = -(-token_ids.size // LENGTH_STEP) * LENGTH_STEP
    cos, sin = rotary_embedding(length, dimensions.inverse_frequencies)
    return CalibrationClip(np.concatenate(mel_chunks(mel, dimensions.chunk_frames)), audio_tokens, token_ids, cos, sin)


def measure_magnitudes(bundle: Bundle, clips: list[Clip]) -> dict[str, Calibration]:
    """Run `clips` through the packages of `bundle`; findings of the FP16 components, by key.

    Each clip goes through the functions that a host chooses for it; if it is too long for all, it is cut. A function
    that no clip needs gets the longest one, cut to its size.

    Raises:
        UserError: a component is missing, or a clip that cannot be used.
    """
    watches = {key: Watch() for key, record in bundle.metadata.components.items() if record.precision == "float16"}
    backend = MilBackend(bundle, watches)
    log(f"calibration: magnitudes of {len(clips)} clips")
    aligner = Aligner(bundle, backend)
    sizes = []
    for clip in clips:
        samples, words = _cut(aligner, clip)
        sizes.append(samples.size)
        aligner.align_words(samples, words)
    longest = clips[int(np.argmax(sizes))]
    for key, watch in watches.items():
        record, measured = bundle.record(key), {function for function, _ in watch.values}
        for name, size in record.functions.items():
            if name not in measured:
                only = record.model_copy(update={"functions": {name: size}})
                components = {**bundle.metadata.components, key: only}
                restricted = Bundle(bundle.folder, bundle.metadata.model_copy(update={"components": components}))
                aligner = Aligner(restricted, backend)
                aligner.align_words(*_cut(aligner, longest))
    return {key: summarize(bundle, key, watch) for key, watch in watches.items()}


def _cut(aligner: Aligner, clip: Clip) -> tuple[NDArray[np.float32], list[str]]:
    """(samples,) and words of a clip, both from its start and in proportion, so that they fit."""
    samples = load_clip(clip)
    words = split_words(aligner.processor, clip.transcript, clip.language)
    while not aligner.fits(samples.size, words):
        if samples.size < MIN_SAMPLES and len(words) == 1:
            raise UserError(f"{clip.audio} cannot be cut for calibration: its first word is too long; use other clips")
        samples, words = samples[: samples.size * 4 // 5], words[: max(1, len(words) * 4 // 5)]
    return samples, words
