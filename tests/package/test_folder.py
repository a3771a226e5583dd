"""A folder is written whole or not at all, by one run at a time, and nothing of others is touched."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from forced_aligner.base.errors import UserError
from forced_aligner.package.folder import NEW_NAME, OLD_NAME, recover_folder, write_folder

ROOT = Path(__file__).resolve().parents[2]


def replace(folder):
    """The check of a caller who replaces anything."""


def fill(folder, content, check=replace):
    with write_folder(folder, check) as new:
        (new / "file").write_text(content)


def content_of(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    fill(tmp_path / "m", "old")
    (tmp_path / "m/other").touch()
    fill(tmp_path / "m", "new")
    assert content_of(tmp_path / "m") == {"file": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_without_a_check_nothing_is_replaced(tmp_path):
    fill(tmp_path / "m", "old")
    with pytest.raises(UserError, match="is there already: give --force to replace it"), write_folder(tmp_path / "m"):
        pass
    assert content_of(tmp_path / "m") == {"file": "old"}


def test_what_comes_there_while_the_folder_is_written_stays(tmp_path):
    with pytest.raises(UserError, match="is there already"), write_folder(tmp_path / "m"):
        (tmp_path / "m").mkdir()
        (tmp_path / "m/thesis").write_text("years of work")
    assert content_of(tmp_path / "m") == {"thesis": "years of work"}
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_two_runs_never_write_one_folder(tmp_path):
    with write_folder(tmp_path / "m"), pytest.raises(UserError, match=r"another run is writing .*/m: wait for it"):
        fill(tmp_path / "m", "second")
    assert content_of(tmp_path / "m") == {}


def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path):
    fill(tmp_path / "m", "old")
    with pytest.raises(ZeroDivisionError), write_folder(tmp_path / "m", replace) as new:
        (new / "file").write_text("half")
        raise ZeroDivisionError
    assert content_of(tmp_path / "m") == {"file": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_an_error_of_reading_something_else_is_not_called_an_error_of_writing(tmp_path):
    with pytest.raises(FileNotFoundError), write_folder(tmp_path / "m"):
        (tmp_path / "absent").read_text()


def test_a_replacement_that_fails_brings_the_old_folder_back(tmp_path, monkeypatch):
    fill(tmp_path / "m", "old")
    rename = Path.rename

    def fail(path, target):
        if path.name == NEW_NAME.format("m"):
            raise OSError(5, "planted", str(path))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(UserError, match=r"cannot write .*planted"):
        fill(tmp_path / "m", "new")
    assert content_of(tmp_path / "m") == {"file": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


KILLED = (
    "import os, pathlib, signal\n"
    "from forced_aligner.package.folder import write_folder\n"
    "from pathlib import Path\n"
    "rename = Path.rename\n"
    "def die(path, target):\n"
    "    if path.name == {name!r}: os.kill(os.getpid(), signal.SIGKILL)\n"
    "    return rename(path, target)\n"
    "Path.rename = die\n"
    "with write_folder(Path({folder!r}), lambda folder: None) as new:\n"
    "    (new / 'file').write_text('new')"
)


@pytest.mark.parametrize(
    ("killed_before", "left"), [("m", "old"), (NEW_NAME.format("m"), "old"), (OLD_NAME.format("m"), "new")]
)
def test_a_kill_at_any_rename_leaves_the_old_folder_or_the_new_one(tmp_path, killed_before, left):
    fill(tmp_path / "m", "old")
    code = KILLED.format(name=killed_before, folder=str(tmp_path / "m"))
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    recover_folder(tmp_path / "m")
    assert content_of(tmp_path / "m") == {"file": left}
    fill(tmp_path / "m", "next")
    assert content_of(tmp_path / "m") == {"file": "next"}
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("name", ["m", "*", "m.*", "[m]"])
def test_what_others_have_left_is_not_touched(tmp_path, name):
    """Another model whose name begins with this one's, and leftovers of another version of this program."""
    others = [".m.fp16.123.old", ".m.v2.999999.old", ".prod.999999.old", ".m.1.partial", "m.fp16"]
    others += [OLD_NAME.format(f"{name}.fp16"), NEW_NAME.format("other")]
    for other in others:
        (tmp_path / other).mkdir()
        (tmp_path / other / "weights").write_text(other)
    fill(tmp_path / name, "new")
    recover_folder(tmp_path / "m.fp32")
    assert {path.name for path in tmp_path.iterdir()} == {*others, name}
    assert all((tmp_path / other / "weights").read_text() == other for other in others)


@pytest.mark.parametrize("is_dangling", [False, True])
def test_a_link_stays_and_the_folder_that_it_names_is_written(tmp_path, is_dangling):
    if not is_dangling:
        fill(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    fill(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert content_of(tmp_path / "real") == {"file": "new"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_a_circle_of_links_and_a_file_are_refused(tmp_path):
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "file").write_text("content")
    for name in ("circle", "file", "file/m", "/"):
        with pytest.raises(UserError):
            fill(tmp_path / name, "new")
    assert (tmp_path / "circle").readlink() == Path("circle")
    assert (tmp_path / "file").read_text() == "content"
