"""Faults of `metadata.json` of a converted folder, with its digest as it was, or right."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.random import Generator

from benchmarks.fault_injection.answers import printed
from benchmarks.fault_injection.damage import NUMBERS, any_leaf, broken_json, change, mutated_json, shown
from benchmarks.fault_injection.fault import RUN, Fault, pick, single
from benchmarks.fault_injection.material import Material

CLIP = "clip-02"
SEALED = ("dimensions", "token_ids", "timestamp_segment_ms", "audio_frames", "decoder_lengths")
SEALED_OF_COMPONENT = ("package", "precision", "functions", "sha256")


def copied_model(scratch: Path, material: Material) -> Path:
    """A copy of the converted folder, which may be damaged."""
    folder = scratch / "model"
    shutil.copytree(material.model, folder)
    return folder


def read_metadata(model: Path) -> Any:
    """The content of its `metadata.json`."""
    return json.loads((model / "metadata.json").read_text())


def seal(metadata: Any) -> None:
    """Give metadata the digest of what they hold now, as far as they can have one."""
    try:
        content = {key: metadata[key] for key in SEALED}
        content["components"] = {
            name: {key: record[key] for key in SEALED_OF_COMPONENT} for name, record in metadata["components"].items()
        }
    except (KeyError, TypeError, AttributeError):
        return
    packed = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    metadata["digest"] = hashlib.sha256(packed).hexdigest()


def infer(what: str, material: Material, *, is_same: bool) -> Fault:
    """The fault of a converted folder, seen by `infer`; `is_same`: an answer has the times of the undamaged folder."""
    check = printed(material.words[f"{CLIP}.flac"] if is_same else None)
    options = ("--text", material.transcripts[CLIP], "--model-dir", "model")
    return single(what, RUN, "infer", "--audio-file", str(material.audio(f"{CLIP}.flac")), *options, check=check)


def value(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A value of the metadata is another; the digest tells if a time depends on it."""
    model = copied_model(scratch, material)
    what, content = mutated_json(rng, read_metadata(model))
    (model / "metadata.json").write_text(content)
    return infer(f"metadata: {what}", material, is_same=True)


def number(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A number that the times depend on is odd, and the digest is right."""
    model = copied_model(scratch, material)
    metadata = read_metadata(model)
    while True:
        place, old = any_leaf(rng, metadata)
        if isinstance(old, int | float) and not isinstance(old, bool) and "lint" not in place:
            break
    new = pick(rng, (*NUMBERS, old + 1, old * 2, -old, old / 3, 4096, 65536, 10**6))
    change(metadata, place, new)
    seal(metadata)
    (model / "metadata.json").write_text(json.dumps(metadata))
    return infer(f"sealed metadata: {'.'.join(map(str, place))} {old} is {shown(new)}", material, is_same=False)


def name(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A name in sealed metadata leads elsewhere, or is none."""
    model = copied_model(scratch, material)
    metadata = read_metadata(model)
    component = metadata["components"][str(pick(rng, list(metadata["components"])))]
    names = (
        "../x",
        "../model",
        "/etc",
        "",
        ".",
        "a/b",
        "a\x00b",
        "x" * 300,
        ".hidden",
        "[/m]",
        "\x1b[31m",
        "tokenizer.json",
    )
    new = str(pick(rng, names))
    kinds: dict[str, Callable[[], object]] = {
        "package": lambda: component.update(package=new),
        "function": lambda: component.update(functions={new: next(iter(component["functions"].values()))}),
        "processor file": lambda: metadata["processor_files"].update({new: "0" * 64}),
        "component": lambda: metadata["components"].update({new: component}),
        "tool": lambda: metadata["tool_versions"].update({new: new}),
        "model": lambda: metadata.update(model_id=new),
        "precision": lambda: component.update(precision=new),
        "checkpoint": lambda: metadata.update(checkpoint_fingerprint=new),
    }
    kind = list(kinds)[int(rng.integers(len(kinds)))]
    kinds[kind]()
    seal(metadata)
    (model / "metadata.json").write_text(json.dumps(metadata))
    return infer(f"sealed metadata: {kind} {ascii(new)[:40]}", material, is_same=kind in ("tool", "model"))


def text(rng: Generator, scratch: Path, material: Material) -> Fault:
    """The metadata are no JSON, or none that should be read."""
    model = copied_model(scratch, material)
    what, content = broken_json(rng, (model / "metadata.json").read_text())
    (model / "metadata.json").write_bytes(content)
    return infer(f"metadata: {what}", material, is_same=True)


KINDS = (value, number, name, number, text, value)
