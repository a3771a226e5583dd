"""Scores counted by hand, the gate, and the regressions of the earlier system by name."""

import json
import shutil

import numpy as np
import pytest

from forced_aligner.align.chain import Aligner
from forced_aligner.base.errors import UserError
from forced_aligner.base.records import read_json
from forced_aligner.data.records import WordTime
from forced_aligner.jobs.compare import compare
from forced_aligner.jobs.reference import make_reference
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.score.boundaries import boundary_errors_ms, score_errors
from forced_aligner.score.gate import Gate, check_same_checkpoint
from forced_aligner.score.records import Reference

REMEDY = "make it with compare-models.py"


def words(*spans):
    return [WordTime(text=f"w{i}", start_time_ms=start, end_time_ms=end) for i, (start, end) in enumerate(spans)]


def test_a_word_has_two_boundaries_and_each_is_counted():
    errors = boundary_errors_ms(words((0, 80), (160, 400)), words((0, 160), (160, 240)))
    assert errors.tolist() == [0, 80, 0, 160]
    scores = score_errors(errors)
    assert (scores.words, scores.boundaries) == (2, 4)
    assert scores.bin_exact_percent == 50
    assert scores.aas_ms == 60
    assert scores.max_error_ms == 160
    assert (scores.within_20ms_percent, scores.within_80ms_percent, scores.within_160ms_percent) == (50, 75, 100)


def test_a_repaired_boundary_that_is_off_by_a_little_is_not_bin_exact():
    scores = score_errors(boundary_errors_ms(words((0, 93)), words((0, 80))))
    assert scores.bin_exact_percent == 50
    assert scores.within_20ms_percent == 100


@pytest.mark.parametrize(
    ("gate", "passes"),
    [(Gate(5, 95), True), (Gate(1.9, 95), False), (Gate(2, 97), True), (Gate(5, 97.6), False)],
)
def test_the_gate_needs_both_thresholds(gate, passes):
    errors = np.zeros(40)
    errors[0] = 80
    assert gate.passes(score_errors(errors)) is passes


def test_other_words_are_refused():
    with pytest.raises(UserError, match=r"the words differ \(1 against 2\)"):
        boundary_errors_ms(words((0, 1)), words((0, 1), (2, 3)))


@pytest.fixture
def reference(demo_reference_path):
    return read_json(Reference, demo_reference_path, REMEDY)


def test_the_demo_is_bin_exact_in_mixed_precision(demo_bundle, demo_reference_path, reference):
    aligner = Aligner(demo_bundle, MilBackend(demo_bundle))
    report, alignments = compare(aligner, reference, demo_reference_path.parent, Gate())
    assert report.bin_exact_percent == 100
    assert report.aas_ms == report.max_error_ms == 0
    assert report.passed
    assert report.files == len(alignments) == len(reference.samples) == 10
    assert report.boundaries == 2 * sum(len(sample.alignments) for sample in reference.samples)
    assert report.truth_aas_ms.packages == report.truth_aas_ms.pytorch > 0
    assert all(sample.pytorch_latency_ms > 0 and sample.packages_latency_ms > 0 for sample in report.samples)


def test_a_reference_of_another_checkpoint_is_refused(demo_bundle, reference):
    other = reference.model_copy(update={"checkpoint_fingerprint": "0" * 64, "model_id": "someone/else"})
    with pytest.raises(UserError, match=r"converted from demo .*made with someone/else \(000000000000\)"):
        check_same_checkpoint(demo_bundle.metadata, other)


def test_audio_that_is_gone_is_refused(demo_bundle, reference, tmp_path):
    aligner = Aligner(demo_bundle, MilBackend(demo_bundle))
    with pytest.raises(UserError, match="no audio file at"):
        compare(aligner, reference, tmp_path / "elsewhere", Gate())


def test_the_reference_can_move_with_its_audio(demo_bundle, demo_checkpoint, demo_clips, tmp_path):
    """Audio paths are relative to the JSON file, also where that is reached through a link."""
    real, link, elsewhere = tmp_path / "deep/er/real", tmp_path / "link", tmp_path / "elsewhere"
    real.mkdir(parents=True)
    link.symlink_to(real)
    shutil.copy(demo_clips[0].audio, real / "clip.flac")
    clip = demo_clips[0].model_copy(update={"audio": str(real / "clip.flac")})
    make_reference(demo_checkpoint, [clip], link / "reference.json")
    real.rename(elsewhere)
    moved = read_json(Reference, elsewhere / "reference.json", REMEDY)
    aligner = Aligner(demo_bundle, MilBackend(demo_bundle))
    report, _ = compare(aligner, moved, elsewhere, Gate())
    assert report.files == 1


def change(path, edit):
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


@pytest.fixture
def reference_copy(demo_reference_path, tmp_path):
    return shutil.copy(demo_reference_path, tmp_path / "pytorch_reference.json")


# --- four defects that the earlier system shipped (the fourth, --no-optimize, is in test_conversion.py) ---


def test_regression_the_reference_is_an_object_not_a_list(reference_copy):
    """It sliced the whole JSON object as if it were the list of samples."""
    reference = read_json(Reference, reference_copy, REMEDY)
    assert [sample.audio for sample in reference.head(3).samples] == [s.audio for s in reference.samples[:3]]
    assert reference.head(3).num_samples == 3
    reference_copy.write_text(json.dumps(json.loads(reference_copy.read_text())["samples"]))
    with pytest.raises(UserError, match=r"not a valid pytorch_reference.json"):
        read_json(Reference, reference_copy, REMEDY)


def rename(old, new):
    def edit(data):
        for sample in data["samples"]:
            for record in (sample, *sample["alignments"]):
                if old in record:
                    record[new] = record.pop(old)

    return edit


def test_regression_the_transcript_is_not_called_text(reference_copy):
    """The writer said `transcript`, the reader looked for `text`."""
    change(reference_copy, rename("transcript", "text"))
    with pytest.raises(UserError, match=r"samples\.0\.transcript: Field required; make it with compare-models\.py"):
        read_json(Reference, reference_copy, REMEDY)


def test_regression_times_are_not_called_start_ms(reference_copy):
    """The writer said `start_time_ms`, the reader looked for `start_ms` and took 0 for what it did not find."""
    change(reference_copy, rename("start_time_ms", "start_ms"))
    with pytest.raises(UserError, match=r"samples\.0\.alignments\.0\.start_time_ms: Field required"):
        read_json(Reference, reference_copy, REMEDY)


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "Invalid JSON"), ("{", "Invalid JSON"), ("{}", "Field required"), ("\xff", "Invalid JSON")],
)
def test_a_malformed_reference_is_one_clear_sentence(tmp_path, content, message):
    path = tmp_path / "pytorch_reference.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=message) as caught:
        read_json(Reference, path, REMEDY)
    assert "\n" not in str(caught.value)


def test_a_reference_without_samples_is_refused(reference_copy):
    change(reference_copy, lambda data: data.update(samples=[]))
    with pytest.raises(UserError, match="samples: List should have at least 1 item"):
        read_json(Reference, reference_copy, REMEDY)


def test_no_reference_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(UserError, match=r"no pytorch_reference\.json at .*: make it with compare-models\.py"):
        read_json(Reference, tmp_path / "pytorch_reference.json", REMEDY)
