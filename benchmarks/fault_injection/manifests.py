"""Faults of manifests: JSON Lines and CSV."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from numpy.random import Generator

from benchmarks.fault_injection.answers import written
from benchmarks.fault_injection.damage import NAMES, broken_json, flip_bits, mutated_json
from benchmarks.fault_injection.fault import RUN, Fault, Word, pick, single
from benchmarks.fault_injection.material import CLIPS, Material

PLACES = ("../x.flac", "/etc/hostname", "", "a\x00b.flac", "x" * 300, ".", "https://x.example/a.flac", "\ud800.flac")


def _rows(material: Material, count: int = 2) -> list[dict[str, object]]:
    return [
        {"audio": str(material.audio(f"{clip}.flac")), "text": material.transcripts[clip], "language": "English"}
        for clip in CLIPS[:count]
    ]


def _lines(rows: Sequence[Mapping[str, object]]) -> str:
    return "\n".join(map(json.dumps, rows)) + "\n"


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _infer(
    what: str, scratch: Path, material: Material, name: str, content: bytes | str, expected: Sequence[str] | None
) -> Fault:
    """The fault of a manifest, in which the clips `expected` must be found; None: it may hold any texts."""
    (scratch / name).write_bytes(content if isinstance(content, bytes) else content.encode(errors="surrogateescape"))
    right: dict[str, Sequence[Word] | None] = {clip: material.words[f"{clip}.flac"] for clip in expected or ()}
    options = ("--files", name, "--output-dir", "out", "--model-dir", str(material.model))
    return single(f"{name}: {what}", RUN, "infer", *options, check=written(scratch / "out", right))


def torn(rng: Generator, scratch: Path, material: Material) -> Fault:
    """The end of the file is missing; what is cut between two lines is a shorter manifest."""
    name, write = (("m.jsonl", _lines), ("m.csv", _csv))[int(rng.integers(2))]
    content = write(_rows(material))
    cut = content[: int(rng.integers(1, len(content)))]
    whole = [clip for clip, row in zip(CLIPS, _rows(material), strict=False) if json.dumps(row["text"])[1:-1] in cut]
    return _infer(f"cut to {len(cut)} of {len(content)} bytes", scratch, material, name, cut, whole)


def row_value(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A value of one row is missing or of another kind; the other row is right."""
    rows = _rows(material)
    what, row = mutated_json(rng, {**rows[0], "duration": 1.573, "offset": 0})
    return _infer(what, scratch, material, "m.jsonl", row + "\n" + _lines(rows[1:]), [CLIPS[1]])


def broken_line(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A line of JSON Lines is none."""
    rows = _rows(material)
    what, row = broken_json(rng, json.dumps(rows[0]))
    content = row + b"\n" + _lines(rows[1:]).encode()
    return _infer(what, scratch, material, "m.jsonl", content, None)


def part(rng: Generator, scratch: Path, material: Material) -> Fault:
    """NeMo's offset and duration name a part of a file, as text or as a number; also of one file in two rows."""
    rows = _rows(material, 1)
    offset, duration = float(rng.uniform(0, 1.5)), float(rng.uniform(0, 3))
    kind = str(pick(rng, ("offset", "duration", "both", "two rows")))
    both = {"offset": offset, "duration": duration}
    first = {**rows[0], **({kind: both[kind]} if kind in both else both)}
    rows = [first, {**rows[0], "offset": offset + duration, "duration": 0.5}] if kind == "two rows" else [first]
    name, write = (("m.jsonl", _lines), ("m.csv", _csv))[int(rng.integers(2))]
    return _infer(f"{kind} of a part", scratch, material, name, write(rows), [CLIPS[0]])


def twice(rng: Generator, scratch: Path, material: Material) -> Fault:
    """An audio file is named twice, by one name, by another, or by a link; with the same text or another."""
    rows = _rows(material)
    first = Path(str(rows[0]["audio"]))
    link = scratch / "link.flac"
    link.symlink_to(first)
    names = (str(first), os.path.relpath(first, scratch), f"{first.parent}/./{first.name}", link.name)
    text = rows[0]["text"] if rng.random() < 0.5 else "Other words."
    again = {**rows[0], "audio": str(pick(rng, names)), "text": text}
    content = _lines([*rows, again]) if rng.random() < 0.5 else _csv([*rows, again])
    name = "m.jsonl" if content.startswith("{") else "m.csv"
    return _infer(f"{Path(str(again['audio'])).name} twice", scratch, material, name, content, list(CLIPS[:2]))


def bits(rng: Generator, scratch: Path, material: Material) -> Fault:
    """Some bits are others; a changed letter is another text."""
    name, write = (("m.jsonl", _lines), ("m.csv", _csv))[int(rng.integers(2))]
    count = int(rng.integers(1, 6))
    return _infer(
        f"{count} bits", scratch, material, name, flip_bits(rng, write(_rows(material)).encode(), count), None
    )


def csv_shape(rng: Generator, scratch: Path, material: Material) -> Fault:
    """Commas, quotes and columns that are not as they should be. A text must be whole, or the file is refused."""
    rows = _rows(material)
    plain = "audio,text,language\n" + "".join(f"{row['audio']},{row['text']},English\n" for row in rows)
    quoted = _csv(rows)
    last = f"\n{rows[1]['audio']}"
    kinds: dict[str, Callable[[], str]] = {
        "a comma in a text": lambda: plain.replace("traction", "traction, or"),
        "a comma at the end": lambda: plain.replace("English\n", "English,\n"),
        "an unclosed quote": lambda: plain.replace("Ain't", "\"Ain't"),
        "an unclosed quote at the end": lambda: plain.replace(",English\n" + last[1:], ',"English\n' + last[1:]),
        "a quote in a word": lambda: plain.replace("traction", 'tra"ction'),
        "semicolons": lambda: plain.replace(",", ";"),
        "tabs": lambda: plain.replace(",", "\t"),
        "a column less": lambda: plain.replace(",English\n", "\n", 1),
        "a column twice": lambda: plain.replace("language\n", "text\n", 1),
        "no header": lambda: plain.partition("\n")[2],
        "the header alone": lambda: "audio,text,language\n",
        "capitals": lambda: quoted.replace("audio", "Audio", 1),
        "spaces": lambda: quoted.replace('","', '", "'),
        "carriage returns": lambda: quoted.replace("\r\n", "\r"),
        "NULs": lambda: quoted.replace("traction", "trac\x00tion"),
        "empty lines": lambda: quoted.replace("\r\n", "\r\n\r\n"),
        "a mark": lambda: "\ufeff" + quoted,
        "an empty text": lambda: plain.replace(str(rows[0]["text"]), ""),
        "a huge field": lambda: quoted.replace("traction", "traction " * 100_000),
        "many columns": lambda: "audio,text," + ",".join(f"c{n}" for n in range(100_000)) + "\n" + plain,
        "the header twice": lambda: "audio,text,language\n" + plain,
    }
    kind = list(kinds)[int(rng.integers(len(kinds)))]
    same = ("a mark", "carriage returns", "NULs", "empty lines", "spaces", "a comma at the end")
    expected = list(CLIPS[:2]) if kind in same or kind.startswith("an unclosed") else [CLIPS[1]]
    if kind in ("the header alone", "a huge field", "the header twice", "a quote in a word", "no header"):
        expected = []
    return _infer(kind, scratch, material, "m.csv", kinds[kind](), expected)


def place(rng: Generator, scratch: Path, material: Material) -> Fault:
    """An audio path that leads nowhere, elsewhere, or to something else than a file. The other row is done."""
    rows = _rows(material)
    os.mkfifo(scratch / "pipe.flac")
    (scratch / "folder.flac").mkdir()
    rows[0]["audio"] = pick(rng, (*PLACES, *NAMES, "pipe.flac", "folder.flac"))
    what = f"audio {ascii(rows[0]['audio'])[:60]}"
    return _infer(what, scratch, material, "m.jsonl", _lines(rows), [CLIPS[1]])


def huge(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A manifest, a line or a number of lines that is huge."""
    rows = _rows(material, 1)
    kinds: dict[str, Callable[[], str]] = {
        "a line of 50 MB": lambda: _lines([{**rows[0], "note": "x" * 50_000_000}]),
        "a text of 20 MB": lambda: _lines([{**rows[0], "text": "word " * 4_000_000}]),
        "lists in a line": lambda: '{"audio": ' + "[" * 2_000_000 + "\n",
        "a line of 2,000,000 values": lambda: json.dumps({**rows[0], "note": [0] * 2_000_000}),
        "2,000,000 lines": lambda: "{}\n" * 2_000_000,
        "20,000,000 empty lines": lambda: "\n" * 20_000_000 + _lines(rows),
        "200,000 files that are not there": lambda: '{"audio": "a.wav", "text": "a"}\n' * 2000,
    }
    kind = list(kinds)[int(rng.integers(len(kinds)))]
    return _infer(kind, scratch, material, "m.jsonl", kinds[kind](), [])


KINDS = (torn, row_value, broken_line, part, twice, bits, csv_shape, place, torn, csv_shape, row_value, csv_shape, huge)
