"""Calibration keeps in FP32 what FP16 cannot hold, and nothing else."""

import coremltools as ct
import pytest
from coremltools.converters.mil.frontend.milproto.load import load as load_milproto

from benchmarks.fp16_overflow import largest_residual, save_scaled
from forced_aligner.align.chain import Aligner
from forced_aligner.base.errors import UserError
from forced_aligner.base.records import read_json
from forced_aligner.convert.calibration import MARGIN, Watch, summarize
from forced_aligner.convert.fp16 import FP16_MAX
from forced_aligner.convert.options import Options
from forced_aligner.jobs.calibrate import measure_magnitudes
from forced_aligner.jobs.compare import compare
from forced_aligner.jobs.convert import convert
from forced_aligner.package.bundle import Bundle
from forced_aligner.package.contract import DEFAULT_COMPONENTS, WEIGHTS_FILE
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.score.gate import Gate
from forced_aligner.score.records import Reference

CLIPS = 5  # none longer than 5 s: one decoder length
OPTIONS = {"components": DEFAULT_COMPONENTS, "decoder_lengths": (256,), "audio_frames": (104,), "precision": "float16"}


@pytest.fixture(scope="module")
def wide_checkpoint(demo_checkpoint, demo_model, demo_processor, demo_clips, tmp_path_factory):
    """The demo with a residual stream of two to four times FP16's largest number."""
    factor, residual = 1.0, largest_residual(demo_model, demo_processor, demo_clips[:CLIPS])
    while residual * factor < 2 * FP16_MAX:
        factor *= 2
    return save_scaled(demo_checkpoint, factor, tmp_path_factory.mktemp("wide"))


@pytest.fixture(scope="module")
def calibrated_bundle(wide_checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrated") / "m"
    convert(wide_checkpoint, folder, Options(**OPTIONS, calibrate=CLIPS))
    return Bundle.open(folder)


def exact_percent(bundle, reference_path):
    reference = read_json(Reference, reference_path, "").head(CLIPS)
    reference = reference.model_copy(update={"checkpoint_fingerprint": bundle.metadata.checkpoint_fingerprint})
    aligner = Aligner(bundle, MilBackend(bundle))
    report, _ = compare(aligner, reference, reference_path.parent, Gate())
    return report.bin_exact_percent


def test_calibration_saves_the_boundaries_that_overflow_loses(
    wide_checkpoint, calibrated_bundle, demo_reference_path, tmp_path
):
    """Without it, the packages give no times but an error that names the first component that overflows."""
    convert(wide_checkpoint, tmp_path / "m", Options(**OPTIONS))
    with pytest.raises(UserError, match=r"decoder_prefill \(function length_\d+\) gave numbers that are not finite"):
        exact_percent(Bundle.open(tmp_path / "m"), demo_reference_path)
    assert exact_percent(calibrated_bundle, demo_reference_path) >= 95


def test_calibration_keeps_what_reads_or_writes_the_wide_stream(calibrated_bundle):
    calibration = calibrated_bundle.record("decoder_prefill").calibration
    kinds = {(op.kind, op.reason) for op in calibration.kept_float32}
    assert {("add", "writes"), ("linear", "writes"), ("reduce_max", "writes"), ("real_div", "reads")} <= kinds
    assert calibration.has_wide_state
    assert calibration.largest < calibration.limit <= FP16_MAX / MARGIN
    assert all(op.magnitude is None or op.magnitude >= calibration.limit for op in calibration.kept_float32)
    assert {op.kind for op in calibrated_bundle.record("lm_head").calibration.kept_float32} >= {"abs", "real_div"}


def test_calibration_keeps_nothing_else(calibrated_bundle):
    """Ops that only read the normed stream stay in FP16: attention, the gates, and the products of the norms."""
    kept = {op.kind for op in calibrated_bundle.record("decoder_prefill").calibration.kept_float32}
    assert kept.isdisjoint({"softmax", "matmul", "silu", "rsqrt"})
    for key in ("audio_conv", "audio_transformer", "embedding"):
        assert calibrated_bundle.record(key).calibration.kept_float32 == []


@pytest.mark.parametrize("key", ["decoder_prefill", "lm_head"])
def test_coremltools_reads_a_calibrated_package_back(calibrated_bundle, key):
    package = calibrated_bundle.package(key)
    spec = ct.utils.load_spec(str(package))
    program = load_milproto(spec, spec.specificationVersion, str((package / WEIGHTS_FILE).parent))
    assert sorted(program.functions) == sorted(calibrated_bundle.record(key).functions)


def test_the_demo_itself_needs_nothing_in_float32(demo_checkpoint, tmp_path, capsys):
    metadata = convert(demo_checkpoint, tmp_path / "m", Options(**OPTIONS, calibrate=2))
    assert metadata.calibration_clips == 2
    messages = capsys.readouterr().err
    for key, record in metadata.components.items():
        assert record.calibration.kept_float32 == []
        assert 0 < record.calibration.largest < record.calibration.limit
        assert f"calibration: {key}: 0 ops in FP32" in messages


def test_calibrating_float32_is_refused(demo_checkpoint, tmp_path):
    with pytest.raises(UserError, match="--calibrate finds what FP16 cannot hold"):
        convert(demo_checkpoint, tmp_path / "m", Options(**{**OPTIONS, "precision": "float32"}, calibrate=1))


def test_every_function_is_measured_whatever_the_clips(float16_bundle, demo_clips):
    """A clip that is too long for a function is shortened, since a function that no clip runs is not measured."""
    longest = max(demo_clips, key=lambda clip: clip.duration_s)
    calibrations = measure_magnitudes(float16_bundle, [longest])
    assert all(calibration.largest > 0 for calibration in calibrations.values())
    with pytest.raises(RuntimeError, match="no clip ran through frames_"):
        summarize(float16_bundle, "audio_transformer", Watch())


def test_a_clip_that_cannot_be_cut_is_refused(float16_bundle, demo_clips):
    clip = demo_clips[0].model_copy(update={"transcript": "a" * 300})
    with pytest.raises(UserError, match="cannot be cut for calibration: its first word is too long"):
        measure_magnitudes(float16_bundle, [clip])
