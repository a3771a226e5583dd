"""Says what came of a fault: by the exit codes, by what was printed, by the files, and at last by the answers."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fault_injection.execute import MEMORY_BYTES
from benchmarks.fault_injection.fault import OUTCOMES, Fault, Finished, Verdict
from forced_aligner.base.errors import EXIT_BAD_INPUT, EXIT_BUG, EXIT_THRESHOLD_MISSED

Snapshot = dict[str, str]  # what lies at each relative path
HASHED_BYTES = 64 << 20  # of a larger file, size and time of change are taken
ERROR_LOG = "forced-aligner-errors.log"
LEFTOVER = re.compile(r"(^|/)\.[^/]*\.(partial|lock|being-written|being-replaced)$")
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u202a-\u202e\u2066-\u2069]")


def snapshot(folder: Path) -> Snapshot:
    """What lies in `folder`: the kind of each path, and the digest of each file."""
    return {str(path.relative_to(folder)): _content(path) for path in folder.rglob("*")}


def _content(path: Path) -> str:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return f"link to {path.readlink()}"
    if not stat.S_ISREG(status.st_mode):
        return str(stat.S_IFMT(status.st_mode))
    if status.st_size > HASHED_BYTES:
        return f"{status.st_size} {status.st_mtime_ns}"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def judge(fault: Fault, scratch: Path, before: Snapshot, after: Snapshot, runs: Sequence[Finished]) -> Verdict:
    """The worst of all that is to be said about a fault's runs."""
    found = [_judge_run(run) for run in runs] + _judge_files(fault, scratch, before, after)
    worst = max(found, key=lambda verdict: OUTCOMES.index(verdict.outcome))
    if worst.outcome not in ("answered", "refused", "stopped"):
        return worst
    answer = fault.check(runs)
    return max(answer, worst, key=lambda verdict: (OUTCOMES.index(verdict.outcome), verdict.why))


def _judge_run(run: Finished) -> Verdict:
    lines = run.err.splitlines()
    if run.limit == "time":
        return Verdict("hang", f"it ran for {run.wall_s:.0f} s")
    if run.limit == "memory" or run.peak_bytes > MEMORY_BYTES:
        return Verdict("memory", f"{max(run.peak_bytes, MEMORY_BYTES) / 1e9:.1f} GB or more")
    if run.run.stop is not None and run.code in (-run.run.stop, 128 + run.run.stop):
        said = f"stopped by {_signal_name(run.run.stop)}"
        if run.code > 0 and (not lines or lines[-1] != said or "Traceback" in run.err):
            return Verdict("unclear", f"it ended with {lines[-1:]}, not with {said!r}")
        return Verdict("stopped")
    if run.code < 0:
        return Verdict("crash", f"signal {-run.code}")
    if "Traceback (most recent call last)" in run.err:
        return Verdict("traceback", lines[-1] if lines else "")
    if run.code == EXIT_BUG:
        return Verdict("exit 70", lines[-1] if lines else "")
    if raw := RAW.search(run.err.replace("\r\n", "\n")):
        return Verdict("raw", repr(run.err[max(0, raw.start() - 40) : raw.end() + 20]))
    if run.code == EXIT_BAD_INPUT:
        return _judge_refusal(run.err)
    if run.code == 0 or (run.code == EXIT_THRESHOLD_MISSED and "compare" in run.run.arguments):
        return Verdict("answered")
    return Verdict("unclear", f"exit {run.code}: {lines[-1] if lines else 'no line'}")


def _judge_refusal(err: str) -> Verdict:
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    is_usage = "Usage:" in err and not errors
    if is_usage or (len(errors) == 1 and err.splitlines()[-1] == errors[0]):
        return Verdict("refused", err.splitlines()[-1])
    return Verdict("unclear", f"exit 2 with {len(errors)} sentences; the last line: {err.splitlines()[-1:]}")


def _judge_files(fault: Fault, scratch: Path, before: Snapshot, after: Snapshot) -> list[Verdict]:
    may_change = [os.path.relpath(path, scratch) for path in fault.may_change]

    def is_free(name: str) -> bool:
        return any(name == free or name.startswith(f"{free}/") for free in may_change)

    found = []
    for name, content in before.items():
        if not is_free(name) and after.get(name) != content:
            found.append(Verdict("lost", f"{name} was {'changed' if name in after else 'removed'}"))
    for name in after.keys() - before.keys():
        if LEFTOVER.search(name):
            found.append(Verdict("half-made", f"{name} was left"))
        elif name.endswith(ERROR_LOG):
            found.append(Verdict("traceback", (scratch / name).read_text().splitlines()[-1]))
    return found


def _signal_name(number: int) -> str:
    import signal

    return signal.Signals(number).name
