"""Ways to damage bytes, JSON values and names, by a seed."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.random import Generator

from benchmarks.fault_injection.answers import leaves

DEEP = 200_000
# Names of at most 250 bytes, so that a suffix fits.
NAMES = (
    "[/m]",
    "talk [live]",
    "[red]x[/red]",
    "\x1b[31mred\x1b[0m",
    "bell\x07",
    "two\nlines",
    "tab\there",
    "back\\slash",
    "\u202egnp",
    "zero\u200bwidth",
    "\udcff\udcfe",
    "x" * 250,
    "é" * 125,
    "-rf",
    "--files",
    ".hidden",
    " space ",
    "a.b.c",
    "100%",
    "%s%n",
    "$HOME",
    "`id`",
    "'quote'",
    '"quotes"',
    "~",
    "*",
    "?",
    "CON",
    "e\u0301",
    ":smile:",
    "日本語",
    "a\x9b2Jb",
    "{0}",
    "#hash",
    "a&b",
    "<b>",
)
NUMBERS: tuple[Any, ...] = (0, -1, 1, 2, 0.5, -0.0, 1e-300, 1e308, 10**12, 2**63, 10**400, float("nan"), float("inf"))
OTHERS: tuple[Any, ...] = (None, True, "", "x", [], {}, [[]], "../../x", "/etc/hostname", "a\x00b", "x" * 300, "\ud800")


def put(path: Path, kind: str) -> None:
    """Put something that is no regular file at `path`, in the place of a file that may be there."""
    path.unlink(missing_ok=True)
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    else:
        path.symlink_to("nothing" if kind == "a broken link" else kind)


def flip_bits(rng: Generator, content: bytes, count: int, start: int = 0, end: int | None = None) -> bytes:
    """`content` with `count` bits turned, between two offsets."""
    changed = bytearray(content)
    for offset in rng.integers(start, min(end or len(content), len(content)), count):
        changed[int(offset)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def cut(rng: Generator, content: bytes) -> tuple[bytes, float]:
    """The first part of `content`, and its share of the whole."""
    size = int(rng.integers(0, len(content)))
    return content[:size], size / len(content)


def odd_value(rng: Generator, old: Any) -> Any:
    """Another value in the place of `old`: mostly a number for a number."""
    is_number = isinstance(old, int | float) and not isinstance(old, bool)
    values: Sequence[Any] = NUMBERS if is_number and rng.random() < 0.7 else (*OTHERS, *NUMBERS)
    return values[int(rng.integers(len(values)))]


def change(value: Any, place: tuple[str | int, ...], new: Any) -> None:
    """Put `new` at a place of a JSON value."""
    for key in place[:-1]:
        value = value[key]
    value[place[-1]] = new


def any_leaf(rng: Generator, value: Any, start: tuple[str | int, ...] = ()) -> tuple[tuple[str | int, ...], Any]:
    """A place of a JSON value that holds no others, below `start`, and what is there."""
    places = [place for place in leaves(value) if place[: len(start)] == start and place]
    place = places[int(rng.integers(len(places)))]
    found = value
    for key in place:
        found = found[key]
    return place, found


def shown(value: Any) -> str:
    """A value in a few characters."""
    text = str(value)[:40] if not isinstance(value, int) or abs(value) < 10**30 else "a huge integer"
    return repr(text)


def mutated_json(rng: Generator, value: Any, start: tuple[str | int, ...] = ()) -> tuple[str, str]:
    """What was done to a JSON value in one place, and the text with that."""
    value = json.loads(json.dumps(value))
    place, old = any_leaf(rng, value, start)
    kind = int(rng.integers(8))
    where = ".".join(map(str, place))
    parent = value
    for key in place[:-1]:
        parent = parent[key]
    if kind == 0:
        del parent[place[-1]]
        return f"{where} removed", json.dumps(value)
    if kind == 1 and isinstance(parent, dict):
        parent["unknown"] = old
        return f"unknown key beside {where}", json.dumps(value)
    new = odd_value(rng, old)
    change(value, place, new)
    return f"{where} = {shown(new)}", json.dumps(value)


def broken_json(rng: Generator, content: str) -> tuple[str, bytes]:
    """What was done to a JSON text as a text, and the bytes."""
    size = int(rng.integers(1, len(content)))
    kinds = {
        "cut": content[:size].encode(),
        "bits": flip_bits(rng, content.encode(), int(rng.integers(1, 8))),
        "UTF-16": content.encode("utf-16"),
        "UTF-8 with a mark": content.encode("utf-8-sig"),
        "nothing": b"",
        "a list": b"[" + content.encode() + b"]",
        "null": b"null",
        "a number": b"17",
        "a text": b'"x"',
        "twice": (content + content).encode(),
        "nested lists": b"[" * DEEP,
        "nested objects": b'{"a":' * DEEP,
        "a nested value": content.rstrip()[:-1].encode() + b', "x": ' + b"[" * DEEP + b"]" * DEEP + b"}",
        "many digits": content.rstrip()[:-1].encode() + b', "x": ' + b"9" * 5000 + b"}",
        "NaN": content.rstrip()[:-1].encode() + b', "x": NaN}',
        "a key twice": b"{" + content.lstrip()[1:].split(",")[0].encode() + b"," + content.lstrip()[1:].encode(),
        "NULs": b"\x00" * 1000,
        "a long text": content.rstrip()[:-1].encode() + b', "x": "' + b"y" * 20_000_000 + b'"}',
        "many values": b"[" + b"0," * 9_000_000 + b"0]",
        "not UTF-8": content.encode().replace(b'"', b'"\xff', 1),
    }
    kind = list(kinds)[int(rng.integers(len(kinds)))]
    return kind, kinds[kind]
