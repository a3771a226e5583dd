"""Folders of recordings: the same order in every run, the files that were read, and one sentence for what is odd."""

import contextlib
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from forced_aligner.align.audio import load_clip
from forced_aligner.base.errors import UserError
from forced_aligner.data.clips import input_clips, load_clips
from forced_aligner.data.librispeech import find_subset
from forced_aligner.data.pairs import paired_clips, tell_of_subfolders


def folder_of(folder, **files):
    """A folder of files; `_` in a name stands for its dot."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


@contextlib.contextmanager
def as_nobody():
    """Without root's permission to read all."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_has_no_partner_is_listed_in_the_order_of_the_names(tmp_path, capsys):
    names = {f"{letter}{letter}_txt": "one" for letter in "gbfaecd"} | {"talk_wav": "", "talk_txt": "x", "b_flac": ""}
    paired_clips(folder_of(tmp_path, **names), None)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["left out: b.flac has no b.txt or .lab beside it"] + [
        f"left out: {letter}{letter}.txt has no audio beside it" for letter in "abcdefg"
    ]


def test_two_recordings_may_share_a_transcript(tmp_path):
    clips = paired_clips(folder_of(tmp_path, same_wav="", same_flac="", same_txt="one"), None)
    assert [(Path(clip.audio).name, clip.transcript) for clip in clips] == [("same.flac", "one"), ("same.wav", "one")]
    assert {clip.sources for clip in clips} == {(str(tmp_path / "same.txt"),)}


def test_two_transcripts_of_a_recording_must_be_the_same(tmp_path):
    files = {"a_wav": "", "a_txt": "one", "a_lab": "one\n", "b_wav": "", "b_txt": "one", "b_lab": "two"}
    same, other = paired_clips(folder_of(tmp_path, **files), None)
    assert (same.transcript, same.problem) == ("one", None)
    assert other.problem == "b.lab and b.txt beside it hold different transcripts: remove all but one"
    assert other.sources == (str(tmp_path / "b.lab"), str(tmp_path / "b.txt"))


def test_an_odd_transcript_is_the_problem_of_its_clip(tmp_path):
    folder_of(tmp_path, a_wav="", b_wav="", b_txt=b"caf\xe9", c_wav="", c_txt="one", d_wav="", d_txt="")
    os.mkfifo(tmp_path / "a.txt")
    with (tmp_path / "d.txt").open("wb") as file:
        file.truncate(1 << 40)
    problems = [clip.problem for clip in paired_clips(tmp_path, None)]
    assert "a.txt (it is a pipe); expected a text file" in problems[0]
    assert "b.txt (byte 3 is not UTF-8); save it as UTF-8" in problems[1]
    assert problems[2] is None
    assert "d.txt (it has more than 4194304 bytes, the most that is read)" in problems[3]


@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_a_folder_without_permission_is_one_sentence(mode):
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders are closed to others
        folder = folder_of(Path(place), talk_wav="", talk_txt="one")
        folder.chmod(mode)
        with as_nobody():
            if mode:  # the names can be listed, but nothing can be read
                (clip,) = paired_clips(folder, None)
                assert "talk.txt (Permission denied)" in clip.problem
            else:
                with pytest.raises(UserError, match=r"cannot list the folder .* \(Permission denied\)"):
                    paired_clips(folder, None)
        folder.chmod(0o755)


def test_a_name_that_is_too_long_is_one_sentence():
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(UserError, match="no data set"):
            load_clips(name, None, is_demo_model=False, language=None)
        with pytest.raises(UserError, match="cannot read"):
            input_clips(None, None, None, Path(name), None)
        with pytest.raises(UserError, match="no LibriSpeech test-clean in"):
            load_clips("librispeech", Path(name), is_demo_model=False, language=None)
    assert find_subset("test-clean", Path("x" * 300)) is None


@pytest.mark.parametrize(
    ("suffix", "form", "subtype"),
    [
        (".opus", "OGG", "OPUS"), (".oga", "OGG", "VORBIS"), (".oga", "OGG", "OPUS"), (".aif", "AIFF", "PCM_16"),
        (".aiff", "AIFF", "PCM_24"), (".au", "AU", "PCM_16"), (".caf", "CAF", "PCM_16"), (".w64", "W64", "PCM_16"),
        (".mp3", "MP3", "MPEG_LAYER_III"), (".ogg", "OGG", "VORBIS"), (".flac", "FLAC", "PCM_16"),
    ],
)  # fmt: skip
def test_whatever_is_decoded_is_taken_from_a_folder(tmp_path, capsys, suffix, form, subtype):
    wave = 0.5 * np.sin(np.arange(16_000) / 8)
    soundfile.write(tmp_path / f"talk{suffix}", wave, 16_000, format=form, subtype=subtype)
    (clip,) = paired_clips(folder_of(tmp_path, talk_txt="one"), None)
    samples = load_clip(clip)
    assert samples.size == pytest.approx(wave.size, abs=1600)
    assert np.std(samples[2000:14_000]) == pytest.approx(np.std(wave), rel=0.1)
    assert capsys.readouterr().err == ""


def test_a_recording_of_a_format_that_is_not_read_is_told_once_with_what_to_do(tmp_path, capsys):
    names = {"a_flac": "", "a_txt": "one", "c_m4a": "", "c_txt": "x", "c_srt": "x", "my talk_MP4": "", "notes_pdf": ""}
    paired_clips(folder_of(tmp_path, **names), None)
    assert capsys.readouterr().err.splitlines() == [
        "left out: c.m4a: this format is not read; convert it, for example by ffmpeg -i c.m4a c.flac",
        "left out: my talk.MP4: this format is not read; convert it, for example by "
        "ffmpeg -i 'my talk.MP4' 'my talk.flac'",
    ]


def test_the_video_that_a_recording_was_taken_from_is_not_told(tmp_path, capsys):
    (clip,) = paired_clips(folder_of(tmp_path, talk_mp4="", talk_wav="", talk_txt="one"), None)
    assert Path(clip.audio).name == "talk.wav"
    assert capsys.readouterr().err == ""


@pytest.fixture
def tree(tmp_path):
    """Pairs in a folder, its subfolders and a hidden one, with odd files, and with links that must not count."""
    top = folder_of(tmp_path / "talks", z_flac="", z_txt="top")
    folder_of(top / "b", talk_flac="", talk_txt="b", lonely_wav="")
    folder_of(top / "a", talk_flac="", talk_txt="a", c_m4a="", c_txt="x", widow_txt="x")
    folder_of(top / "a/deep", talk_flac="", talk_txt="deep")
    folder_of(top / ".hidden", talk_flac="", talk_txt="hidden")
    (top / "a/circle").symlink_to(top)
    (top / "out").symlink_to(folder_of(tmp_path / "other", talk_flac="", talk_txt="other"))
    return top


def test_subfolders_are_taken_in_a_stable_order_without_hidden_ones_and_links(tree, capsys):
    clips = paired_clips(tree, None, recursive=True)
    assert [clip.transcript for clip in clips] == ["top", "a", "deep", "b"]
    assert [clip.subfolder for clip in clips] == [".", "a", "a/deep", "b"]
    assert capsys.readouterr().err.splitlines() == [
        "left out: a/c.m4a: this format is not read; convert it, for example by ffmpeg -i a/c.m4a a/c.flac",
        "left out: a/widow.txt has no audio beside it",
        "left out: a/circle is a link to a folder",
        "left out: b/lonely.wav has no lonely.txt or .lab beside it",
        "left out: out is a link to a folder",
    ]


def test_recordings_in_subfolders_are_told_where_they_are_left_out(tree, capsys):
    (clip,) = input_clips(None, None, None, tree, None)
    assert clip.transcript == "top"
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "left out: subfolders hold recordings, such as a/talk.flac; --recursive takes them too"
    assert len(input_clips(None, None, None, tree, None, recursive=True)) == 4
    assert "--recursive" not in capsys.readouterr().err
    input_clips(None, None, None, tree / "a/deep", None)
    assert capsys.readouterr().err == ""


def test_a_data_set_has_no_subfolders(tree, capsys):
    assert len(load_clips(str(tree), None, is_demo_model=False, language=None)) == 1
    assert capsys.readouterr().err == ""


def test_a_subfolder_without_permission_is_left_out_and_told(capsys):
    with tempfile.TemporaryDirectory() as place:
        top = folder_of(Path(place), talk_wav="", talk_txt="one")
        top.chmod(0o755)
        folder_of(top / "closed", talk_wav="", talk_txt="one").chmod(0)
        with as_nobody():
            assert len(paired_clips(top, None, recursive=True)) == 1
            assert f"left out: cannot list the folder {top}/closed (Permission" in capsys.readouterr().err
            tell_of_subfolders(top)
            assert capsys.readouterr().err == ""
        (top / "closed").chmod(0o755)


@pytest.mark.parametrize("files", [None, Path("talks.csv")])
def test_recursive_needs_a_folder(files):
    with pytest.raises(UserError, match="give --files FOLDER with it"):
        input_clips(None, None, None, files, None, recursive=True)


def test_a_text_file_is_a_source_of_its_clip(tmp_path):
    folder_of(tmp_path, talk_wav="", talk_txt=" one\x07 two\n")
    (clip,) = input_clips(tmp_path / "talk.wav", None, tmp_path / "talk.txt", None, None)
    assert (clip.transcript, clip.sources) == ("one two", (str(tmp_path / "talk.txt"),))
    (clip,) = input_clips(tmp_path / "talk.wav", "one", None, None, None)
    assert clip.sources == ()


def libri(tmp_path, **chapters):
    """A subset with a chapter for each content of its transcripts, by one speaker each."""
    for speaker, content in chapters.items():
        folder = tmp_path / "test-clean" / speaker / "1"
        folder.mkdir(parents=True)
        (folder / f"{speaker}-1-0000.flac").touch()
        (folder / f"{speaker}-1.trans.txt").write_bytes(content)
    return load_clips("librispeech", tmp_path, is_demo_model=False, language=None)


def test_librispeechs_clips_have_their_speaker_and_their_source(tmp_path):
    clips = libri(tmp_path, b=b"b-1-0000 ONE\n\n  \r\nb-1-0001 TWO THREE\r\n", a=b"a-1-0000 FOUR")
    assert [(Path(clip.audio).name, clip.transcript, clip.speaker) for clip in clips] == [
        ("a-1-0000.flac", "FOUR", "a"),
        ("b-1-0000.flac", "ONE", "b"),
        ("b-1-0001.flac", "TWO THREE", "b"),
    ]
    assert [clip.language for clip in clips] == ["English"] * 3
    assert clips[2].sources == (str(tmp_path / "test-clean/b/1/b-1.trans.txt"),)


def test_a_chapter_that_cannot_be_read_is_the_problem_of_its_clips(tmp_path):
    (tmp_path / "test-clean/c/1/c-1.trans.txt").mkdir(parents=True)
    (tmp_path / "test-clean/c/1/c-1-0000.flac").touch()
    clips = libri(tmp_path, a=b"a-1-0000 CAF\xc9", b=b"b-1-0000 ONE")
    problems = {clip.speaker: clip.problem for clip in clips}
    assert "a-1.trans.txt (byte 12 is not UTF-8); save it as UTF-8" in problems["a"]
    assert problems["b"] is None
    assert "c-1.trans.txt (Is a directory)" in problems["c"]


def test_a_chapter_that_cannot_be_read_and_has_no_recordings_is_one_sentence(tmp_path):
    (tmp_path / "test-clean/a/1/a-1.trans.txt").mkdir(parents=True)
    with pytest.raises(UserError, match=r"a-1\.trans\.txt \(Is a directory\)"):
        load_clips("librispeech", tmp_path, is_demo_model=False, language=None)
