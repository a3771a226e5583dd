"""Faults of a converted folder: `metadata.json`, packages, tokenizer.

Some have the right digests, so that only what runs the packages can notice.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator

from benchmarks.fault_injection.answers import printed
from benchmarks.fault_injection.damage import (
    NUMBERS,
    any_leaf,
    broken_json,
    change,
    cut,
    flip_bits,
    mutated_json,
    put,
    shown,
)
from benchmarks.fault_injection.fault import RUN, Fault, pick, single
from benchmarks.fault_injection.material import Material
from forced_aligner.package.bundle import package_digest
from forced_aligner.package.contract import MANIFEST, SPEC_FILE, WEIGHTS_FILE

CLIP = "clip-02"
SEALED = ("dimensions", "token_ids", "timestamp_segment_ms", "audio_frames", "decoder_lengths")
SEALED_OF_COMPONENT = ("package", "precision", "functions", "sha256")


def _model(scratch: Path, material: Material) -> Path:
    folder = scratch / "model"
    shutil.copytree(material.model, folder)
    return folder


def _read(model: Path) -> Any:
    return json.loads((model / "metadata.json").read_text())


def _seal(metadata: Any) -> None:
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


def _infer(what: str, material: Material, *, is_same: bool) -> Fault:
    check = printed(material.words[f"{CLIP}.flac"] if is_same else None)
    options = ("--text", material.transcripts[CLIP], "--model-dir", "model")
    return single(what, RUN, "infer", "--audio-file", str(material.audio(f"{CLIP}.flac")), *options, check=check)


def value(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A value of the metadata is another; the digest tells if a time depends on it."""
    model = _model(scratch, material)
    what, content = mutated_json(rng, _read(model))
    (model / "metadata.json").write_text(content)
    return _infer(f"metadata: {what}", material, is_same=True)


def number(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A number that the times depend on is odd, and the digest is right."""
    model = _model(scratch, material)
    metadata = _read(model)
    while True:
        place, old = any_leaf(rng, metadata)
        if isinstance(old, int | float) and not isinstance(old, bool) and "lint" not in place:
            break
    new = pick(rng, (*NUMBERS, old + 1, old * 2, -old, old / 3, 4096, 65536, 10**6))
    change(metadata, place, new)
    _seal(metadata)
    (model / "metadata.json").write_text(json.dumps(metadata))
    return _infer(f"sealed metadata: {'.'.join(map(str, place))} {old} is {shown(new)}", material, is_same=False)


def name(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A name in sealed metadata leads elsewhere, or is none."""
    model = _model(scratch, material)
    metadata = _read(model)
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
    _seal(metadata)
    (model / "metadata.json").write_text(json.dumps(metadata))
    return _infer(f"sealed metadata: {kind} {ascii(new)[:40]}", material, is_same=kind in ("tool", "model"))


def text(rng: Generator, scratch: Path, material: Material) -> Fault:
    """The metadata are no JSON, or none that should be read."""
    model = _model(scratch, material)
    what, content = broken_json(rng, (model / "metadata.json").read_text())
    (model / "metadata.json").write_bytes(content)
    return _infer(f"metadata: {what}", material, is_same=True)


def _package(rng: Generator, model: Path) -> tuple[str, Path]:
    component = str(pick(rng, list(_read(model)["components"])))
    return component, model / _read(model)["components"][component]["package"]


def _sign(model: Path) -> None:
    """Write the digests of the packages and files as they are now."""
    metadata = _read(model)
    for record in metadata["components"].values():
        record["sha256"] = package_digest(model / record["package"])
    for file in metadata["processor_files"]:
        if (model / file).is_file():
            metadata["processor_files"][file] = hashlib.sha256((model / file).read_bytes()).hexdigest()
    _seal(metadata)
    (model / "metadata.json").write_text(json.dumps(metadata))


def damaged(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A file of a package or of the processor is damaged, which its digest tells."""
    model = _model(scratch, material)
    files = [path for path in sorted(model.rglob("*")) if path.is_file() and path.name != "metadata.json"]
    path = files[int(rng.integers(len(files)))]
    kinds: dict[str, Callable[[], object]] = {
        "bits": lambda: path.write_bytes(flip_bits(rng, path.read_bytes(), int(rng.integers(1, 5)))),
        "cut": lambda: path.write_bytes(cut(rng, path.read_bytes())[0]),
        "removed": path.unlink,
        "longer": lambda: path.write_bytes(path.read_bytes() + b"\x00"),
        "a folder": lambda: put(path, "a folder"),
        "a pipe": lambda: put(path, "a pipe"),
        "a broken link": lambda: put(path, "a broken link"),
        "a file more": lambda: (path.parent / "more").write_text("more"),
    }
    kind = list(kinds)[int(rng.integers(len(kinds)))]
    kinds[kind]()
    return _infer(f"{path.relative_to(model)}: {kind}", material, is_same=True)


def signed(rng: Generator, scratch: Path, material: Material) -> Fault:
    """The bytes of a package are others, and its digest is right. Other weights may give other times."""
    model = _model(scratch, material)
    component, package = _package(rng, model)
    file = (SPEC_FILE, SPEC_FILE, WEIGHTS_FILE, MANIFEST)[int(rng.integers(4))]
    path = package / file
    content = path.read_bytes()
    end = int(pick(rng, (400, len(content))))  # type: ignore[call-overload]
    kinds: dict[str, Callable[[], bytes]] = {
        "bits": lambda: flip_bits(rng, content, int(rng.integers(1, 10)), end=end),
        "cut": lambda: cut(rng, content)[0],
        "empty": lambda: b"",
        "zeros": lambda: bytes(len(content)),
        "noise": lambda: content[:128] + rng.bytes(len(content) - 128),
        "NaN": lambda: content[:128] + np.full(len(content) // 4, np.nan, np.float32).tobytes(),
        "a part doubled": lambda: content[: len(content) // 2] + content,
    }
    kind = list(kinds)[int(rng.integers(len(kinds)))]
    path.write_bytes(kinds[kind]())
    _sign(model)
    return _infer(f"signed {component} {file.name}: {kind}", material, is_same=False)


def program(rng: Generator, scratch: Path, material: Material) -> Fault:
    """The program of a package is another one, and its digest is right."""
    from coremltools.proto import Model_pb2

    model = _model(scratch, material)
    component, package = _package(rng, model)
    spec = Model_pb2.Model()
    spec.ParseFromString((package / SPEC_FILE).read_bytes())
    functions = spec.mlProgram.functions
    function = functions[str(pick(rng, list(functions)))]
    block = function.block_specializations[function.opset]
    index = int(rng.integers(len(block.operations)))
    op = block.operations[index]
    kinds: dict[str, Callable[[], object]] = {
        "another op": lambda: setattr(op, "type", str(pick(rng, ("relu", "while_loop", "fill", "tile", "pad", "x")))),
        "no op": lambda: block.operations.remove(op),
        "op twice": lambda: block.operations.add().CopyFrom(op),
        "no inputs": lambda: op.inputs.clear(),
        "no outputs": lambda: op.ClearField("outputs"),
        "no attributes": lambda: op.attributes.clear(),
        "no output of the block": lambda: block.ClearField("outputs"),
        "another output": lambda: block.outputs.__setitem__(0, op.outputs[0].name if op.outputs else "x"),
        "a huge constant": lambda: _enlarge(rng, op),
        "no function": lambda: functions.clear(),
        "another opset": lambda: setattr(function, "opset", "CoreML99"),
        "another offset": lambda: _move_offset(rng, block),
        "another shape": lambda: _reshape(rng, op),
    }
    kind = list(kinds)[int(rng.integers(len(kinds)))]
    kinds[kind]()
    (package / SPEC_FILE).write_bytes(spec.SerializeToString())
    _sign(model)
    return _infer(f"signed {component}: {kind} at op {index}", material, is_same=False)


def _enlarge(rng: Generator, op: Any) -> None:
    for attribute in op.attributes.values():
        values = attribute.immediateValue.tensor
        for kind in ("ints", "floats", "longInts"):
            numbers = getattr(values, kind).values
            for at in range(len(numbers)):
                numbers[at] = int(pick(rng, (2**30, -(2**31), 0, -1, 100_000)))  # type: ignore[call-overload]


def _move_offset(rng: Generator, block: Any) -> None:
    blobs = [
        value.blobFileValue
        for op in block.operations
        for value in op.attributes.values()
        if value.HasField("blobFileValue")
    ]
    if blobs:
        offsets = (0, 1, 64, 2**31, 2**63 - 1, blobs[-1].offset + 64)
        blobs[int(rng.integers(len(blobs)))].offset = int(pick(rng, offsets))  # type: ignore[call-overload]


def _reshape(rng: Generator, op: Any) -> None:
    for output in op.outputs:
        for dimension in output.type.tensorType.dimensions:
            dimension.constant.size = int(pick(rng, (0, 1, 7, 2**20, 2**40)))  # type: ignore[call-overload]


def swapped(rng: Generator, scratch: Path, material: Material) -> Fault:
    """The packages of two components are exchanged, and the digests are right; or one is of another conversion."""
    model = _model(scratch, material)
    (_, first), (_, second) = _package(rng, model), _package(rng, model)
    if rng.random() < 0.5 and first != second:
        first.rename(scratch / "x")
        second.rename(first)
        (scratch / "x").rename(second)
    else:
        shutil.rmtree(first)
        shutil.copytree(material.other / first.name, first)
    _sign(model)
    shutil.rmtree(scratch / "x", ignore_errors=True)
    return _infer(f"signed: {first.name} and {second.name} exchanged", material, is_same=False)


def processor(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A file of the tokenizer or processor is another, and its digest is right."""
    model = _model(scratch, material)
    path = model / str(pick(rng, ("tokenizer.json", "tokenizer_config.json", "processor_config.json")))
    content = path.read_text()
    if rng.random() < 0.7:
        what, changed = mutated_json(rng, json.loads(content))
        path.write_text(changed)
    else:
        what, broken = broken_json(rng, content)
        path.write_bytes(broken)
    _sign(model)
    return _infer(f"signed {path.name}: {what}", material, is_same=False)


METADATA = (value, number, name, number, text, value)
PACKAGES = (damaged, signed, program, swapped, processor, signed, program, signed, program)
