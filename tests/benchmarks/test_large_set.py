"""The large test set: its durations, the processes that measure and kill, and the file of results."""

import json
import os
import signal
import sys
import time

import numpy as np
import psutil
import pytest

from benchmarks.large_sets.clips import QUANTILES_S, batches, durations_s, make_equal_clips
from benchmarks.large_sets.commands import ResultCounter, differences, results_in, speed
from benchmarks.large_sets.processes import Run, kill_tree, run_tree, tree_memory
from benchmarks.large_sets.tables import merge, tables
from forced_aligner.base.journal import journal_path

# Writes a result each 0.05 s, as a journal does: a first line, then one for each. Its child sleeps, and holds memory.
WORKER = """
import subprocess, sys, time
journal, results = sys.argv[1], int(sys.argv[2])
held = bytearray(30_000_000)
held[::4096] = b"x" * len(held[::4096])
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("child", child.pid, flush=True)
with open(journal, "a") as file:
    done = sum(1 for _ in open(journal))
    for number in range(done, results + 1):
        file.write("line\\n")
        file.flush()
        time.sleep(0.05)
child.kill()
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="PSS and sessions as on Linux")


def test_the_durations_are_those_of_test_clean():
    durations = durations_s(2620)
    assert durations.sum() / 3600 == pytest.approx(5.4, abs=0.01)
    assert durations.mean() == pytest.approx(7.4, abs=0.05)
    assert durations.std() == pytest.approx(5.2, abs=0.15)
    assert (durations.min(), durations.max()) == (1.3, 35.0)
    for share, duration_s in QUANTILES_S.items():
        assert np.quantile(durations, share) == pytest.approx(duration_s, rel=0.03), share
    assert np.array_equal(durations, durations_s(2620))
    assert durations[:100].mean() == pytest.approx(7.4, abs=1.5)  # not sorted: any part is like the whole


def test_batches_hold_each_clip_once():
    found = [(name, duration_s) for batch in batches(45) for name, duration_s in batch.durations_s.items()]
    assert [name for name, _ in found] == [f"clip-{number:02d}" for number in range(1, 46)]
    assert [duration_s for _, duration_s in found] == durations_s(45).tolist()


def test_a_clip_is_as_long_as_it_is_to_be_and_has_true_times(tmp_path):
    import soundfile

    from forced_aligner.data.pairs import paired_clips
    from forced_aligner.data.true_times import true_times

    make_equal_clips(tmp_path, 2, 3.25)
    clips = paired_clips(tmp_path, "English")
    assert [soundfile.info(clip.audio).frames for clip in clips] == [52_000, 52_000]
    for clip in clips:
        words = clip.transcript.replace(",", "").replace(".", "").split()
        times = true_times(clip, words)
        assert times is not None
        assert len(times) == len(words)
        assert 0 < times[0].start_time_ms < times[-1].end_time_ms < 3250


@linux
def test_a_run_is_killed_with_all_below_it_and_goes_on(tmp_path):
    script, output = tmp_path / "worker.py", tmp_path / "out.json"
    script.write_text(WORKER)
    command = [script, journal_path(output), "40"]

    def run(kill_at=None):
        return run_tree(command, tmp_path / "log", cwd=tmp_path, results=ResultCounter(output), kill_at=kill_at)

    killed = run(kill_at=5)
    assert killed.code == -signal.SIGKILL
    assert 5 <= killed.killed_at < 40
    child = int((tmp_path / "log").read_text().split("child ")[1].split()[0])
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    assert killed.processes == 2
    assert killed.peak() > 30e6
    whole = run()
    assert (whole.code, whole.killed_at, results_in(output)) == (0, None, 40)
    assert min(whole.result_s) >= killed.killed_at
    row = speed(whole, [{"duration_s": 2.0}] * 40)
    assert row["clips_per_s"] == pytest.approx(40 / whole.wall_s, rel=0.01)
    assert row["steady_clips_per_s"] == pytest.approx(20, rel=0.3)


@linux
def test_shared_pages_count_once(tmp_path):
    """A fork shares its parent's pages: the sum of PSS does not double, and that of RSS does."""
    held = os.urandom(60_000_000)
    alone, _ = tree_memory([os.getpid()])
    pid = os.fork()
    if pid == 0:
        time.sleep(30)
        os._exit(0)
    try:
        both, processes = tree_memory([os.getpid()])
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert processes >= 2
    assert both["Pss"] - alone["Pss"] < len(held) / 2
    assert both["Rss"] - alone["Rss"] > len(held)


def test_nothing_is_killed_where_nothing_is_left():
    kill_tree(2**22 + 1)  # above the largest process id


def test_complete_lines_are_counted_as_they_come(tmp_path):
    journal, count = journal_path(tmp_path / "r.json"), ResultCounter(tmp_path / "r.json")
    assert count() == 0
    for content, expected in (("first\n", 0), ("first\na\nb", 1), ("first\na\nbb\nc\n", 3), ("first\na\n", 1)):
        journal.write_text(content)
        assert count() == results_in(tmp_path / "r.json") == expected
    journal.unlink()
    assert count() == 0


def test_latencies_are_no_difference(tmp_path):
    def write(name, *samples, **others):
        (tmp_path / name).write_text(json.dumps({"samples": list(samples), **others}))
        return tmp_path / name

    one = write("1", {"audio": "x/a.flac", "latency_ms": 1, "t": [8]}, {"audio": "x/b.flac", "t": [9]}, files=2)
    same = write("2", {"audio": "../a.flac", "latency_ms": 2, "t": [8]}, {"audio": "b.flac", "t": [9]}, files=2)
    other = write("3", {"audio": "b.flac", "t": [7]}, {"audio": "a.flac", "t": [8]}, files=3)
    assert differences(one, same) == {"clips": 2, "clips_that_differ": 0, "same_order": True, "keys_that_differ": []}
    assert differences(one, other) == {
        "clips": 2, "clips_that_differ": 1, "same_order": False, "keys_that_differ": ["files"]
    }  # fmt: skip


def test_a_part_replaces_its_own_results_alone(tmp_path):
    path = tmp_path / "results/large_set.json"
    merge(path, "clips", {"clips": 1})
    merge(path, "jobs", {"clips": 2})
    assert merge(path, "clips", {"clips": 3}) == {"clips": {"clips": 3}, "jobs": {"clips": 2}}
    assert json.loads(path.read_text()) == {"clips": {"clips": 3}, "jobs": {"clips": 2}}


def test_every_kind_of_result_has_its_table():
    row = speed(Run(wall_s=2.0), [{"duration_s": 3.0}])
    same = {"clips": 1, "clips_that_differ": 0, "same_order": True, "keys_that_differ": []}
    by_way = {"jobs": 2, "compare": {"plain": {**row, "differences": same}}, "ratios": {"compare": {"jobs / plain": 2}}}
    by_size = {"jobs": 2, "way": "jobs", "compare": [row, row], "fit": {"compare": {"start_up_s": 3.0}}}
    killed = {"jobs": 2, "compare": {"undisturbed": row, "attempts": [{"wall_s": 1.0}], "differences": same}}
    said = [str(item) for result in (by_way, by_size, killed) for item in tables("jobs", result)]
    assert "jobs / plain 2" in said
    assert "start_up_s 3.0" in said
    assert "attempts: wall_s 1.0" in said
    assert any("clips_that_differ 0" in line for line in said)
