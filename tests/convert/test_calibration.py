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
from forced_aligner.package.spec import WEIGHTS_FILE
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.score.gate import Gate
from forced_aligner.score.records import Reference
from individual_components import DEFAULT_COMPONENTS

CLIPS = 5  # none longer than 5 s: one decoder length
OPTIONS = {"components": DEFAULT_COMPONENTS, "decoder_lengths": (256,), "audio_frames": (104,), "precision": "float16"}


@pytest.fixture(scope="module")
def wide(demo_checkpoint, demo_model, demo_processor, demo_clips, tmp_path_factory):
    """The demo with a residual stream of two to four times FP16's largest number."""
    factor, first = 1.0, largest_residual(demo_model, demo_processor, demo_clips[:CLIPS])
    while first * factor < 2 * FP16_MAX:
        factor *= 2
    return save_scaled(demo_checkpoint, factor, tmp_path_factory.mktemp("wide"))


@pytest.fixture(scope="module")
def calibrated(wide, tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrated") / "m"
    convert(wide, folder, Options(**OPTIONS, calibrate=CLIPS))
    return Bundle.open(folder)


def exact_percent(bundle, reference_path):
    known = read_json(Reference, reference_path, "").head(CLIPS)
    known = known.model_copy(update={"checkpoint_fingerprint": bundle.metadata.checkpoint_fingerprint})
    aligner = Aligner(bundle, MilBackend(bundle))
    report, _ = compare(aligner, "mil", known, reference_path.parent, Gate())
    return report.bin_exact_percent


def test_calibration_saves_the_boundaries_that_overflow_loses(wide, calibrated, demo_reference_path, tmp_path):
    convert(wide, tmp_path / "m", Options(**OPTIONS))
    without = exact_percent(Bundle.open(tmp_path / "m"), demo_reference_path)
    assert without < 90
    assert exact_percent(calibrated, demo_reference_path) >= max(95, without)


def test_calibration_keeps_what_reads_or_writes_the_wide_stream(calibrated):
    found = calibrated.record("decoder_prefill").calibration
    kinds = {(op.kind, op.reason) for op in found.kept_float32}
    assert {("add", "writes"), ("linear", "writes"), ("reduce_max", "writes"), ("real_div", "reads")} <= kinds
    assert found.has_wide_state
    assert found.largest < found.limit <= FP16_MAX / MARGIN
    assert all(op.magnitude is None or op.magnitude >= found.limit for op in found.kept_float32)
    assert {op.kind for op in calibrated.record("lm_head").calibration.kept_float32} >= {"abs", "real_div"}


def test_calibration_keeps_nothing_else(calibrated):
    """What only sees the normed stream stays in FP16: attention, the gates, and the products of the norms."""
    kept = {op.kind for op in calibrated.record("decoder_prefill").calibration.kept_float32}
    assert kept.isdisjoint({"softmax", "matmul", "silu", "rsqrt"})
    for key in ("audio_conv", "audio_transformer", "embedding"):
        assert calibrated.record(key).calibration.kept_float32 == []


@pytest.mark.parametrize("key", ["decoder_prefill", "lm_head"])
def test_coremltools_reads_a_calibrated_package_back(calibrated, key):
    package = calibrated.package(key)
    spec = ct.utils.load_spec(str(package))
    program = load_milproto(spec, spec.specificationVersion, str((package / WEIGHTS_FILE).parent))
    assert sorted(program.functions) == sorted(calibrated.record(key).functions)


def test_the_demo_itself_needs_nothing_in_float32(demo_checkpoint, tmp_path, capsys):
    metadata = convert(demo_checkpoint, tmp_path / "m", Options(**OPTIONS, calibrate=2))
    assert metadata.calibration_clips == 2
    said = capsys.readouterr().err
    for key, record in metadata.components.items():
        assert record.calibration.kept_float32 == []
        assert 0 < record.calibration.largest < record.calibration.limit
        assert f"calibration: {key}: 0 ops in FP32" in said


def test_calibrating_float32_is_refused(demo_checkpoint, tmp_path):
    with pytest.raises(UserError, match="--calibrate finds what FP16 cannot hold"):
        convert(demo_checkpoint, tmp_path / "m", Options(**{**OPTIONS, "precision": "float32"}, calibrate=1))


def test_every_function_is_measured_whatever_the_clips(float16_bundle, demo_clips):
    """A clip that is too long for a function is cut for it; a function that no clip runs would go unmeasured."""
    longest = max(demo_clips, key=lambda clip: clip.duration_s)
    found = measure_magnitudes(float16_bundle, [longest])
    assert all(finding.largest > 0 for finding in found.values())
    with pytest.raises(RuntimeError, match="no clip ran through frames_"):
        summarize(float16_bundle, "audio_transformer", Watch())


def test_a_clip_that_cannot_be_cut_is_refused(float16_bundle, demo_clips):
    clip = demo_clips[0].model_copy(update={"transcript": "a" * 300})
    with pytest.raises(UserError, match="cannot be cut for calibration: its first word is too long"):
        measure_magnitudes(float16_bundle, [clip])
