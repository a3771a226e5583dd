"""FP16 under a large residual stream: our RMSNorm keeps every boundary, the standard RMSNorm formula loses them."""

import math

import pytest

from benchmarks.fp16_overflow import (
    HIGHEST_RESIDUAL,
    FiniteCheck,
    largest_residual,
    save_scaled,
    standard_rms_norm,
)
from forced_aligner.align.chain import Aligner
from forced_aligner.base.records import read_json
from forced_aligner.checkpoint.weights import load_model
from forced_aligner.convert.options import Options
from forced_aligner.jobs.compare import compare
from forced_aligner.jobs.convert import convert
from forced_aligner.package.bundle import Bundle
from forced_aligner.package.contract import DEFAULT_COMPONENTS
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.score.gate import Gate
from forced_aligner.score.records import Reference

CLIPS = 4  # none longer than 6 s: one decoder length


@pytest.fixture(scope="module")
def clips(demo_clips):
    return demo_clips[:CLIPS]


@pytest.fixture(scope="module")
def scaled(demo_checkpoint, demo_model, demo_processor, clips, tmp_path_factory):
    """The demo with its stream near 30 000. The factor is a power of two, so that FP16 rounds as it did before."""
    factor = 2.0 ** math.floor(math.log2(HIGHEST_RESIDUAL / largest_residual(demo_model, demo_processor, clips)))
    return save_scaled(demo_checkpoint, factor, tmp_path_factory.mktemp("scaled"))


def aligned(checkpoint, folder, reference_path):
    """The score and word times of the first clips by float16 packages, and whether all outputs were finite."""
    convert(checkpoint, folder, Options(DEFAULT_COMPONENTS, (256,), (104,), precision="float16"))
    bundle = Bundle.open(folder)
    backend = FiniteCheck(MilBackend(bundle))
    reference = read_json(Reference, reference_path, "").head(CLIPS)
    reference = reference.model_copy(update={"checkpoint_fingerprint": bundle.metadata.checkpoint_fingerprint})
    report, alignments = compare(Aligner(bundle, backend), reference, reference_path.parent, Gate())
    return report, [alignment.words for alignment in alignments], backend.finite


def test_the_scaled_stream_reaches_half_of_fp16s_range(scaled, demo_processor, clips):
    model = load_model(scaled)
    assert HIGHEST_RESIDUAL / 2 < largest_residual(model, demo_processor, clips) <= HIGHEST_RESIDUAL


def test_float16_keeps_every_boundary_under_a_large_stream(scaled, demo_checkpoint, demo_reference_path, tmp_path):
    before, words_before, _ = aligned(demo_checkpoint, tmp_path / "one", demo_reference_path)
    after, words_after, finite = aligned(scaled, tmp_path / "scaled", demo_reference_path)
    assert finite
    assert words_after == words_before
    assert after.bin_exact_percent == before.bin_exact_percent >= 95


def test_the_standard_rms_norm_breaks_under_a_large_stream(scaled, demo_reference_path, tmp_path):
    """Why our norm divides by a scale first: the stream squared is inf in FP16, and its inverse root is zero."""
    with standard_rms_norm():
        report, _, _ = aligned(scaled, tmp_path / "standard", demo_reference_path)
    assert report.bin_exact_percent < 50
