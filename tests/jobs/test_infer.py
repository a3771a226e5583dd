"""Many recordings: a bad one does not stop the others, and nothing is overwritten, lost or half-written."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import srt

from forced_aligner.align.audio import SAMPLE_RATE_HZ, load_audio
from forced_aligner.align.chain import Aligner, Alignment
from forced_aligner.base.errors import IncompleteError, UnexpectedError, UserError
from forced_aligner.base.records import read_json
from forced_aligner.data.clips import input_clips
from forced_aligner.data.manifest import manifest_clips
from forced_aligner.data.pairs import paired_clips
from forced_aligner.data.records import Clip
from forced_aligner.jobs.each import list_failures
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
    assert [Path(failed.audio).name for failed in failures] == ["broken.wav", "wordless.flac"]
    assert "cannot decode" in failures[0].reason
    assert "has no words to align" in failures[1].reason
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


def test_a_clash_of_names_is_a_failure_even_where_the_file_is_there_already(aligner, talks, tmp_path):
    """same.wav and same.flac: the second is not "there already", its result is nowhere."""
    shutil.copy(talks / "one.flac", talks / "one.wav")
    clips = [clip for clip in paired_clips(talks, None) if Path(clip.audio).stem == "one"]
    for _ in range(2):
        (failed,) = align_all(aligner, clips, output(tmp_path / "out", "json", skip_existing=True))
        assert Path(failed.audio).name == "one.wav"
        assert "would overwrite what belongs to recording 1, " in failed.reason


def test_a_recording_that_a_manifest_names_twice_is_not_lost(aligner, talks, tmp_path):
    clip = Clip(audio=str(talks / "one.flac"), transcript="one")
    (failed,) = align_all(aligner, [clip, clip.model_copy(update={"transcript": "two"})], output(tmp_path, "json"))
    assert "would overwrite what belongs to recording 1, " in failed.reason
    assert [word.text for word in read_json(TimedFile, tmp_path / "one.json", "").words] == ["one"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_no_input_is_overwritten(aligner, talks, tmp_path, overwrite):
    """Transcripts, manifests, the model and recordings: whatever the run reads stays, whatever it is told."""
    (talks / "talk.labels.txt").write_text("one")
    shutil.copy(talks / "one.flac", talks / "talk.labels.flac")
    shutil.copy(talks / "one.flac", talks / "talk.flac")
    (talks / "talk.txt").write_text("one")
    shutil.copy(talks / "one.flac", talks / "list.flac")
    rows = [{"audio": "list.flac", "text": "one"}]
    (talks / "list.json").write_text("\n".join(map(json.dumps, rows)))
    clips = [clip for clip in paired_clips(talks, None) if Path(clip.audio).name in ("talk.flac", "talk.labels.flac")]
    clips += manifest_clips(talks / "list.json", None)
    before = {path: path.read_bytes() for path in talks.iterdir()}
    failures = align_all(aligner, clips, output(talks, "json", "audacity", overwrite=overwrite))
    assert {Path(failed.audio).name for failed in failures} == {"talk.flac", "list.flac"}
    assert all("which this run reads" in failed.reason for failed in failures)
    assert {path: path.read_bytes() for path in before} == before


def test_what_the_run_did_not_write_stays_until_the_user_says_otherwise(aligner, talks):
    """A gold TextGrid beside its recording."""
    (talks / "one.TextGrid").write_text("years of work")
    clips = paired_clips(talks, None)[1:2]
    (failed,) = align_all(aligner, clips, output(talks, "textgrid"))
    assert "one.TextGrid is there already, and this run did not make it: give --overwrite or" in failed.reason
    assert align_all(aligner, clips, output(talks, "textgrid", skip_existing=True)) == []
    assert (talks / "one.TextGrid").read_text() == "years of work"
    assert align_all(aligner, clips, output(talks, "textgrid", overwrite=True)) == []
    assert (talks / "one.TextGrid").read_text().startswith("File type")


def test_what_an_earlier_run_left_out_is_written_and_the_rest_stays(aligner, talks, tmp_path):
    clips = paired_clips(talks, None)[1:2]
    assert align_all(aligner, clips, output(tmp_path, "json")) == []
    (tmp_path / "one.json").write_text("corrected by hand")
    assert align_all(aligner, clips, output(tmp_path, "json", "srt", skip_existing=True)) == []
    assert (tmp_path / "one.json").read_text() == "corrected by hand"
    assert "-->" in (tmp_path / "one.srt").read_text()


def test_an_unexpected_failure_is_listed_with_its_traceback_in_a_file(demo_bundle, talks, tmp_path, capsys):
    class Broken(MilBackend):
        def predict(self, component, function, inputs):
            if component == "embedding" and inputs["input_ids"].shape[1] < 30:
                raise ZeroDivisionError("planted")
            return super().predict(component, function, inputs)

    aligner = Aligner(demo_bundle, Broken(demo_bundle))
    clips = [clip for clip in paired_clips(talks, None) if Path(clip.audio).name in ("one.flac", "two.flac")]
    failures = align_all(aligner, clips, output(tmp_path / "out", "json"))
    assert [Path(failed.audio).name for failed in failures] == ["one.flac"]
    assert failures[0].unexpected
    assert "unexpected ZeroDivisionError (planted): its traceback is in" in failures[0].reason
    said = (tmp_path / "out/forced-aligner-errors.log").read_text()
    assert "Traceback" in said
    assert "ZeroDivisionError: planted" in said
    assert (tmp_path / "out/two.json").exists()
    with pytest.raises(UnexpectedError, match="1 of 2 recordings failed, see above") as caught:
        list_failures(failures, 2)
    assert caught.value.exit_code == 70
    assert "failed: " in capsys.readouterr().err


def test_no_time_lies_after_the_end_of_the_audio(aligner, tmp_path):
    path = tmp_path / "short.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(8_100), 16_000)
    file, _, _ = align_file(aligner, Clip(audio=str(path), transcript=" ".join(["word"] * 20)), 0.0)
    raw = aligner.align(load_audio(path), " ".join(["word"] * 20)).words
    assert max(word.end_time_ms for word in raw) > 506  # the bins of 80 ms pass the end
    assert max(word.end_time_ms for word in file.timed) == 506


def test_two_recordings_of_one_name_do_not_overwrite_each_other(aligner, demo_clips, tmp_path):
    clips = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(demo_clips[0].audio, tmp_path / folder / "talk.flac")
        clips.append(Clip(audio=str(tmp_path / folder / "talk.flac"), transcript="one"))
    (failed,) = align_all(aligner, clips, output(tmp_path / "out", "json"))
    assert "would overwrite what belongs to recording 1, " in failed.reason
    assert json.loads((tmp_path / "out/talk.json").read_text())["audio"] == clips[0].audio


def test_equal_names_in_two_subfolders_are_two_results(aligner, talks, tmp_path, capsys):
    for folder, name in (("sub", "one.flac"), ("other", "two.flac")):
        (talks / folder).mkdir()
        shutil.copy(talks / name, talks / folder / "one.flac")
        shutil.copy(talks / Path(name).with_suffix(".txt" if folder == "sub" else ".lab"), talks / folder / "one.txt")
    clips, out = paired_clips(talks, None, recursive=True), tmp_path / "out"
    failures = align_all(aligner, clips, output(out, "json"))
    assert [Path(failed.audio).name for failed in failures] == ["broken.wav", "wordless.flac"]
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*.json"))
    assert written == ["one.json", "other/one.json", "sub/one.json", "two.json"]
    assert (
        json.loads((out / "other/one.json").read_text())["words"] == json.loads((out / "two.json").read_text())["words"]
    )
    assert "[6/6] sub/one.flac  " in capsys.readouterr().err


@pytest.mark.parametrize("overwrite", [True, False])
def test_results_in_subfolders_never_replace_an_input_or_one_another(aligner, talks, tmp_path, overwrite):
    (talks / "sub").mkdir()
    shutil.copy(talks / "one.flac", talks / "sub/one.flac")
    (talks / "sub/one.srt").write_text("1\n00:00:00,000 --> 00:00:02,000\n" + (talks / "one.txt").read_text())
    before = {path: path.read_bytes() for path in talks.rglob("*") if path.is_file()}
    place = output(talks, "srt", overwrite=overwrite)
    failures = align_all(aligner, paired_clips(talks, None, recursive=True), place)
    assert "one.srt would overwrite" in {Path(failed.audio).parent.name: failed.reason for failed in failures}["sub"]
    assert {path: path.read_bytes() for path in before} == before

    out = tmp_path / "out"
    out.mkdir()
    (out / "sub").symlink_to(out)  # the folder of the results makes one file of two
    failures = align_all(aligner, paired_clips(talks, None, recursive=True), output(out, "json", overwrite=overwrite))
    assert "would overwrite what belongs to recording 2, " in failures[-1].reason
    assert json.loads((out / "one.json").read_text())["audio"] == str(talks / "one.flac")


def test_a_folder_that_cannot_be_written_is_a_failure(aligner, demo_clips, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        align_all(aligner, demo_clips[:1], output(tmp_path / "file", "json"))


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


@pytest.fixture(scope="module")
def talk(demo_clips):
    return next(clip for clip in demo_clips if "Tasmania" in clip.transcript)


MARKED = (
    "\ufeffANNA: Photos bail\u00a0united needles. [laughs]\r\n\r\n\r\nBOB (off): Breakfast honorable—welcomed "
    "throne (applause).\r\n# The end\r\nANNA: Tasmania uk dee efficiently.\r\n"
)


def test_marks_dashes_and_odd_spaces_do_not_move_a_word(aligner, talk, tmp_path, capsys):
    (tmp_path / "talk.txt").write_bytes(MARKED.encode())
    (clip,) = input_clips(Path(talk.audio), None, tmp_path / "talk.txt", None, None)
    plain, _, _ = align_file(aligner, talk, 0.0)
    marked, _, _ = align_file(aligner, clip, 0.0)
    assert [(word.word, word.start_time_ms, word.end_time_ms) for word in marked.timed] == [
        (word.word, word.start_time_ms, word.end_time_ms) for word in plain.timed
    ]
    assert [word.text for word in marked.words if word.mark] == [
        "ANNA:", "[laughs]", "BOB (off):", "(applause)", "# The end", "ANNA:"
    ]  # fmt: skip
    assert "honorable—" in [word.text for word in marked.timed]
    assert "3 labels, 2 directions, 1 heading, such as ANNA:" in capsys.readouterr().err


def test_brackets_are_aligned_where_the_user_says_so(aligner, talk):
    clip = Clip(audio=talk.audio, transcript="ANNA: Photos [laughs] bail")
    file, _, _ = align_file(aligner, clip, 0.0, keep_brackets=True)
    assert [word.word for word in file.timed] == ["ANNA", "Photos", "laughs", "bail"]


def test_a_transcript_without_speech_is_one_sentence(aligner, talk):
    with pytest.raises(
        UserError, match=r"no spoken words, only 1 label, 1 direction, such as ANNA:; --keep-brackets aligns them"
    ):
        align_file(aligner, Clip(audio=talk.audio, transcript="ANNA: [laughs]"), 0.0)


def test_subtitles_that_drift_get_the_times_of_the_speech(aligner, talk, tmp_path):
    shutil.copy(talk.audio, tmp_path / "talk.flac")
    cues = [
        "Photos bail\nunited needles.",
        "<i>Breakfast honorable welcomed throne.</i>",
        "Tasmania uk dee efficiently.",
    ]
    times = [("00:10,000", "00:11,000"), ("00:11,500", "00:12,000"), ("00:13,000", "00:20,000")]
    (tmp_path / "talk.srt").write_text(
        "".join(
            f"{number}\n00:{start} --> 00:{end}\n{text}\n\n"
            for number, (text, (start, end)) in enumerate(zip(cues, times, strict=True), 1)
        )
    )
    output = Output(tmp_path / "out", ["srt", "json"], CueOptions())
    assert align_all(aligner, paired_clips(tmp_path, None), output) == []
    words = {
        word["word"]: word for word in json.loads((tmp_path / "out/talk.json").read_text())["words"] if word["word"]
    }
    read = list(srt.parse((tmp_path / "out/talk.srt").read_text()))
    assert [cue.content for cue in read] == cues
    for cue, first, last in zip(
        read, ("Photos", "Breakfast", "Tasmania"), ("needles", "throne", "efficiently"), strict=True
    ):
        assert cue.start.total_seconds() * 1000 == pytest.approx(words[first]["start_time_ms"])
        assert cue.end.total_seconds() * 1000 == pytest.approx(words[last]["end_time_ms"])
    true = {word.text: word.start_time_ms for word in talk.alignments}
    assert all(abs(words[name]["start_time_ms"] - true[name]) <= 160 for name in ("Photos", "Breakfast", "Tasmania"))
    # What the run read is not overwritten.
    (failed,) = align_all(
        aligner, paired_clips(tmp_path, None), Output(tmp_path, ["srt"], CueOptions(), overwrite=True)
    )
    assert "talk.srt, which this run reads" in failed.reason


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


def test_a_picture_has_the_spelling_of_the_transcript_without_what_is_not_spoken(
    aligner, demo_clips, tmp_path, monkeypatch
):
    drawn = []
    monkeypatch.setattr("forced_aligner.jobs.recording_picture.plot_alignment", lambda *given, **_: drawn.extend(given))
    clip = demo_clips[2].model_copy(update={"transcript": f"ANNA: [coughs] {demo_clips[2].transcript}"})
    assert align_all(aligner, [clip], output(tmp_path, "json", plot=True)) == []
    _, sides, _, _, confidences, _ = drawn
    assert [word.text for word in sides["words"]] == demo_clips[2].transcript.split()
    file = read_json(TimedFile, tmp_path / f"{Path(clip.audio).stem}.json", "")
    assert confidences == [word.confidence for word in file.timed]


def page_data(path):
    found = re.search(r'<script type="application/json" id="data">(.*)</script>', path.read_text(encoding="utf-8"))
    return json.loads(found[1])


def test_each_recording_has_its_page_with_the_words_of_its_json(aligner, talks, tmp_path):
    clips = [clip for clip in paired_clips(talks, None) if Path(clip.audio).name in ("one.flac", "two.flac")]
    assert align_all(aligner, clips, output(tmp_path / "out", "json", "html")) == []
    for name in ("one", "two"):
        data = page_data(tmp_path / f"out/{name}.html")
        known = read_json(TimedFile, tmp_path / f"out/{name}.json", "")
        assert TimedFile.model_validate(data["file"]) == known.model_copy(update={"audio": f"{name}.flac"})
        assert 'src="data:audio/mpeg;base64,' in (tmp_path / f"out/{name}.html").read_text(encoding="utf-8")


def test_a_page_that_links_finds_the_recording_from_where_it_lies(aligner, talks, tmp_path):
    clips = [clip for clip in paired_clips(talks, None) if Path(clip.audio).name == "one.flac"]
    assert align_all(aligner, clips, output(tmp_path / "out/pages", "html", audio_link=True)) == []
    (address,) = re.findall('<audio .* src="(.*?)"', (tmp_path / "out/pages/one.html").read_text(encoding="utf-8"))
    assert address == "../../talks/one.flac"
    assert (tmp_path / "out/pages" / address).samefile(clips[0].audio)


def test_one_named_file_is_written_and_never_over_another(aligner, talks, tmp_path):
    clips = [clip for clip in paired_clips(talks, None) if Path(clip.audio).name == "one.flac"]
    page = tmp_path / "new/my page.html"
    assert align_all(aligner, clips, output(page.parent, "html", file=page)) == []
    assert [path.name for path in page.parent.iterdir()] == ["my page.html"]
    (failed,) = align_all(aligner, clips, output(page.parent, "html", file=page))
    assert "my page.html is there already" in failed.reason
    assert "choose another --output" in failed.reason
    recording = Path(clips[0].audio)
    (failed,) = align_all(aligner, clips, output(talks, "html", file=recording, overwrite=True))
    assert "which this run reads" in failed.reason
    (failed,) = align_all(aligner, clips, output(tmp_path, "html", file=tmp_path / "new", overwrite=True))
    assert "new: it is a folder; give the name of a file" in failed.reason


@pytest.fixture
def answer(monkeypatch, demo_clips):
    """A function that makes the aligner answer with the true times of a demo clip, and with the changes it is given."""
    true_times = {clip.transcript: clip.alignments for clip in demo_clips}

    def change(**changes):
        def aligned(aligner, samples, transcript, *_):
            words = true_times[transcript]
            return replace(Alignment(words, [0.9] * len(words), samples.size / SAMPLE_RATE_HZ), **changes)

        monkeypatch.setattr("forced_aligner.jobs.infer.align_recording", aligned)

    return change


def test_words_that_were_not_found_are_told_and_have_no_times(aligner, demo_clips, answer, capsys):
    answer(not_found=frozenset({2, 3, 4}), untranscribed_s=[(0.5, 2.5)])
    clip = demo_clips[2]
    whole, _, _ = align_file(aligner, clip, 0.0)
    spoken = [word for word in whole.words if word.word is not None]
    assert [word.status for word in spoken] == [None, None, *["not-found"] * 3, *[None] * (len(spoken) - 5)]
    assert {(word.start_time_ms, word.end_time_ms, word.confidence) for word in spoken[2:5]} == {(None, None, None)}
    assert [(part.first_word, part.last_word) for part in whole.not_found] == [(3, 5)]
    said = capsys.readouterr().err
    assert f"warning: {clip.audio}: words 3 to 5 were not found (about {spoken[1].end_time_ms / 1000:.1f} s): " in said
    assert f"warning: {clip.audio}: no words from 0.5 to 2.5 s, where there is sound" in said


def test_confidence_is_that_of_the_words_that_were_found(aligner, demo_clips, answer, capsys):
    clip = demo_clips[2]
    count = len(clip.alignments)
    answer(not_found=frozenset(range(1, count)), confidences=[0.9] + [0.0] * (count - 1))
    align_file(aligner, clip, 0.0)
    assert "mean confidence" not in capsys.readouterr().err
    answer(not_found=frozenset({0}), confidences=[1.0] + [0.1] * (count - 1))
    align_file(aligner, clip, 0.0)
    assert "mean confidence 0.10: " in capsys.readouterr().err


def test_where_no_word_was_found_this_alone_is_told(aligner, demo_clips, answer, capsys):
    clip = demo_clips[2]
    count = len(clip.alignments)
    answer(not_found=frozenset(range(count)))
    align_file(aligner, clip, 0.5)
    said = capsys.readouterr().err.splitlines()
    expected = f"none of its {count} words was found: does the transcript belong to the audio?"
    assert said == [f"warning: {clip.audio}: {expected}"]


def test_a_word_that_lasts_implausibly_long_is_marked_and_told(aligner, demo_clips, answer, capsys):
    clip = demo_clips[6]  # its second word has seven letters
    longer = replace(clip.alignments[1], end_time_ms=clip.alignments[1].start_time_ms + 2400)
    answer(words=[clip.alignments[0], longer, *clip.alignments[2:]])
    file, _, _ = align_file(aligner, clip, 0.0)
    assert [word.doubtful for word in file.timed] == [None, "long", *[None] * (len(file.timed) - 2)]
    assert ", lasts 2.4 s, from " in capsys.readouterr().err


def test_a_strict_run_writes_everything_and_names_the_recordings_that_lack_words(
    aligner, talks, tmp_path, answer, capsys
):
    answer(not_found=frozenset({1}))  # the other recording has one word
    clips = [clip for clip in paired_clips(talks, None) if Path(clip.audio).name in ("one.flac", "two.flac")]
    failures = align_all(aligner, clips, output(tmp_path / "out", "json", plot=True, strict=True))
    assert [(Path(failed.audio).name, failed.incomplete) for failed in failures] == [("two.flac", True)]
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["one.json", "one.png", "two.json", "two.png"]
    assert read_json(TimedFile, tmp_path / "out/two.json", "").not_found[0].first_word == 2
    capsys.readouterr()
    with pytest.raises(IncompleteError, match="1 of 2 recordings failed") as caught:
        list_failures(failures, 2)
    assert caught.value.exit_code == 1
    assert "two.flac: 1 of 3 words was not found; the result is written" in capsys.readouterr().err


def test_a_strict_run_in_which_a_recording_fails_ends_with_that_code(aligner, talks, tmp_path, answer):
    answer(not_found=frozenset({0}))
    clips = [clip for clip in paired_clips(talks, None) if Path(clip.audio).name in ("one.flac", "broken.wav")]
    failures = align_all(aligner, clips, output(tmp_path / "out", "json", strict=True))
    assert [failed.incomplete for failed in failures] == [False, True]
    with pytest.raises(UserError) as caught:
        list_failures(failures, 2)
    assert caught.value.exit_code == 2


def test_a_run_that_is_not_strict_counts_what_was_not_found(aligner, talks, tmp_path, answer, capsys):
    answer(not_found=frozenset({1, 2}))
    clips = [clip for clip in paired_clips(talks, None) if Path(clip.audio).name == "two.flac"]
    assert align_all(aligner, clips, output(tmp_path / "out", "json")) == []
    assert ", 2 not found" in capsys.readouterr().err


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
