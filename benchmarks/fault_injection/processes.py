"""Faults of processes: kills at any moment, a disk that is full, two writers at once.

What a run leaves after a kill, the same command must mend: a second run ends well, and gives what an undisturbed one
does.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from numpy.random import Generator

from benchmarks.fault_injection.answers import Contents, bundle_at, contents, reference_at, report_at, written
from benchmarks.fault_injection.fault import (
    CONVERT,
    REFERENCE,
    RUN,
    Check,
    Fault,
    Finished,
    Run,
    Verdict,
    Word,
    pick,
)
from benchmarks.fault_injection.material import CLIPS, CONVERSION, OTHER_CONVERSION, Material
from forced_aligner.base.errors import UserError

SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
FRESH_SHARE = 0.25  # of the kills that hit a process of its own, while it may still load libraries
FORK_S = {"convert": 5.0, "replace": 5.5, "reference": 1.2, "compare": 1.6, "infer": 1.8}  # about what a fork takes
FRESH_S = 7.0  # more, for the libraries
PAGE_BYTES = 4096
# Disks on which the command fits, or does not.
DISK_BYTES = {
    "convert": (16 << 10, 12 << 20),
    "replace": (9 << 20, 20 << 20),
    "reference": (PAGE_BYTES, 24 << 10),
    "compare": (PAGE_BYTES, 24 << 10),
    "infer": (PAGE_BYTES, 600 << 10),
}
DEADLINE_S = 300.0


@lru_cache
def _right(folder: Path) -> Contents:
    return contents(folder)


def _job(kind: str, place: Path, material: Material, place_name: str = "") -> tuple[tuple[str, ...], Check, list[Path]]:
    """A command that writes into `place`, the check of its result, and what it may change."""
    prefix = f"{place_name}/" if place_name else ""
    pairs = material.reference.parent
    words: Mapping[str, Sequence[Word]] = {clip: material.words[f"{clip}.flac"] for clip in CLIPS}
    demo = ("--model-id", "demo")
    jobs: dict[str, tuple[tuple[str, ...], Check, list[Path]]] = {
        "convert": (
            (CONVERT, *CONVERSION, "--output-dir", f"{prefix}out"),
            bundle_at(place / "out", [_right(material.conversion)]),
            [],
        ),
        "replace": (
            (CONVERT, *CONVERSION, "--output-dir", f"{prefix}out", "--force"),
            bundle_at(place / "out", [_right(material.conversion)]),
            [place / "out"],
        ),
        "reference": (
            (REFERENCE, *demo, "--dataset", str(pairs), "--output", f"{prefix}r.json"),
            reference_at(place / "r.json", words),
            [],
        ),
        "compare": (
            (
                RUN,
                "compare",
                "--model-dir",
                str(material.model),
                "--reference",
                str(material.reference),
                "--report",
                f"{prefix}report.json",
            ),
            report_at(place / "report.json", moved=False),
            [],
        ),
        "infer": (
            (
                RUN,
                "infer",
                "--files",
                str(pairs),
                "--model-dir",
                str(material.model),
                "--output-dir",
                f"{prefix}out",
                "--format",
                "json,srt",
                "--plot",
            ),
            written(place / "out", words),
            [],
        ),
    }
    command, check, free = jobs[kind]
    if kind == "replace":
        shutil.copytree(material.other, place / "out")
    return command, check, free


def kill(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A signal at a random moment of a command, and the same command once more."""
    kind, number = str(pick(rng, sorted(FORK_S))), int(pick(rng, SIGNALS))  # type: ignore[call-overload]
    is_fresh = rng.random() < FRESH_SHARE
    span = FORK_S[kind] + (FRESH_S if is_fresh else 0.0)
    after_s = float(rng.uniform(0.02, span))
    command, check, free = _job(kind, scratch, material)
    again = (*command, "--skip-existing") if kind == "infer" else command
    stopped = Run(command, stop=number, after_s=after_s, is_fresh=is_fresh)

    def check_all(runs: Sequence[Finished]) -> Verdict:
        if runs[0].code == 0:
            return Verdict("answered") if check(runs[1:]).outcome in ("answered", "refused") else check(runs[1:])
        if runs[0].code not in (-number, 128 + number):
            return Verdict("unclear", f"the stopped run ended with exit {runs[0].code}")
        if runs[1].code:
            return Verdict("half-made", f"the second run ended with exit {runs[1].code}: {runs[1].err[-200:]}")
        found = check(runs[1:])
        return Verdict("stopped") if found.outcome in ("answered", "warned") else found

    what = f"{signal.Signals(number).name} after {after_s:.2f} s of {kind}{', fresh' if is_fresh else ''}"
    return Fault(what, ((stopped,), (Run(again),)), check_all, tuple(free), deadline_s=DEADLINE_S)


def kill_and_look(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A kill while a model is replaced; after it the old or the new model opens, and nothing else is there for long."""
    number = int(pick(rng, SIGNALS))  # type: ignore[call-overload]
    after_s = float(rng.uniform(1.0, 1.1 * FORK_S["replace"]))
    command, _, free = _job("replace", scratch, material)
    options = ("--text", material.transcripts["clip-02"], "--model-dir", "out")
    look = (RUN, "infer", "--audio-file", str(material.audio("clip-02.flac")), *options)
    expected = [_right(material.conversion), _right(material.other)]

    def check(runs: Sequence[Finished]) -> Verdict:
        if runs[1].code:
            return Verdict("half-made", f"no model opens after the kill: {runs[1].err[-200:]}")
        found = bundle_at(scratch / "out", expected)(runs[1:])
        return Verdict("stopped") if found.outcome == "answered" and runs[0].code else found

    steps = ((Run(command, stop=number, after_s=after_s),), (Run(look),), (Run(command),))
    what = f"{signal.Signals(number).name} after {after_s:.2f} s of a replacement, then infer"
    return Fault(what, steps, check, tuple(free), deadline_s=DEADLINE_S)


def full_disk(rng: Generator, scratch: Path, material: Material) -> Fault:
    """The output's disk is too small: one sentence, and nothing half-made."""
    kind = str(pick(rng, sorted(FORK_S)))
    size = int(rng.integers(*DISK_BYTES[kind])) // PAGE_BYTES * PAGE_BYTES
    disk = scratch / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=True)
    command, check, free = _job(kind, disk, material, "disk")
    before = _right(material.other)

    def check_all(runs: Sequence[Finished]) -> Verdict:
        if kind == "replace" and runs[0].code:
            try:
                found = contents(disk / "out")
            except UserError as error:
                return Verdict("lost", str(error))
            return Verdict("refused") if found == before else Verdict("lost", "the old model is another one")
        return check(runs)

    def unmount() -> None:
        subprocess.run(["umount", "--lazy", disk], check=True)

    what = f"a disk of {size >> 10} KiB under {kind}"
    return Fault(what, ((Run(command),),), check_all, tuple(free), deadline_s=DEADLINE_S, undo=unmount)


def two_writers(rng: Generator, scratch: Path, material: Material) -> Fault:
    """Two runs write one place at once: one is refused, or both give the same. What is there in the end is whole."""
    kind = str(pick(rng, sorted(FORK_S)))
    command, check, free = _job(kind, scratch, material)
    other = command
    is_other = kind in ("convert", "replace") and rng.random() < 0.5
    if is_other:
        other = (CONVERT, *OTHER_CONVERSION, *command[1 + len(CONVERSION) :])
        check = bundle_at(scratch / "out", [_right(material.conversion), _right(material.other)])

    def check_all(runs: Sequence[Finished]) -> Verdict:
        done = [run for run in runs if run.code == 0]
        if kind == "convert" and is_other and len(done) > 1:
            return Verdict("lost", "two conversions into one new folder both ended with exit 0")
        if kind == "infer":
            found = check(runs[:1])
            return found if found.outcome not in ("answered", "refused") else Verdict("answered" if done else "refused")
        if not done:
            return Verdict("unclear", "neither of two runs ended with exit 0")
        return check(done)

    step = (Run(command), Run(other))
    return Fault(
        f"two at once: {kind}{', other options' if is_other else ''}", (step,), check_all, tuple(free), DEADLINE_S
    )


def can_mount(folder: Path) -> bool:
    """Whether small disks can be made here, which needs root and Linux."""
    place = folder / "mount"
    place.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        return False
    subprocess.run(["umount", str(place)], check=True)
    place.rmdir()
    return True
