"""Other processes do the work: what comes of it does not depend on them, and one that dies loses nothing."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from forced_aligner.align.chain import Aligner
from forced_aligner.base.errors import RunError, UserError
from forced_aligner.base.machine import cores
from forced_aligner.base.paths import ROOT
from forced_aligner.base.records import read_json
from forced_aligner.base.stopping import SIGNALS
from forced_aligner.data.choice import choose
from forced_aligner.data.clips import load_clips
from forced_aligner.data.records import Clip
from forced_aligner.jobs.compare import compare_clips
from forced_aligner.jobs.infer import Output, align_all
from forced_aligner.jobs.open_model import ConvertedModel, aligning_crew, open_aligner
from forced_aligner.jobs.reference import PyTorchModel, make_reference
from forced_aligner.jobs.workers.calls import Home
from forced_aligner.jobs.workers.crew import crew_of
from forced_aligner.jobs.workers.options import Workers
from forced_aligner.output.cues import CueOptions
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.runtime.options import RuntimeOptions
from forced_aligner.runtime.threads import limit_threads
from forced_aligner.score.gate import Gate
from forced_aligner.score.records import ParityReport
from tests.jobs.worker_calls import Bench, Fatal, Locked, Talking, ignored_signals, number_of
from tests.jobs.working import TASKS, doubled, without_times

TWO = Workers(jobs=2, threads=1)
CLIPS = 40  # of those of demo-120


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_failures_and_lines_do_not_depend_on_who_works(jobs, tmp_path, capsys):
    with crew_of(Workers(jobs), Bench(tmp_path)) as crew:
        kept, failures = doubled(TASKS, crew, tmp_path)
    assert kept == [(1, 2), (2, 4), (3, 6), (4, 8)]
    assert [audio for audio, _ in failures] == ["fail.wav", "broken.wav"]
    assert failures[0][1] == "it cannot be done"
    assert failures[1][1] == f"unexpected ZeroDivisionError (a bug): its traceback is in {tmp_path / 'errors.log'}"
    trace = (tmp_path / "errors.log").read_text()
    assert trace.startswith("broken.wav:\nTraceback") and 'raise ZeroDivisionError("a bug")' in trace
    lines = [line.split("  ")[-1] for line in capsys.readouterr().err.splitlines()]
    expected = ["a note", "gave 2", "warning: it is about to fail", "FAILED: it cannot be done", "a note", "gave 4"]
    expected += ["there already", "a note", "gave 6", f"FAILED: {failures[1][1]}", "a note", "gave 8"]
    assert sorted(lines) == sorted(expected)
    assert len(list(tmp_path.glob("opened-*"))) == (1 if jobs == 1 else 2)
    assert (tmp_path / f"opened-{os.getpid()}").exists() is (jobs == 1)


def test_a_worker_that_dies_takes_nothing_with_it_and_a_recording_that_kills_three_is_listed(tmp_path, capsys):
    tasks = [*range(10), "die", "die once", *range(10, 20)]
    with crew_of(TWO, Bench(tmp_path)) as crew:
        kept, failures = doubled(tasks, crew, tmp_path)
    assert kept == [(n, 2 * n) for n in range(10)] + [("die once", "alive")] + [(n, 2 * n) for n in range(10, 20)]
    ((audio, reason),) = failures
    assert audio == "die.wav" and reason.startswith("3 worker processes died of this recording: ")
    # "die once" finds that somebody has died, if "die" came first; if not, one more worker has died
    assert capsys.readouterr().err.count("a worker process died") in (3, 4)


def test_the_longest_come_first_where_several_work(tmp_path, capsys):
    tasks, sizes = [10, 20, 30, 40], [1.0, 3.0, 2.0, 4.0]
    for jobs, expected in ((1, [20, 40, 60, 80]), (2, [80, 40, 60, 20])):
        with crew_of(Workers(jobs), Bench(tmp_path)) as crew:
            if jobs > 1:
                crew.width = lambda: 2
            sent, submit = [], crew.submit
            crew.submit = lambda compute, task, sent=sent, submit=submit: sent.append(2 * task) or submit(compute, task)
            kept, _ = doubled(tasks, crew, tmp_path, sizes)
        assert sent == expected
        assert kept == [(10, 20), (20, 40), (30, 60), (40, 80)]


def test_a_tool_that_no_worker_can_have_ends_the_run(tmp_path):
    with pytest.raises(RunError, match="the model is elsewhere"), crew_of(TWO, Locked()) as crew:
        doubled([1, 2, 3], crew, tmp_path)


def test_workers_are_for_processes_or_a_cluster():
    with pytest.raises(UserError, match="--jobs is for this machine, and --cluster for many: give one of them"):
        Workers(2, cluster="tcp://127.0.0.1:1")
    for wrong in ("", "nonsense", "10.0.0.1:8786", "tcp://10.0.0.1", "http://10.0.0.1:8786", "tcp://a:1/b"):
        with pytest.raises(UserError, match="--cluster takes the address of a Dask scheduler"):
            Workers(cluster=wrong)
    for right in ("tcp://10.0.0.1:8786", "tls://head-1.example.org:8786", "tcp://[::1]:1"):
        assert Workers(cluster=right).are_others
    assert Workers(threads=3).most_threads is None
    assert Workers(2).most_threads == max(1, cores() // 2) and Workers(10 * cores()).most_threads == 1


def test_processes_share_the_cores_and_take_the_same_backend(demo_bundle):
    runtime = RuntimeOptions("auto")
    aligner = open_aligner(demo_bundle.folder, runtime)
    with aligning_crew(aligner, demo_bundle.folder, runtime, Workers(2)) as crew:
        recipe = crew._attempt.recipe
    assert recipe.runtime.backend == aligner.backend.name  # "auto" may be another one elsewhere
    assert recipe.most_threads == max(1, cores() // 2)
    before = torch.get_num_threads()
    try:
        limit_threads(1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_worker_that_dies_while_it_opens_the_model_ends_the_run(tmp_path):
    said = "3 worker processes died while they loaded the model: is there too little memory"
    with pytest.raises(RunError, match=said), crew_of(TWO, Fatal()) as crew:
        doubled([1, 2, 3], crew, tmp_path)


def test_what_cannot_be_sent_back_is_a_failure_and_the_rest_goes_on(tmp_path):
    with crew_of(TWO, Bench(tmp_path)) as crew:
        kept, ((audio, reason),) = doubled([1, "unsendable", 2], crew, tmp_path)
    assert kept == [(1, 2), (2, 4)]
    assert audio == "unsendable.wav" and reason.startswith("unexpected ")


def test_what_is_said_while_the_tool_is_opened_is_said_once(capsys):
    with crew_of(TWO, Talking()) as crew:
        assert crew.first(number_of) == 7
    assert capsys.readouterr().err == "it is open\n"


def test_a_worker_ignores_the_signals_that_the_run_answers(tmp_path):
    with crew_of(TWO, Bench(tmp_path)) as crew:
        assert crew.first(ignored_signals) == set(SIGNALS)


def test_no_process_is_left_when_the_work_is_done(tmp_path):
    before = set(psutil.Process().children(recursive=True))
    with crew_of(TWO, Bench(tmp_path)) as crew:
        doubled([1, 2, 3, "die once"], crew, tmp_path)
    left = set(psutil.Process().children(recursive=True)) - before
    assert [process for process in left if "resource_tracker" not in " ".join(process.cmdline())] == []


def test_a_worker_refuses_another_folder_and_other_sources(tmp_path):
    home = Home.here()
    home.enter()
    with pytest.raises(RunError, match="other sources of this project, or other libraries"):
        replace(home, sources="others").enter()
    with pytest.raises(RunError, match=r"a worker cannot enter .*: all machines need it, under the same path"):
        replace(home, folder=str(tmp_path / "nowhere")).enter()


@pytest.fixture(scope="module")
def some_clips(demo_clips, tmp_path_factory):
    """Five clips, of which the second cannot be read, and the fourth is of a language that the model lacks."""
    broken = tmp_path_factory.mktemp("broken") / "broken.wav"
    broken.write_bytes(b"no audio")
    unknown = demo_clips[3].model_copy(update={"language": "nl"})
    return [demo_clips[0], Clip(audio=str(broken), transcript="words"), demo_clips[4], unknown, demo_clips[2]]


def test_a_reference_is_the_same_of_one_process_and_of_two(demo_checkpoint, some_clips, tmp_path):
    references = [
        make_reference(demo_checkpoint, some_clips, tmp_path / "reference.json", workers=workers)
        for workers in (Workers(threads=1), TWO)
    ]
    assert without_times(references[0]) == without_times(references[1])
    assert [Path(failed.audio).name for failed in references[0].failed] == [
        "broken.wav",
        Path(some_clips[3].audio).name,
    ]


def test_the_files_of_infer_are_the_same_of_one_process_and_of_two(demo_bundle, some_clips, tmp_path):
    runtime = RuntimeOptions("mil", threads=1)
    aligner = open_aligner(demo_bundle.folder, runtime)
    found = []
    for number, workers in enumerate((Workers(), TWO)):
        place = tmp_path / str(number)
        output = Output(place, ["json", "srt"], CueOptions(), plot=True, strict=True)
        with aligning_crew(aligner, demo_bundle.folder, runtime, workers) as crew:
            failures = align_all(aligner, some_clips, output, crew=crew)
        files = {path.name: path.read_bytes() for path in place.iterdir()}
        found.append((failures, files))
    assert found[0] == found[1]
    assert len(found[0][1]) == 3 * 3 and len(found[0][0]) == 2


def test_a_worker_refuses_a_model_that_was_changed_meanwhile(demo_bundle, demo_checkpoint):
    with pytest.raises(UserError, match="holds another model than when the run began"):
        ConvertedModel(demo_bundle.folder, RuntimeOptions("mil"), "another digest").open()
    with pytest.raises(UserError, match="holds another checkpoint than when the run began"):
        PyTorchModel(demo_checkpoint, "cpu", None, "another fingerprint").open()


@pytest.fixture(scope="module")
def reference_of_many(demo_checkpoint, tmp_path_factory):
    """The reference of `CLIPS` clips, and its file."""
    clips = choose(load_clips("demo-120", None, is_demo_model=True, language=None), CLIPS)
    path = tmp_path_factory.mktemp("many") / "reference.json"
    return make_reference(demo_checkpoint, clips, path), path


@pytest.fixture
def start(demo_bundle, reference_of_many, tmp_path):
    """Starts a comparison in two processes; gives it once some clips are done, its workers, and all its processes."""

    def start_one(clips_done):
        command = [sys.executable, "run_coreml_inference.py", "compare", "--backend", "mil", "--jobs", "2"]
        command += ["--model-dir", demo_bundle.folder, "--reference", reference_of_many[1]]
        command += ["--report", tmp_path / "parity.json"]
        run = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert all(run.stderr.readline().startswith("[") for _ in range(clips_done))
        below = psutil.Process(run.pid).children(recursive=True)
        return run, [process for process in below if "spawn_main" in " ".join(process.cmdline())], below

    return start_one


def test_killed_workers_and_a_killed_run_lose_nothing(start, demo_bundle, reference_of_many, tmp_path):
    run, workers, _ = start(8)
    assert len(workers) == 2
    for worker in workers:
        worker.kill()
        assert any(line.startswith("warning: a worker process died") for line in iter(run.stderr.readline, ""))
    run.kill()
    run.communicate()
    journal = tmp_path / "parity.json.journal"
    done = len(journal.read_text().splitlines()) - 1
    assert 8 <= done < CLIPS
    run, *_ = start(0)
    rest = run.stderr.read()
    assert run.wait() == 0
    assert rest.count("from an earlier run") == done
    assert not journal.exists()
    reference, path = reference_of_many
    aligner = Aligner(demo_bundle, MilBackend(demo_bundle))
    undisturbed, _ = compare_clips(aligner, reference, path.parent, Gate())
    assert without_times(read_json(ParityReport, tmp_path / "parity.json", "")) == without_times(undisturbed)


@pytest.mark.parametrize(("number", "whole_group"), [(signal.SIGINT, True), (signal.SIGKILL, False)])
def test_workers_end_with_the_run(number, whole_group, start):
    run, _, below = start(1)
    (os.killpg if whole_group else os.kill)(run.pid, number)
    rest = run.stderr.read()
    run.wait()
    _, alive = psutil.wait_procs(below, timeout=10)
    assert not alive
    said = [line for line in rest.splitlines() if not line.startswith("[")]
    assert said == ([] if number == signal.SIGKILL else [f"stopped by {number.name}"])
