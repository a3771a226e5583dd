"""The commands as a user runs them: exit codes, one-line errors, results on stdout, progress on stderr."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import soundfile

from forced_aligner.align.long_recording import align_recording
from forced_aligner.convert.defaults import DEFAULT_FRAMES, DEFAULT_LENGTHS
from forced_aligner.jobs.benchmark.options import BenchmarkOptions
from forced_aligner.package.contract import DEFAULT_COMPONENTS

ROOT = Path(__file__).parents[2]
INFER = "run_coreml_inference.py"
DEMO = ("--model-id", "demo")
# On Linux the same as no option. On a Mac a virtual one may lack what Core ML wants: mac.yml runs Core ML itself.
ON_MIL = ("--backend", "mil") if sys.platform == "darwin" else ()
CLIP = ROOT / "demo/clips/clip-01.flac"


def run(script, *arguments, cwd):
    """A command in a process of its own."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "HF_HUB_OFFLINE": "1", "HF_HOME": str(cwd / "no-hub")}
    environment |= {key: os.environ[key] for key in ("OMP_NUM_THREADS",) if key in os.environ}
    return subprocess.run(
        [sys.executable, ROOT / script, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def three_commands(tmp_path_factory):
    """The mission's commands, one after another, in an empty folder without a hub."""
    folder = tmp_path_factory.mktemp("work")
    return folder, [
        run("convert-coreml.py", cwd=folder),
        run("compare-models.py", "--num-files", 3, cwd=folder),
        run("run_coreml_inference.py", "compare", *ON_MIL, cwd=folder),
    ]


def test_the_three_commands_run_one_after_another(three_commands):
    folder, results = three_commands
    for result in results:
        assert result.returncode == 0, result.stderr
    report = json.loads((folder / "build/forced-aligner/parity.json").read_text())
    assert (report["files"], report["bin_exact_percent"], report["passed"]) == (3, 100.0, True)
    assert "passed: 0 of 1" in results[2].stdout
    assert "(100.00 % bin-exact)" in results[2].stdout


def test_the_demo_is_announced_first_and_last(three_commands):
    _, results = three_commands
    for result in results[:2]:
        lines = result.stderr.splitlines()
        assert lines[0].startswith("NOTE: this is the bundled demo aligner")
        assert lines[-1] == lines[0]
        assert "--model-id Qwen/Qwen3-ForcedAligner-0.6B-hf" in lines[0]


def test_no_library_talks_on_the_terminal(three_commands):
    """Every line of stderr is ours."""
    _, results = three_commands
    for result in results:
        for line in result.stderr.splitlines():
            assert re.match(
                r"NOTE: this is|\[|data set: |3 of 10 recordings, a seeded draw|all 3 recordings|demo: ", line
            ), line


def test_the_demo_does_the_whole_job(here, tmp_path):
    """The main job: everything in one folder, a table with both sides' error against the true times, a picture."""
    result = here("run_coreml_inference.py", "demo", *ON_MIL, "--output-dir", tmp_path / "demo", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    left = {path.name for path in (tmp_path / "demo").iterdir()}
    assert left == {"forced-aligner", "pytorch_reference.json", "alignment.png", "parity.html"}
    assert "No boundary moved" in (tmp_path / "demo/parity.html").read_text()
    assert "parity.html are in" in result.stderr
    assert (tmp_path / "demo/alignment.png").read_bytes()[:4] == b"\x89PNG"
    report = json.loads((tmp_path / "demo/forced-aligner/parity.json").read_text())
    assert (report["files"], report["bin_exact_percent"], report["max_error_ms"]) == (10, 100.0, 0.0)
    for heading in ("boundaries", "moved", "bin-exact %", "max ms", ">160 ms", "truth: packages", "truth: PyTorch"):
        assert heading in result.stdout
    assert "clip-10.flac" in result.stdout
    hub, model = tmp_path / "hub", tmp_path / "demo/forced-aligner"
    result = here("convert-coreml.py", "--model-id", "demo", "--output-dir", model, "--package", hub, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "parity was not measured" not in result.stderr
    assert "| files | 10, " in (hub / "README.md").read_text()


def test_the_commands_run_over_core_ml(here, core_ml, three_commands, demo_clips, tmp_path, monkeypatch):
    """From end to end over a double of Core ML, with packages that are converted already. No figure comes from it."""

    def run(*arguments):
        result = here("run_coreml_inference.py", *arguments, "--backend", "coreml", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        return result

    folder = tmp_path / "demo"
    short = partial(BenchmarkOptions, clip_lengths_s=(5.0,))  # one of 60 s takes long
    monkeypatch.setattr("forced_aligner.jobs.benchmark.options.BenchmarkOptions", short)
    shutil.copytree(three_commands[0] / "build/forced-aligner", folder / "forced-aligner")
    monkeypatch.setattr("forced_aligner.jobs.demo.convert", lambda *_: None)
    run("demo", "--output-dir", folder)
    model, clip = folder / "forced-aligner", demo_clips[2]
    environment = json.loads((model / "parity.json").read_text())["environment"]
    assert (environment["backend"], environment["compute_units"], environment["device"]) == ("coreml", "ALL", None)

    reference = three_commands[0] / "build/pytorch_reference.json"
    run("compare", "--model-dir", model, "--reference", reference, "--compute-units", "cpu")
    report = json.loads((model / "parity.json").read_text())
    assert (report["files"], report["moved"], report["environment"]["compute_units"]) == (3, 0, "CPU_ONLY")

    arguments = ("infer", "--audio-file", clip.audio, "--text", clip.transcript, "--model-dir", model)
    ours = run(*arguments, "--compute-units", "cpu-and-ne")
    theirs = here("run_coreml_inference.py", *arguments, "--backend", "mil", cwd=folder)
    assert json.loads(ours.stdout) == json.loads(theirs.stdout)

    assert sorted(core_ml.compiles.values()) == [1] * len(DEFAULT_COMPONENTS)

    core_ml.compiles.clear()
    run("benchmark", "--model-dir", model, "--compute-units", "all,cpu", "--rounds", "1", "--calls", "1")
    report = json.loads((model / "benchmark.json").read_text())
    assert {timing["computes_on"] for timing in report["clips"]} == {"ALL", "CPU_ONLY"}
    assert report["plans"] and not report["failed"]
    assert sorted(core_ml.compiles.values()) == [1] * len(DEFAULT_COMPONENTS)  # both units share them
    assert {load.units for load in core_ml.loads} == {"ALL", "CPU_ONLY", "CPU_AND_NE"}


def test_a_missed_threshold_exits_with_1(here, three_commands):
    folder, _ = three_commands
    result = here("run_coreml_inference.py", "compare", "--max-aas", "-1", cwd=folder)
    assert result.returncode == 1
    assert "FAILED" in result.stdout


def test_several_model_folders_make_one_table(here, three_commands):
    folder, _ = three_commands
    model = folder / "build/forced-aligner"
    arguments = ("compare", "--model-dir", model, "--model-dir", model, "--num-files", 1)
    result = here("run_coreml_inference.py", *arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("(100.00 % bin-exact)") == 2
    assert "1 files against PyTorch" in result.stdout
    refused = here("run_coreml_inference.py", *arguments, "--report", folder / "one.json", cwd=folder)
    assert refused.returncode == 2
    assert "--report takes one model folder" in refused.stderr
    refused = here("run_coreml_inference.py", *arguments, "--page", folder / "one.html", cwd=folder)
    assert refused.returncode == 2
    assert "--page takes one model folder" in refused.stderr


def test_what_is_converted_already_is_laid_out_for_a_hub(here, three_commands):
    folder, _ = three_commands
    result = here("convert-coreml.py", "--model-id", "demo", "--package", folder / "hub", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "holds this conversion already" in result.stderr
    assert f"hf upload <user>/<name> {folder / 'hub'}" in result.stderr
    assert result.stderr.splitlines()[-1] == f"ready for a model hub: {folder / 'hub'}"
    assert result.stdout == ""
    report = json.loads((folder / "build/forced-aligner/parity.json").read_text())
    assert f"| files | {report['files']}, " in (folder / "hub/README.md").read_text()


def test_infer_prints_json_for_programs(here, three_commands, demo_clips):
    folder, _ = three_commands
    clip = demo_clips[2]
    arguments = ("infer", "--audio-file", clip.audio, "--text", clip.transcript, "--verbose")
    result = here("run_coreml_inference.py", *arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert [word["word"] for word in found["words"]] == [word.text for word in clip.alignments]
    assert " ".join(word["text"] for word in found["words"]) == clip.transcript
    assert result.stderr.splitlines()[-1].startswith("mel ")


def test_infer_says_on_stderr_how_many_words_were_lengthened(here, three_commands, demo_clips):
    folder, _ = three_commands
    arguments = ("infer", "--audio-file", demo_clips[1].audio, "--text", " ".join(["one"] * 60), "--format", "srt")
    result = here("run_coreml_inference.py", *arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(r"60 words, [1-9]\d* lengthened to 10 ms", result.stderr.splitlines()[-1])
    assert "lengthened" not in result.stdout


@pytest.mark.parametrize("strict", [False, True])
def test_strict_writes_the_result_and_exits_with_1_where_words_are_missing(
    here, three_commands, demo_clips, monkeypatch, strict
):
    def incomplete(*arguments):
        return replace(align_recording(*arguments), not_found=frozenset({1}))

    monkeypatch.setattr("forced_aligner.jobs.infer.align_recording", incomplete)
    folder, _ = three_commands
    arguments = ("infer", "--audio-file", demo_clips[2].audio, "--text", demo_clips[2].transcript)
    result = here("run_coreml_inference.py", *arguments, *(["--strict"] if strict else []), cwd=folder)
    assert result.returncode == (1 if strict else 0)
    assert json.loads(result.stdout)["not_found"][0]["first_word"] == 2
    assert "word 2 was not found (about " in result.stderr
    assert ("words was not found; the result is written, and --strict" in result.stderr) == strict


def test_a_pair_folder_and_a_single_file_make_references(here, three_commands, demo_clips, tmp_path):
    folder, _ = three_commands
    clip = demo_clips[1]
    samples, rate = soundfile.read(clip.audio)
    soundfile.write(tmp_path / "talk.wav", samples, rate)
    (tmp_path / "talk.txt").write_text(clip.transcript)
    (tmp_path / "lonely.wav").write_bytes((tmp_path / "talk.wav").read_bytes())
    options = ("--model-id", "demo", "--dataset", tmp_path, "--output", tmp_path / "pairs.json")
    pairs = here("compare-models.py", *options, cwd=tmp_path)
    assert pairs.returncode == 0, pairs.stderr
    assert "left out: lonely.wav has no lonely.txt or .lab beside it" in pairs.stderr
    single = here(
        "compare-models.py", "--model-id", "demo", "--audio-file", tmp_path / "talk.wav", "--text", clip.transcript,
        "--language", "en", "--output", tmp_path / "single.json", cwd=tmp_path,
    )  # fmt: skip
    assert single.returncode == 0, single.stderr
    made = [json.loads((tmp_path / name).read_text())["samples"] for name in ("pairs.json", "single.json")]
    assert made[0][0]["alignments"] == made[1][0]["alignments"]
    result = here("run_coreml_inference.py", "compare", "--reference", tmp_path / "single.json", cwd=folder)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("convert-coreml.py", ["--components", "nope"], "no component 'nope'; expected some of audio_conv"),
        ("convert-coreml.py", ["--decoder-lengths", "a"], "--decoder-lengths takes comma-separated whole numbers"),
        ("convert-coreml.py", ["--base-model", "a/b"], "--base-model is for the card that --package writes: give both"),
        ("convert-coreml.py", ["--model-id", "demo", "--package", "."], "is not a folder that --package made"),
        ("convert-coreml.py", ["--compress", "int5"], "--compress takes none, int8, int6, int4"),
        ("convert-coreml.py", ["--model-id", "Qwen/Absent"], "cannot download Qwen/Absent"),
        (
            INFER,
            ["benchmark", "--compute-units", "cpu,gpu"],
            "no compute units 'gpu'; --compute-units takes",
        ),
        (INFER, ["benchmark", "--compute-units", ""], "no compute units ''"),
        (INFER, ["benchmark"], "no converted model at build/forced-aligner"),
        ("compare-models.py", [*DEMO, "--dataset", "nope"], "no data set 'nope'; expected auto, demo"),
        ("compare-models.py", [*DEMO, "--text", "one"], "--audio-file and --text go together"),
        *(
            ("compare-models.py", [*DEMO, "--audio-file", CLIP, "--text", "a", *options], "is instead of a data set")
            for options in (["--dataset", "auto"], ["--dataset-dir", "."], ["--subset", "test-clean"], ["--download"])
        ),
        *(
            ("compare-models.py", [*DEMO, "--language", "en", *options], "--language is for --audio-file or a folder")
            for options in ([], ["--dataset", "demo"], ["--dataset", "librispeech"])
        ),
        ("compare-models.py", [*DEMO, "--dataset", "librispeech"], "no LibriSpeech test-clean in"),
        (INFER, ["compare", "--reference", "absent.json"], "no absent.json at absent.json"),
        ("compare-models.py", [*DEMO, "--dataset", "librispeech", "--subset", "a"], "no subset 'a'; exp"),
        ("compare-models.py", [*DEMO, "--subset", "dev-clean"], "need --dataset librispeech"),
        (
            "compare-models.py",
            [*DEMO, "--dataset", "demo", "--output", CLIP / "a.json"],
            "a.json (Not a directory): choose",
        ),
        (INFER, ["infer", "--audio-file", "absent.wav", "--text", "a"], "no audio file at absent"),
        (INFER, ["infer", "--min-cue-s", "8"], "a cue cannot last 8 s at least and 7 s at most: give a smaller"),
        (INFER, ["infer", "--audio-file", ".", "--text", "a"], ". is a folder; expected an audio"),
        (INFER, ["infer", "--audio-file", CLIP, "--text-file", "a.txt"], "cannot read a.txt (No"),
        (INFER, ["infer", "--audio-file", CLIP, "--text-file", CLIP], "is not UTF-8); save it as"),
        (INFER, ["infer", "--audio-file", CLIP, "--text", "a"], "no converted model at build/for"),
        (INFER, ["infer", "--audio-file", CLIP, "--text", "a", "--model-dir", "."], "no metadata.j"),
        (INFER, ["infer", "--audio-file", CLIP, "--text", "a", "--format", "doc"], "no format 'doc'"),
        (INFER, ["infer", "--audio-file", CLIP, "--text", "a", "--strict", "--skip-existing"], "give one of them"),
        (INFER, ["infer", "--audio-file", CLIP, "--text", "a", "--audio-link"], "give --format html with it"),
        (INFER, ["infer", "--audio-file", CLIP, "--text", "a", "--output", "a", "--output-dir", "b"], "one of them"),
        (INFER, ["infer", "--audio-file", CLIP, "--text", "a", "--output", "a", "--plot"], "need --output-dir"),
        (INFER, ["infer", "--files", ".", "--output-dir", "out"], ". holds no pair such as talk"),
        (INFER, ["infer", "--audio-file", CLIP, "--text", "a", "--recursive"], "give --files FOLDER with it"),
        (INFER, ["infer", "--files", "a.csv", "--output-dir", "out"], "cannot read a.csv (No such"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(here, script, arguments, message, tmp_path):
    result = here(script, *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_librispeech_on_disk_is_read(here, tmp_path, demo_clips):
    """LibriSpeech's own layout, made of a demo clip."""
    chapter = tmp_path / "LibriSpeech/test-clean/1089/134686"
    chapter.mkdir(parents=True)
    samples, rate = soundfile.read(demo_clips[0].audio)
    soundfile.write(chapter / "1089-134686-0000.flac", samples, rate)
    (chapter / "1089-134686.trans.txt").write_text("1089-134686-0000 ONE WORD\n")
    result = here(
        "compare-models.py", "--model-id", "demo", "--dataset", "librispeech", "--dataset-dir", tmp_path,
        "--output", tmp_path / "reference.json", cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    (sample,) = json.loads((tmp_path / "reference.json").read_text())["samples"]
    assert (sample["transcript"], sample["language"]) == ("ONE WORD", "English")


def test_help_names_the_default_sizes():
    result = subprocess.run(
        [sys.executable, "convert-coreml.py", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for sizes in (DEFAULT_LENGTHS, DEFAULT_FRAMES):
        shown = f"(default: {', '.join(map(str, sizes['iOS18']))}; iOS17: {sizes['iOS17'][0]})"
        assert shown in " ".join(result.stdout.split())


def test_help_imports_nothing_heavy():
    code = (
        "import sys, runpy; sys.argv = ['x', '--help']\n"
        "try: runpy.run_path({!r}, run_name='__main__')\n"
        "except SystemExit:\n"
        "    print(sorted({{'torch', 'coremltools', 'transformers', 'librosa', 'sentencex'}} & set(sys.modules)))"
    )
    for script in ("convert-coreml.py", "compare-models.py", "run_coreml_inference.py"):
        result = subprocess.run(
            [sys.executable, "-c", code.format(str(ROOT / script))],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stdout.splitlines()[-1] == "[]"


def test_without_a_network_the_choice_is_quick(tmp_path):
    code = (
        "import time; from forced_aligner.checkpoint.find import find_checkpoint; import huggingface_hub.errors\n"
        "started = time.monotonic()\n"
        "assert find_checkpoint(None).is_fallback and time.monotonic() - started < 10"
    )
    environment = {"PATH": "/usr/bin:/bin", "HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)
