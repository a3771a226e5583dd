"""Faults of options: every option of every command with odd values."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import typer.main
from numpy.random import Generator

from benchmarks.common import ROOT
from benchmarks.fault_injection.answers import bundle_at, printed, reference_at, report_at
from benchmarks.fault_injection.fault import (
    CONVERT,
    REFERENCE,
    RUN,
    Check,
    Fault,
    Run,
    always_right,
    pick,
)
from benchmarks.fault_injection.material import Material

CLIP = "clip-02"
VALUES = (
    "0",
    "-1",
    "1",
    "64",
    "1e308",
    "nan",
    "inf",
    "-inf",
    "99999999999999999999",
    "1" + "0" * 12,
    "9" * 5000,
    "",
    " ",
    "/",
    "a" * 300,
    "unknown",
    "[/m]",
    "[red]x",
    "\x1b[31mred",
    "../..",
    "1,2,,",
    ",",
    "64,64",
    "256,128",
    "\u0663",
    "\u00b2",
    "1048576",
    "None",
    "demo",
    "true",
    "\udcff",
    "a\nb",
    "--",
    "int8,int4",
    "json,json",
    "nan,nan",
    "0.5",
    "4",
    "~",
    "a/b",
    "a/b/c",
    "http://x.example/a",
    "x=y",
    "decoder_prefill=int4",
)
WITH_OTHER_TIMES = ("--text", "--text-file", "--audio-file", "--files", "--language", "--piece-s", "--model-dir")
# These write where the value says: nothing may be written outside of the scratch folder.
WRITES = ("--output-dir", "--output", "--report", "--package", "--host-kit", "--dataset-dir")
SLOW = ("sweep", "demo")
SLOW_S = 400.0


@lru_cache
def options_of(script: str, command: str) -> dict[str, bool]:
    """The options of a command, and whether each is a flag."""
    import click
    from typer.core import TyperGroup

    found = typer.main.get_command(runpy.run_path(str(ROOT / script))["app"])
    if isinstance(found, TyperGroup):
        found = found.commands[command]
    return {
        name: bool(getattr(option, "is_flag", False))
        for option in found.params
        for name in option.opts
        if name != "--help" and isinstance(name, str) and click is not None
    }


def _command(name: str, scratch: Path, material: Material) -> tuple[str, dict[str, str], Check]:
    """The script, its options as they should be, and the check of what it gives."""
    model = {"--model-dir": str(material.model)}
    one = {"--audio-file": str(material.audio(f"{CLIP}.flac")), "--text": material.transcripts[CLIP]}
    reference = {"--reference": str(material.reference), **model, "--report": "report.json"}
    demo = {"--model-id": "demo"}
    right = material.words[f"{CLIP}.flac"]
    commands: dict[str, tuple[str, dict[str, str], Check]] = {
        "infer": (RUN, {**one, **model}, printed(right)),
        "compare": (RUN, reference, report_at(scratch / "report.json", moved=False)),
        "reference": (
            REFERENCE,
            {**demo, **one, "--output": "r.json"},
            reference_at(scratch / "r.json", {CLIP: right}),
        ),
        "convert": (CONVERT, {**demo, "--components": "embedding", "--output-dir": "out"}, bundle_at(scratch / "out")),
        "sweep": (
            RUN,
            {**demo, "--presets": "float32", "--decoder-lengths": "768", "--num-files": "1", "--output-dir": "out"},
            always_right,
        ),
        "demo": (RUN, {"--output-dir": "out"}, always_right),
    }
    return commands[name]


def _fault(rng: Generator, name: str, scratch: Path, material: Material) -> Fault:
    script, options, check = _command(name, scratch, material)
    flags = []
    known = options_of(script, name)
    changed = []
    for _ in range(1 if rng.random() < 0.8 else 2):
        option = str(pick(rng, sorted(known)))
        if known[option]:
            flags.append(option)
        else:
            value = str(pick(rng, VALUES))
            if option in WRITES and value in ("/", "~", "../.."):
                value = "/proc/x"
            options[option] = value
        changed.append(f"{option} {ascii(options.get(option, ''))[:40]}")
    if any(each.partition(" ")[0] in (*WITH_OTHER_TIMES, *WRITES, "--reference", "--format") for each in changed):
        check = always_right
    arguments = [f"{option}={value}" for option, value in options.items()]
    command = (script, *([name] if script == RUN else []), *arguments, *flags)
    return Fault(f"{name} {' '.join(changed)}", ((Run(command),),), check, deadline_s=SLOW_S)


def light(rng: Generator, scratch: Path, material: Material) -> Fault:
    """An option of a command that ends soon."""
    return _fault(rng, str(pick(rng, ("infer", "compare", "reference", "convert"))), scratch, material)


def slow(rng: Generator, scratch: Path, material: Material) -> Fault:
    """An option of a command that does a whole job."""
    return _fault(rng, str(pick(rng, SLOW)), scratch, material)


KINDS: Sequence = (*[light] * 24, slow)  # type: ignore[type-arg]
