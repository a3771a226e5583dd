"""Compare the packages with PyTorch: run them on the reference's clips, and score every boundary."""

from __future__ import annotations

from pathlib import Path

from forced_aligner.align.audio import load_audio
from forced_aligner.align.chain import Aligner, Alignment
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import file_digest, is_file
from forced_aligner.base.journal import Journal, digest_of, journal_of
from forced_aligner.base.outputs import Outputs
from forced_aligner.base.reading import require_audio_file
from forced_aligner.base.records import Record, file_of, to_json
from forced_aligner.data.records import WordTime
from forced_aligner.jobs.each import ERROR_LOG, failed_clips, for_each, nothing_done
from forced_aligner.jobs.environment import run_environment
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


def compare_and_write(
    aligner: Aligner,
    model_dir: Path,
    reference: Reference,
    reference_path: Path,
    output: Path,
    gate: Gate,
    *,
    restart: bool,
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

    Raises:
        UserError: see `compare`, or `output` cannot be written.
    """
    root, may_replace = reference_path.parent, file_of(ParityReport)
    audio = [root / sample.audio for sample in reference.samples]
    outputs = Outputs([reference_path, *audio, *files_of(model_dir, aligner.metadata)])
    outputs.check(output, "", may_replace)
    with journal_of(output, ClipResult, restart=restart) as journal:
        report, alignments = compare(aligner, reference, root, gate, journal=journal)
        outputs.write(output, to_json(report), may_replace=may_replace)
        if not report.failed:
            journal.remove()
    return report, alignments


def compare(
    aligner: Aligner,
    reference: Reference,
    root: Path,
    gate: Gate,
    journal: Journal[ClipResult] | None = None,
) -> tuple[ParityReport, list[Alignment]]:
    """Align every clip of the reference with the packages and score the boundaries.

    A clip that cannot be aligned does not stop the others: the report names it, and does not pass.

    Args:
        aligner: the packages.
        reference: the PyTorch side.
        root: the folder that the reference's audio paths are relative to.
        gate: the thresholds.
        journal: has the results of an earlier run, which are not computed again, and gets those of this one.

    Returns:
        The report, and the packages' alignment of each clip in it.

    Raises:
        UserError: the reference is of another checkpoint, it holds clips that the compressed weights were fitted to, or
            no clip could be aligned.
    """
    check_same_checkpoint(aligner.metadata, reference)
    _require_unseen(aligner.metadata, reference, root)
    environment = run_environment(aligner.backend)
    run = digest_of(aligner.metadata, environment, source_digest(ALIGNING_ROOMS))
    alignments: list[Alignment] = []
    clips: list[ScoredClip] = []

    def measure(sample: ReferenceSample) -> str:
        require_audio_file(root / sample.audio)
        key = digest_of(run, file_digest(root / sample.audio), sample.transcript, sample.language or "")
        known = journal.get(key) if journal else None
        alignment = (
            known.alignment
            if known
            else aligner.align(load_audio(root / sample.audio), sample.transcript, sample.language)
        )
        clip = score_clip(alignment.words, alignment.latency_ms, sample)
        if journal and not known:
            journal.put(key, _result(alignment))
        alignments.append(alignment)
        clips.append(clip)
        exact = f"{percent_text(clip.scores.bin_exact_percent)} % bin-exact"
        return f"{exact}, from an earlier run" if known else exact

    failures = for_each(reference.samples, lambda sample: sample.audio, measure, root / ERROR_LOG)
    if not clips:
        raise nothing_done(failures)
    return make_report(aligner.metadata, environment, reference, clips, gate, failed_clips(failures)), alignments


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


def _result(alignment: Alignment) -> ClipResult:
    return ClipResult(
        words=alignment.words,
        confidences=alignment.confidences,
        duration_s=alignment.duration_s,
        stage_ms=alignment.stage_ms,
    )
