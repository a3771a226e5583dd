"""Many recordings: a bad one does not stop the others, and nothing is overwritten, lost or half-written."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from forced_aligner.align.chain import Aligner
from forced_aligner.base.errors import UserError
from forced_aligner.data.clips import input_clips
from forced_aligner.data.manifest import manifest_clips
from forced_aligner.data.pairs import paired_clips
from forced_aligner.data.records import Clip
from forced_aligner.jobs.infer import Output, align_all, align_file, lengthened
from forced_aligner.output.cues import CueOptions
from forced_aligner.output.formats import FORMATS
from forced_aligner.output.records import TimedFile, TimedWord
from forced_aligner.runtime.mil.backend import MilBackend


@pytest.fixture(scope="module")
def aligner(demo_bundle):
    return Aligner(demo_bundle, MilBackend(demo_bundle))


@pytest.fixture
def talks(tmp_path, demo_clips):
    """A folder of two good pairs, a broken recording, an empty transcript, and two files without a partner."""
    folder = tmp_path / "talks"
    folder.mkdir()
    for name, clip, suffix in (("one", demo_clips[0], ".txt"), ("two", demo_clips[1], ".lab")):
        shutil.copy(clip.audio, folder / f"{name}.flac")
        (folder / f"{name}{suffix}").write_text(clip.transcript)
    (folder / "broken.wav").write_bytes(b"no audio")
    (folder / "broken.txt").write_text("words")
    shutil.copy(demo_clips[0].audio, folder / "wordless.flac")
    (folder / "wordless.txt").write_text("?!")
    shutil.copy(demo_clips[0].audio, folder / "alone.flac")
    (folder / "widow.txt").write_text("words")
    return folder


def output(folder, *formats, **options):
    return Output(folder, list(formats), CueOptions(), **options)


def test_a_folder_run_survives_bad_files_and_lists_them(aligner, talks, tmp_path, capsys):
    clips = paired_clips(talks, None)
    failures = align_all(aligner, clips, output(tmp_path / "out", "json", "srt"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one.json", "one.srt", "two.json", "two.srt"]
    assert [Path(failure.split(": ")[0]).name for failure in failures] == ["broken.wav", "wordless.flac"]
    assert "cannot decode" in failures[0]
    assert "has no words to align" in failures[1]
    said = capsys.readouterr().err
    assert "left out: alone.flac has no alone.txt or .lab beside it" in said
    assert "left out: widow.txt has no audio beside it" in said


def test_what_is_there_already_can_be_skipped(aligner, talks, tmp_path, capsys):
    clips = paired_clips(talks, None)[1:2]
    place = output(tmp_path / "out", "json", skip_existing=True)
    assert align_all(aligner, clips, place) == []
    (written,) = (tmp_path / "out").iterdir()
    written.write_text("kept")
    assert align_all(aligner, clips, place) == []
    assert written.read_text() == "kept"
    assert "there already" in capsys.readouterr().err


def test_two_recordings_of_one_name_do_not_overwrite_each_other(aligner, demo_clips, tmp_path):
    clips = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(demo_clips[0].audio, tmp_path / folder / "talk.flac")
        clips.append(Clip(audio=str(tmp_path / folder / "talk.flac"), transcript="one"))
    (failure,) = align_all(aligner, clips, output(tmp_path / "out", "json"))
    assert "would overwrite what belongs to" in failure
    assert json.loads((tmp_path / "out/talk.json").read_text())["audio"] == clips[0].audio


def test_a_folder_that_cannot_be_written_is_a_failure(aligner, demo_clips, tmp_path):
    (tmp_path / "file").touch()
    (failure,) = align_all(aligner, demo_clips[:1], output(tmp_path / "file", "json"))
    assert "cannot write" in failure


def test_weak_words_are_marked(aligner, demo_clips):
    clip = demo_clips[2]
    sure, _, _ = align_file(aligner, clip, 0.0)
    weak, _, _ = align_file(aligner, clip, 1.0)
    assert not any(word.weak for word in sure.words)
    assert all(word.weak for word in weak.words)
    assert all(0 <= word.confidence <= 1 for word in sure.words)


def test_a_transcript_of_other_words_has_a_lower_confidence(aligner, demo_clips):
    clip, other = demo_clips[5], demo_clips[6]
    right, _, _ = align_file(aligner, clip, 0.0)
    wrong, _, _ = align_file(aligner, clip.model_copy(update={"transcript": other.transcript}), 0.0)
    means = [np.mean([word.confidence for word in file.timed]) for file in (right, wrong)]
    assert means[1] < means[0]


def test_a_transcript_ten_times_too_long_is_answered_with_a_warning(aligner, demo_clips, capsys):
    clip = demo_clips[1]
    words = " ".join([other.transcript for other in demo_clips[2:7]])
    file, _, _ = align_file(aligner, clip.model_copy(update={"transcript": words}), 0.0)
    assert len(file.timed) > 10 * len(clip.alignments)
    assert "does the transcript belong to the audio?" in capsys.readouterr().err


def test_silence_is_answered_with_a_warning(aligner, tmp_path, capsys):
    path = tmp_path / "silence.wav"
    soundfile.write(path, np.zeros(16_000), 16_000)
    file, _, _ = align_file(aligner, Clip(audio=str(path), transcript="one two"), 0.0)
    assert len(file.timed) == 2
    assert "the audio is silent" in capsys.readouterr().err


@pytest.mark.parametrize("name", FORMATS)
def test_words_that_a_format_lengthens_are_counted(name):
    words = [TimedWord(text=word, word=word, start_time_ms=80, end_time_ms=80, confidence=1) for word in "ab"]
    file = TimedFile(audio="a.wav", language=None, duration_s=1, words=words)
    raw = ("json", "tsv", "audacity")
    assert lengthened(file, ["json", name]) == ([] if name in raw else ["2 lengthened to 10 ms"])


def test_a_folder_run_says_how_many_words_were_lengthened(aligner, demo_clips, tmp_path, capsys):
    clip = demo_clips[1].model_copy(update={"transcript": " ".join(["one"] * 60)})
    assert align_all(aligner, [clip], output(tmp_path, "json", "srt")) == []
    file = TimedFile.model_validate_json((tmp_path / f"{Path(clip.audio).stem}.json").read_bytes())
    count = sum(word.start_time_ms == word.end_time_ms for word in file.words)
    assert count > 0
    assert f", {count} lengthened to 10 ms" in capsys.readouterr().err


def test_a_plot_is_drawn(aligner, demo_clips, tmp_path):
    assert align_all(aligner, demo_clips[2:3], output(tmp_path, "json", plot=True)) == []
    assert (tmp_path / f"{Path(demo_clips[2].audio).stem}.png").read_bytes()[:4] == b"\x89PNG"


def manifest(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content)
    return path


def test_manifests_are_read_as_json_lines_and_csv(tmp_path):
    lines = '{"audio": "a.wav", "text": "one", "language": "de"}\n\n{"audio_filepath": "b.wav", "text": "two"}\n'
    table = "audio,text,language\na.wav,one,de\nb.wav,two,\n"
    for name, content in (("m.jsonl", lines), ("m.csv", table)):
        clips = manifest_clips(manifest(tmp_path, name, content), "English")
        assert [(Path(clip.audio).name, clip.transcript, clip.language) for clip in clips] == [
            ("a.wav", "one", "de"),
            ("b.wav", "two", "English"),
        ]
        assert Path(clips[0].audio).parent == tmp_path


def test_a_line_end_inside_a_transcript_does_not_end_the_row(tmp_path):
    table = 'audio,text,surplus\na.wav,"one\ntwo",x\n'
    (clip,) = manifest_clips(manifest(tmp_path, "m.csv", table), None)
    assert clip.transcript.split() == ["one", "two"]
    (clip,) = manifest_clips(manifest(tmp_path, "m.jsonl", '{"audio": "a.wav", "text": "one\u2028two"}'), None)
    assert clip.transcript.split() == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.jsonl", "{", "line 1 is not JSON"),
        ("m.jsonl", "[1]", "line 1: expected an object"),
        ("m.jsonl", '{"audio": "a.wav"}', "line 1: expected the keys audio and text, both texts, found audio"),
        (
            "m.csv",
            "audio,words\na.wav,one\n",
            "line 2: expected the keys audio and text, both texts, found .*words",
        ),
        ("m.jsonl", "", "lists no recordings"),
        ("m.jsonl", '{"audio": 5, "text": "one"}', "line 1: expected the keys audio and text, both texts"),
        ("m.jsonl", '{"audio": "a.wav", "text": 5}', "line 1: expected the keys audio and text, both texts"),
        ("m.csv", "audio,text\na.wav\n", "line 2: expected the keys audio and text, both texts"),
    ],
)
def test_a_bad_manifest_names_its_line(tmp_path, name, content, message):
    with pytest.raises(UserError, match=message):
        manifest_clips(manifest(tmp_path, name, content), None)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"text": "one"},
        {"audio_file": Path("a.wav")},
        {"audio_file": Path("a.wav"), "text": "one", "text_file": Path("a.txt")},
        {"audio_file": Path("a.wav"), "text": "one", "files": Path()},
    ],
)
def test_one_kind_of_input_is_needed(given):
    options = {"audio_file": None, "text": None, "text_file": None, "files": None, "language": None, **given}
    with pytest.raises(UserError, match="give --audio-file with --text or --text-file, or --files"):
        input_clips(**options)
