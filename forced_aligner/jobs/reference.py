"""The PyTorch side: the checkpoint's own model and processor, which no code of the conversion touches."""

from __future__ import annotations

import os
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.audio import SAMPLE_RATE_HZ, check_duration, load_clip
from forced_aligner.align.words import split_words
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import file_digest, printable
from forced_aligner.base.journal import Journal, digest_of, journal_of
from forced_aligner.base.outputs import Outputs
from forced_aligner.base.reading import require_audio_file
from forced_aligner.base.records import file_of, to_json
from forced_aligner.checkpoint.find import Checkpoint
from forced_aligner.checkpoint.processor import load_processor
from forced_aligner.checkpoint.weights import load_model
from forced_aligner.data.records import Clip, WordTime
from forced_aligner.data.true_times import true_times
from forced_aligner.jobs.each import ERROR_LOG, failed_clips, for_each, nothing_done
from forced_aligner.package.provenance import ALIGNING_ROOMS, source_digest
from forced_aligner.runtime.device import require_device
from forced_aligner.runtime.options import DeviceName
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
    import torch

    check_duration(samples, model.config.num_labels * processor.timestamp_segment_time / 1000)
    split_words(transcript, language)  # for its one-sentence errors
    inputs, word_lists = processor.prepare_forced_aligner_inputs(samples, transcript, language)
    with torch.inference_mode():
        logits = model(**inputs.to(model.device)).logits
    if not logits[inputs["input_ids"] == model.config.timestamp_token_id].isfinite().all():
        raise UserError("PyTorch's scores of this recording are not finite: is the checkpoint damaged?")
    (items,) = processor.decode_forced_alignment(
        logits.cpu(), inputs.to("cpu")["input_ids"], word_lists, model.config.timestamp_token_id
    )
    return [_word_time(item) for item in items]


def _word_time(item: dict[str, Any]) -> WordTime:
    """A word of the processor, in seconds, as a record in milliseconds."""
    return WordTime(
        text=item["text"],
        start_time_ms=round(item["start_time"] * 1000),
        end_time_ms=round(item["end_time"] * 1000),
    )


def make_reference(
    checkpoint: Checkpoint,
    clips: list[Clip],
    output: Path,
    device: DeviceName = "cpu",
    *,
    choice: str | None = None,
    restart: bool = False,
) -> Reference:
    """Align every clip in float32 on `device` and write the reference to `output`.

    A clip that cannot be aligned does not stop the others: the reference names it. What a run has computed before it
    failed or was killed is not computed again.

    Args:
        checkpoint: the model.
        clips: the recordings.
        output: the file. Only a reference is replaced there, and no file that the run reads.
        device: where PyTorch computes.
        choice: how the clips were chosen, for the record.
        restart: begin anew.

    Raises:
        UserError: a checkpoint or a device that cannot be used, an output that cannot be written, or no clip that could
            be aligned.
    """
    require_device(device)
    outputs = Outputs(Path(file) for clip in clips for file in (clip.audio, *clip.sources))
    outputs.check(output, "", file_of(Reference))
    with journal_of(output, ReferenceSample, restart=restart) as journal:
        reference = _measure(checkpoint, clips, output, device, journal).model_copy(update={"choice": choice})
        outputs.write(output, to_json(reference), may_replace=file_of(Reference))
        if not reference.failed:
            journal.remove()
    return reference


def _measure(
    checkpoint: Checkpoint, clips: list[Clip], output: Path, device: DeviceName, journal: Journal[ReferenceSample]
) -> Reference:
    """The reference of all clips; see `make_reference`."""
    model = load_model(checkpoint).to(device)
    processor = load_processor(checkpoint.folder)
    fingerprint, environment = checkpoint.fingerprint(), _environment(model, device)
    run = digest_of(fingerprint, environment, source_digest(ALIGNING_ROOMS))
    samples = []

    def measure(clip: Clip) -> str:
        clip.check()
        audio_path = _path_from(output, clip)
        require_audio_file(Path(clip.audio))
        key = digest_of(run, clip.model_copy(update={"audio": audio_path}), file_digest(Path(clip.audio)))
        known = journal.get(key)
        sample = known or _reference_sample(model, processor, clip, audio_path)
        if known is None:
            journal.put(key, sample)
        # Read anew in each run: their file may have been repaired meanwhile.
        words = [word.text for word in sample.alignments]
        samples.append(sample.model_copy(update={"true_alignments": true_times(clip, words)}))
        note = f"{sample.duration_s:.1f} s  {len(sample.alignments)} words  {sample.latency_ms:.0f} ms"
        return f"{note}, from an earlier run" if known else note

    failures = for_each(clips, lambda clip: clip.audio, measure, output.with_name(ERROR_LOG))
    if not samples:
        raise nothing_done(failures)
    languages = {sample.language for sample in samples}
    return Reference(
        model_id=checkpoint.model_id,
        checkpoint_fingerprint=fingerprint,
        language=languages.pop() if len(languages) == 1 else None,
        num_samples=len(samples),
        environment=environment,
        samples=samples,
        failed=failed_clips(failures),
    )


def _reference_sample(
    model: Qwen3ASRForTokenClassification, processor: Qwen3ASRProcessor, clip: Clip, audio_path: str
) -> ReferenceSample:
    samples = load_clip(clip)
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
        speaker=clip.speaker,
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
