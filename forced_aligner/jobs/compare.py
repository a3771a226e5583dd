"""Compare the packages with PyTorch: run them on the reference's clips, and score every boundary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forced_aligner.align.audio import load_audio
from forced_aligner.align.chain import Aligner, Alignment
from forced_aligner.base.console import log
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import file_digest, is_file, require_writable
from forced_aligner.base.journal import Journal, digest_of, journal_of, journal_path
from forced_aligner.base.outputs import Outputs
from forced_aligner.base.reading import require_audio_file
from forced_aligner.base.records import Record, file_of, to_json
from forced_aligner.data.records import WordTime
from forced_aligner.jobs.each import ERROR_LOG, Work, failed_clips, for_each, nothing_done
from forced_aligner.jobs.environment import run_environment
from forced_aligner.jobs.workers.crew import Crew
from forced_aligner.package.bundle import files_of
from forced_aligner.package.metadata import BundleMetadata
from forced_aligner.package.provenance import ALIGNING_ROOMS, source_digest
from forced_aligner.score.gate import Gate, check_same_checkpoint
from forced_aligner.score.records import ParityReport, Reference, ReferenceSample
from forced_aligner.score.report import ScoredClip, make_report, score_clip
from forced_aligner.score.tables import percent_text


class ClipResult(Record):
    """What the packages gave for a clip, as the journal keeps it."""

    words: list[WordTime]
    confidences: list[float]
    duration_s: float
    stage_ms: dict[str, float]

    @property
    def alignment(self) -> Alignment:
        """The same as an alignment."""
        return Alignment(self.words, self.confidences, self.duration_s, self.stage_ms)


@dataclass(frozen=True)
class ClipTask:
    """What the packages get: a recording, and what is said in it."""

    audio: Path
    transcript: str
    language: str | None


@dataclass(frozen=True)
class ComparedClip:
    """A clip of the reference, and what the packages gave for it."""

    sample: ReferenceSample
    alignment: Alignment


def compare_and_write(
    aligner: Aligner,
    model_dir: Path,
    reference: Reference,
    reference_path: Path,
    output: Path,
    gate: Gate,
    *,
    restart: bool,
    page: Path | None = None,
    crew: Crew[Aligner] | None = None,
) -> tuple[ParityReport, list[Alignment]]:
    """As `compare`, and write the report to `output`, beside which a journal is kept until all clips are done.

    Args:
        aligner: the packages.
        model_dir: their folder.
        reference: the PyTorch side, or some clips of it.
        reference_path: its file.
        output: the report's file. Only a report is replaced there, and no file that the run reads.
        gate: the thresholds.
        restart: begin anew.
        page: where the report goes as a page too. Only such a page is replaced there.
        crew: see `compare_clips`.

    Raises:
        UserError: see `compare`, or `output` or `page` cannot be written.
    """
    root, may_replace = reference_path.parent, file_of(ParityReport)
    audio = [root / sample.audio for sample in reference.samples]
    outputs = Outputs([reference_path, *audio, *files_of(model_dir, aligner.metadata)])
    outputs.check(output, "the report", may_replace)
    outputs.claim(journal_path(output), "the journal")
    if page is not None:
        _check_page(page, outputs)
    with journal_of(output, ClipResult, restart=restart) as journal:
        report, clips = compare_clips(aligner, reference, root, gate, journal, crew)
        outputs.write(output, to_json(report), "the report", may_replace)
        if page is not None:
            write_parity_page(report, clips, root, page, outputs)
            log(f"the page is {page} ({page.stat().st_size / 1e6:.1f} MB)")
        if not report.failed:
            journal.remove()
    return report, [clip.alignment for clip in clips]


def _check_page(page: Path, outputs: Outputs) -> None:
    """Refuse a page that could not be written, before the work."""
    from forced_aligner.output.own_files import is_own_parity_page

    outputs.check(page, "the page", is_own_parity_page)
    require_writable(page)


def write_parity_page(
    report: ParityReport, clips: Sequence[ComparedClip], root: Path, page: Path, outputs: Outputs
) -> None:
    """Write the page of `report`; see `parity_report_page`.

    Raises:
        UserError: it cannot be written.
    """
    from forced_aligner.jobs.parity_page import parity_report_page
    from forced_aligner.output.own_files import is_own_parity_page

    outputs.write(page, parity_report_page(report, clips, root), "the page", is_own_parity_page)


def compare(aligner: Aligner, reference: Reference, root: Path, gate: Gate) -> tuple[ParityReport, list[Alignment]]:
    """As `compare_clips`, without a journal, and with the packages' alignments alone."""
    report, clips = compare_clips(aligner, reference, root, gate)
    return report, [clip.alignment for clip in clips]


def compare_clips(
    aligner: Aligner,
    reference: Reference,
    root: Path,
    gate: Gate,
    journal: Journal[ClipResult] | None = None,
    crew: Crew[Aligner] | None = None,
) -> tuple[ParityReport, list[ComparedClip]]:
    """Align every clip of the reference with the packages and score the boundaries.

    A clip that cannot be aligned does not stop the others: the report names it, and does not pass.

    Args:
        aligner: the packages.
        reference: the PyTorch side.
        root: the folder that the reference's audio paths are relative to.
        gate: the thresholds.
        journal: has the results of an earlier run, which are not computed again, and gets those of this one.
        crew: who runs the packages. (default: this process, with `aligner`)

    Returns:
        The report, and the clips in it, in the order of the reference.

    Raises:
        UserError: the reference is of another checkpoint, it holds clips that the compressed weights were fitted to, or
            no clip could be aligned.
    """
    check_same_checkpoint(aligner.metadata, reference)
    _require_unseen(aligner.metadata, reference, root)
    environment = run_environment(aligner.backend)
    run = digest_of(aligner.metadata, environment, source_digest(ALIGNING_ROOMS))
    crew = crew or Crew.of(aligner)

    def key_of(sample: ReferenceSample) -> str:
        return digest_of(run, file_digest(root / sample.audio), sample.transcript, sample.language or "")

    def prepare(sample: ReferenceSample) -> ClipTask:
        require_audio_file(root / sample.audio)
        return ClipTask(root / sample.audio, sample.transcript, sample.language)

    def finish(sample: ReferenceSample, result: ClipResult) -> tuple[tuple[ComparedClip, ScoredClip], str]:
        alignment = result.alignment
        scored = score_clip(alignment.words, alignment.latency_ms, sample)
        note = f"{percent_text(scored.scores.bin_exact_percent)} % bin-exact"
        return (ComparedClip(sample, alignment), scored), note

    work = Work(
        audio_of=lambda sample: sample.audio,
        prepare=prepare,
        compute=align_task,
        finish=finish,
        length_of=lambda sample: sample.duration_s,
        key_of=key_of,
    )
    kept, failures = for_each(reference.samples, work, crew, root / ERROR_LOG, journal)
    if not kept:
        raise nothing_done(failures)
    clips, scored = zip(*kept, strict=True)
    if crew.chips and environment.device != "cuda":  # of which they say nothing
        environment = environment.model_copy(update={"chip": ", ".join(crew.chips)})
    report = make_report(aligner.metadata, environment, reference, scored, gate, failed_clips(failures))
    return report, list(clips)


def _require_unseen(metadata: BundleMetadata, reference: Reference, root: Path) -> None:
    """Refuse clips that the compressed weights were fitted to: on these they are better than on others."""
    known = set(metadata.calibration_audio)
    paths = [root / sample.audio for sample in reference.samples] if known else []
    seen = [path for path in paths if is_file(path) and file_digest(path) in known]
    if seen:
        raise UserError(
            f"the packages' weights were fitted to {len(seen)} of the {len(paths)} recordings, such as {seen[0]}: make "
            "the reference with others"
        )


def align_task(aligner: Aligner, task: ClipTask) -> ClipResult:
    """Run the packages on a clip.

    Raises:
        UserError: its audio or its transcript cannot be used.
    """
    alignment = aligner.align(load_audio(task.audio), task.transcript, task.language)
    return ClipResult(
        words=alignment.words,
        confidences=alignment.confidences,
        duration_s=alignment.duration_s,
        stage_ms=alignment.stage_ms,
    )
