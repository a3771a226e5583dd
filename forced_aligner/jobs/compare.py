"""Compare the packages with PyTorch: run them on the reference's clips, and score every boundary."""

from __future__ import annotations

from pathlib import Path

from forced_aligner.align.audio import load_audio
from forced_aligner.align.chain import Aligner, Alignment
from forced_aligner.base.console import log, tracked
from forced_aligner.score.gate import Gate, check_same_checkpoint
from forced_aligner.score.records import ParityReport, Reference
from forced_aligner.score.report import make_report, score_clip


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
        The report, and the packages' alignment of each clip.

    Raises:
        UserError: another checkpoint, audio that is gone, or a clip that cannot be aligned.
    """
    check_same_checkpoint(aligner.metadata, reference)
    alignments, clips = [], []
    for number, sample in enumerate(tracked(reference.samples), 1):
        alignment = aligner.align(load_audio(root / sample.audio), sample.transcript, sample.language)
        clip = score_clip(alignment.words, alignment.latency_ms, sample)
        name, exact = Path(sample.audio).name, clip.scores.bin_exact_percent
        log(f"[{number}/{len(reference.samples)}] {name}  {exact:.1f} % bin-exact")
        alignments.append(alignment)
        clips.append(clip)
    return make_report(aligner.metadata, backend, clips, gate), alignments
