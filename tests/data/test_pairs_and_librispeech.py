"""Folders of recordings: the same order in every run, the files that were read, and one sentence for what is odd."""

import contextlib
import os
import tempfile
from pathlib import Path

import pytest

from forced_aligner.base.errors import UserError
from forced_aligner.data.clips import input_clips, load_clips
from forced_aligner.data.librispeech import find_subset
from forced_aligner.data.pairs import paired_clips


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
