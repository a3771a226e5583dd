"""Faults of audio files."""

from __future__ import annotations

import os
import shutil
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from numpy.random import Generator

from benchmarks.fault_injection.answers import printed, written
from benchmarks.fault_injection.damage import NAMES, cut, flip_bits, put
from benchmarks.fault_injection.fault import RUN, Check, Fault, Run, pick, single
from benchmarks.fault_injection.material import SUFFIXES, Material

CLIP = "clip-02"
TWO_BINS_MS = 160.0
WAV_HEADER = 44
# Offset, format and odd values of each field of a WAV header.
WAV_FIELDS: dict[str, tuple[int, str, tuple[int, ...]]] = {
    "RIFF size": (4, "<I", (0, 1, 36, 2**31, 2**32 - 1)),
    "size of fmt": (16, "<I", (0, 1, 15, 18, 40, 2**31, 2**32 - 1)),
    "format": (20, "<H", (0, 2, 3, 6, 7, 17, 49, 85, 65534, 65535)),
    "channels": (22, "<H", (0, 2, 3, 255, 256, 1024, 65535)),
    "rate": (24, "<I", (0, 1, 10, 1999, 2000, 768000, 768001, 2**31 - 1, 2**31, 2**32 - 1)),
    "bytes a second": (28, "<I", (0, 1, 2**32 - 1)),
    "block align": (32, "<H", (0, 1, 3, 65535)),
    "bits": (34, "<H", (0, 1, 8, 12, 24, 32, 64, 65535)),
    "size of data": (40, "<I", (0, 1, 3, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1)),
}


def _infer(what: str, path: Path, material: Material, check: Check) -> Fault:
    arguments = ("--text", material.transcripts[CLIP], "--model-dir", str(material.model))
    return single(what, RUN, "infer", "--audio-file", path.name, *arguments, check=check)


def bits(rng: Generator, scratch: Path, material: Material) -> Fault:
    """Some bits are others. Only FLAC and Ogg have checksums; wrong samples of a WAV file are samples too."""
    suffix = SUFFIXES[int(rng.integers(4))]
    path = scratch / f"talk.{suffix}"
    content = material.audio(f"{CLIP}.{suffix}").read_bytes()
    count = int(rng.integers(1, 20))
    path.write_bytes(flip_bits(rng, content, count, end=int(pick(rng, (64, len(content))))))  # type: ignore[call-overload]
    is_checked = suffix in ("flac", "ogg")
    expected = material.words[f"{CLIP}.{suffix}"] if is_checked else None
    return _infer(f"{count} bits of a {suffix} file", path, material, printed(expected, TWO_BINS_MS))


def truncated(rng: Generator, scratch: Path, material: Material) -> Fault:
    """The file ends early. Its header tells, so a file that lacks more than 0.1 s needs a warning."""
    suffix = SUFFIXES[int(rng.integers(4))]
    path = scratch / f"talk.{suffix}"
    content, share = cut(rng, material.audio(f"{CLIP}.{suffix}").read_bytes())
    path.write_bytes(content)
    check = printed(material.words[f"{CLIP}.{suffix}"], TWO_BINS_MS)
    return _infer(f"a {suffix} file cut to {share:.1%}", path, material, check)


def header(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A field of a WAV header has an odd value."""
    name = list(WAV_FIELDS)[int(rng.integers(len(WAV_FIELDS)))]
    offset, kind, values = WAV_FIELDS[name]
    value = values[int(rng.integers(len(values)))]
    content = bytearray(material.audio(f"{CLIP}.wav").read_bytes())
    struct.pack_into(kind, content, offset, value)
    path = scratch / "talk.wav"
    path.write_bytes(content)
    expected = material.words[f"{CLIP}.wav"] if name in ("RIFF size", "size of data", "bytes a second") else None
    return _infer(f"{name} {value} in a WAV header", path, material, printed(expected))


def no_file(rng: Generator, scratch: Path, material: Material) -> Fault:
    """Something else than a regular file."""
    path = scratch / f"talk.{SUFFIXES[int(rng.integers(4))]}"
    kinds: dict[str, Callable[[], object]] = {
        "a pipe": lambda: os.mkfifo(path),
        "a folder": path.mkdir,
        "an empty file": path.touch,
        "a link to itself": lambda: path.symlink_to(path.name),
        "a broken link": lambda: path.symlink_to("nothing"),
        "a socket": lambda: _bind(path),
        "nothing": lambda: None,
        "a link to a pipe": lambda: _link_to_pipe(path),
        "a folder of a file": lambda: (scratch / "talk").touch(),
    }
    kind = list(kinds)[int(rng.integers(len(kinds)))]
    kinds[kind]()
    name = path if kind != "a folder of a file" else scratch / "talk" / path.name
    arguments = ("--text", material.transcripts[CLIP], "--model-dir", str(material.model))
    file = os.path.relpath(name, scratch)
    return single(f"audio that is {kind}", RUN, "infer", "--audio-file", file, *arguments, check=printed([]))


def _link_to_pipe(path: Path) -> None:
    put(path.with_name("pipe"), "a pipe")
    put(path, "pipe")


def _bind(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"/proc/self/fd/{folder}/{path.name}")  # a socket's path has at most 108 bytes
    os.close(folder)


def values(rng: Generator, scratch: Path, material: Material) -> Fault:
    """Samples that no recorder writes."""
    samples, rate = material.samples(CLIP)
    samples = samples.astype(np.float32)
    middle = slice(samples.size // 3, samples.size // 3 + int(rng.integers(1, 2000)))
    kind = str(pick(rng, ("NaN", "inf", "-inf", "1e30", "1e9", "zeros", "constant", "clipped", "one", "few", "noise")))
    if kind in ("NaN", "inf", "-inf", "1e30", "1e9"):
        samples[middle] = float(kind)
    elif kind == "noise":
        samples = rng.normal(0, 0.1, samples.size).astype(np.float32)
    elif kind in ("one", "few"):
        samples = samples[: 1 if kind == "one" else int(rng.integers(2, 3000))]
    else:
        samples = {"zeros": samples * 0, "constant": samples * 0 + 0.5, "clipped": np.sign(samples)}[kind]
    path = scratch / "talk.wav"
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return _infer(f"samples: {kind}", path, material, printed(None))


def encoding(rng: Generator, scratch: Path, material: Material) -> Fault:
    """The same samples in another form, whose times are the same."""
    samples, rate = material.samples(CLIP)
    subtype = str(pick(rng, ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "PCM_U8", "IMA_ADPCM")))
    channels = int(rng.integers(1, 9)) if "ADPCM" not in subtype else 1
    container = str(pick(rng, ("WAV", "WAVEX", "W64", "RF64", "AIFF", "AU", "CAF")))
    path = scratch / "talk.wav"
    if not soundfile.check_format(container, subtype):
        container = "WAV"
    soundfile.write(path, np.repeat(samples[:, None], channels, 1), rate, subtype, format=container)
    loose = subtype in ("ULAW", "ALAW", "PCM_U8", "IMA_ADPCM")
    check = printed(material.words[f"{CLIP}.flac"], TWO_BINS_MS if loose else 0.0)
    return _infer(f"{container} {subtype}, {channels} channels", path, material, check)


def foreign(rng: Generator, scratch: Path, material: Material) -> Fault:
    """Another kind of file by the name of audio, or audio by another name."""
    kind = str(pick(rng, ("text", "JSON", "random", "zeros", "PNG", "zip", "flac", "raw")))
    suffix = SUFFIXES[int(rng.integers(4))] if kind != "raw" else "raw"
    content = {
        "text": material.transcripts[CLIP].encode(),
        "JSON": material.reference.read_bytes(),
        "random": rng.bytes(5000),
        "zeros": bytes(int(rng.integers(1, 100_000))),
        "PNG": b"\x89PNG\r\n\x1a\n" + rng.bytes(300),
        "zip": b"PK\x03\x04" + rng.bytes(300),
    }.get(kind, material.audio(f"{CLIP}.flac").read_bytes())
    path = scratch / f"talk.{suffix}"
    path.write_bytes(content)
    expected = material.words[f"{CLIP}.flac"] if kind in ("flac", "raw") else None
    return _infer(f"{kind} in a .{suffix} file", path, material, printed(expected))


def sparse(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A file of many hours that takes no place on the disk."""
    path, gib = scratch / "talk.wav", float(rng.uniform(0.05, 3.9))
    head = bytearray(material.audio(f"{CLIP}.wav").read_bytes()[:WAV_HEADER])
    size = int(gib * 2**30) // 2 * 2
    struct.pack_into("<I", head, 4, min(size + WAV_HEADER - 8, 2**32 - 1))
    struct.pack_into("<I", head, 24, 16_000)
    struct.pack_into("<I", head, 40, size)
    path.write_bytes(head)
    os.truncate(path, size + WAV_HEADER)
    text = ("--text", material.transcripts[CLIP], "--model-dir", str(material.model))
    run = Run((RUN, "infer", "--audio-file", path.name, *text))
    return Fault(f"{size / 32_000 / 3600:.1f} hours of silence", ((run,),), printed(None), deadline_s=300)


def named(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A name that is hard to print or to write."""
    name = str(pick(rng, NAMES))[:250] + ".flac"
    path, out = scratch / name, scratch / "out"
    shutil.copy(material.audio(f"{CLIP}.flac"), path)
    check = written(out, {path.stem: material.words[f"{CLIP}.flac"]})
    arguments = ("--text", material.transcripts[CLIP], "--output-dir", "out", "--model-dir", str(material.model))
    return single(f"audio named {name[:60]!r}", RUN, "infer", f"--audio-file={name}", *arguments, check=check)


_OFTEN = (bits, truncated, header, bits, truncated, header, no_file, values, encoding, foreign, named)
KINDS = (*_OFTEN * 4, sparse)
