"""The parity report, made from the word times of the packages and of PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forced_aligner.base.journal import digest_of
from forced_aligner.data.records import WordTime
from forced_aligner.package.metadata import BundleMetadata
from forced_aligner.runtime.measurements import RunEnvironment
from forced_aligner.score.boundaries import boundary_errors_ms, score_errors
from forced_aligner.score.gate import Gate
from forced_aligner.score.records import (
    ComponentScore,
    FailedClip,
    ParityReport,
    Reference,
    ReferenceIdentity,
    ReferenceSample,
    SampleScores,
    SweepRow,
    TruthScores,
)


@dataclass(frozen=True)
class ScoredClip:
    """The scores of one clip, and its boundary errors in ms, each (boundaries,).

    Attributes:
        scores: the clip's entry in the report.
        errors_ms: packages against PyTorch.
        true_errors_ms: packages and PyTorch against the true times, where the data has them.
    """

    scores: SampleScores
    errors_ms: NDArray[np.float64]
    true_errors_ms: tuple[NDArray[np.float64], NDArray[np.float64]] | None


def score_clip(words: list[WordTime], latency_ms: float, sample: ReferenceSample) -> ScoredClip:
    """Score the `words` that the packages gave for a clip against its reference; `latency_ms` is theirs.

    Raises:
        UserError: the words differ from those of the reference.
    """
    errors_ms = boundary_errors_ms(words, sample.alignments)
    true_times, true_errors_ms = sample.true_alignments, None
    if true_times is not None:
        true_errors_ms = boundary_errors_ms(words, true_times), boundary_errors_ms(sample.alignments, true_times)
    scores = SampleScores(
        **score_errors(errors_ms).model_dump(),
        audio=sample.audio,
        duration_s=sample.duration_s,
        packages_latency_ms=round(latency_ms, 1),
        pytorch_latency_ms=sample.latency_ms,
        truth_aas_ms=_truth_scores(*true_errors_ms) if true_errors_ms else None,
    )
    return ScoredClip(scores, errors_ms, true_errors_ms)


def make_report(
    metadata: BundleMetadata,
    environment: RunEnvironment,
    reference: Reference,
    clips: Sequence[ScoredClip],
    gate: Gate,
    failed: Sequence[FailedClip] = (),
) -> ParityReport:
    """The report on the packages of `metadata`.

    Args:
        metadata: of the packages.
        environment: what they were run on.
        reference: what they were compared with.
        clips: the scores, of at least one clip.
        gate: decides whether they pass.
        failed: the clips of the reference that could not be measured; with one, they do not pass.
    """
    total = score_errors(np.concatenate([clip.errors_ms for clip in clips]))
    true_errors_ms = [clip.true_errors_ms for clip in clips if clip.true_errors_ms]
    return ParityReport(
        **total.model_dump(),
        model_id=metadata.model_id,
        environment=environment,
        reference=identity_of(reference),
        gate=gate,
        precision={key: record.precision for key, record in metadata.components.items()},
        package_sha256=metadata.package_sha256,
        files=len(clips),
        passed=gate.passes(total) and not failed,
        failed=list(failed),
        samples=[clip.scores for clip in clips],
        truth_aas_ms=_truth_scores(*map(np.concatenate, zip(*true_errors_ms, strict=True))) if true_errors_ms else None,
    )


def identity_of(reference: Reference) -> ReferenceIdentity:
    """What tells a reference from another: its clips and their times, and what it was made with."""
    clips = [
        sample.model_dump_json(include={"transcript", "language", "alignments", "true_alignments"})
        for sample in reference.samples
    ]
    return ReferenceIdentity(
        sha256=digest_of(*clips),
        environment=reference.environment,
        choice=reference.choice,
        failed=len(reference.failed),
    )


def _truth_scores(packages: NDArray[np.float64], pytorch: NDArray[np.float64]) -> TruthScores:
    return TruthScores(packages=float(packages.mean()), pytorch=float(pytorch.mean()))


def sweep_row(
    name: str, metadata: BundleMetadata, report: ParityReport, components: dict[str, ComponentScore]
) -> SweepRow:
    """The table row of a converted folder: its size, its parity scores and its component scores, which may be none."""
    return SweepRow(
        name=name,
        size_bytes=metadata.size_bytes,
        **report.model_dump(include=SweepRow.model_fields.keys() & ParityReport.model_fields.keys()),
        components=components,
    )
