"""A bar with rate and remaining time where stderr is a terminal, and nothing but the plain lines where it is not."""

import os
import pty
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from forced_aligner.align.chain import Aligner
from forced_aligner.base.console import log, tracked
from forced_aligner.base.errors import UserError
from forced_aligner.jobs.infer import Output, align_all
from forced_aligner.output.cues import CueOptions
from forced_aligner.runtime.mil.backend import MilBackend


@contextmanager
def terminal(monkeypatch):
    """stderr on a pseudo-terminal; gives a list that holds, at the end, everything that was written to it."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    ours, theirs = pty.openpty()
    parts = []

    def read():
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # Linux: nobody has the other end open any more
                part = b""
            if not part:
                return
            parts.append(part.decode())

    reader = threading.Thread(target=read)
    reader.start()
    written: list[str] = []
    try:
        with os.fdopen(theirs, "w") as file, monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", file)
            yield written
    finally:
        reader.join(5)
        os.close(ours)
        written.append("".join(parts))


@pytest.fixture(scope="module")
def aligner(demo_bundle):
    return Aligner(demo_bundle, MilBackend(demo_bundle))


def align(aligner, clips, folder):
    assert align_all(aligner, clips, Output(folder, ["json"], CueOptions())) == []


def test_a_terminal_shows_the_rate_and_the_remaining_time(aligner, demo_clips, tmp_path, monkeypatch):
    with terminal(monkeypatch) as written:
        align(aligner, demo_clips[3:9], tmp_path)
    (text,) = written
    assert "6/6" in text
    assert "files/min" in text
    assert "0:00:0" in text
    for number, clip in enumerate(demo_clips[3:9], 1):
        assert f"[{number}/6] {os.path.basename(clip.audio)}" in text  # noqa: PTH119


def test_without_a_terminal_there_are_the_plain_lines_alone(aligner, demo_clips, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as CI systems set it; it makes a file of rich's a terminal
    align(aligner, demo_clips[:2], tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["[1/2] clip-01.flac", "[2/2] clip-02.flac"]
    assert all(line.isprintable() for line in lines)


def test_one_file_needs_no_bar(monkeypatch):
    with terminal(monkeypatch) as written:
        assert list(tracked(["one"], 1)) == ["one"]
    assert written == [""]


def test_an_error_takes_the_bar_away_and_stands_alone(monkeypatch):
    def work():
        for _ in tracked([1, 2, 3], 3):
            time.sleep(0.01)
            raise UserError("no such thing")

    with terminal(monkeypatch) as written:
        before = sys.stderr
        try:
            work()
        except UserError as error:
            assert sys.stderr is before  # rich had redirected it
            log(f"error: {error}")
    assert written[0].endswith("error: no such thing\r\n")
    assert "\x1b[?25h" in written[0]  # the cursor is back
