"""What is not needed is not loaded: which modules a command has when it ends, not how long it takes."""

import json
import subprocess
import sys

import pytest

from forced_aligner.base.paths import ROOT

SLOW = ["coremltools", "torch", "transformers", "librosa", "numba", "scipy", "sklearn", "matplotlib"]
CODE = (
    "import atexit, json, runpy, sys\n"
    "sys.argv = sys.argv[2:]\n"
    f"atexit.register(lambda: print(json.dumps(sorted(set(sys.modules) & set({SLOW!r}))), file=sys.stderr))\n"
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


def loaded_by(*command, cwd=ROOT):
    """The exit code of a command, and which of the slow modules it has loaded."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, "--", *map(str, command)], cwd=cwd, capture_output=True, text=True, check=False
    )
    return done.returncode, json.loads(done.stderr.splitlines()[-1])


INFER = ("run_coreml_inference.py", "infer", "--backend", "mil")


def test_alignment_loads_pytorch_alone(demo_bundle, demo_clips):
    clip = ("--audio-file", demo_clips[0].audio, "--text", demo_clips[0].transcript)
    assert loaded_by(*INFER, "--model-dir", demo_bundle.folder, *clip, "--format", "srt") == (0, ["torch"])


@pytest.mark.parametrize(
    "command",
    [
        (*INFER, "--audio-file", "demo/clips/clip-01.flac", "--text", "a", "--model-dir", "MODEL", "--language", "nl"),
        (*INFER, "--audio-file", "demo/clips/clip-01.flac", "--text", "...", "--model-dir", "MODEL"),
        (*INFER, "--audio-file", "README.md", "--text", "a", "--model-dir", "MODEL"),
        (*INFER, "--audio-file", "demo/clips/clip-01.flac", "--text", "a", "--format", "doc"),
        (*INFER, "--audio-file", "demo/clips/clip-01.flac", "--text", "a", "--model-dir", "docs"),
        ("run_coreml_inference.py", "compare", "--backend", "mil", "--reference", "docs/nope.json"),
        ("run_coreml_inference.py", "compare", "--backend", "mil", "--reference", "README.md"),
        ("run_coreml_inference.py", "sweep", "--presets", "x"),
        ("run_coreml_inference.py", "benchmark", "--backend", "mil", "--model-dir", "docs"),
        ("run_coreml_inference.py", "check-host", "--kit", "docs", "--host-output", "docs"),
        ("run_coreml_inference.py", "demo", "--backend", "mil", "--output-dir", "README.md"),
        ("convert-coreml.py", "--model-id", "demo", "--compress", "int5"),
        ("convert-coreml.py", "--model-id", "demo", "--output-dir", "docs"),
        ("convert-coreml.py", "--model-id", "demo", "--output-dir", "docs", "--force"),
        ("convert-coreml.py", "--model-id", "demo", "--package", "docs"),
        ("convert-coreml.py", "--model-id", "demo", "--host-kit", "docs"),
        ("convert-coreml.py", "--model-id", "demo", "--calibrate", "9999", "--precision", "float16"),
        ("compare-models.py", "--model-id", "demo", "--dataset", "nope"),
        ("compare-models.py", "--model-id", "demo", "--output", "docs"),
        ("compare-models.py", "--model-id", "demo", "--jobs", "2", "--cluster", "tcp://127.0.0.1:1"),
        (*INFER, "--audio-file", "demo/clips/clip-01.flac", "--text", "a", "--jobs", "2", "--output", "build/a.json"),
    ],
    ids=lambda command: " ".join(command[1:])[:60],
)
def test_an_option_that_cannot_be_used_is_told_before_anything_slow_is_loaded(command, demo_bundle):
    command = [demo_bundle.folder if part == "MODEL" else part for part in command]
    assert loaded_by(*command) == (2, [])
