"""The PyTorch side: the checkpoint's own model and processor, which no code of the conversion touches."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.audio import SAMPLE_RATE_HZ, check_duration, load_clip
from forced_aligner.align.words import split_words
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import file_digest, file_size, printable
from forced_aligner.base.journal import Journal, digest_of, journal_of
from forced_aligner.base.outputs import Outputs
from forced_aligner.base.reading import require_audio_file
from forced_aligner.base.records import file_of, to_json
from forced_aligner.checkpoint.find import Checkpoint
from forced_aligner.checkpoint.processor import load_processor
from forced_aligner.checkpoint.weights import load_model
from forced_aligner.data.records import Clip, WordTime
from forced_aligner.data.true_times import true_times
from forced_aligner.jobs.each import ERROR_LOG, Work, failed_clips, for_each, nothing_done
from forced_aligner.jobs.workers.crew import Crew, crew_of
from forced_aligner.jobs.workers.options import ALONE, Workers
from forced_aligner.package.provenance import ALIGNING_ROOMS, source_digest
from forced_aligner.runtime.device import require_device
from forced_aligner.runtime.options import DeviceName
from forced_aligner.runtime.threads import computing_with, limit_threads, threads_for_model
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


@dataclass(frozen=True)
class PyTorchSide:
    """The checkpoint, loaded on a device, and the threads that PyTorch is to use."""

    model: Qwen3ASRForTokenClassification
    processor: Qwen3ASRProcessor
    device: DeviceName
    threads: int


@dataclass(frozen=True)
class PyTorchModel:
    """How a process gets the PyTorch side of the checkpoint with a fingerprint."""

    checkpoint: Checkpoint
    device: DeviceName
    threads: int | None
    fingerprint: str
    most_threads: int | None = None

    def open(self) -> PyTorchSide:
        """Load it in another process than the one that took the fingerprint.

        Raises:
            UserError: see `load`, or it is another checkpoint there.
        """
        limit_threads(self.most_threads)
        if self.checkpoint.fingerprint() != self.fingerprint:
            raise UserError(f"{self.checkpoint.folder} holds another checkpoint than when the run began: run it again")
        return self.load()

    def load(self) -> PyTorchSide:
        """Load it.

        Raises:
            UserError: it cannot be loaded, or PyTorch has no such device.
        """
        require_device(self.device)
        model = load_model(self.checkpoint).to(self.device)
        threads = self.threads or threads_for_model(model)
        return PyTorchSide(model, load_processor(self.checkpoint.folder), self.device, threads)


@dataclass(frozen=True)
class ReferenceTask:
    """A clip, and how the reference names its recording."""

    clip: Clip
    named: str


def make_reference(
    checkpoint: Checkpoint,
    clips: list[Clip],
    output: Path,
    device: DeviceName = "cpu",
    *,
    choice: str | None = None,
    restart: bool = False,
    workers: Workers = ALONE,
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
        workers: who computes.

    Raises:
        UserError: a checkpoint or a device that cannot be used, an output that cannot be written, or no clip that could
            be aligned.
    """
    require_device(device)
    outputs = Outputs(Path(file) for clip in clips for file in (clip.audio, *clip.sources))
    outputs.check(output, "", file_of(Reference))
    with journal_of(output, ReferenceSample, restart=restart) as journal:
        recipe = PyTorchModel(checkpoint, device, workers.threads, checkpoint.fingerprint(), workers.most_threads)
        with crew_of(workers, recipe, recipe.load) as crew:
            reference = _measure(recipe, clips, output, journal, crew).model_copy(update={"choice": choice})
        outputs.write(output, to_json(reference), may_replace=file_of(Reference))
        if not reference.failed:
            journal.remove()
    return reference


def _measure(
    recipe: PyTorchModel, clips: list[Clip], output: Path, journal: Journal[ReferenceSample], crew: Crew[PyTorchSide]
) -> Reference:
    """The reference of all clips; see `make_reference`."""
    environment = crew.first(environment_of)
    run = digest_of(recipe.fingerprint, environment, source_digest(ALIGNING_ROOMS))

    def key_of(clip: Clip) -> str:
        return digest_of(run, _as_named(clip, output), file_digest(Path(clip.audio)))

    def prepare(clip: Clip) -> ReferenceTask:
        clip.check()
        named = _as_named(clip, output).audio
        require_audio_file(Path(clip.audio))
        return ReferenceTask(clip, named)

    def finish(clip: Clip, sample: ReferenceSample) -> tuple[ReferenceSample, str]:
        # Read anew in each run: their file may have been repaired meanwhile.
        words = [word.text for word in sample.alignments]
        note = f"{sample.duration_s:.1f} s  {len(words)} words  {sample.latency_ms:.0f} ms"
        return sample.model_copy(update={"true_alignments": true_times(clip, words)}), note

    work = Work(
        audio_of=lambda clip: clip.audio,
        prepare=prepare,
        compute=reference_sample,
        finish=finish,
        length_of=lambda clip: file_size(Path(clip.audio)),
        key_of=key_of,
    )
    samples, failures = for_each(clips, work, crew, output.with_name(ERROR_LOG), journal)
    if not samples:
        raise nothing_done(failures)
    languages = {sample.language for sample in samples}
    return Reference(
        model_id=recipe.checkpoint.model_id,
        checkpoint_fingerprint=recipe.fingerprint,
        language=languages.pop() if len(languages) == 1 else None,
        num_samples=len(samples),
        environment=environment,
        samples=samples,
        failed=failed_clips(failures),
    )


def reference_sample(side: PyTorchSide, task: ReferenceTask) -> ReferenceSample:
    """Align a clip with PyTorch.

    Raises:
        UserError: see `align_with_pytorch`, or its audio cannot be used.
    """
    clip, samples = task.clip, load_clip(task.clip)
    started = time.perf_counter()
    with computing_with(side.threads):
        words = align_with_pytorch(side.model, side.processor, samples, clip.transcript, clip.language)
    latency_ms = (time.perf_counter() - started) * 1000
    return ReferenceSample(
        audio=task.named,
        transcript=clip.transcript,
        language=clip.language,
        duration_s=round(samples.size / SAMPLE_RATE_HZ, 4),
        latency_ms=round(latency_ms, 1),
        alignments=words,
        speaker=clip.speaker,
    )


def environment_of(side: PyTorchSide, _: None) -> ReferenceEnvironment:
    """What the PyTorch side computes with."""
    return ReferenceEnvironment(
        torch=version("torch"),
        transformers=version("transformers"),
        attention=side.model.config._attn_implementation,
        dtype=str(side.model.dtype).removeprefix("torch."),
        device=side.device,
    )


def _as_named(clip: Clip, output: Path) -> Clip:
    """A clip with its recording's path from the folder of the reference, by which `compare` finds it again."""
    path = os.path.relpath(Path(clip.audio).resolve(), output.parent.resolve())
    if printable(path) != path:
        raise UserError(f"the reference cannot name {printable(path)}, which is not UTF-8: rename it")
    return clip.model_copy(update={"audio": path})
