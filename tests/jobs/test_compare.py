"""Scores counted by hand, the gate, and the regressions of the earlier system by name."""

import base64
import html
import io
import json
import os
import platform
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from forced_aligner.align.audio import load_audio
from forced_aligner.align.chain import Aligner
from forced_aligner.base.errors import RunError, UserError
from forced_aligner.base.journal import Journal
from forced_aligner.base.records import read_json, write_json
from forced_aligner.base.version import PROJECT, version_string
from forced_aligner.data.pairs import paired_clips
from forced_aligner.data.records import Clip, WordTime
from forced_aligner.jobs import parity_page as parity_page_job
from forced_aligner.jobs import reference as reference_job
from forced_aligner.jobs.compare import compare, compare_and_write, compare_clips
from forced_aligner.jobs.parity_page import parity_report_page
from forced_aligner.jobs.reference import make_reference
from forced_aligner.runtime.measurements import RunEnvironment
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.score.boundaries import boundary_errors_ms, error_counts, score_errors
from forced_aligner.score.gate import Gate, check_same_checkpoint
from forced_aligner.score.records import FailedClip, ParityReport, Reference
from forced_aligner.score.report import identity_of, make_report, score_clip
from forced_aligner.score.tables import percent_text, verdict
from tests.output.parsing import Parsed

REMEDY = "make it with compare-models.py"
KEPT = r"which this run reads|is there already, and this run did not make it"


def words(*spans):
    return [WordTime(text=f"w{i}", start_time_ms=start, end_time_ms=end) for i, (start, end) in enumerate(spans)]


def test_a_word_has_two_boundaries_and_each_is_counted():
    errors = boundary_errors_ms(words((0, 80), (160, 400)), words((0, 160), (160, 240)))
    assert errors.tolist() == [0, 80, 0, 160]
    scores = score_errors(errors)
    assert (scores.words, scores.boundaries) == (2, 4)
    assert scores.bin_exact_percent == 50
    assert (scores.moved, scores.beyond_80ms, scores.beyond_160ms) == (2, 1, 0)
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


def test_100_percent_is_written_only_where_nothing_moved():
    """One of 20,000 is 99.995 %, which rounds to 100.00."""
    errors = np.zeros(20_000)
    assert percent_text(score_errors(errors).bin_exact_percent) == "100.00"
    errors[0] = 80
    scores = score_errors(errors)
    assert percent_text(scores.bin_exact_percent) == "99.99"
    assert (scores.moved, scores.bin_exact_percent) == (1, 99.995)


def test_the_gate_sees_numbers_that_are_not_rounded():
    errors = np.zeros(100_000)
    errors[:5_001] = 80
    scores = score_errors(errors)
    assert round(scores.within_20ms_percent, 2) == 95
    assert not Gate(5, 95).passes(scores)
    assert not Gate(4, 0).passes(scores)
    assert round(scores.aas_ms, 2) == 4


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
    assert (report.moved, report.beyond_160ms, report.failed) == (0, 0, [])


def test_a_report_says_what_it_is_of(demo_bundle, demo_reference_path, reference):
    aligner = Aligner(demo_bundle, MilBackend(demo_bundle))
    few = reference.head(1)
    report, _ = compare(aligner, few, demo_reference_path.parent, Gate(3, 97.5))
    assert (report.gate.max_aas_ms, report.gate.min_within_20ms_percent) == (3, 97.5)
    environment = report.environment
    assert (environment.backend, environment.device, environment.compute_units) == ("mil", "cpu", None)
    assert platform.system() in environment.system or sys.platform == "darwin"
    assert environment.chip
    assert environment.versions["coremltools"] == "9.0"
    assert environment.versions[PROJECT].startswith(version_string())
    assert report.reference.environment == reference.environment
    assert report.reference.sha256 == identity_of(few).sha256 != identity_of(reference).sha256


def test_the_truth_columns_are_not_swapped(demo_bundle, demo_reference_path, reference):
    """Packages that are 80 ms late where PyTorch is right."""
    (sample,) = reference.head(1).samples
    late = [
        replace(word, start_time_ms=word.start_time_ms + 80, end_time_ms=word.end_time_ms + 80)
        for word in sample.alignments
    ]
    clip = score_clip(late, 1.0, sample.model_copy(update={"true_alignments": sample.alignments, "latency_ms": 2.0}))
    assert (clip.scores.truth_aas_ms.packages, clip.scores.truth_aas_ms.pytorch) == (80, 0)
    assert (clip.scores.packages_latency_ms, clip.scores.pytorch_latency_ms) == (1, 2)
    environment = RunEnvironment(system="", chip="", backend="mil", device=None, compute_units=None, versions={})
    report = make_report(demo_bundle.metadata, environment, reference, [clip], Gate())
    assert (report.truth_aas_ms.packages, report.truth_aas_ms.pytorch) == (80, 0)


def test_a_bad_clip_does_not_stop_the_rest_and_the_report_does_not_pass(
    demo_bundle, demo_reference_path, reference, tmp_path
):
    few = reference.head(3)
    for sample in few.samples[:2]:
        shutil.copy(demo_reference_path.parent / sample.audio, tmp_path)
    samples = [sample.model_copy(update={"audio": Path(sample.audio).name}) for sample in few.samples]
    aligner = Aligner(demo_bundle, MilBackend(demo_bundle))
    report, alignments = compare(aligner, few.cut_to(samples), tmp_path, Gate())
    assert (report.files, len(alignments), report.moved, report.passed) == (2, 2, 0, False)
    (failed,) = report.failed
    assert failed.audio == samples[2].audio
    assert "no audio file at" in failed.reason
    assert "1 files could not be measured" in verdict(report)


class Dying(MilBackend):
    """Fails for good in the third clip, as a machine that is switched off."""

    def __init__(self, bundle):
        super().__init__(bundle)
        self.clips = 0

    def predict(self, component, function, inputs):
        self.clips += component == "lm_head"
        if self.clips == 3:
            raise KeyboardInterrupt
        return super().predict(component, function, inputs)


def write_report(backend, bundle, reference, folder, *, restart=False, page=None):
    paths = (folder / "reference.json", folder / "parity.json")
    aligner = Aligner(bundle, backend)
    return compare_and_write(aligner, bundle.folder, reference, *paths, Gate(), restart=restart, page=page)


def moved_here(reference, root, folder):
    """The reference, with paths of its recordings from `folder`."""
    samples = [
        sample.model_copy(update={"audio": os.path.relpath((root / sample.audio).resolve(), folder)})
        for sample in reference.samples
    ]
    return reference.cut_to(samples)


def test_a_comparison_that_was_stopped_goes_on_where_it_was(
    demo_bundle, demo_reference_path, reference, tmp_path, capsys
):
    known = moved_here(reference.head(4), demo_reference_path.parent, tmp_path)
    write_json(known, tmp_path / "reference.json")
    undisturbed, _ = write_report(MilBackend(demo_bundle), demo_bundle, known, tmp_path)
    (tmp_path / "parity.json").unlink()
    with pytest.raises(KeyboardInterrupt):
        write_report(Dying(demo_bundle), demo_bundle, known, tmp_path)
    assert not (tmp_path / "parity.json").exists()
    capsys.readouterr()
    resumed, _ = write_report(MilBackend(demo_bundle), demo_bundle, known, tmp_path)
    assert capsys.readouterr().err.count("from an earlier run") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parity.json", "reference.json"]
    assert read_json(ParityReport, tmp_path / "parity.json", "") == resumed

    def timeless(report):
        return [sample.model_dump(exclude={"packages_latency_ms"}) for sample in report.samples]

    assert timeless(resumed) == timeless(undisturbed)
    with pytest.raises(KeyboardInterrupt):
        write_report(Dying(demo_bundle), demo_bundle, known, tmp_path)
    capsys.readouterr()
    write_report(MilBackend(demo_bundle), demo_bundle, known, tmp_path, restart=True)
    assert "from an earlier run" not in capsys.readouterr().err


@pytest.fixture
def shifted(reference, demo_reference_path, tmp_path):
    """Four clips whose PyTorch times were changed: one boundary by 320 ms, and both of one word by 80 ms."""
    known = moved_here(reference.head(4), demo_reference_path.parent, tmp_path)
    samples = []
    for sample, changes in zip(known.samples, ({}, {1: (0, 80)}, {2: (-80, -80)}, {0: (0, 320)}), strict=True):
        changed = list(sample.alignments)
        for index, (start_ms, end_ms) in changes.items():
            word = changed[index]
            times = {"start_time_ms": word.start_time_ms + start_ms, "end_time_ms": word.end_time_ms + end_ms}
            changed[index] = replace(word, **times)
        samples.append(sample.model_copy(update={"alignments": changed}))
    known = known.cut_to(samples)
    write_json(known, tmp_path / "reference.json")
    return known


def test_the_page_has_the_boundaries_that_moved_with_their_sound(demo_bundle, shifted, tmp_path):
    page = tmp_path / "pages" / "parity.html"
    report, _ = write_report(MilBackend(demo_bundle), demo_bundle, shifted, tmp_path, page=page)
    assert (report.moved, report.passed) == (4, False)  # a threshold is missed, and the page is there
    parsed = Parsed(page.read_text())
    data = parsed.data
    apart_ms = [round(1000 * (spot["at_s"][0] - spot["at_s"][1])) for spot in data["spots"]]
    assert apart_ms == [-320, -80, 80, 80]
    assert [spot["word"] for spot in data["spots"]] == [0, 1, 2, 2]
    for spot, sample in zip(data["spots"], [shifted.samples[n] for n in (3, 1, 2, 2)], strict=True):
        excerpt = data["excerpts"][spot["excerpt"]]
        assert len(excerpt["sides"]) == len(spot["at_s"]) == 3
        index, text, start_s, end_s = next(word for word in excerpt["sides"][1] if word[0] == spot["word"])
        assert text == sample.alignments[index].text
        assert spot["at_s"][1] == pytest.approx(start_s) or spot["at_s"][1] == pytest.approx(end_s)
        content = base64.b64decode(excerpt["audio"].removeprefix("data:audio/mpeg;base64,"))
        sound, rate = soundfile.read(io.BytesIO(content))
        assert (sound.size, rate) == (round(excerpt["duration_s"] * 16_000), 16_000)
    assert sum(bar["count"] for bar in data["bars"] if not bar["same"]) == 4
    text = re.sub(r"\s+", " ", page.read_text())
    assert f">{html.escape(verdict(report))}<" in text
    assert "<td>MISSED</td>" in text
    assert all(f">{Path(sample.audio).name}<" in text for sample in shifted.samples)
    assert str(tmp_path) not in text


def test_the_excerpt_is_of_its_place(demo_bundle, shifted, tmp_path):
    page = tmp_path / "parity.html"
    write_report(MilBackend(demo_bundle), demo_bundle, shifted, tmp_path, page=page)
    spot = Parsed(page.read_text()).data["spots"][2]  # of the third clip
    excerpt = Parsed(page.read_text()).data["excerpts"][spot["excerpt"]]
    sound, _ = soundfile.read(io.BytesIO(base64.b64decode(excerpt["audio"].removeprefix("data:audio/mpeg;base64,"))))
    samples = load_audio(tmp_path / shifted.samples[2].audio)
    start_s = shifted.samples[2].alignments[2].start_time_ms / 1000 - spot["at_s"][1]
    part = samples[round(start_s * 16_000) :][: sound.size]
    assert np.corrcoef(sound, part)[0, 1] > 0.95


def test_clips_of_an_earlier_run_are_in_the_page(demo_bundle, shifted, tmp_path, capsys):
    whole, resumed = tmp_path / "whole.html", tmp_path / "resumed.html"
    write_report(MilBackend(demo_bundle), demo_bundle, shifted, tmp_path, page=whole)
    with pytest.raises(KeyboardInterrupt):
        write_report(Dying(demo_bundle), demo_bundle, shifted, tmp_path, page=resumed)
    assert not resumed.exists()
    write_report(MilBackend(demo_bundle), demo_bundle, shifted, tmp_path, page=resumed)
    assert capsys.readouterr().err.count("from an earlier run") == 2
    assert resumed.read_text() == whole.read_text()


def test_a_page_replaces_a_page_alone_and_is_refused_before_the_work(demo_bundle, shifted, tmp_path, monkeypatch):
    page = tmp_path / "parity.html"
    page.write_text("<!doctype html><title>my notes</title>")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    monkeypatch.setattr("forced_aligner.jobs.compare.compare_clips", lambda *_, **__: pytest.fail("it began"))
    audio = tmp_path / shifted.samples[0].audio
    for name in ("parity.html", "reference.json", "parity.json", "parity.json.journal", audio):
        with pytest.raises(UserError, match=KEPT + "|would overwrite what belongs to"):
            write_report(MilBackend(demo_bundle), demo_bundle, shifted, tmp_path, page=tmp_path / name)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        write_report(MilBackend(demo_bundle), demo_bundle, shifted, tmp_path, page=tmp_path / "file" / "a.html")
    (tmp_path / "file").unlink()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    monkeypatch.undo()
    page.unlink()
    write_report(MilBackend(demo_bundle), demo_bundle, shifted, tmp_path, page=page)
    first = page.read_text()
    write_report(MilBackend(demo_bundle), demo_bundle, shifted, tmp_path, page=page)
    assert page.read_text() == first


def test_where_nothing_moved_the_page_has_the_words_that_are_least_sure(demo_bundle, reference, demo_reference_path):
    aligner = Aligner(demo_bundle, MilBackend(demo_bundle))
    report, clips = compare_clips(aligner, reference.head(4), demo_reference_path.parent, Gate())
    page = parity_report_page(report, clips, demo_reference_path.parent)
    assert "No boundary moved" in page
    spots = Parsed(page).data["spots"]
    assert len(spots) == parity_page_job.MAX_UNMOVED
    sure = sorted(confidence for clip in clips for confidence in clip.alignment.confidences)
    places = [(spot["word"], Parsed(page).data["excerpts"][spot["excerpt"]]["sides"][0]) for spot in spots[:1]]
    ((index, words_there),) = places
    least = next(clip for clip in clips if sure[0] in clip.alignment.confidences)
    assert least.alignment.confidences.index(sure[0]) == index
    assert any(word[0] == index for word in words_there)


def test_a_page_has_at_most_so_many_boundaries_and_the_largest(demo_bundle, shifted, tmp_path, monkeypatch):
    monkeypatch.setattr(parity_page_job, "MAX_SPOTS", 2)
    page = tmp_path / "parity.html"
    write_report(MilBackend(demo_bundle), demo_bundle, shifted, tmp_path, page=page)
    assert len(Parsed(page.read_text()).data["spots"]) == 2
    assert "4 moved; the 2 largest are here, 2 are left out." in re.sub(r"\s+", " ", page.read_text())


def test_a_recording_that_is_gone_since_leaves_the_rest_of_the_page(demo_bundle, shifted, tmp_path, capsys):
    aligner = Aligner(demo_bundle, MilBackend(demo_bundle))
    report, clips = compare_clips(aligner, shifted, tmp_path, Gate())
    page = parity_report_page(report, clips, tmp_path / "elsewhere" / "far")
    assert Parsed(page).data["excerpts"] == []
    assert page.count("could not be read again") == 4
    assert "no sound in the page for" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("differences_ms", "counts"),
    [
        ([0, 0], {0: 2}),
        ([0, 80, -80, 81, 240, -13], {0: 1, 1: 1, -1: 2, 2: 1, 3: 1}),
        ([5000, -900], {11: 1, -11: 1}),
    ],
)
def test_differences_are_counted_in_steps_of_80_ms(differences_ms, counts):
    found = error_counts(np.array(differences_ms, float))
    assert {step: count for step, count in found.items() if count} == counts
    assert sorted(found) == list(range(min(found), max(found) + 1))
    assert min(found) == -max(found) <= -3


def test_a_report_never_replaces_what_the_run_reads(demo_bundle, demo_clips, reference, tmp_path):
    """The reference, a recording, the model's metadata, and a reference that is called parity.json."""
    folder = shutil.copytree(demo_bundle.folder, tmp_path / "m")
    shutil.copy(demo_clips[0].audio, tmp_path / "clip.flac")
    known = reference.head(1)
    known = known.cut_to([known.samples[0].model_copy(update={"audio": "clip.flac"})])
    for name in ("reference.json", "parity.json"):
        write_json(known, tmp_path / name)
    aligner = Aligner(demo_bundle, MilBackend(demo_bundle))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for reference_name, output in (
        ("reference.json", "reference.json"),
        ("reference.json", "clip.flac"),
        ("reference.json", "m/metadata.json"),
        ("reference.json", "m/forced_aligner_lm_head.mlpackage/Manifest.json"),
        ("parity.json", "parity.json"),
        ("reference.json", "parity.json"),
    ):
        with pytest.raises(UserError, match=KEPT):
            compare_and_write(
                aligner,
                folder,
                known,
                tmp_path / reference_name,
                tmp_path / output,
                Gate(),
                restart=False,
            )
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_reference_that_was_stopped_goes_on_where_it_was(demo_checkpoint, demo_clips, tmp_path, capsys, monkeypatch):
    align = reference_job.align_with_pytorch
    calls = []

    def dying(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return align(*arguments)

    monkeypatch.setattr(reference_job, "align_with_pytorch", dying)
    with pytest.raises(KeyboardInterrupt):
        make_reference(demo_checkpoint, demo_clips[:4], tmp_path / "reference.json")
    capsys.readouterr()
    resumed = make_reference(demo_checkpoint, demo_clips[:4], tmp_path / "reference.json")
    assert capsys.readouterr().err.count("from an earlier run") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["reference.json"]
    anew = make_reference(demo_checkpoint, demo_clips[:4], tmp_path / "reference.json")
    assert identity_of(resumed) == identity_of(anew)
    assert len(calls) == 3 + 2 + 4


def test_a_bad_clip_does_not_stop_a_reference_and_its_repair_is_all_that_is_left(
    demo_checkpoint, demo_clips, tmp_path, capsys
):
    clips = []
    for clip in demo_clips[:3]:
        copy = shutil.copy(clip.audio, tmp_path)
        clips.append(clip.model_copy(update={"audio": str(copy)}))
    audio = Path(clips[1].audio)
    audio.rename(tmp_path / "away")
    first = make_reference(demo_checkpoint, clips, tmp_path / "reference.json")
    assert (first.num_samples, [Path(failed.audio).name for failed in first.failed]) == (2, [audio.name])
    assert read_json(Reference, tmp_path / "reference.json", REMEDY) == first
    (tmp_path / "away").rename(audio)
    capsys.readouterr()
    second = make_reference(demo_checkpoint, clips, tmp_path / "reference.json")
    assert (second.num_samples, second.failed) == (3, [])
    assert capsys.readouterr().err.count("from an earlier run") == 2


def test_a_reference_never_replaces_what_the_run_reads(demo_checkpoint, demo_clips, tmp_path):
    audio, text = tmp_path / "talk.flac", tmp_path / "talk.txt"
    shutil.copy(demo_clips[0].audio, audio)
    text.write_text("one")
    (tmp_path / "notes.json").write_text("{}")
    clips = paired_clips(tmp_path, None)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for output in (audio, text, tmp_path / "notes.json"):
        with pytest.raises(UserError, match=KEPT):
            make_reference(demo_checkpoint, clips, output)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_true_times_are_read_anew_when_a_run_goes_on(demo_checkpoint, demo_clips, tmp_path):
    audio = tmp_path / "talk.flac"
    shutil.copy(demo_clips[0].audio, audio)
    (tmp_path / "talk.ctm").write_text("talk 1 0.0 0.5 other\n")
    clip = Clip(audio=str(audio), transcript=demo_clips[0].transcript)
    gone = Clip(audio=str(tmp_path / "gone.flac"), transcript="one")
    first = make_reference(demo_checkpoint, [clip, gone], tmp_path / "reference.json")
    assert first.samples[0].true_alignments is None
    word = first.samples[0].alignments[0].text
    (tmp_path / "talk.ctm").write_text(f"talk 1 0.1 0.5 {word}\n")
    second = make_reference(demo_checkpoint, [clip, gone], tmp_path / "reference.json")
    assert second.samples[0].true_alignments[0].start_time_ms == 100


def test_a_report_says_what_its_reference_lacks(demo_bundle, demo_reference_path, reference):
    failed = [FailedClip(audio="a.wav", reason="gone", unexpected=False)]
    lacking = reference.head(1).model_copy(update={"failed": failed, "choice": "2 of 9 recordings"})
    aligner = Aligner(demo_bundle, MilBackend(demo_bundle))
    report, _ = compare(aligner, lacking, demo_reference_path.parent, Gate())
    assert (report.reference.failed, report.reference.choice) == (1, "2 of 9 recordings")
    assert verdict(report).endswith("; the reference lacks 1 files")


def test_a_full_disk_ends_the_run_and_keeps_what_was_measured(demo_checkpoint, demo_clips, tmp_path, monkeypatch):
    put = Journal.put
    kept = []

    def full(journal, key, result):
        if len(kept) == 2:
            raise RunError("cannot write the journal (No space left on device)")
        kept.append(key)
        put(journal, key, result)

    monkeypatch.setattr(Journal, "put", full)
    with pytest.raises(RunError, match="No space left"):
        make_reference(demo_checkpoint, demo_clips[:5], tmp_path / "reference.json")
    assert len(kept) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["reference.json.journal"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_thresholds_that_mean_nothing_are_refused(value):
    for gate in ((value, 95), (5, value)):
        with pytest.raises(UserError, match="take finite numbers"):
            Gate(*gate)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("key", ['"duration_s": ', '"start_time_ms": ', '"latency_ms": '])
def test_numbers_that_are_not_finite_are_refused(reference_copy, key, value):
    text = Path(reference_copy).read_text()
    head, _, tail = text.partition(key)
    assert tail
    number = re.match(r"[-\d.e]+", tail)[0]
    Path(reference_copy).write_text(head + key + value + tail[len(number) :])
    with pytest.raises(UserError, match=r"pytorch_reference\.json is (not JSON|not as it must be)"):
        read_json(Reference, reference_copy, REMEDY)


def test_a_reference_of_another_checkpoint_is_refused(demo_bundle, reference):
    other = reference.model_copy(update={"checkpoint_fingerprint": "0" * 64, "model_id": "someone/else"})
    with pytest.raises(UserError, match=r"converted from demo .*made with someone/else \(000000000000\)"):
        check_same_checkpoint(demo_bundle.metadata, other)


def test_audio_that_is_all_gone_is_refused(demo_bundle, reference, tmp_path):
    aligner = Aligner(demo_bundle, MilBackend(demo_bundle))
    with pytest.raises(UserError, match=r"none of 10 recordings could be measured; the first: .*no audio file at"):
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
    with pytest.raises(UserError, match=r"pytorch_reference\.json is not as it must be"):
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
    [("", "is not JSON"), ("{", "is not JSON"), ("{}", "Field required"), ("\xff", "is not JSON")],
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
