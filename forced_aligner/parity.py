"""Word-boundary parity: run the packages on the reference's clips, count the boundaries that moved, and judge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forced_aligner import features
from forced_aligner.aligner import Aligner, Alignment
from forced_aligner.console import log, tracked
from forced_aligner.errors import UserError
from forced_aligner.schemas import (
    BundleMetadata,
    ParityReport,
    Reference,
    ReferenceSample,
    SampleScores,
    Scores,
    TruthScores,
    WordTime,
)

SAME_BIN_MS = 0.5  # times are whole milliseconds: closer than this is the same bin


@dataclass(frozen=True)
class Gate:
    """What a conversion must reach."""

    max_aas_ms: float = 5.0
    min_within_20ms_percent: float = 95.0

    def passes(self, scores: Scores) -> bool:
        """Whether both thresholds are met."""
        return scores.aas_ms <= self.max_aas_ms and scores.within_20ms_percent >= self.min_within_20ms_percent


def boundary_errors_ms(ours: list[WordTime], theirs: list[WordTime]) -> NDArray[np.float64]:
    """|difference| of every boundary, (2 * words,): a word has a start and an end.

    Raises:
        UserError: the two do not hold the same words in the same order.
    """
    if [word.text for word in ours] != [word.text for word in theirs]:
        raise UserError(
            f"the words differ ({len(ours)} against {len(theirs)}): the reference was made from another transcript; "
            "run compare-models.py again"
        )
    return np.array(
        [
            error
            for our, their in zip(ours, theirs, strict=True)
            for error in (abs(our.start_time_ms - their.start_time_ms), abs(our.end_time_ms - their.end_time_ms))
        ]
    )


def score(errors_ms: NDArray[np.float64]) -> Scores:
    """Summary of the boundary errors, (boundaries,)."""

    def percent(within: NDArray[np.bool_]) -> float:
        return round(float(within.mean() * 100), 2)

    return Scores(
        words=errors_ms.size // 2,
        boundaries=errors_ms.size,
        bin_exact_percent=percent(errors_ms < SAME_BIN_MS),
        aas_ms=round(float(errors_ms.mean()), 3),
        max_error_ms=float(errors_ms.max()),
        within_20ms_percent=percent(errors_ms <= 20),
        within_80ms_percent=percent(errors_ms <= 80),
        within_160ms_percent=percent(errors_ms <= 160),
    )


def check_same_checkpoint(metadata: BundleMetadata, reference: Reference) -> None:
    """Refuse a reference that was made from another checkpoint than the packages.

    Raises:
        UserError: the fingerprints differ.
    """
    if metadata.checkpoint_fingerprint != reference.checkpoint_fingerprint:
        raise UserError(
            f"the packages were converted from {metadata.model_id} "
            f"({metadata.checkpoint_fingerprint[:12]}), but the reference was made with {reference.model_id} "
            f"({reference.checkpoint_fingerprint[:12]}): run compare-models.py with the checkpoint of the packages"
        )


def compare(
    aligner: Aligner, backend: str, reference: Reference, root: Path, gate: Gate
) -> tuple[ParityReport, list[Alignment]]:
    """Align every clip of the reference with the packages and score the boundaries.

    Args:
        aligner: the packages.
        backend: who executes them, for the report.
        reference: the PyTorch side.
        root: the folder that the reference's audio paths are relative to.
        gate: the thresholds.

    Returns:
        The report, and our alignment of each clip.

    Raises:
        UserError: another checkpoint, audio that is gone, or a clip that cannot be aligned.
    """
    check_same_checkpoint(aligner.metadata, reference)
    alignments, samples, errors, truths = [], [], [], []
    for number, sample in enumerate(tracked(reference.samples), 1):
        alignment = aligner.align(features.load_audio(root / sample.audio), sample.transcript, sample.language)
        sample_errors = boundary_errors_ms(alignment.words, sample.alignments)
        truth = _truth_errors(alignment, sample)
        scores = score(sample_errors)
        samples.append(
            SampleScores(
                **scores.model_dump(),
                audio=sample.audio,
                duration_s=sample.duration_s,
                packages_latency_ms=round(alignment.latency_ms, 1),
                pytorch_latency_ms=sample.latency_ms,
                truth_aas_ms=_truth_scores(*truth) if truth else None,
            )
        )
        log(
            f"[{number}/{len(reference.samples)}] {Path(sample.audio).name}  {scores.bin_exact_percent:.1f} % bin-exact"
        )
        alignments.append(alignment)
        errors.append(sample_errors)
        truths.append(truth)
    total = score(np.concatenate(errors))
    known = [truth for truth in truths if truth]
    report = ParityReport(
        **total.model_dump(),
        model_id=aligner.metadata.model_id,
        backend=backend,
        precision={key: record.precision for key, record in aligner.metadata.components.items()},
        package_sha256=aligner.metadata.package_sha256,
        files=len(samples),
        passed=gate.passes(total),
        samples=samples,
        truth_aas_ms=_truth_scores(*map(np.concatenate, zip(*known, strict=True))) if known else None,
    )
    return report, alignments


def _truth_errors(
    alignment: Alignment, sample: ReferenceSample
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Errors of both sides against the true times, where the data has them."""
    if sample.true_alignments is None:
        return None
    truth = sample.true_alignments
    return boundary_errors_ms(alignment.words, truth), boundary_errors_ms(sample.alignments, truth)


def _truth_scores(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> TruthScores:
    return TruthScores(packages=round(float(ours.mean()), 2), pytorch=round(float(theirs.mean()), 2))
