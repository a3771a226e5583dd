"""The PyTorch side: the checkpoint's own model and processor, which no code of the conversion touches."""

from __future__ import annotations

import os
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from forced_aligner.align.audio import SAMPLE_RATE_HZ, check_duration, load_audio
from forced_aligner.align.prompt import split_words
from forced_aligner.align.times import word_time
from forced_aligner.base.console import log, tracked
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import printable, require_audio_file, require_writable
from forced_aligner.base.records import write_json
from forced_aligner.checkpoint.find import Checkpoint
from forced_aligner.checkpoint.processor import load_processor
from forced_aligner.checkpoint.weights import load_model
from forced_aligner.data.records import Clip, WordTime
from forced_aligner.data.true_times import true_times
from forced_aligner.runtime.device import require_device
from forced_aligner.runtime.names import DeviceName
from forced_aligner.score.records import Reference, ReferenceEnvironment, ReferenceSample

if TYPE_CHECKING:
    from transformers import Qwen3ASRForTokenClassification, Qwen3ASRProcessor


def align_with_pytorch(
    model: Qwen3ASRForTokenClassification,
    processor: Qwen3ASRProcessor,
    samples: NDArray[np.float32],
    transcript: str,
    language: str | None,
) -> list[WordTime]:
    """Word times of (samples,) of 16 kHz mono audio, by `Qwen3ASRForTokenClassification` and its processor.

    Raises:
        UserError: no words, a language that is not served, or audio beyond the head's end.
    """
    check_duration(samples, model.config.num_labels * processor.timestamp_segment_time / 1000)
    split_words(processor, transcript, language)  # for its one-sentence errors
    inputs, word_lists = processor.prepare_forced_aligner_inputs(samples, transcript, language)
    with torch.inference_mode():
        logits = model(**inputs.to(model.device)).logits
    (items,) = processor.decode_forced_alignment(
        logits.cpu(), inputs.to("cpu")["input_ids"], word_lists, model.config.timestamp_token_id
    )
    return [word_time(item) for item in items]


def make_reference(checkpoint: Checkpoint, clips: list[Clip], output: Path, device: DeviceName = "cpu") -> Reference:
    """Align every clip in float32 on `device` and write the reference to `output`.

    Raises:
        UserError: a checkpoint, a clip or a device that cannot be used, or an output that cannot be written.
    """
    require_device(device)
    for clip in clips:
        clip.check()
        require_audio_file(Path(clip.audio))
        _path_from(output, clip)
    require_writable(output)
    model = load_model(checkpoint).to(device)
    processor = load_processor(checkpoint.folder)
    samples = []
    for number, clip in enumerate(tracked(clips), 1):
        sample = _reference_sample(model, processor, clip, _path_from(output, clip))
        samples.append(sample)
        log(
            f"[{number}/{len(clips)}] {Path(clip.audio).name}  {sample.duration_s:.1f} s  "
            f"{len(sample.alignments)} words  {sample.latency_ms:.0f} ms"
        )
    languages = {clip.language for clip in clips}
    reference = Reference(
        model_id=checkpoint.model_id,
        checkpoint_fingerprint=checkpoint.fingerprint(),
        language=languages.pop() if len(languages) == 1 else None,
        num_samples=len(samples),
        environment=_environment(model, device),
        samples=samples,
    )
    write_json(reference, output)
    return reference


def _reference_sample(
    model: Qwen3ASRForTokenClassification, processor: Qwen3ASRProcessor, clip: Clip, audio_path: str
) -> ReferenceSample:
    samples = load_audio(Path(clip.audio))
    started = time.perf_counter()
    words = align_with_pytorch(model, processor, samples, clip.transcript, clip.language)
    latency_ms = (time.perf_counter() - started) * 1000
    return ReferenceSample(
        audio=audio_path,
        transcript=clip.transcript,
        language=clip.language,
        duration_s=round(samples.size / SAMPLE_RATE_HZ, 4),
        latency_ms=round(latency_ms, 1),
        alignments=words,
        true_alignments=true_times(clip, [word.text for word in words]),
    )


def _environment(model: Qwen3ASRForTokenClassification, device: DeviceName) -> ReferenceEnvironment:
    return ReferenceEnvironment(
        torch=version("torch"),
        transformers=version("transformers"),
        attention=model.config._attn_implementation,
        dtype=str(model.dtype).removeprefix("torch."),
        device=device,
    )


def _path_from(output: Path, clip: Clip) -> str:
    """The recording's path from the folder of the reference, by which `compare` finds it again."""
    path = os.path.relpath(Path(clip.audio).resolve(), output.parent.resolve())
    if printable(path) != path:
        raise UserError(f"the reference cannot name {printable(path)}, which is not UTF-8: rename it")
    return path
