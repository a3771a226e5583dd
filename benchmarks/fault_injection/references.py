"""Faults of `pytorch_reference.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.random import Generator

from benchmarks.fault_injection.answers import report_at
from benchmarks.fault_injection.damage import any_leaf, broken_json, mutated_json
from benchmarks.fault_injection.fault import RUN, Check, Fault, pick, single
from benchmarks.fault_injection.material import Material


def _content(scratch: Path, material: Material) -> Any:
    """The reference, with paths from the scratch folder, and two of its clips alone."""
    content = json.loads(material.reference.read_text())
    content["samples"] = content["samples"][:2]
    content["num_samples"] = 2
    for sample in content["samples"]:
        sample["audio"] = os.path.relpath(material.reference.parent / sample["audio"], scratch)
    return content


def _compare(what: str, scratch: Path, material: Material, content: bytes | str, check: Check | None = None) -> Fault:
    (scratch / "r.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    options = ("--reference", "r.json", "--report", "report.json", "--model-dir", str(material.model))
    return single(what, RUN, "compare", *options, check=check or report_at(scratch / "report.json"))


def value(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A value is missing, unknown or of another kind."""
    what, content = mutated_json(rng, _content(scratch, material))
    return _compare(what, scratch, material, content)


def times(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A time is another by more than a bin: the report must say that it moved."""
    content = _content(scratch, material)
    start = ("samples", int(rng.integers(2)), "alignments")
    while True:
        place, old = any_leaf(rng, content, start)
        if place[-1] != "text":
            break
    word = content["samples"][place[1]]["alignments"][place[3]]
    word[place[-1]] = old + float(pick(rng, (81, 160, 1000, 1e6, 1e300, -81, -1e5)))  # type: ignore[arg-type]
    check = report_at(scratch / "report.json", moved=True)
    return _compare(f"{place[-1]} {old} is {word[place[-1]]}", scratch, material, json.dumps(content), check)


def words(rng: Generator, scratch: Path, material: Material) -> Fault:
    """Other words, in the transcript or in the times."""
    content = _content(scratch, material)
    sample = content["samples"][int(rng.integers(2))]
    kinds: dict[str, Callable[[], object]] = {
        "another word in the transcript": lambda: sample.update(transcript="Other " + sample["transcript"]),
        "no transcript": lambda: sample.update(transcript=""),
        "another word in the times": lambda: sample["alignments"][0].update(text="other"),
        "a word less": lambda: sample["alignments"].pop(),
        "a word more": lambda: sample["alignments"].append(sample["alignments"][-1]),
        "no words": lambda: sample["alignments"].clear(),
        "words in another order": lambda: sample["alignments"].reverse(),
        "a language that is none": lambda: sample.update(language="Klingon"),
        "true times of other words": lambda: sample.update(true_alignments=sample["alignments"][1:]),
        "no true times": lambda: sample.update(true_alignments=[]),
        "a huge transcript": lambda: sample.update(transcript="word " * 200_000),
        "controls": lambda: sample.update(transcript="\x1b[31m" + sample["transcript"]),
    }
    kind = list(kinds)[int(rng.integers(len(kinds)))]
    kinds[kind]()
    return _compare(kind, scratch, material, json.dumps(content))


def whole(rng: Generator, scratch: Path, material: Material) -> Fault:
    """The whole is not as it should be: another checkpoint, no samples, one of them many times, wrong counts."""
    content = _content(scratch, material)
    samples = content["samples"]
    kinds: dict[str, Callable[[], object]] = {
        "another checkpoint": lambda: content.update(checkpoint_fingerprint="0" * 64),
        "no checkpoint": lambda: content.update(checkpoint_fingerprint=""),
        "no samples": lambda: content.update(samples=[]),
        "one sample 50 times": lambda: content.update(samples=samples[:1] * 50),
        "wrong count": lambda: content.update(num_samples=int(pick(rng, (0, -1, 1, 3, 10**9)))),  # type: ignore[call-overload]
        "another version": lambda: content.update(schema_version=int(pick(rng, (0, 2, 10**6)))),  # type: ignore[call-overload]
        "another name": lambda: content.update(model_id=str(pick(rng, ("[/m]", "\x1b[31m", "x" * 5000, "")))),
        "failed clips": lambda: content.update(failed=[{"audio": "\x1b[31m", "reason": "[/m]", "unexpected": True}]),
    }
    kind = list(kinds)[int(rng.integers(len(kinds)))]
    kinds[kind]()
    moved = False if kind in ("one sample 50 times", "wrong count", "another name", "failed clips") else None
    check = report_at(scratch / "report.json", moved=moved)
    return _compare(kind, scratch, material, json.dumps(content), check)


def place(rng: Generator, scratch: Path, material: Material) -> Fault:
    """The path of a recording leads elsewhere. The other clip is scored, and the report does not pass."""
    content = _content(scratch, material)
    os.mkfifo(scratch / "pipe.wav")
    (scratch / "box.wav").mkdir()
    other = str(material.audio("clip-04.flac"))
    places = ("", ".", "../x", "/etc/hostname", "a\x00b", "x" * 300, "pipe.wav", "box.wav", "\ud800", "r.json", other)
    name = str(pick(rng, places))
    content["samples"][0]["audio"] = name
    return _compare(f"audio {ascii(name)[:60]}", scratch, material, json.dumps(content))


def text(rng: Generator, scratch: Path, material: Material) -> Fault:
    """The file is no JSON, or none that should be read."""
    what, content = broken_json(rng, json.dumps(_content(scratch, material)))
    return _compare(what, scratch, material, content)


KINDS = (value, times, words, whole, place, text, value, value, text)
