"""Runs commands of the project under limits of time and memory, quickly: as forks that have the libraries loaded.

The parent of the forks must never compute with torch: a fork of a process with threads may wait for ever.
"""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NoReturn

from benchmarks.common import ROOT, peak_bytes
from benchmarks.fault_injection.fault import Fault, Finished, Run

MEMORY_BYTES = 4 * 10**9
POLL_S = 0.01
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TERM": "dumb"}


def load_libraries() -> None:
    """Import what the commands import, before the first fork."""
    os.environ.update(ENVIRONMENT)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so do its forks
    from forced_aligner.base.console import quiet_libraries

    quiet_libraries()
    import coremltools  # noqa: F401
    import librosa
    import matplotlib.figure  # noqa: F401
    import torch  # noqa: F401
    from coremltools.converters.mil.frontend.milproto import load  # noqa: F401
    from transformers import (  # noqa: F401
        Qwen2Tokenizer,
        Qwen3ASRFeatureExtractor,
        Qwen3ASRForTokenClassification,
        Qwen3ASRProcessor,
    )

    librosa.feature.melspectrogram  # noqa: B018  # librosa loads its modules when they are first named
    import forced_aligner.jobs.compare
    import forced_aligner.jobs.convert
    import forced_aligner.jobs.infer
    import forced_aligner.jobs.open_model
    import forced_aligner.jobs.publish
    import forced_aligner.jobs.reference
    import forced_aligner.runtime.mil.backend  # noqa: F401


@dataclass
class _Running:
    """A process that runs."""

    run: Run
    pid: int
    folder: Path  # of its stdout and stderr
    started: float = field(default_factory=time.monotonic)
    limit: Literal["", "time", "memory"] = ""
    is_signalled: bool = False

    def poll(self, deadline_s: float) -> Finished | None:
        """How it ended, or None while it runs; what goes beyond a limit is killed."""
        elapsed_s = time.monotonic() - self.started
        if self.run.stop is not None and not self.is_signalled and elapsed_s >= self.run.after_s:
            os.kill(self.pid, self.run.stop)
            self.is_signalled = True
        pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            return Finished(
                self.run, code, self._read("out"), self._read("err"), peak_bytes(usage), elapsed_s, self.limit
            )
        if elapsed_s > deadline_s or self._resident_bytes() > MEMORY_BYTES:
            self.limit = self.limit or ("time" if elapsed_s > deadline_s else "memory")
            os.kill(self.pid, signal.SIGKILL)
        return None

    def _read(self, name: str) -> str:
        with (self.folder / name).open("rb") as file:
            return file.read(1 << 22).decode(errors="surrogateescape")

    def _resident_bytes(self) -> int:
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE_BYTES
        except (OSError, IndexError):  # it has ended, or this is not Linux
            return 0


def run_steps(fault: Fault, scratch: Path) -> list[Finished]:
    """Run the steps of a fault in `scratch`."""
    finished = []
    for step in fault.steps:
        running = [_start(run, scratch) for run in step]
        ended: dict[int, Finished] = {}
        while len(ended) < len(running):
            time.sleep(POLL_S)
            for process in running:
                if process.pid not in ended and (found := process.poll(fault.deadline_s)):
                    ended[process.pid] = found
        finished += [ended[process.pid] for process in running]
    return finished


def _start(run: Run, scratch: Path) -> _Running:
    folder = Path(tempfile.mkdtemp(prefix="said-"))
    if run.is_fresh:
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            command = [sys.executable, str(ROOT / run.arguments[0]), *run.arguments[1:]]
            environment = {**os.environ, **ENVIRONMENT}
            process = subprocess.Popen(
                command, cwd=scratch, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment
            )
        return _Running(run, process.pid, folder)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _become(run.arguments, scratch, folder)
    return _Running(run, pid, folder)


def _become(arguments: Sequence[str], scratch: Path, folder: Path) -> NoReturn:
    """In a fork: be the command, and end."""
    code = 1
    try:
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False, errors="backslashreplace")  # noqa: SIM115
        os.chdir(scratch)
        os.environ["TMPDIR"] = str(folder)
        tempfile.tempdir = None
        script = ROOT / arguments[0]
        sys.argv = [str(script), *arguments[1:]]
        sys.path.insert(0, str(ROOT))
        try:
            runpy.run_path(str(script), run_name="__main__")
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
