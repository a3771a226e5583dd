"""Faults of the packages and of the tokenizer in a converted folder.

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

from benchmarks.fault_injection.damage import broken_json, cut, flip_bits, mutated_json, put
from benchmarks.fault_injection.fault import Fault, pick
from benchmarks.fault_injection.material import Material
from benchmarks.fault_injection.metadata import copied_model, infer, read_metadata, seal
from forced_aligner.package.bundle import package_digest
from forced_aligner.package.contract import MANIFEST, SPEC_FILE, WEIGHTS_FILE


def _package(rng: Generator, model: Path) -> tuple[str, Path]:
    component = str(pick(rng, list(read_metadata(model)["components"])))
    return component, model / read_metadata(model)["components"][component]["package"]


def _sign(model: Path) -> None:
    """Write the digests of the packages and files as they are now."""
    metadata = read_metadata(model)
    for record in metadata["components"].values():
        record["sha256"] = package_digest(model / record["package"])
    for file in metadata["processor_files"]:
        if (model / file).is_file():
            metadata["processor_files"][file] = hashlib.sha256((model / file).read_bytes()).hexdigest()
    seal(metadata)
    (model / "metadata.json").write_text(json.dumps(metadata))


def damaged(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A file of a package or of the processor is damaged, which its digest tells."""
    model = copied_model(scratch, material)
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
    return infer(f"{path.relative_to(model)}: {kind}", material, is_same=True)


def signed(rng: Generator, scratch: Path, material: Material) -> Fault:
    """The bytes of a package are others, and its digest is right. Other weights may give other times."""
    model = copied_model(scratch, material)
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
    return infer(f"signed {component} {file.name}: {kind}", material, is_same=False)


def program(rng: Generator, scratch: Path, material: Material) -> Fault:
    """The program of a package is another one, and its digest is right."""
    from forced_aligner.package.proto import Model_pb2

    model = copied_model(scratch, material)
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
    return infer(f"signed {component}: {kind} at op {index}", material, is_same=False)


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
    model = copied_model(scratch, material)
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
    return infer(f"signed: {first.name} and {second.name} exchanged", material, is_same=False)


def processor(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A file of the tokenizer or processor is another, and its digest is right."""
    model = copied_model(scratch, material)
    path = model / str(pick(rng, ("tokenizer.json", "tokenizer_config.json", "processor_config.json")))
    content = path.read_text()
    if rng.random() < 0.7:
        what, changed = mutated_json(rng, json.loads(content))
        path.write_text(changed)
    else:
        what, broken = broken_json(rng, content)
        path.write_bytes(broken)
    _sign(model)
    return infer(f"signed {path.name}: {what}", material, is_same=False)


KINDS = (damaged, signed, program, swapped, processor, signed, program, signed, program)
