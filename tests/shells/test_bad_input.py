"""What users have in their folders: answered where there is an answer, else one sentence; nothing half-written."""

import csv
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from forced_aligner.align.audio import load_audio
from forced_aligner.align.chain import Aligner
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import require_writable, write_whole
from forced_aligner.base.records import read_json
from forced_aligner.data.manifest import manifest_clips
from forced_aligner.data.pairs import paired_clips
from forced_aligner.data.records import Clip
from forced_aligner.jobs.infer import Output, align_all, align_file
from forced_aligner.jobs.reference import make_reference
from forced_aligner.output.cues import CueOptions
from forced_aligner.output.formats import FORMATS
from forced_aligner.output.records import TimedFile
from forced_aligner.package.folder import write_folder
from forced_aligner.package.metadata import BundleMetadata
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.score.records import Reference

RATE_HZ = 16_000
DEADLINE_S = 120


@pytest.fixture(scope="module")
def aligner(demo_bundle):
    return Aligner(demo_bundle, MilBackend(demo_bundle))


def noise(samples, channels=1):
    return 0.1 * np.random.default_rng(0).standard_normal((samples, channels)).astype(np.float32)


@pytest.mark.parametrize(
    ("samples", "rate_hz"),
    [
        (noise(160), RATE_HZ),  # 0.01 s
        (noise(1), RATE_HZ),
        (noise(96_000, channels=8), 192_000),
        (noise(RATE_HZ) * 1e9, RATE_HZ),  # integers saved as floats
    ],
)
def test_odd_audio_is_answered_in_every_format(aligner, tmp_path, samples, rate_hz):
    path = tmp_path / "odd.wav"
    soundfile.write(path, samples, rate_hz, subtype="FLOAT")
    file, _, _ = align_file(aligner, Clip(audio=str(path), transcript="one two"), 0.0)
    assert [word.word for word in file.timed] == ["one", "two"]
    assert all(np.isfinite([word.start_time_ms, word.end_time_ms, word.confidence]).all() for word in file.timed)
    for form in FORMATS.values():
        assert form.write(file, CueOptions())


@pytest.mark.parametrize("value", [1e11, 1e25, -3e38])
def test_samples_that_would_overflow_are_refused(tmp_path, value):
    soundfile.write(tmp_path / "loud.wav", noise(1000) * value, RATE_HZ, subtype="FLOAT")
    with pytest.raises(UserError, match=r"loud\.wav holds samples that are NaN or infinite, or beyond 1e\+10"):
        load_audio(tmp_path / "loud.wav")


def test_a_header_that_promises_terabytes_is_refused(tmp_path):
    path = tmp_path / "talk.mp3"
    soundfile.write(path, noise(RATE_HZ), RATE_HZ)
    content = bytearray(path.read_bytes())
    tag = max(content.find(b"Xing"), content.find(b"Info"))
    content[tag + 8 : tag + 12] = struct.pack(">I", 2**32 - 1)  # number of frames
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"talk\.mp3 is too long, or its header is damaged"):
        load_audio(path)


def test_a_folder_run_lists_every_bad_recording_and_does_the_rest(aligner, demo_clips, tmp_path):
    folder = tmp_path / "talks"
    folder.mkdir()
    for name in ("good", "latin", "silent", "gone"):
        shutil.copy(demo_clips[1].audio, folder / f"{name}.flac")
        (folder / f"{name}.txt").write_text(demo_clips[1].transcript)
    (folder / "latin.txt").write_bytes("café".encode("latin-1"))
    (folder / "silent.txt").write_text("")
    clips = [*paired_clips(folder, None), Clip(audio=demo_clips[0].audio, transcript="one", language="tlh")]
    (folder / "gone.flac").unlink()
    output = Output(tmp_path / "out", ["json"], CueOptions())
    reasons = {Path(failed.audio).name: failed.reason for failed in align_all(aligner, clips, output)}
    assert "no audio file at" in reasons.pop("gone.flac")
    assert "latin.txt (byte 3 is not UTF-8); save it as UTF-8" in reasons.pop("latin.flac")
    assert "the transcript '' has no words to align" in reasons.pop("silent.flac")
    assert "language 'tlh' is not served; expected one of Cantonese" in reasons.pop("clip-01.flac")
    assert reasons == {}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.json"]


@pytest.mark.parametrize("skip_existing", [False, True])
def test_a_path_that_no_file_can_have_does_not_stop_the_others(aligner, demo_clips, tmp_path, skip_existing):
    """In a manifest: too long, with NUL or half a surrogate pair inside, below a file, or a circle of links."""
    shutil.copy(demo_clips[1].audio, tmp_path / "good.flac")
    (tmp_path / "circle.wav").symlink_to("circle.wav")
    odd = {"a" * 300: "File name too long", "a\0b.wav": "no file can have that name", "\ud800.wav": "no file can"}
    odd |= {"good.flac/a.wav": "Not a directory", "circle.wav": "symbolic links"}
    rows = [{"audio": name, "text": "one"} for name in (*odd, "good.flac")]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    output = Output(tmp_path / "out", ["json", "audacity"], CueOptions(), skip_existing=skip_existing)
    failures = align_all(aligner, manifest_clips(tmp_path / "m.jsonl", None), output)
    for failed, reason in zip(failures, odd.values(), strict=True):
        assert "no audio file at" in failed.reason
        assert reason in failed.reason
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good.json", "good.labels.txt"]


def test_a_transcript_that_is_not_unicode_is_one_sentence_and_does_not_stop_the_others(aligner, demo_clips, tmp_path):
    """A Latin-1 byte of a command line, and half a surrogate pair in a manifest."""
    for name in ("half", "good"):
        shutil.copy(demo_clips[1].audio, tmp_path / f"{name}.flac")
    rows = [{"audio": "half.flac", "text": "one \ud800"}, {"audio": "good.flac", "text": "\U0001f600 one"}]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    clips = manifest_clips(tmp_path / "m.jsonl", None)
    (failed,) = align_all(aligner, clips, Output(tmp_path / "out", ["json", "srt"], CueOptions()))
    assert Path(failed.audio).name == "half.flac"
    assert "character 4 of the transcript is not Unicode; give it as UTF-8" in failed.reason
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good.json", "good.srt"]
    with pytest.raises(UserError, match="character 3 of the transcript is not Unicode"):
        align_file(aligner, Clip(audio=str(tmp_path / "good.flac"), transcript=os.fsdecode(b"caf\xe9")), 0.0)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no such names")
def test_a_file_name_that_is_not_unicode_is_escaped_where_it_is_written(aligner, demo_clips, tmp_path):
    audio = tmp_path / os.fsdecode(b"caf\xe9.flac")
    shutil.copy(demo_clips[1].audio, audio)
    clip = Clip(audio=str(audio), transcript="one")
    output = Output(tmp_path / "out", list(FORMATS), CueOptions(), plot=True)
    assert align_all(aligner, [clip], output) == []
    written = output.targets(clip)
    assert read_json(TimedFile, written["json"], "").audio == str(tmp_path / r"caf\udce9.flac")
    assert written["ctm"].read_text().startswith(r"caf\udce9 1 ")
    assert all(path.stat().st_size for path in written.values())


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no such names")
def test_a_reference_lists_a_file_name_that_is_not_unicode(demo_checkpoint, demo_clips, tmp_path):
    audio = tmp_path / os.fsdecode(b"caf\xe9.flac")
    shutil.copy(demo_clips[1].audio, audio)
    clips = [demo_clips[1], Clip(audio=str(audio), transcript="one")]
    (failed,) = make_reference(demo_checkpoint, clips, tmp_path / "reference.json").failed
    assert failed.reason == r"the reference cannot name caf\udce9.flac, which is not UTF-8: rename it"
    (known,) = read_json(Reference, tmp_path / "reference.json", "").failed
    assert known == failed


def test_a_killed_folder_run_leaves_nothing_half_made(aligner, demo_bundle, demo_clips, tmp_path):
    """Killed after its first file: what is there is whole, and the next run does the rest."""
    names = [f"talk-{number}" for number in range(6)]
    for name in names:
        shutil.copy(demo_clips[1].audio, tmp_path / f"{name}.flac")
        (tmp_path / f"{name}.txt").write_text(demo_clips[1].transcript)
    out = tmp_path / "out"
    script = Path(__file__).parents[2] / "run_coreml_inference.py"
    options = ("--files", tmp_path, "--output-dir", out, "--model-dir", demo_bundle.folder, "--backend", "mil")
    with subprocess.Popen([sys.executable, script, "infer", *options], stderr=subprocess.PIPE, text=True) as run:
        try:
            deadline = time.monotonic() + DEADLINE_S
            while run.poll() is None and time.monotonic() < deadline and not any(out.glob("*.json")):
                time.sleep(0.001)
        finally:
            run.kill()
        said = run.stderr.read()
    assert run.returncode == -signal.SIGKILL, f"it ended before it could be killed: {said}"
    done = {path: path.read_bytes() for path in out.glob("*.json")}
    assert 0 < len(done) < len(names)
    for path in done:
        assert len(read_json(TimedFile, path, "").timed) == 3
    rest = Output(out, ["json"], CueOptions(), skip_existing=True)
    assert align_all(aligner, paired_clips(tmp_path, None), rest) == []
    assert sorted(path.stem for path in out.glob("*.json")) == sorted(names)
    assert all(path.read_bytes() == content for path, content in done.items())


def test_a_full_disk_is_a_failure_and_leaves_nothing(aligner, demo_clips, small_disk):
    with (small_disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space left"):
        while True:
            filler.write(bytes(4096))
    (failed,) = align_all(aligner, demo_clips[1:2], Output(small_disk, ["json"], CueOptions()))
    assert "cannot write" in failed.reason
    assert "No space left on device" in failed.reason
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def test_a_place_that_cannot_be_written_is_one_sentence(aligner, demo_clips, read_only):
    for attempt in (
        lambda: align_all(aligner, demo_clips[1:2], Output(read_only / "out", ["json"], CueOptions())),
        lambda: require_writable(read_only / "reference.json"),
        lambda: write_whole(read_only / "parity.json", "{}"),
        lambda: write_folder(read_only / "m").__enter__(),
    ):
        with pytest.raises(UserError, match=r"cannot write .*Read-only file system") as caught:
            attempt()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("record", [Reference, BundleMetadata])
def test_a_file_of_a_newer_version_says_so(record, tmp_path):
    (tmp_path / "file.json").write_text('{"schema_version": 3, "something": "new"}')
    with pytest.raises(UserError, match=r"file\.json is of version 3, which this version of the program does not read"):
        read_json(record, tmp_path / "file.json", "make it again")


def test_a_folder_in_place_of_a_json_file_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*Is a directory.*make it again"):
        read_json(Reference, tmp_path, "make it again")


def test_a_transcript_of_hours_fits_into_a_csv_manifest(tmp_path):
    words = "word " * 100_000
    (tmp_path / "m.csv").write_text(f"audio,text\na.wav,{words}\n")
    (clip,) = manifest_clips(tmp_path / "m.csv", None)
    assert clip.transcript.split() == words.split()


def test_a_csv_manifest_that_cannot_be_read_names_its_line(tmp_path, monkeypatch):
    monkeypatch.setattr("forced_aligner.data.manifest.MAX_FIELD_CHARS", 10)
    limit = csv.field_size_limit()
    (tmp_path / "m.csv").write_text("audio,text\na.wav,one two three\n")
    with pytest.raises(UserError, match=r"m\.csv line \d is not CSV \(field larger than field limit"):
        manifest_clips(tmp_path / "m.csv", None)
    csv.field_size_limit(limit)  # it is the same for all readers of the process


def test_json_of_a_bad_recording_is_not_left_from_an_earlier_run(aligner, demo_clips, tmp_path):
    """A recording that fails now does not pass for one that was done: what an earlier run wrote stays as it was."""
    (tmp_path / "talk.wav").write_bytes(b"no audio")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/talk.json").write_text(json.dumps({"old": True}))
    clip = Clip(audio=str(tmp_path / "talk.wav"), transcript="one")
    (failed,) = align_all(aligner, [clip], Output(tmp_path / "out", ["json"], CueOptions(), overwrite=True))
    assert "cannot decode" in failed.reason
    assert json.loads((tmp_path / "out/talk.json").read_text()) == {"old": True}
