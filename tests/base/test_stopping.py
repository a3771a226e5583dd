"""Signals and closed pipes: one line or none, the right exit code, at once, and nothing unfinished left."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60
BUSY = {  # what the main thread may do when the signal comes
    "in a library's loop": "import time\nwhile True:\n    time.sleep(0.01)",
    "in a long call": "import time; time.sleep(60)",
    "where the interrupt is caught": (
        "import time\nwhile True:\n    try:\n        time.sleep(0.01)\n    except BaseException:\n        pass"
    ),
}


def start(code, **options):
    """A process that has called `exit_on_signals`, has an unfinished file, folder and lock, and says when it is so."""
    head = (
        "from forced_aligner.base.stopping import exit_on_signals\n"
        "exit_on_signals()\n"
        "import sys, pathlib\n"
        "from forced_aligner.base.stopping import unfinished\n"
        "from forced_aligner.base.lock import locked\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "with unfinished(folder / 'file'), unfinished(folder / 'new'), locked(folder / 'out', 'wait'):\n"
        "    (folder / 'file').write_text('half')\n"
        "    (folder / 'new').mkdir()\n"
        "    (folder / 'new/half').touch()\n"
        "    (folder / 'finished').touch()\n"
        "    print('ready', flush=True)\n"
    )
    body = "\n".join(f"    {line}" for line in code.splitlines())
    return subprocess.Popen(
        [sys.executable, "-c", head + body, *options.pop("arguments")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.parametrize("code", BUSY.values(), ids=BUSY)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_program_at_once_and_leaves_nothing_unfinished(tmp_path, code, number):
    with start(code, arguments=[str(tmp_path)]) as run:
        assert run.stdout.readline() == "ready\n"
        started = time.monotonic()
        run.send_signal(number)
        _, said = run.communicate(timeout=DEADLINE_S)
    assert run.returncode == 128 + number
    assert said == f"stopped by {number.name}\n"
    assert time.monotonic() - started < 5  # a hang is what this looks for
    assert [path.name for path in tmp_path.iterdir()] == ["finished"]


def test_a_signal_ends_foreign_code_that_holds_the_interpreters_lock(tmp_path):
    """As Core ML's compiler for the Neural Engine does, for minutes."""
    code = (
        "import ctypes\n"
        "from forced_aligner.base.stopping import ends_at_once\n"
        "with ends_at_once():\n"
        "    ctypes.PyDLL(None).sleep(600)"
    )
    with start(code, arguments=[str(tmp_path)]) as run:
        assert run.stdout.readline() == "ready\n"
        time.sleep(1)  # until it sleeps
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=DEADLINE_S)
    assert run.returncode == -signal.SIGTERM


def test_steps_that_belong_together_are_not_torn_apart(tmp_path):
    code = (
        "import time\n"
        "from forced_aligner.base.stopping import uninterrupted\n"
        "with uninterrupted():\n"
        "    (folder / 'first').touch()\n"
        "    time.sleep(0.5)\n"
        "    (folder / 'second').touch()\n"
        "time.sleep(60)"
    )
    with start(code, arguments=[str(tmp_path)]) as run:
        while not (tmp_path / "first").exists():
            time.sleep(0.001)
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=DEADLINE_S)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["finished", "first", "second"]


def test_an_error_that_the_end_causes_is_not_shown(tmp_path):
    """The main thread finds its folder gone. It fails, and says nothing."""
    code = (
        "import typer\n"
        "from forced_aligner.base.console import run_app\n"
        "app = typer.Typer()\n"
        "@app.command()\n"
        "def work(name: str):\n"
        "    while True:\n"
        "        (folder / 'new/half').write_text('x')\n"
        "run_app(app)"
    )
    for _ in range(3):
        with start(code, arguments=[str(tmp_path)]) as run:
            assert run.stdout.readline() == "ready\n"
            time.sleep(0.3)
            run.send_signal(signal.SIGINT)
            _, said = run.communicate(timeout=DEADLINE_S)
        assert (run.returncode, said) == (130, "stopped by SIGINT\n")
        (tmp_path / "finished").unlink()
        assert list(tmp_path.iterdir()) == []


def test_a_program_that_runs_on_after_a_hang_up_still_does(tmp_path):
    """As nohup starts it."""
    code = "print(sys.stdin.readline(), flush=True)"
    options = {"stdin": subprocess.PIPE, "preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    with start(code, arguments=[str(tmp_path)], **options) as run:
        assert run.stdout.readline() == "ready\n"
        run.send_signal(signal.SIGHUP)
        assert run.communicate("on\n", timeout=DEADLINE_S)[0] == "on\n\n"
    assert run.returncode == 0


def test_streams_that_are_closed_are_no_trouble(tmp_path):
    """The number of a closed stream must not go to the next file that is opened."""
    code = (
        "from forced_aligner.base.stopping import exit_on_signals\n"
        "exit_on_signals()\n"
        "from forced_aligner.base.console import log, show_table, write_result\n"
        f"file = open({str(tmp_path / 'file')!r}, 'w'); log('a'); write_result('b\\n'); show_table('c'); print('d')"
    )
    command = f"exec {sys.executable} -c {shlex.quote(code)} <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", command], cwd=ROOT, check=False).returncode == 0
    assert (tmp_path / "file").read_text() == ""


def test_temporary_files_are_removed_too(tmp_path):
    code = (
        "import tempfile, time\n"
        "from forced_aligner.base.stopping import removed_temporaries\n"
        "with removed_temporaries():\n"
        "    tempfile.mkdtemp()\n"
        "    (folder / 'finished').touch()\n"
        "    time.sleep(60)"
    )
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    (tmp_path / "out").mkdir()
    with start(code, arguments=[str(tmp_path / "out")], env={**os.environ, "TMPDIR": str(temporary)}) as run:
        run.stdout.readline()
        while not any(temporary.glob("*/*")):
            time.sleep(0.001)
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=DEADLINE_S)
    assert list(temporary.iterdir()) == []


PRINTS = (
    "import typer; from forced_aligner.base.console import run_app, show_table, write_result\n"
    "app = typer.Typer()\n"
    "@app.command()\n"
    "def work():\n"
    "    import time; time.sleep(0.3)\n"
    "    {}\n"
    "run_app(app)"
)


@pytest.mark.parametrize("call", ["write_result('a')", "show_table('a')", "write_result('a' * 100_000)"])
def test_a_closed_pipe_ends_the_program_without_a_word(call):
    with subprocess.Popen(
        [sys.executable, "-c", PRINTS.format(call)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        run.stdout.close()
        said = run.stderr.read()
    assert (run.returncode, said) == (141, b"")


def test_a_closed_pipe_under_help_is_no_missed_threshold():
    with subprocess.Popen(
        [sys.executable, "compare-models.py", "--help"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        run.stdout.close()
        said = run.stderr.read()
    assert (run.returncode, said) == (141, b"")


def test_results_are_utf_8_whatever_the_locale_says():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-c", PRINTS.format("write_result('\u2014 \u4f60\\n')")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, env=environment, check=True)
    assert run.stdout.decode() == "\u2014 \u4f60\n"


def test_a_full_disk_under_stdout_is_one_sentence(small_disk):
    with (small_disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space left"):
        while True:
            filler.write(bytes(4096))
    with (small_disk / "out").open("wb") as out:
        run = subprocess.run(
            [sys.executable, "-c", PRINTS.format("write_result('a')")],
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert run.returncode == 2
    assert (
        run.stderr.decode() == "error: cannot write the result to stdout (No space left on device): free some space\n"
    )


@pytest.mark.parametrize("script", ["convert-coreml.py", "compare-models.py", "run_coreml_inference.py"])
def test_the_commands_take_signals_before_their_slow_imports(script, tmp_path):
    """The first lines of each script, up to the import of typer, install the handlers."""
    code = (
        "import sys, runpy, builtins\n"
        "load = builtins.__import__\n"
        "def spied(name, *rest):\n"
        "    if name in ('typer', 'rich', 'torch', 'coremltools', 'transformers', 'librosa', 'numpy'):\n"
        "        import signal; print(signal.getsignal(signal.SIGINT) is not signal.default_int_handler); sys.exit()\n"
        "    return load(name, *rest)\n"
        "builtins.__import__ = spied\n"
        f"sys.argv = [{script!r}]; runpy.run_path({script!r}, run_name='__main__')"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "True\n"


def test_names_of_others_cannot_steer_the_terminal(tmp_path, capsys):
    from forced_aligner.base.console import log, show_table

    name = "talk [live] \x1b[31m\x9b2J\n:smile: \u202e.wav"
    log(name)
    show_table(name.splitlines()[0])
    said = capsys.readouterr()
    assert said.err == r"talk [live] \x1b[31m\x9b2J\n:smile: \u202e.wav" + "\n"
    assert "talk [live] " in said.out
