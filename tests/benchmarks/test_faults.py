"""The fault benchmark itself: it notices what it is for, and its faults can be made again."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fault_injection import execute
from benchmarks.fault_injection import judge as judging
from benchmarks.fault_injection.answers import printed, strange
from benchmarks.fault_injection.categories import CATEGORIES
from benchmarks.fault_injection.execute import run_steps
from benchmarks.fault_injection.fault import GOOD, OUTCOMES, Fault, Run, Verdict, always_right, single
from benchmarks.fault_injection.judge import judge, snapshot
from benchmarks.faults import fault_names

RIGHT = [("word", 80.0, 160.0)]
RESULT = '{{"duration_s": 1, "words": [{{"text": "word", "word": "word", "start_time_ms": {}, "end_time_ms": 160.0}}]}}'
STATM = Path("/proc/self/statm")
SENTENCE = "import sys; print('error: no file', file=sys.stderr); sys.exit(2)"


@pytest.fixture
def outcome(tmp_path, monkeypatch):
    """What comes of a script, given as code, in the place of a command of the project."""
    monkeypatch.setattr(execute, "ROOT", tmp_path / "project")
    (tmp_path / "project").mkdir()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "input.wav").write_text("a recording")

    def run(code, check=always_right, again=None, **options):
        steps = []
        for number, text in enumerate(filter(None, (code, again))):
            (tmp_path / f"project/command{number}.py").write_text(text)
            steps.append((Run((f"command{number}.py",), **(options if number == 0 else {})),))
        deadline_s = 1.0 if code == PLANTED["hang"] else 60.0  # a busy machine is slow
        fault = Fault("planted", tuple(steps), check, deadline_s=deadline_s)
        before = snapshot(scratch)
        runs = run_steps(fault, scratch)
        return judge(fault, scratch, before, snapshot(scratch), runs).outcome

    return run


def resident_bytes():
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def printing(start_ms, more=""):
    return f"import sys\n{more}\nprint('''{RESULT.format(start_ms)}''')"


PLANTED = {
    "traceback": "raise ValueError('a bug')",
    "exit 70": "import sys; sys.exit(70)",
    "hang": "import time; time.sleep(600)",
    "crash": "import os, signal; os.kill(os.getpid(), signal.SIGSYS)",
    "memory": "held = b'x' * 800_000_000",  # a bytearray of zeros takes no memory until it is written
    "lost": "open('input.wav', 'w').close()",
    "half-made": "open('.out.partial', 'w').close()",
    "silent": printing(0.0),
    "raw": "import sys; print('error: \\x1b[31m', file=sys.stderr); sys.exit(2)",
    "unclear": "import sys; print('error: a', file=sys.stderr); print('error: b', file=sys.stderr); sys.exit(2)",
    "refused": SENTENCE,
    "warned": printing(0.0, "print('warning: odd', file=sys.stderr)"),
    "answered": printing(80.0),
}


@pytest.mark.parametrize("expected", PLANTED)
def test_a_planted_fault_is_seen_for_what_it_is(outcome, monkeypatch, expected):
    if expected == "memory":
        if not STATM.exists():
            pytest.skip("what a process holds now is known on Linux only")
        limit = resident_bytes() + 100_000_000
        monkeypatch.setattr(execute, "MEMORY_BYTES", limit)
        monkeypatch.setattr(judging, "MEMORY_BYTES", limit)
    check = printed(RIGHT) if expected in ("silent", "warned", "answered") else always_right
    assert outcome(PLANTED[expected], check) == expected


def test_an_input_that_is_gone_is_lost_even_if_the_command_refused(outcome):
    assert outcome(f"import os; os.remove('input.wav')\n{SENTENCE}") == "lost"


def test_the_log_of_unexpected_errors_counts_as_a_traceback(outcome):
    code = "open('forced-aligner-errors.log', 'w').write('ValueError: a bug')"
    assert outcome(f"{code}\n{SENTENCE}") == "traceback"


def ended_well(_):
    return Verdict("stopped")


@pytest.mark.parametrize("number", [9, 15])
def test_a_signal_reaches_the_command_and_what_it_leaves_counts_after_the_next_run(outcome, number):
    code = (
        "import signal, sys, time\n"
        "def end(*_): print('stopped by SIGTERM', file=sys.stderr); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, end); open('.out.partial', 'w').close(); time.sleep(60)"
    )
    clean = "import os; os.remove('.out.partial')"
    assert outcome(code, ended_well, again=clean, stop=number, after_s=0.3) == "stopped"
    assert outcome(code, ended_well, again="pass", stop=number, after_s=0.3) == "half-made"


def test_a_command_of_its_own_process_is_judged_as_a_fork_is(outcome):
    assert outcome(PLANTED["traceback"], is_fresh=True) == "traceback"


@pytest.mark.parametrize(
    ("words", "odd"),
    [
        ([], "no word"),
        ([("a", 0.0, float("nan"))], "times that are not finite"),
        ([("a", 80.0, 0.0)], "times that fall"),
        ([("a", 0.0, 80.0), ("b", 40.0, 80.0)], "times that fall"),
        ([("a", 0.0, 2000.0)], "times beyond 1000 ms"),
        ([("a", -80.0, 0.0)], "times beyond 1000 ms"),
        (RIGHT, ""),
    ],
)
def test_times_that_no_answer_may_have_are_seen(words, odd):
    assert strange(words, 1000.0) == odd


def test_there_are_a_thousand_faults_of_every_category_and_each_has_its_own_seed():
    names = fault_names(1400, None)
    assert len(names) == len(set(names)) >= 1000
    assert {name.rpartition("-")[0] for name in names} == set(CATEGORIES)
    assert set(GOOD) < set(OUTCOMES)


def test_a_fault_can_be_made_again(tmp_path):
    from benchmarks.fault_injection.damage import broken_json, mutated_json

    value = {"a": [1, 2.5, "x"], "b": {"c": None}}
    for make in (lambda rng: mutated_json(rng, value), lambda rng: broken_json(rng, '{"a": 1, "b": 2}')):
        assert [make(np.random.default_rng(n)) for n in range(20)] == [
            make(np.random.default_rng(n)) for n in range(20)
        ]
    assert single("x", sys.executable, os.devnull).steps[0][0].arguments == (sys.executable, os.devnull)
