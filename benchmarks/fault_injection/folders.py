"""Faults of folders of pairs, and of outputs that are inputs, links, pipes or places that cannot be written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from numpy.random import Generator

from benchmarks.fault_injection.answers import reference_at, report_at, written
from benchmarks.fault_injection.damage import NAMES, put
from benchmarks.fault_injection.fault import (
    CONVERT,
    REFERENCE,
    RUN,
    Check,
    Fault,
    Finished,
    Verdict,
    always_right,
    pick,
    single,
)
from benchmarks.fault_injection.material import CLIPS, Material

FORMATS = ("json", "srt", "vtt", "ass", "textgrid", "ctm", "audacity", "tsv", "html")
FIRST = CLIPS[0]


def _pairs(scratch: Path, material: Material, count: int = 2) -> Path:
    folder = scratch / "talks"
    folder.mkdir()
    for clip in CLIPS[:count]:
        shutil.copy(material.audio(f"{clip}.flac"), folder)
        (folder / f"{clip}.txt").write_text(material.transcripts[clip])
    return folder


def pair_kinds(folder: Path, material: Material, rng: Generator) -> dict[str, Callable[[], object]]:
    """What may lie in a folder beside two good pairs, whose results must be right all the same."""
    flac, text, name = material.audio(f"{FIRST}.flac"), material.transcripts[FIRST], str(pick(rng, NAMES))

    def pair(stem: str, audio: Path | bytes | str, transcript: bytes | str, suffix: str = ".flac") -> None:
        """A recording and its transcript; a text is the kind of something that is no regular file."""
        for path, content in ((folder / f"{stem}{suffix}", audio), (folder / f"{stem}.txt", transcript)):
            if isinstance(content, str):
                put(path, content)
            else:
                path.write_bytes(content if isinstance(content, bytes) else content.read_bytes())

    words = text.encode()
    return {
        "one stem, two formats": lambda: shutil.copy(material.audio(f"{FIRST}.wav"), folder),
        "txt and lab of other words": lambda: (folder / f"{FIRST}.lab").write_text("Other words."),
        "txt and lab of the same words": lambda: (folder / f"{FIRST}.lab").write_text(text),
        "capitals": lambda: pair("LOUD", flac, words, ".FLAC"),
        f"the name {name!a:.50}": lambda: pair(name, flac, words),
        "a transcript that is not UTF-8": lambda: pair("bad", flac, b"caf\xe9"),
        "a pipe as audio": lambda: pair("pipe", "a pipe", words),
        "a pipe as transcript": lambda: pair("pipe", flac, "a pipe"),
        "a broken link": lambda: pair("link", "a broken link", words),
        "a folder as transcript": lambda: pair("talk", flac, "a folder"),
        "damaged audio": lambda: pair("bad", rng.bytes(500), words),
        "an empty transcript": lambda: pair("mute", flac, b""),
        "audio alone": lambda: shutil.copy(flac, folder / "alone.flac"),
        "a transcript alone": lambda: (folder / "lonely.txt").write_text(text),
        "a folder named as audio": lambda: pair("box", "a folder", words),
        "a link to the folder": lambda: put(folder / "again", "."),
    }


def pairs(rng: Generator, scratch: Path, material: Material) -> Fault:
    """Two good pairs, and something odd beside them. The good ones are done, and the odd one is named."""
    folder = _pairs(scratch, material)
    kinds = pair_kinds(folder, material, rng)
    kind = list(kinds)[int(rng.integers(len(kinds)))]
    kinds[kind]()
    clashing = FIRST if kind in ("one stem, two formats", "txt and lab of other words") else None
    expected = {clip: material.words[f"{clip}.flac"] for clip in CLIPS[:2] if clip != clashing}
    reference = rng.random() < 0.25
    if reference:
        options = ("--model-id", "demo", "--dataset", "talks", "--output", "reference.json")
        return single(
            f"reference of pairs: {kind}", REFERENCE, *options, check=reference_at(scratch / "reference.json")
        )
    extra = str(pick(rng, ("", "--skip-existing", "--overwrite")))
    command = [RUN, "infer", "--files", "talks", "--output-dir", "out", "--model-dir", str(material.model)]
    check = written(scratch / "out", expected, skip=[clashing] if clashing else [])
    return single(f"pairs: {kind} {extra}", *command, *([extra] if extra else []), check=check)


def beside(rng: Generator, scratch: Path, material: Material) -> Fault:
    """Results go to the folder of the recordings, where a file of a person has the name of a result."""
    folder = _pairs(scratch, material)
    suffix = str(pick(rng, ("json", "srt", "vtt", "ass", "TextGrid", "ctm", "labels.txt", "tsv", "html", "png")))
    owned = folder / f"{FIRST}.{suffix}"
    owned.write_text("of a person")
    options = ["--files", "talks", "--output-dir", "talks", "--model-dir", str(material.model)]
    options += ["--format", ",".join(FORMATS), "--plot", *(["--skip-existing"] if rng.random() < 0.3 else [])]
    check = written(folder, {}, skip=[FIRST])
    return single(f"a {suffix} file of a person beside the audio", RUN, "infer", *options, check=check)


def over_input(rng: Generator, scratch: Path, material: Material) -> Fault:
    """An output whose name is that of an input: nothing changes."""
    folder = _pairs(scratch, material)
    audio, text = f"talks/{FIRST}.flac", material.transcripts[FIRST]
    shutil.copytree(material.model, scratch / "model")
    shutil.copy(material.reference, folder / "reference.json")
    (folder / "same.flac").hardlink_to(folder / f"{FIRST}.flac")
    (scratch / "link").symlink_to(audio)
    (folder / f"{CLIPS[1]}.json").write_text(f'{{"audio": "{FIRST}.flac", "text": "{text}"}}\n')
    (folder / "note.labels.txt").write_text(text)
    shutil.copy(material.audio(f"{FIRST}.flac"), folder / "note.flac")
    (folder / "note.labels.flac").hardlink_to(folder / "note.flac")
    demo, model = ("--model-id", "demo"), ("--model-dir", "model")
    one = ("--audio-file", audio, "--text", text)
    compare = (RUN, "compare", "--reference", "talks/reference.json", *model, "--report")
    infer = (RUN, "infer", *model)
    commands = (
        (REFERENCE, *demo, *one, "--output", audio),
        (REFERENCE, *demo, *one, "--output", "link"),
        (REFERENCE, *demo, *one, "--output", "talks/same.flac"),
        (REFERENCE, *demo, "--dataset", "talks", "--output", f"talks/{FIRST}.txt"),
        (REFERENCE, *demo, "--dataset", "talks", "--output", f"talks/{FIRST}.flac"),
        (REFERENCE, *demo, *one, "--output", "model/metadata.json"),
        (REFERENCE, "--model-id", "model", *one, "--output", "model/tokenizer.json"),
        (*compare, "talks/reference.json"),
        (*compare, audio),
        (*compare, "model/metadata.json"),
        (*compare, "model/tokenizer.json"),
        (*compare, "talks/note.labels.txt"),
        (*infer, "--audio-file", audio, "--text-file", "talks/note.labels.txt", "--output-dir", "talks", "--overwrite"),
        (*infer, "--files", f"talks/{CLIPS[1]}.json", "--output-dir", "talks", "--overwrite"),
        (*infer, "--files", "talks", "--output-dir", "talks", "--format", "audacity", "--overwrite"),
        (*infer, *one, "--output-dir", audio),
        (CONVERT, *demo, "--output-dir", "talks", "--force"),
        (CONVERT, *demo, "--output-dir", audio, "--force"),
        (CONVERT, "--model-id", "model", "--output-dir", "model", "--force"),
        (CONVERT, *demo, "--output-dir", "model/forced_aligner_lm_head.mlpackage", "--force"),
        (CONVERT, *demo, "--components", "embedding", "--output-dir", "new", "--package", "talks"),
        (CONVERT, *demo, "--components", "embedding", "--output-dir", "new", "--package", "new"),
    )
    command = commands[int(rng.integers(len(commands)))]
    what = f"output that is an input: {' '.join(command)[:120]}"
    return single(what, *command, deadline_s=200)


def unwritable(rng: Generator, scratch: Path, material: Material) -> Fault:
    """An output that is a pipe, a folder, in a file, with too long a name, or where nothing can be written."""
    (scratch / "file").write_text("of a person")
    os.mkfifo(scratch / "pipe")
    (scratch / "folder").mkdir()
    (scratch / "folder/note").write_text("of a person")
    (scratch / "loop").symlink_to("loop")
    (scratch / "broken").symlink_to("nowhere/there")
    (scratch / "to-pipe").symlink_to("pipe")
    places = ("pipe", "folder", "file/x", "x" * 255, "x" * 256, "x/" * 600 + "x", "loop", "broken", "to-pipe", "file")
    place = str(pick(rng, (*places, "/proc/x", "/sys/x", "", ".", "..", "a\udcff", "[/m]", "\x1b[31m")))
    one = ("--audio-file", str(material.audio(f"{FIRST}.flac")), "--text", material.transcripts[FIRST])
    reference = ("--reference", str(material.reference), "--model-dir", str(material.model))
    demo = ("--model-id", "demo")
    commands: tuple[tuple[tuple[str, ...], Check], ...] = (
        ((REFERENCE, *demo, *one, "--output", place), _whole(scratch / place, reference_at)),
        ((RUN, "compare", *reference, "--report", place), _whole(scratch / place, report_at)),
        ((RUN, "infer", *one, "--model-dir", str(material.model), "--output-dir", place), always_right),
        ((CONVERT, *demo, "--components", "embedding", "--output-dir", place), always_right),
    )
    command, check = commands[int(rng.integers(len(commands)))]
    return single(f"output {ascii(place)[:40]} of {command[0]} {command[1]}", *command, check=check)


def _whole(path: Path, check_at: Callable[[Path], Check]) -> Check:
    """The check of a file, if it is one now."""

    def check(runs: Sequence[Finished]) -> Verdict:
        if runs[-1].code == 0 and path.is_file():
            return check_at(path)(runs)
        return Verdict("refused" if runs[-1].code else "answered")

    return check


PAIRS = (pairs, pairs, beside)
OUTPUTS = (over_input, unwritable)
