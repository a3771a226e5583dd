"""Nothing that a run reads, and nothing that it did not make, is ever overwritten; what it writes is whole."""

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from forced_aligner.base.errors import UserError
from forced_aligner.base.files import always, never, write_whole
from forced_aligner.base.outputs import Outputs
from forced_aligner.base.records import Record, file_of, write_json
from forced_aligner.score.records import ParityReport, Reference


def test_a_file_of_somebody_else_stays(tmp_path):
    gold = tmp_path / "talk.TextGrid"
    gold.write_text("years of work")
    with pytest.raises(UserError, match=r"talk\.TextGrid is there already, and this run did not make it: move it away"):
        Outputs().write(gold, "new")
    assert gold.read_text() == "years of work"


def test_a_run_may_replace_what_it_wrote_itself(tmp_path):
    outputs = Outputs()
    outputs.write(tmp_path / "a", "old", "one")
    outputs.write(tmp_path / "a", "new", "one")
    assert (tmp_path / "a").read_text() == "new"
    with pytest.raises(UserError, match=r"a would overwrite what belongs to one"):
        outputs.write(tmp_path / "a", "other", "two")


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_an_input_is_never_replaced_whatever_it_is_called(tmp_path, link):
    """A link stands here for another spelling of the name on a disk where case does not count."""
    recording, other_name = tmp_path / "talk.wav", tmp_path / "Talk.wav"
    recording.write_text("audio")
    getattr(other_name, link)(recording)
    outputs = Outputs([recording])
    for path in (recording, other_name, tmp_path / "x/../talk.wav"):
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(UserError, match=r"would overwrite .*talk\.wav, which this run reads: choose another name"):
            outputs.write(path, "new", may_replace=always)
    assert recording.read_text() == "audio"


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_two_owners_of_one_file_clash_whatever_they_call_it(tmp_path, link):
    outputs = Outputs()
    outputs.write(tmp_path / "talk.json", "one", "recording 1")
    getattr(tmp_path / "Talk.json", link)(tmp_path / "talk.json")
    assert outputs.was_written_for_another(tmp_path / "Talk.json", "recording 2")
    with pytest.raises(UserError, match="would overwrite what belongs to recording 1"):
        outputs.write(tmp_path / "Talk.json", "two", "recording 2", always)
    assert (tmp_path / "talk.json").read_text() == "one"


def test_names_that_differ_in_case_clash_where_the_disk_takes_them_for_one(caseless_disk):
    disk = caseless_disk
    outputs = Outputs()
    outputs.write(disk / "talk.json", "one", "recording 1")
    with pytest.raises(UserError, match="would overwrite what belongs to recording 1"):
        outputs.write(disk / "TALK.json", "two", "recording 2", always)
    (disk / "Gold.TextGrid").write_text("years of work")
    with pytest.raises(UserError, match="is there already"):
        outputs.write(disk / "gold.textgrid", "new")
    assert (disk / "Gold.TextGrid").read_text() == "years of work"


def test_a_folder_of_inputs_stands_for_all_files_in_it(tmp_path):
    (tmp_path / "model/package").mkdir(parents=True)
    (tmp_path / "model/package/weights").write_text("weights")
    with pytest.raises(UserError, match="which this run reads"):
        Outputs([tmp_path / "model"]).write(tmp_path / "model/package/weights", "new", may_replace=always)


def special(path, kind):
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder"])
def test_what_is_no_regular_file_is_refused_and_stays(tmp_path, kind):
    """As root, a rename would put a file in the place of a device."""
    special(tmp_path / "out", kind)
    before = (tmp_path / "out").stat().st_mode
    for write in (write_whole, Outputs().write):
        with pytest.raises(UserError, match=r"cannot write .*out: it is (no regular file|a folder)"):
            write(tmp_path / "out", "new")
    assert (tmp_path / "out").stat().st_mode == before


def test_a_link_stays_and_the_file_that_it_names_is_written(tmp_path):
    (tmp_path / "real").mkdir()
    for name in ("dangling", "there"):
        (tmp_path / name).symlink_to(tmp_path / "real" / name)
    (tmp_path / "real/there").write_text("old")
    outputs = Outputs()
    for name in ("dangling", "there"):
        outputs.write(tmp_path / name, "new", may_replace=always)
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "real" / name).read_text() == "new"


def test_the_longest_name_that_a_file_can_have_can_be_written(tmp_path):
    path = tmp_path / ("ü" * 125 + ".json")
    write_whole(path, "content")
    assert path.read_text() == "content"
    with pytest.raises(UserError, match=r"cannot write .*\(File name too long\)"):
        write_whole(tmp_path / ("a" * 256), "content")


def test_a_name_that_is_too_long_is_refused_before_the_work(tmp_path):
    with pytest.raises(UserError, match=r"cannot write .*\(File name too long\)"):
        Outputs().check(tmp_path / ("a" * 256), "", never)


def test_others_may_read_what_is_written(tmp_path):
    before = os.umask(0o022)
    try:
        write_whole(tmp_path / "a", "content")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


def test_a_file_that_comes_while_the_run_writes_is_not_replaced(tmp_path, monkeypatch):
    link = os.link

    def another_writes_first(source, target):
        Path(target).write_text("theirs")
        link(source, target)

    monkeypatch.setattr(os, "link", another_writes_first)
    with pytest.raises(UserError, match="is there already"):
        write_whole(tmp_path / "a", "ours", never)
    assert (tmp_path / "a").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_disk_without_links_can_be_written(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_whole(tmp_path / "a", "content", never)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_kill_while_a_file_is_written_leaves_the_old_one(tmp_path):
    code = (
        "import os, pathlib, signal; from forced_aligner.base.files import write_whole\n"
        "pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"write_whole(pathlib.Path({str(tmp_path / 'talk.json')!r}), 'new')"
    )
    (tmp_path / "talk.json").write_text("old")
    killed = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "talk.json").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2  # the new one has a name that nobody reads
    assert list(tmp_path.glob("*.json")) == [tmp_path / "talk.json"]


class Small(Record):
    schema_version: int = 1
    first: str = ""
    second: str = ""


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"schema_version": 1, "first": "a", "second": "b"}', True),
        ('{"schema_version": 7, "first": "a", "second": "b", "third": 3}', True),
        ('{"first": "a", "second": "b"}', False),
        ('{"schema_version": 1, "samples": []}', False),
        ("[1]", False),
        ("RIFF", False),
        ("", False),
    ],
)
def test_a_record_replaces_files_of_its_kind_alone(tmp_path, content, expected):
    path = tmp_path / "file.json"
    path.write_text(content)
    assert file_of(Small)(path) is expected
    assert file_of(Small)(tmp_path) is False


def test_the_projects_own_files_are_told_apart(demo_reference_path, demo_folder, demo_bundle, tmp_path):
    others = [
        demo_folder / "clips/manifest.json",
        demo_bundle.folder / "metadata.json",
        demo_folder / "model/config.json",
    ]
    assert file_of(Reference)(demo_reference_path)
    assert not file_of(ParityReport)(demo_reference_path)
    for path in others:
        assert not file_of(Reference)(path)
        assert not file_of(ParityReport)(path)
    with pytest.raises(UserError, match="is there already"):
        write_json(Small(), demo_reference_path, file_of(Small))
