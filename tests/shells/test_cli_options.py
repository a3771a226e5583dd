"""What every command line has: --version, --quiet, --json, completion, and no colours where they are not wanted."""

import contextlib
import json
import os
import pty
import re
import shutil
import subprocess
import sys

import pytest

from forced_aligner.base.paths import ROOT
from forced_aligner.base.version import PROJECT, version_string

SCRIPTS = ["convert-coreml.py", "compare-models.py", "run_coreml_inference.py"]
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|9[0-7])[;m]")


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_version_is_told(here, tmp_path, script):
    done = here(script, "--version", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{PROJECT} {version_string()}\n", "")


@pytest.mark.parametrize(
    ("script", "typed", "expected"),
    [
        ("run_coreml_inference.py", "comp", ["compare"]),
        ("run_coreml_inference.py", "compare --rep", ["--report"]),
        ("convert-coreml.py", "--precision m", ["mixed"]),
        ("compare-models.py", "--device ", ["cpu", "cuda"]),
    ],
)
def test_bash_completes_commands_options_and_values(script, typed, expected):
    """The scripts are run as bash runs them, by their own first line, with the variables of Typer's completion."""
    assert os.access(ROOT / script, os.X_OK)
    assert (ROOT / script).read_text(encoding="utf-8").startswith("#!/usr/bin/env -S uv run\n")
    variable = f"_{script}_COMPLETE".replace("-", "_").upper()
    words = f"./{script} {typed}"
    asked = {variable: "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    done = subprocess.run(
        [sys.executable, script], cwd=ROOT, env={**os.environ, **asked}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == expected


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_shell_that_loses_the_question_starts_nothing(script, tmp_path):
    """dash keeps no variable whose name has a dot, as Typer's has; the others arrive."""
    asked = {"COMP_WORDS": script, "COMP_CWORD": "1", "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, ROOT / script], cwd=tmp_path, env=asked, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr, list(tmp_path.iterdir())) == (2, b"", b"", [])


def test_quiet_may_stand_before_the_command(here, tmp_path):
    done = here("run_coreml_inference.py", "--quiet", "compare", "--reference", "nope.json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: no nope.json at nope.json: make it with compare-models.py\n"


def test_karaoke_without_a_format_that_has_it_is_refused(here, demo_clips, tmp_path):
    clip = ("--audio-file", demo_clips[0].audio, "--text", "word")
    done = here("run_coreml_inference.py", "infer", *clip, "--format", "srt", "--karaoke", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--karaoke marks words inside vtt and ass" in done.stderr


def test_quiet_leaves_out_progress_and_keeps_failures(here, demo_bundle, demo_clips, tmp_path):
    clip = demo_clips[0]
    shutil.copy(clip.audio, tmp_path / "good.flac")
    (tmp_path / "good.txt").write_text(clip.transcript)
    (tmp_path / "bad.flac").write_bytes(b"no audio")
    (tmp_path / "bad.txt").write_text("one")
    infer = ("infer", "--backend", "mil", "--model-dir", demo_bundle.folder, "--files", tmp_path)
    loud = here("run_coreml_inference.py", *infer, "--output-dir", "loud", cwd=tmp_path)
    quiet = here("run_coreml_inference.py", *infer, "--output-dir", "quiet", "--quiet", cwd=tmp_path)
    assert loud.returncode == quiet.returncode == 2
    assert (tmp_path / "quiet/good.json").read_bytes() == (tmp_path / "loud/good.json").read_bytes()
    assert "[2/2] good.flac" in loud.stderr
    assert [line.split(":")[0] for line in quiet.stderr.splitlines()] == [
        "[1/2] bad.flac  FAILED",
        "failed",
        "error",
    ]
    assert set(quiet.stderr.splitlines()) < set(loud.stderr.splitlines())


def test_compare_prints_the_report_as_json(here, demo_bundle, demo_reference_path, tmp_path):
    compare = ("compare", "--backend", "mil", "--model-dir", demo_bundle.folder, "--reference", demo_reference_path)
    one = (*compare, "--num-files", 1, "--json", "--quiet")
    done = here("run_coreml_inference.py", *one, "--report", "report.json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json.loads((tmp_path / "report.json").read_text())


def test_compare_of_several_folders_prints_a_list(here, demo_bundle, demo_reference_path, tmp_path):
    folders = [shutil.copytree(demo_bundle.folder, tmp_path / name) for name in ("a", "b")]
    models = [argument for folder in folders for argument in ("--model-dir", folder)]
    rest = ("--backend", "mil", "--reference", demo_reference_path, "--num-files", 1, "--json")
    done = here("run_coreml_inference.py", "compare", *models, *rest, cwd=tmp_path)
    assert json.loads(done.stdout) == [json.loads((folder / "parity.json").read_text()) for folder in folders]


BAR = "from forced_aligner.base.console import tracked; [None for _ in tracked(range(3), 3)]"


@pytest.mark.parametrize(("extra", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color_takes_the_colours_off_a_terminal(extra, is_coloured):
    parent, child = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    environment |= {"TERM": "xterm-256color", **extra}
    subprocess.run([sys.executable, "-c", BAR], cwd=ROOT, env=environment, stderr=child, check=True)
    os.close(child)
    said = b""
    with contextlib.suppress(OSError):  # Linux's end of a terminal
        while part := os.read(parent, 4096):
            said += part
    os.close(parent)
    assert "3/3" in said.decode()
    assert bool(COLOUR.search(said.decode())) == is_coloured


def test_without_a_terminal_there_are_no_colours():
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    done = subprocess.run(
        [sys.executable, "run_coreml_inference.py", "compare", "--num-files", "0"],
        cwd=ROOT, env={**environment, "TERM": "xterm-256color"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "\x1b" not in done.stderr
