"""Write a host kit: constants, filters, token table, tokenizer, a reference host and golden vectors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align import mel as mel_stage
from forced_aligner.align.audio import SAMPLE_RATE_HZ
from forced_aligner.align.chain import Aligner
from forced_aligner.align.positions import frames_per_call
from forced_aligner.align.times import SNAPPED_RUN
from forced_aligner.base.console import log, log_always
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import file_digest
from forced_aligner.base.records import write_json
from forced_aligner.checkpoint.find import Checkpoint
from forced_aligner.checkpoint.processor import load_processor
from forced_aligner.checkpoint.weights import load_model
from forced_aligner.jobs.golden import CUT, GOLDEN_CLIPS, GoldenClip, Tensors, golden_file, reference_stages
from forced_aligner.jobs.places import check_kit, require_kit
from forced_aligner.package.bundle import Bundle
from forced_aligner.package.contract import FIVE, MASKED
from forced_aligner.package.folder import write_folder
from forced_aligner.package.host_kit import host as reference_host
from forced_aligner.package.host_kit.config import (
    Audio,
    Component,
    Files,
    Function,
    GoldenFile,
    GoldenVectors,
    Head,
    HostConfig,
    Mel,
    Prompt,
    PromptTokens,
    Repair,
    Rotary,
    Sizes,
    Tensor,
)
from forced_aligner.package.host_kit.stages import CONFIG_FILE
from forced_aligner.package.metadata import CONV_HALVINGS, BundleMetadata
from forced_aligner.runtime.mil.backend import MilBackend
from individual_components import COMPONENTS, TensorSpec
from individual_components import Sizes as TableSizes

if TYPE_CHECKING:
    from transformers import Qwen3ASRProcessor

LAYOUT = [
    "audio_start",
    "audio_pad for each audio token",
    "audio_end",
    "for each word: its tokens, timestamp, timestamp",
]
FILES = Files()


def write_kit(checkpoint: Checkpoint, bundle: Bundle, folder: Path) -> None:
    """Write the kit of the packages in `bundle` to `folder`, whole or not at all.

    Raises:
        UserError: the packages are not of the checkpoint or not enough for an alignment, or `folder` is there and is no
            kit, or cannot be written.
    """
    check_kit(folder, bundle.metadata.components, bundle.folder)
    with write_folder(folder, require_kit) as partial:
        fill_kit(checkpoint, bundle, partial)


def fill_kit(checkpoint: Checkpoint, bundle: Bundle, folder: Path) -> None:
    """Write the files of a kit into `folder`, which is new; see `write_kit`."""
    if checkpoint.fingerprint() != bundle.metadata.checkpoint_fingerprint:
        raise UserError(f"the packages in {bundle.folder} are not of {checkpoint.model_id}: convert it again")
    aligner = Aligner(bundle, MilBackend(bundle))
    _write_files(bundle, folder)
    config = host_config(bundle.metadata)
    write_json(config, folder / CONFIG_FILE)  # for the host that makes the golden vectors
    clips = [clip for clip in GOLDEN_CLIPS if _is_taken(clip, aligner)]
    processor = load_processor(checkpoint.folder)
    references = _with_model(checkpoint, processor, clips, folder)  # the model is let go of before the packages run
    golden = folder / config.golden_vectors.folder
    golden.mkdir()
    records = []
    for clip, reference in zip(clips, references, strict=True):
        predict, token_ids = aligner.backend.predict, bundle.metadata.token_ids
        content = golden_file(clip, reference, processor, folder, predict, token_ids)
        path = golden / f"{clip.name}.safetensors"
        path.write_bytes(content)
        duration_s = reference["samples"].size / SAMPLE_RATE_HZ
        log(f"golden vectors: {clip.name}, {duration_s:.1f} s, {len(content) / 1e6:.1f} MB")
        records.append(_record(clip, path, duration_s))
    vectors = config.golden_vectors.model_copy(update={"clips": records})
    files = [
        path for path in folder.rglob("*") if path.is_file() and path.parent != golden and path.name != CONFIG_FILE
    ]
    sha256 = {path.relative_to(folder).as_posix(): file_digest(path) for path in sorted(files)}
    write_json(config.model_copy(update={"golden_vectors": vectors, "sha256": sha256}), folder / CONFIG_FILE)


def _is_taken(clip: GoldenClip, aligner: Aligner) -> bool:
    """Whether the packages take a clip; a line on stderr says so where they do not."""
    samples = clip.samples()
    duration_s = samples.size / SAMPLE_RATE_HZ
    is_taken = duration_s <= aligner.metadata.head_end_s and aligner.fits(samples.size, clip.words())
    if not is_taken:
        log_always(f"left out of the golden vectors: {clip.name}, {duration_s:.1f} s, which the packages do not take")
    return is_taken


def _with_model(
    checkpoint: Checkpoint, processor: Qwen3ASRProcessor, clips: list[GoldenClip], folder: Path
) -> list[Tensors]:
    """Write what needs the checkpoint's weights, and give PyTorch's stages of each clip."""
    model = load_model(checkpoint)
    _write_raw(model.get_input_embeddings().weight.detach().numpy(), "<f2", folder / FILES.token_table)
    return [reference_stages(model, processor, clip.samples(), clip.words()) for clip in clips]


def _record(clip: GoldenClip, path: Path, duration_s: float) -> GoldenFile:
    return GoldenFile(
        name=path.name,
        sha256=file_digest(path),
        duration_s=duration_s,
        transcript=clip.transcript(),
        description=clip.description,
    )


def _write_files(bundle: Bundle, folder: Path) -> None:
    """Everything but the config, the token table and the golden vectors."""
    shutil.copyfile(reference_host.__file__, folder / FILES.host)
    schema = json.dumps(HostConfig.model_json_schema(), indent=2) + "\n"
    (folder / FILES.config_schema).write_text(schema, encoding="utf-8")
    _write_raw(mel_stage.mel_filters(bundle.metadata.dimensions.mel_bins), "<f4", folder / FILES.mel_filters)
    _write_raw(mel_stage.stft_window(), "<f4", folder / FILES.window)
    tokenizer = (folder / FILES.tokenizer).parent
    tokenizer.mkdir()
    for name in bundle.metadata.processor_files:
        shutil.copyfile(bundle.folder / name, tokenizer / name)


def _write_raw(values: NDArray[np.float32], dtype: str, path: Path) -> None:
    values.astype(dtype).tofile(path)


def host_config(metadata: BundleMetadata) -> HostConfig:
    """Every constant of the host's part, taken from where the chain and the table of components have it."""
    dimensions = metadata.dimensions
    largest = metadata.audio_frames[-1]
    return HostConfig(
        model_id=metadata.model_id,
        checkpoint_fingerprint=metadata.checkpoint_fingerprint,
        files=FILES,
        sizes=Sizes(
            mel_bins=dimensions.mel_bins,
            audio_hidden=dimensions.audio_hidden,
            hidden=dimensions.hidden,
            head_dim=dimensions.head_dim,
            vocabulary=dimensions.vocab_size,
            classes=dimensions.num_classes,
        ),
        mel=Mel(
            sample_rate_hz=SAMPLE_RATE_HZ,
            min_samples=mel_stage.MIN_SAMPLES,
            max_s=metadata.head_end_s,
            n_fft=mel_stage.N_FFT,
            hop_samples=mel_stage.HOP_SAMPLES,
            padding=mel_stage.PADDING,
            power=mel_stage.POWER,
            max_frequency_hz=mel_stage.MAX_FREQUENCY_HZ,
            log_floor=mel_stage.LOG_FLOOR,
            dynamic_range=mel_stage.DYNAMIC_RANGE,
            log_offset=mel_stage.LOG_OFFSET,
            log_divisor=mel_stage.LOG_DIVISOR,
        ),
        audio=Audio(
            chunk_frames=dimensions.chunk_frames,
            chunk_tokens=dimensions.chunk_tokens,
            halvings=CONV_HALVINGS,
            window_tokens=dimensions.window_tokens,
            tokens_per_call=frames_per_call(largest, dimensions.window_tokens) or largest,
            masked=MASKED,
        ),
        prompt=Prompt(token_ids=PromptTokens(**metadata.token_ids.model_dump()), layout=LAYOUT),
        rotary=Rotary(inverse_frequencies=dimensions.inverse_frequencies),
        head=Head(segment_ms=metadata.timestamp_segment_ms),
        repair=Repair(snapped_run=SNAPPED_RUN),
        components={key: _component(key, metadata) for key in FIVE.components},
        golden_vectors=GoldenVectors(clips=[], cut=CUT),
        sha256={},
    )


def _component(key: str, metadata: BundleMetadata) -> Component:
    record, table = metadata.components[key], COMPONENTS[key]
    sizes = TableSizes(metadata.dimensions, metadata.audio_frames[-1], metadata.decoder_lengths[-1])

    def tensor(spec: TensorSpec) -> Tensor:
        varies = (table.varies, "seq")
        shape = [axis if axis in varies else size for axis, size in zip(spec.shape, sizes.resolve(spec), strict=True)]
        dtype = str(spec.dtype).removeprefix("torch.")
        return Tensor.model_validate(
            {"name": spec.name, "shape": shape, "dtype": dtype, "description": spec.description}
        )

    functions = sorted(record.functions.items(), key=lambda item: item[1] or 0)
    return Component(
        package=record.package,
        sha256=record.sha256,
        inputs=[tensor(spec) for spec in table.inputs],
        outputs=[tensor(spec) for spec in table.outputs],
        functions=[Function(name=name, size=size) for name, size in functions],
    )
