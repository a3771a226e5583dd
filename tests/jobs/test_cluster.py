"""A Dask cluster on this machine, started with the commands of docs/large-sets.md."""

import os
import re
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest

from forced_aligner.align.chain import Aligner
from forced_aligner.base.errors import RunError, UserError
from forced_aligner.base.paths import ROOT
from forced_aligner.base.records import read_json
from forced_aligner.jobs.compare import compare_clips
from forced_aligner.jobs.open_model import aligning_crew
from forced_aligner.jobs.workers.crew import crew_of
from forced_aligner.jobs.workers.options import Workers
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.runtime.options import RuntimeOptions
from forced_aligner.score.gate import Gate
from forced_aligner.score.records import Reference
from tests.jobs.worker_calls import Bench, call
from tests.jobs.working import TASKS, doubled, without_times

DOCS = (ROOT / "docs/large-sets.md").read_text(encoding="utf-8")


def documented(kind, **replaced):
    """The arguments of the command that the page has for a scheduler or a worker, with others in some places."""
    (found,) = re.findall(rf"^    DASK_CONFIG=docs/dask.yaml uv run python -m dask {kind} (.+)", DOCS, re.MULTILINE)
    for old, new in replaced.items():
        assert old in found
        found = found.replace(old, new)
    return [sys.executable, "-m", "dask", kind, *found.split()]


@contextmanager
def a_scheduler(cwd=ROOT):
    """The address of a scheduler, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [*documented("scheduler", **{"8786": port}), "--host", "127.0.0.1", "--no-dashboard"]
    with started(command, cwd) as process:
        yield f"tcp://127.0.0.1:{port}", process


def started(command, cwd):
    class Ended(subprocess.Popen):
        def __exit__(self, *error):
            self.terminate()
            super().__exit__(*error)

    environment = os.environ | {"DASK_CONFIG": str(ROOT / "docs/dask.yaml")}
    return Ended(command, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def workers_of(address, count, cwd=ROOT):
    command = documented("worker", **{"tcp://10.0.0.1:8786": address, "--nworkers 16": f"--nworkers {count}"})
    return started([*command, "--no-dashboard"], cwd)


@pytest.fixture(scope="module")
def cluster():
    """The address of a cluster of two workers."""
    with a_scheduler() as (address, _), workers_of(address, 2):
        yield address


def test_results_failures_and_lines_are_those_of_this_process(cluster, tmp_path, capsys):
    found = []
    for workers in (Workers(), Workers(cluster=cluster)):
        with crew_of(workers, Bench(tmp_path)) as crew:
            kept, failures = doubled(TASKS, crew, tmp_path)
        lines = [line.split("  ")[-1] for line in capsys.readouterr().err.splitlines()]
        found.append((kept, failures, sorted(line for line in lines if not line.startswith("waiting for"))))
    assert found[0] == found[1]


def test_what_kills_its_workers_is_listed_and_the_rest_is_done(cluster, tmp_path):
    with crew_of(Workers(cluster=cluster), Bench(tmp_path)) as crew:
        kept, failures = doubled([*range(10), "die", *range(10, 40)], crew, tmp_path)
    assert kept == [(n, 2 * n) for n in range(40)]
    assert failures == [("die.wav", "workers of the cluster died of this recording: is there too little memory?")]


def test_a_report_is_that_of_this_process(cluster, demo_bundle, demo_reference_path):
    aligner = Aligner(demo_bundle, MilBackend(demo_bundle))
    reference = read_json(Reference, demo_reference_path, "").head(4)
    found = []
    for workers in (Workers(), Workers(cluster=cluster)):
        with aligning_crew(aligner, demo_bundle.folder, RuntimeOptions("mil", threads=1), workers) as crew:
            found.append(
                without_times(compare_clips(aligner, reference, demo_reference_path.parent, Gate(), crew=crew)[0])
            )
    assert found[0] == found[1]


def test_no_scheduler_is_told_in_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr("forced_aligner.jobs.workers.cluster.CONNECT_S", 0.5)
    with (
        pytest.raises(UserError, match=re.escape("no Dask scheduler answers at tcp://127.0.0.1:1 ")),
        crew_of(Workers(cluster="tcp://127.0.0.1:1"), Bench(tmp_path)),
    ):
        pytest.fail("it began")


def test_certificates_that_are_missing_are_told_in_one_sentence(tmp_path, capfd):
    with (
        pytest.raises(UserError, match="needs certificates"),
        crew_of(Workers(cluster="tls://127.0.0.1:1"), Bench(tmp_path)),
    ):
        pytest.fail("it began")
    assert capfd.readouterr().err == ""


def test_a_cluster_gets_one_call_for_each_thread_and_later_two(cluster, tmp_path):
    with crew_of(Workers(cluster=cluster), Bench(tmp_path)) as crew:
        widths = []
        for _ in range(6):
            widths.append(crew.width())
            crew.submit(call, 1).result()
    assert widths == [2, 2, 2, 2, 2, 4]


def test_a_cluster_that_cannot_load_the_project_is_told_in_one_sentence(tmp_path):
    with (
        a_scheduler(cwd=tmp_path) as (address, _),
        workers_of(address, 1, cwd=tmp_path),
        pytest.raises(RunError, match=r"the cluster cannot load this project \(.*\): start its scheduler and"),
        crew_of(Workers(cluster=address), Bench(tmp_path)) as crew,
    ):
        doubled([1], crew, tmp_path)


def test_a_lost_scheduler_ends_the_run_in_one_sentence(tmp_path, capfd):
    with (
        a_scheduler() as (address, process),
        workers_of(address, 1),
        pytest.raises(RunError, match="the cluster was lost: start it, then run this again to go on"),
        crew_of(Workers(cluster=address), Bench(tmp_path)) as crew,
    ):
        process.kill()
        doubled(list(range(100)), crew, tmp_path)
    said = [line for line in capfd.readouterr().err.splitlines() if not line.startswith(("[", "a note", "waiting"))]
    assert said == []
