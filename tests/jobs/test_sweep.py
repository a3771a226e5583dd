"""The sweep: one table of all presets, with each component measured against PyTorch on real rows."""

import base64
import html
import math
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from forced_aligner.base.errors import UserError
from forced_aligner.base.paths import METADATA_FILE, ROOT
from forced_aligner.base.records import read_json
from forced_aligner.convert.defaults import PRESETS
from forced_aligner.jobs.component_scores import measure_component, record_calls
from forced_aligner.jobs.sweep import PAGE_FILE, PICTURE_FILE, SWEEP_FILE, run_sweep, size_point, sweep_page
from forced_aligner.jobs.sweep_options import SweepOptions
from forced_aligner.output.size_picture import plot_sizes
from forced_aligner.package.bundle import Bundle
from forced_aligner.package.contract import DECODER_OF, DEFAULT_COMPONENTS
from forced_aligner.runtime.measurements import RunEnvironment
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.runtime.options import RuntimeOptions
from forced_aligner.score.boundaries import score_errors
from forced_aligner.score.gate import Gate
from forced_aligner.score.psnr import psnr_db
from forced_aligner.score.records import FailedClip, Reference, SampleScores, Sweep
from forced_aligner.score.report import ScoredClip, make_report, sweep_row
from forced_aligner.score.tables import print_rows, rows_table

CLIPS = 3


@pytest.fixture(scope="module")
def swept(demo_checkpoint, demo_clips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    presets = ("float32", "float16", "int4")
    return run_sweep(
        demo_checkpoint, demo_clips[:CLIPS], folder, SweepOptions(presets, (256,), (104,), RuntimeOptions("mil"))
    ), folder


def test_psnr_is_that_of_its_definition():
    expected = np.array([[0.0, 4.0], [2.0, -1.0]])
    assert psnr_db(expected + 0.04, expected) == pytest.approx(40)
    assert psnr_db(expected, expected) == math.inf
    assert psnr_db(np.full((2, 2), np.nan), expected) == -math.inf


def test_each_component_meets_its_gate(swept):
    """60 dB in float32 and 40 in float16; None means equal in every bit."""
    rows = {row.name: row for row in swept[0].rows}
    for name, gate in (("float32", 60), ("float16", 40)):
        assert rows[name].components.keys() == set(DEFAULT_COMPONENTS)
        for key, score in rows[name].components.items():
            assert score.finite
            assert score.psnr_db is None or score.psnr_db >= gate, (name, key)
    assert rows["int4"].components["decoder_prefill"].psnr_db < rows["float16"].components["decoder_prefill"].psnr_db


def test_the_table_holds_what_the_folders_hold(swept):
    made, folder = swept
    assert read_json(Sweep, folder / SWEEP_FILE, "") == made
    sizes = [row.size_bytes for row in made.rows]
    assert sizes == sorted(sizes, reverse=True)
    for row in made.rows:
        records = Bundle.open(folder / row.name).metadata.components.values()
        assert row.size_bytes == sum(record.size_bytes for record in records)
    assert made.rows[0].bin_exact_percent == 100


def test_an_output_that_is_not_finite_is_said(demo_bundle, demo_checkpoint, demo_reference_path):
    known = read_json(Reference, demo_reference_path, "").head(1)
    calls = record_calls(demo_checkpoint, demo_bundle, known, demo_reference_path.parent)

    class Broken(MilBackend):
        def predict(self, component, function, inputs):
            return {name: array * np.inf for name, array in super().predict(component, function, inputs).items()}

    assert measure_component(MilBackend(demo_bundle), calls, "lm_head").finite
    assert measure_component(Broken(demo_bundle), calls, "lm_head").finite is False


def test_padded_rows_are_not_measured(demo_bundle, demo_checkpoint, demo_reference_path):
    known = read_json(Reference, demo_reference_path, "").head(1)
    calls = record_calls(demo_checkpoint, demo_bundle, known, demo_reference_path.parent)
    rows = {call.component: call.rows for call in calls}
    assert 0 < rows["audio_transformer"] < 104  # 0.9 s in one window of 8 s
    assert rows["audio_transformer"] < rows["decoder_prefill"] < 256
    assert rows["lm_head"] is None


def test_an_unknown_preset_is_refused(demo_checkpoint, demo_clips, tmp_path):
    with pytest.raises(UserError, match="no preset 'int5'; expected some of float32, mixed"):
        run_sweep(demo_checkpoint, demo_clips, tmp_path, SweepOptions(("int5",), (256,), (104,), RuntimeOptions("mil")))


@pytest.mark.parametrize("layout", ["five", "compact"])
def test_every_preset_is_a_conversion_that_can_be_asked_for(layout):
    options = SweepOptions(tuple(PRESETS), (256,), (104,), RuntimeOptions("mil"), layout, calibrate=7)
    for preset in PRESETS:
        conversion = options.conversion(preset)
        conversion.validate()
        assert conversion.calibrate == (7 if preset.endswith("-calibrated") else 0)
    assert options.conversion("int8-int4-calibrated").compress == f"int8,{DECODER_OF[layout]}=int4"


def test_a_second_sweep_converts_nothing_again(swept, demo_checkpoint, demo_clips, tmp_path, capsys):
    """Of the same folders; a preset with other options is converted in place of the old one."""
    names = [row.name for row in swept[0].rows]
    for name in names:
        shutil.copytree(swept[1] / name, tmp_path / name)
    written = {name: (tmp_path / name / METADATA_FILE).stat().st_mtime_ns for name in names}
    runtime, clips = RuntimeOptions("mil"), demo_clips[:1]
    run_sweep(demo_checkpoint, clips, tmp_path, SweepOptions(names, (256,), (104,), runtime))
    assert {name: (tmp_path / name / METADATA_FILE).stat().st_mtime_ns for name in names} == written
    assert "holds this conversion already" in capsys.readouterr().err
    run_sweep(demo_checkpoint, clips, tmp_path, SweepOptions(("float32",), (128,), (104,), runtime))
    assert Bundle.open(tmp_path / "float32").metadata.decoder_lengths == [128]


def test_a_calibration_set_that_cannot_be_used_is_refused_before_the_conversions(demo_checkpoint, demo_clips, tmp_path):
    options = SweepOptions(tuple(PRESETS), (256,), (104,), RuntimeOptions("mil"), calibrate=3)
    with pytest.raises(UserError, match="asks for more than the 64 clips"):
        run_sweep(demo_checkpoint, demo_clips, tmp_path, replace(options, calibrate=65))
    with pytest.raises(UserError, match="3 of the 10 recordings to score are among those to calibrate with"):
        run_sweep(demo_checkpoint, demo_clips, tmp_path, replace(options, calibration_dataset="demo"))
    assert not list(tmp_path.glob("*/"))


def test_the_help_names_every_preset():
    command = [sys.executable, "run_coreml_inference.py", "sweep", "--help"]
    words = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"Some of {', '.join(PRESETS)};" in " ".join(words.split())


def test_the_picture_shows_every_row(swept, tmp_path):
    plot_sizes([size_point(row) for row in swept[0].rows], "title", tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        plot_sizes([size_point(row) for row in swept[0].rows], "title", tmp_path / "file" / "sweep.png")


def test_the_page_has_the_table_that_is_printed_and_the_picture(swept, capsys):
    made, folder = swept
    page = (folder / PAGE_FILE).read_text()
    print_rows(made.rows, "title")
    printed = capsys.readouterr().out
    table = rows_table(made.rows, "title")
    assert all(cell in printed and f">{html.escape(cell)}<" in page for row in table.rows for cell in row)
    assert all(f">{html.escape(heading)}<" in page for heading in table.headings)
    assert base64.b64encode((folder / PICTURE_FILE).read_bytes()).decode() in page


def test_a_page_that_is_none_of_ours_is_refused_before_the_work(demo_checkpoint, demo_clips, tmp_path):
    (tmp_path / PAGE_FILE).write_text("years of work")
    options = SweepOptions(("float32",), (256,), (104,), RuntimeOptions("mil"))
    with pytest.raises(UserError, match="is there already"):
        run_sweep(demo_checkpoint, demo_clips[:1], tmp_path, options)
    assert [path.name for path in tmp_path.iterdir()] == [PAGE_FILE]


def test_a_page_says_which_presets_failed(swept):
    failed = FailedClip(audio="int5", reason="<no> such preset", unexpected=False)
    page = sweep_page(swept[0].model_copy(update={"failed": [failed], "rows": []}), None)
    assert "failed: int5: &lt;no&gt; such preset" in page


def test_rows_of_other_folders_need_no_measurement(demo_bundle, demo_reference_path):
    demo_reference = read_json(Reference, demo_reference_path, "")
    errors_ms = np.array([0.0, 80.0, 240.0, 0.0])
    scores = SampleScores(
        **score_errors(errors_ms).model_dump(), audio="a", duration_s=1, packages_latency_ms=1, pytorch_latency_ms=1
    )
    environment = RunEnvironment(system="", chip="", backend="mil", device=None, compute_units=None, versions={})
    clip = ScoredClip(scores, errors_ms, None)
    report = make_report(demo_bundle.metadata, environment, demo_reference, [clip], Gate())
    row = sweep_row("m", demo_bundle.metadata, report, {})
    assert row.components == {}
    assert (row.boundaries, row.moved, row.beyond_80ms, row.beyond_160ms, row.passed) == (4, 2, 1, 1, False)
