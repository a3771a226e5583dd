"""The commands with `--backend coreml`, from end to end over a double of Core ML. No figure comes from it."""

import json

import pytest

PACKAGES = 5


@pytest.fixture
def done(here, core_ml, tmp_path):
    """The demo, done with Core ML: a function that runs a further command beside it, and its folder."""

    def run(*arguments):
        result = here("run_coreml_inference.py", *arguments, "--backend", "coreml", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        return result

    run("demo", "--output-dir", tmp_path)
    return run, tmp_path


def test_the_commands_run_over_core_ml(done, core_ml, demo_clips, here):
    run, folder = done
    model, clip = folder / "forced-aligner", demo_clips[2]
    environment = json.loads((model / "parity.json").read_text())["environment"]
    assert (environment["backend"], environment["compute_units"], environment["device"]) == ("coreml", "ALL", None)

    run("compare", "--model-dir", model, "--reference", folder / "pytorch_reference.json", "--compute-units", "cpu")
    report = json.loads((model / "parity.json").read_text())
    assert (report["files"], report["moved"], report["environment"]["compute_units"]) == (10, 0, "CPU_ONLY")

    arguments = ("infer", "--audio-file", clip.audio, "--text", clip.transcript, "--model-dir", model)
    ours = run(*arguments, "--compute-units", "cpu-and-ne")
    theirs = here("run_coreml_inference.py", *arguments, "--backend", "mil", cwd=folder)
    assert json.loads(ours.stdout) == json.loads(theirs.stdout)

    assert set(core_ml.compiles.values()) == {1} and len(core_ml.compiles) == PACKAGES

    core_ml.compiles.clear()
    run("benchmark", "--model-dir", model, "--compute-units", "all,cpu", "--rounds", "1", "--calls", "1")
    report = json.loads((model / "benchmark.json").read_text())
    assert {timing["computes_on"] for timing in report["clips"]} == {"ALL", "CPU_ONLY"}
    assert report["plans"] and not report["failed"]
    assert set(core_ml.compiles.values()) == {1} and len(core_ml.compiles) == PACKAGES  # both units share them
    assert {load.units for load in core_ml.loads} == {"ALL", "CPU_ONLY", "CPU_AND_NE"}
