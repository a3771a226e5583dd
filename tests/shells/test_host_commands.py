"""The commands for another host: write a kit, and check what the host gave."""

import json

import pytest

from forced_aligner.jobs.golden import GOLDEN_CLIPS
from forced_aligner.package.contract import COMPONENTS_OF
from tests.conftest import AUDIO_FRAMES, DECODER_LENGTHS


def sizes(numbers):
    return ",".join(map(str, numbers))


@pytest.fixture
def convert(here, demo_bundle, tmp_path):
    """The command on the packages that are converted already."""
    options = ["--components", sizes(COMPONENTS_OF["five"]), "--decoder-lengths", sizes(DECODER_LENGTHS)]
    options += ["--audio-frames", sizes(AUDIO_FRAMES), "--model-id", "demo", "--output-dir", demo_bundle.folder]
    return lambda *more: here("convert-coreml.py", *options, *more, cwd=tmp_path)


def test_a_kit_is_written_and_a_host_is_checked_with_it(convert, here, tmp_path, monkeypatch):
    monkeypatch.setattr("forced_aligner.jobs.host_kit.GOLDEN_CLIPS", GOLDEN_CLIPS[:1])
    done = convert("--host-kit", "kit")
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("host kit: kit\n")
    output = tmp_path / "mine"
    output.mkdir()
    check = ("run_coreml_inference.py", "check-host", "--kit", "kit", "--host-output", "mine")
    word = {"text": "Walsh", "start_time_ms": 10_000, "end_time_ms": 11_000}
    (output / "short.json").write_text(json.dumps([word]))
    wrong = here(*check, cwd=tmp_path)
    assert wrong.returncode == 1
    assert "FAILED: the first stage that departs is times_ms, in short, by 2" in wrong.stdout
    report = json.loads(here(*check, "--json", cwd=tmp_path).stdout)
    assert (report["passed"], report["first"]["stage"]) == (False, "times_ms")
    (output / "short.json").unlink()
    nothing = here(*check, cwd=tmp_path)
    assert nothing.returncode == 2
    assert nothing.stderr.startswith("error: mine holds nothing of the clips short; expected for each clip")


def test_what_no_kit_can_be_made_of_is_refused_before_the_conversion(convert, here, tmp_path):
    (tmp_path / "there").mkdir()
    refused = convert("--host-kit", "there")
    assert (refused.returncode, refused.stderr) == (
        2,
        "error: there is not a host kit: choose another folder for --host-kit\n",
    )
    both = convert("--host-kit", "hub", "--package", "hub")
    one_in_the_other = "are the same or one in the other: choose another place\n"
    assert both.stderr == f"error: --host-kit hub and hub {one_in_the_other}"
    around = convert("--host-kit", "new", "--package", "new/hub")
    assert around.stderr == f"error: --host-kit new and new/hub {one_in_the_other}"
    alone = here(
        "convert-coreml.py", "--model-id", "demo", "--components", "lm_head", "--host-kit", "kit", cwd=tmp_path
    )
    assert alone.returncode == 2
    assert "a host kit needs audio_conv, audio_transformer, embedding, decoder_prefill too" in alone.stderr
    compact = here("convert-coreml.py", "--model-id", "demo", "--layout", "compact", "--host-kit", "kit", cwd=tmp_path)
    expected = "error: a host kit is for the five packages: leave out --layout compact, or --host-kit\n"
    assert (compact.returncode, compact.stderr) == (2, expected)
    assert not (tmp_path / "build").exists()
