"""Faults of transcripts: encodings, control characters, directions, sizes, special tokens, and markup of formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from numpy.random import Generator

from benchmarks.fault_injection.answers import printed, written
from benchmarks.fault_injection.fault import RUN, Fault, pick, single
from benchmarks.fault_injection.material import Material

CLIPS = ("clip-02", "clip-03")
FORMATS = "json,srt,vtt,ass,textgrid,ctm,audacity,tsv,html"
CONTROLS = tuple(map(chr, (0, 1, 7, 8, 27, 127, 0x80, 0x9B, 0x9F)))
UNSEEN = ("\u200b", "\u200d", "\u2060", "\ufeff", "\u202a", "\u202e", "\u2066", "\u2069", "\u00ad", "\ufe0f")
SPACES = ("\t", "\n", "\r\n", "\r", "\x0b", "\x0c", "\x85", "\xa0", "\u2028", "\u2029", "\u3000", "\u202f", "  ")
ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1", "cp1252", "gb18030", "utf-7", "shift_jis")
TOKENS = (
    "<timestamp>",
    "<|audio_pad|>",
    "<|audio_start|>",
    "<|audio_end|>",
    "<|im_start|>",
    "<|endoftext|>",
    "<timestamp><timestamp>",
    "{{ 7*7 }}",
    "{% for x in y %}",
    "{%- raw -%}",
)
MARKUP = (
    "C:\\new",
    "\\N",
    "\\h",
    "{\\b1}",
    "<b>x</b>",
    "&amp;",
    "-->",
    '"',
    '""',
    "a\tb",
    ";;",
    "[/m]",
    "[red]",
    "%d",
    "<00:00:01.000>",
    "NOTE",
    "WEBVTT",
    "1",
    "\x1b[31m",
    "Dialogue: 0,0",
    "$3.50",
    "replied\u2014\u201cwell,\u201d",
)
LANGUAGES = (
    "",
    "xx",
    "english",
    "EN",
    "Japanese",
    "Korean",
    "Chinese",
    "Klingon",
    "[/m]",
    "\x1b[31m",
    "e" * 300,
    "en\x00",
    "None",
    "zh-Hant",
    "Englisch",
    "\udcff",
)


def _infer(what: str, scratch: Path, material: Material, clip: str, content: bytes, *, is_same: bool) -> Fault:
    (scratch / "talk.txt").write_bytes(content)
    check = printed(material.words[f"{clip}.flac"] if is_same else None, texts=False)
    audio = str(material.audio(f"{clip}.flac"))
    model = ("--model-dir", str(material.model))
    return single(what, RUN, "infer", "--audio-file", audio, "--text-file", "talk.txt", *model, check=check)


def encoded(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A transcript in another encoding, with a letter that has other bytes in it."""
    clip, encoding = str(pick(rng, CLIPS)), str(pick(rng, ENCODINGS))
    content = (material.transcripts[clip] + " café").encode(encoding, "replace")
    return _infer(f"transcript in {encoding}", scratch, material, clip, content, is_same=False)


def _inserted(rng: Generator, text: str, marks: tuple[str, ...]) -> tuple[str, str]:
    """A text with up to ten marks in random places, and which."""
    found = set()
    for _ in range(int(rng.integers(1, 10))):
        at, mark = int(rng.integers(0, len(text) + 1)), str(pick(rng, marks))
        text = text[:at] + mark + text[at:]
        found.add(mark)
    return text, ascii("".join(sorted(found)))


def controls(rng: Generator, scratch: Path, material: Material) -> Fault:
    """Control characters within words, which move no time."""
    clip = str(pick(rng, CLIPS))
    text, marks = _inserted(rng, material.transcripts[clip], CONTROLS)
    return _infer(f"controls {marks}", scratch, material, clip, text.encode(), is_same=True)


def unseen(rng: Generator, scratch: Path, material: Material) -> Fault:
    """Characters without a width between words, which move no time."""
    clip = str(pick(rng, CLIPS))
    words = material.transcripts[clip].split()
    at, mark = int(rng.integers(len(words))), str(pick(rng, UNSEEN))
    words[at] = mark + words[at] if rng.random() < 0.5 else words[at] + mark
    return _infer(f"unseen {mark!a}", scratch, material, clip, " ".join(words).encode(), is_same=True)


def spaces(rng: Generator, scratch: Path, material: Material) -> Fault:
    """White space of another kind between words, which moves no time."""
    clip, space = str(pick(rng, CLIPS)), str(pick(rng, SPACES))
    text = space + space.join(material.transcripts[clip].split()) + space
    return _infer(f"spaces {space!a}", scratch, material, clip, text.encode(), is_same=True)


def sized(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A transcript that is much too long or too short."""
    kinds: dict[str, Callable[[], str]] = {
        "nothing": lambda: "",
        "spaces": lambda: " \n " * 100,
        "punctuation": lambda: "?! … --- ,,, 。",
        "one letter": lambda: "a",
        "5 MB of words": lambda: "word " * 1_000_000,
        "4 MB of one word": lambda: "w" * 4_000_000,
        "100,000 words": lambda: "some word " * 50_000,
        "100,000 letters": lambda: "x" * 100_000,
        "combining marks": lambda: "e" + "\u0301" * 10_000,
        "digits": lambda: "9" * 5000,
        "emoji": lambda: "👩‍👩‍👧‍👦 " * 200,
        "commas": lambda: "," * 100_000 + "word",
        "lines": lambda: "\n" * 1_000_000 + "word",
        "Chinese": lambda: "今天天气很好" * 20,
        "100 words": lambda: "word " * 100,
    }
    kind = list(kinds)[int(rng.integers(len(kinds)))]
    return _infer(f"transcript: {kind}", scratch, material, CLIPS[0], kinds[kind]().encode(), is_same=False)


def random_text(rng: Generator, scratch: Path, material: Material) -> Fault:
    """Any code points, or any bytes."""
    if rng.random() < 0.3:
        content = rng.bytes(int(rng.integers(1, 300)))
        return _infer("random bytes", scratch, material, CLIPS[0], content, is_same=False)
    top = int(pick(rng, (0x100, 0x3000, 0x11000, 0x110000)))  # type: ignore[call-overload]
    points = [int(point) for point in rng.integers(1, top, int(rng.integers(1, 120)))]
    text = "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000)
    return _infer(f"random code points below {top:#x}", scratch, material, CLIPS[0], text.encode(), is_same=False)


def marked(rng: Generator, scratch: Path, material: Material) -> Fault:
    """Special tokens and the markup of formats as words, in all formats."""
    clip = str(pick(rng, CLIPS))
    words = material.transcripts[clip].split()
    mark = str(pick(rng, TOKENS + MARKUP))
    words.insert(int(rng.integers(len(words) + 1)), mark)
    options = (
        "--text",
        " ".join(words),
        "--model-dir",
        str(material.model),
        "--format",
        FORMATS,
        "--output-dir",
        "out",
    )
    check = written(scratch / "out", {clip: None})
    audio = str(material.audio(f"{clip}.flac"))
    what = f"the word {mark!a}"
    return single(what, RUN, "infer", "--audio-file", audio, *options, "--karaoke", "--plot", check=check)


def argument(rng: Generator, scratch: Path, material: Material) -> Fault:
    """A transcript on the command line with bytes that are not UTF-8, or a language that is none."""
    clip = str(pick(rng, CLIPS))
    text, language = material.transcripts[clip], str(pick(rng, LANGUAGES))
    if rng.random() < 0.3:
        at = int(rng.integers(len(text)))
        text, language = f"{text[:at]}\udcff{text[at:]}", "English"
    audio = str(material.audio(f"{clip}.flac"))
    options = ("--text", text, "--language", language, "--model-dir", str(material.model))
    return single(
        f"language {ascii(language)[:40]}", RUN, "infer", "--audio-file", audio, *options, check=printed(None)
    )


KINDS = (encoded, controls, unseen, spaces, sized, random_text, marked, argument, controls, marked)
