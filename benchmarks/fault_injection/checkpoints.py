"""Faults of a PyTorch checkpoint: its config, weights, index, tokenizer and processor files."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from numpy.random import Generator

from benchmarks.fault_injection.answers import bundle_at, reference_at
from benchmarks.fault_injection.damage import broken_json, cut, flip_bits, mutated_json, put
from benchmarks.fault_injection.fault import CONVERT, REFERENCE, RUN, Fault, Finished, Run, Verdict, pick, single
from benchmarks.fault_injection.material import Material

CLIP = "clip-02"
Tensor = tuple[str, list[int], bytes]  # type, shape, content
SMALL = ("--decoder-lengths", "64", "--audio-frames", "104")


def _checkpoint(scratch: Path, material: Material) -> Path:
    folder = scratch / "checkpoint"
    shutil.copytree(material.checkpoint, folder)
    return folder


def _used(rng: Generator, what: str, scratch: Path, material: Material, *, is_same: bool = False) -> Fault:
    """The fault, seen by one of the commands that read a checkpoint, or by three whose answers must agree.

    `is_same`: a reference that is made has the times of the checkpoint without the fault.
    """
    expected = material.words[f"{CLIP}.flac"] if is_same else None
    one = ("--audio-file", str(material.audio(f"{CLIP}.flac")), "--text", material.transcripts[CLIP])
    model = ("--model-id", "checkpoint")
    reference = (REFERENCE, *model, *one, "--output", "reference.json")
    kind = int(rng.integers(8))
    if kind < 4:
        return single(
            f"{what}; reference", *reference, check=reference_at(scratch / "reference.json", {CLIP: expected})
        )
    if kind < 7:
        components = str(pick(rng, ("embedding,lm_head", "audio_conv", "embedding")))
        convert = (CONVERT, *model, *SMALL, "--components", components, "--output-dir", "out")
        return single(f"{what}; conversion", *convert, check=bundle_at(scratch / "out"), deadline_s=200)
    steps = (
        reference,
        (CONVERT, *model, *SMALL, "--precision", "float32", "--output-dir", "out"),
        (RUN, "compare", "--model-dir", "out", "--reference", "reference.json", "--report", "report.json"),
    )
    return Fault(f"{what}; both, compared", tuple((Run(step),) for step in steps), _agree, deadline_s=200)


def _agree(runs: Sequence[Finished]) -> Verdict:
    """Where there is a reference and there are packages, they agree."""
    if runs[0].code or runs[1].code or runs[2].code == 2:
        return Verdict("refused")
    return Verdict("answered") if runs[2].code == 0 else Verdict("silent", "the packages are not what PyTorch says")


def config(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A value of the config is missing or another."""
    path = _checkpoint(scratch, material) / "config.json"
    content = json.loads(path.read_text())
    labels = {key: content.pop(key) for key in ("id2label", "label2id") if key in content and rng.random() < 0.95}
    what, changed = mutated_json(rng, content)
    path.write_text(json.dumps({**labels, **json.loads(changed)}))
    return _used(rng, f"config: {what}", scratch, material)


def settings(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A value of a tokenizer's or processor's file is another, or the file is no JSON."""
    names = ("tokenizer.json", "tokenizer_config.json", "processor_config.json", "config.json")
    path = _checkpoint(scratch, material) / str(pick(rng, names))
    if rng.random() < 0.6:
        what, content = mutated_json(rng, json.loads(path.read_text()))
        path.write_text(content)
    else:
        what, broken = broken_json(rng, path.read_text())
        path.write_bytes(broken)
    return _used(rng, f"{path.name}: {what}", scratch, material)


def files(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A file is missing, cut, damaged, or no file."""
    folder = _checkpoint(scratch, material)
    path = folder / str(pick(rng, sorted(path.name for path in folder.iterdir())))
    kinds: dict[str, Callable[[], object]] = {
        "removed": path.unlink,
        "empty": lambda: path.write_bytes(b""),
        "cut": lambda: path.write_bytes(cut(rng, path.read_bytes())[0]),
        "bits": lambda: path.write_bytes(flip_bits(rng, path.read_bytes(), 3, end=200)),
        "a folder": lambda: put(path, "a folder"),
        "a pipe": lambda: put(path, "a pipe"),
        "a broken link": lambda: put(path, "a broken link"),
        "noise": lambda: path.write_bytes(rng.bytes(1000)),
    }
    kind = list(kinds)[int(rng.integers(len(kinds)))]
    kinds[kind]()
    return _used(rng, f"{path.name}: {kind}", scratch, material)


def weights(rng: Generator, scratch: Path, material: Material) -> Fault:
    """Weights that are not finite, missing, unknown, of another shape or another type."""
    path = _checkpoint(scratch, material) / "model.safetensors"
    tensors = read_tensors(path)
    name = str(pick(rng, sorted(tensors)))
    kind_of, shape, content = tensors[name]
    top = {"BF16": 2, "F32": 4, "F16": 2}[kind_of]  # bytes of a number
    odd = {"NaN": 0x7FC0, "infinite": 0x7F80, "huge": 0x7F70, "zeros": 0}
    kinds: dict[str, Callable[[], object]] = {
        "removed": lambda: tensors.pop(name),
        "unknown beside": lambda: tensors.update({f"{name}.x": tensors[name]}),
        "another shape": lambda: tensors.update({name: (kind_of, [shape[0] // 2, 2, *shape[1:]], content)}),
        "transposed": lambda: tensors.update({name: (kind_of, shape[::-1], content)}),
        "integers": lambda: tensors.update({name: ("I16" if top == 2 else "I32", shape, content)}),
        "bytes": lambda: tensors.update({name: ("U8", [len(content)], content)}),
        "empty": lambda: tensors.update({name: (kind_of, [0], b"")}),
        "float16": lambda: tensors.update({name: ("F16", shape, content[: len(content) * 2 // top])}),
    }
    kind = str(pick(rng, (*odd, *(f"one {each}" for each in odd), *kinds)))
    if kind in kinds:
        kinds[kind]()
    else:
        number = struct.pack("<H", odd[kind.removeprefix("one ")]).rjust(top, b"\x00")
        count = len(content) // top
        at = int(rng.integers(count)) * top
        changed = content[:at] + number + content[at + top :] if kind.startswith("one ") else number * count
        tensors[name] = (kind_of, shape, changed)
    write_tensors(path, tensors)
    return _used(rng, f"{name}: {kind}", scratch, material)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Type, shape and bytes of each tensor of a safetensors file; numpy has no bfloat16."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    header.pop("__metadata__", None)
    data = content[8 + size :]
    return {name: (each["dtype"], each["shape"], data[slice(*each["data_offsets"])]) for name, each in header.items()}


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, (kind, shape, content) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    packed = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(packed)) + packed + data)


def index(rng: Generator, scratch: Path, material: Material) -> Fault:
    """Weights in shards, with an index that is not right."""
    folder = _checkpoint(scratch, material)
    tensors = read_tensors(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, held in shards.items():
        write_tensors(folder / shard, {name: tensors[name] for name in held})
    found: dict[str, object] = {name: shard for shard, held in shards.items() for name in held}
    first = names[int(rng.integers(len(names)))]
    kinds: dict[str, Callable[[], object]] = {
        "as it should be": lambda: None,
        "an empty map": found.clear,
        "a name less": lambda: found.pop(first),
        "a name more": lambda: found.update(x="a.safetensors"),
        "the other shard": lambda: found.update({first: "b.safetensors" if first in names[::2] else "a.safetensors"}),
        "a path": lambda: found.update({first: "../checkpoint/a.safetensors"}),
        "an absolute path": lambda: found.update({first: str(folder / "a.safetensors")}),
        "a number": lambda: found.update({first: 7}),
        "no such shard": lambda: found.update({first: "c.safetensors"}),
        "another file": lambda: found.update({first: "config.json"}),
        "a pipe": lambda: found.update({first: "p.safetensors"}),
    }
    kind = list(kinds)[int(rng.integers(len(kinds)))]
    kinds[kind]()
    put(folder / "p.safetensors", "a pipe")
    content = json.dumps({"metadata": {"total_size": 1}, "weight_map": found})
    if rng.random() < 0.25:
        kind, broken = broken_json(rng, content)
        (folder / "model.safetensors.index.json").write_bytes(broken)
    else:
        (folder / "model.safetensors.index.json").write_text(content)
    return _used(rng, f"index: {kind}", scratch, material, is_same=True)


def code(rng: Generator, scratch: Path, material: Material) -> Fault:
    """Code of the checkpoint's own, which must not run: it would leave a file."""
    folder = _checkpoint(scratch, material)
    trap = "open('../was-run', 'w').close()\n"
    (folder / "own.py").write_text(f"{trap}class Own:\n    def __init__(self, *a, **k):\n        {trap}")
    name = str(pick(rng, ("config.json", "processor_config.json", "tokenizer_config.json")))
    content = json.loads((folder / name).read_text())
    keys = ("AutoConfig", "AutoModel", "AutoModelForTokenClassification", "AutoProcessor", "AutoTokenizer")
    content["auto_map"] = dict.fromkeys(keys, "own.Own")
    classes = {"processor_class": "Own", "tokenizer_class": "Own", "model_type": "own"}
    if rng.random() < 0.5:
        content |= {key: own for key, own in classes.items() if key in content}
    (folder / name).write_text(json.dumps(content))
    template = "{{ cycler.__init__.__globals__.os.system('touch was-run') }}{% for x in range(10**9) %}{% endfor %}"
    if rng.random() < 0.5:
        (folder / "chat_template.jinja").write_text(template)
    fault = _used(rng, f"own code in {name}", scratch, material)

    def check(runs: Sequence[Finished]) -> Verdict:
        if (scratch / "was-run").exists() or (scratch.parent / "was-run").exists():
            return Verdict("silent", "code of the checkpoint was run")
        return fault.check(runs)

    return Fault(fault.what, fault.steps, check, deadline_s=fault.deadline_s)


KINDS = (config, settings, files, weights, index, code, config, settings, weights, config)
