"""Run a command as a tree of processes: its memory over time, its results over time, and its death at a chosen moment.

Memory is the PSS (proportional set size) of Linux, summed over the tree: a page that several processes share counts
once, split among them. So mapped weights that two jobs read are counted once; RSS counts them twice.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped, unused-ignore]

POLL_S = 0.02
SAMPLE_S = 0.5
SAMPLING_SHARE = 0.03  # of the wall time at most: the kernel walks all pages for a sample
MEMORY = ("Pss", "Pss_Anon", "Pss_File", "Rss")
# What sets a number of threads; a measured command gets its own.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
CLUSTER_START_S = 60.0


@dataclass(frozen=True)
class Sample:
    """The memory of a tree at a moment, in bytes by the kernel's names, and the results that the run had by then."""

    at_s: float
    memory: dict[str, int]
    processes: int
    results: int


@dataclass
class Run:
    """What became of a command."""

    code: int = 0  # negative: killed by that signal
    wall_s: float = 0.0
    cpu_s: float = 0.0
    killed_at: int | None = None  # with so many results
    samples: list[Sample] = field(default_factory=list)
    result_s: dict[int, float] = field(default_factory=dict)  # the first moment with so many results

    def peak(self, name: str = "Pss") -> int:
        """The largest sum over the tree, in bytes; 0 where the system does not tell it."""
        return max((sample.memory.get(name, 0) for sample in self.samples), default=0)

    @property
    def peak_sample(self) -> Sample:
        """The sample with the largest PSS."""
        return max(self.samples, key=lambda sample: sample.memory.get("Pss", 0))

    @property
    def processes(self) -> int:
        """The most processes at a time."""
        return max((sample.processes for sample in self.samples), default=0)


def run_tree(
    command: Sequence[str | Path],
    log: Path,
    *,
    cwd: Path,
    results: Callable[[], int] = lambda: 0,
    kill_at: int | None = None,
    delay_s: float = 0.0,
    others: Sequence[int] = (),
) -> Run:
    """Run a Python command to its end, or kill its whole tree (SIGKILL).

    Args:
        command: the script and its options.
        log: gets its output.
        cwd: where it runs.
        results: counts the results so far.
        kill_at: kill it once there are so many results,
        delay_s: and this much later.
        others: processes whose trees are measured too, such as the workers of a cluster.
    """
    run, started, next_sample_s, due_s = Run(), time.perf_counter(), 0.0, None
    cpu_before_s = sum(map(_cpu_s, others))
    with log.open("a") as output:
        print(f"$ {' '.join(map(str, command))}", file=output, flush=True)
        process = subprocess.Popen(
            [sys.executable, *map(str, command)], cwd=cwd, stdout=output, stderr=output, env=environment(),
            start_new_session=True,
        )  # fmt: skip
    try:
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            run.wall_s = time.perf_counter() - started
            count = results()
            run.result_s.setdefault(count, run.wall_s)
            if pid:
                process.returncode = run.code = os.waitstatus_to_exitcode(status)
                run.cpu_s = usage.ru_utime + usage.ru_stime + sum(map(_cpu_s, others)) - cpu_before_s
                return run
            if kill_at is not None and due_s is None and count >= kill_at:
                due_s = run.wall_s + delay_s
            is_due = due_s is not None and run.wall_s >= due_s and run.killed_at is None
            if is_due or run.wall_s >= next_sample_s:
                run.samples.append(Sample(run.wall_s, *tree_memory([process.pid, *others]), count))
                took_s = time.perf_counter() - started - run.wall_s
                next_sample_s = run.wall_s + max(SAMPLE_S, took_s / SAMPLING_SHARE)
            if is_due:
                kill_tree(process.pid)
                run.killed_at = results()
            time.sleep(POLL_S)
    finally:
        kill_tree(process.pid)  # whatever it has left, or all of it where this program is stopped


def environment() -> dict[str, str]:
    """The environment of a measured command: offline, and without a number of threads."""
    kept = {name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES}
    return {**kept, "HF_HUB_OFFLINE": "1"}


def tree_of(pid: int) -> list[psutil.Process]:
    """The process and all below it; none if it has ended."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _cpu_s(pid: int) -> float:
    """The CPU time of a tree so far."""
    total = 0.0
    for process in tree_of(pid):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def tree_memory(pids: Sequence[int]) -> tuple[dict[str, int], int]:
    """The memory of the trees in bytes, by the kernel's names, and the number of their processes."""
    total, processes = dict.fromkeys(MEMORY, 0), 0
    for process in (each for pid in pids for each in tree_of(pid)):
        try:
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]
        except OSError:  # it has ended, or this is no Linux
            continue
        kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
        processes += bool(kib)
        for name in MEMORY:
            total[name] += 1024 * kib.get(name, 0)
    return total, processes


def kill_tree(pid: int) -> None:
    """Kill every process of the session that `pid` leads, at once, and again until none is left."""
    while True:
        alive = _session(pid)
        if not alive:
            return
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        time.sleep(POLL_S)


def _session(leader: int) -> list[psutil.Process]:
    """The processes of a session that have not ended."""
    members = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process)
    return members


@contextmanager
def local_cluster(workers: int, folder: Path, cwd: Path) -> Iterator[tuple[str, list[int]]]:
    """A Dask scheduler and `workers` workers of one thread each; a worker's memory is not limited.

    Yields:
        The scheduler's address, and the processes.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    dask = (sys.executable, "-m", "dask")  # as the command `dask` does, of this Python
    scheduler = [*dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    worker = [*dask, "worker", address, "--nworkers", str(workers), "--nthreads", "1", "--memory-limit", "0"]
    worker += ["--no-dashboard", "--local-directory", str(folder)]
    started: list[subprocess.Popen[bytes]] = []
    try:
        with (folder / "cluster.log").open("w") as log:
            for command in (scheduler, worker):
                settings = {**environment(), "DASK_CONFIG": str(cwd / "docs/dask.yaml")}
                process = subprocess.Popen(
                    command, cwd=cwd, stdout=log, stderr=log, env=settings, start_new_session=True
                )
                started.append(process)
        _wait_for(folder / "cluster.log", workers)
        yield address, [process.pid for process in started]
    finally:
        for process in started:
            kill_tree(process.pid)
            process.wait()


def _wait_for(log: Path, workers: int) -> None:
    """Return once the scheduler has registered all workers.

    Raises:
        RuntimeError: it has not within `CLUSTER_START_S`.
    """
    end = time.perf_counter() + CLUSTER_START_S
    while log.read_text().count("Register worker") < workers:
        if time.perf_counter() > end:
            raise RuntimeError(f"the cluster did not start: see {log}")
        time.sleep(0.1)
