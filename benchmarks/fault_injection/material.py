"""What the faults are made of: a converted demo aligner, three of its clips, a reference, and the right answers."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import soundfile
from numpy.typing import NDArray

from benchmarks.common import ROOT
from benchmarks.fault_injection.answers import words_of
from benchmarks.fault_injection.execute import ENVIRONMENT
from benchmarks.fault_injection.fault import CONVERT, REFERENCE, RUN, Word
from benchmarks.fault_injection.judge import Snapshot, snapshot

CLIPS = ("clip-02", "clip-03", "clip-04")  # 1.6 to 4.7 s
SUFFIXES = ("flac", "wav", "ogg", "mp3")
SMALL = ("--decoder-lengths", "128,256", "--audio-frames", "52,104")
CONVERSION = ("--model-id", "demo", "--decoder-lengths", "128", "--audio-frames", "104")  # of the kills
OTHER_CONVERSION = ("--model-id", "demo", "--decoder-lengths", "64", "--audio-frames", "104")
PREPARE_S = 600


@dataclass(frozen=True)
class Material:
    """Folders and right answers, which no fault may change.

    Attributes:
        folder: holds all of it.
        words: what an undisturbed run gives, by the name of the audio file.
        transcripts: of each clip.
        durations: of each undisturbed command, in s, by its name.
    """

    folder: Path
    words: dict[str, list[Word]]
    transcripts: dict[str, str]
    durations: dict[str, float]

    @property
    def model(self) -> Path:
        """The converted model."""
        return self.folder / "model"

    @property
    def conversion(self) -> Path:
        """What `CONVERSION` gives."""
        return self.folder / "conversion"

    @property
    def other(self) -> Path:
        """What `OTHER_CONVERSION` gives."""
        return self.folder / "other"

    @property
    def reference(self) -> Path:
        """The reference of the clips."""
        return self.folder / "pairs/reference.json"

    @property
    def checkpoint(self) -> Path:
        """A copy of the demo's checkpoint."""
        return self.folder / "checkpoint"

    def audio(self, name: str) -> Path:
        """An audio file, such as `clip-02.wav`."""
        return self.folder / ("pairs" if name.endswith(".flac") else "audio") / name

    def samples(self, clip: str) -> tuple[NDArray, int]:  # type: ignore[type-arg]
        """The samples of a clip as float64, and their rate in Hz."""
        return soundfile.read(self.audio(f"{clip}.flac"))

    def state(self) -> Snapshot:
        """All of it, to see that it was not changed."""
        return snapshot(self.folder)


def prepare(folder: Path) -> Material:
    """Make the material in `folder`; what this version of the code has made there is used again.

    All of it is made by the commands themselves, in processes of their own.
    """
    done = folder / "material.json"
    sources = sorted((ROOT / "forced_aligner").rglob("*.py"))
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    if not done.exists() or json.loads(done.read_text())["code"] != code:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        done.write_text(json.dumps({"code": code, **_make(folder)}))
    known = json.loads(done.read_text())
    words = {name: [(word[0], word[1], word[2]) for word in found] for name, found in known["words"].items()}
    return Material(folder, words, known["transcripts"], known["durations"])


def _make(folder: Path) -> dict[str, object]:
    manifest = json.loads((ROOT / "demo/clips/manifest.json").read_text())
    transcripts = {
        stem: sample["transcript"] for sample in manifest["samples"] if (stem := Path(sample["audio"]).stem) in CLIPS
    }
    (folder / "pairs").mkdir()
    (folder / "audio").mkdir()
    shutil.copytree(ROOT / "demo/model", folder / "checkpoint")
    for clip in CLIPS:
        shutil.copy(ROOT / f"demo/clips/{clip}.flac", folder / "pairs")
        (folder / f"pairs/{clip}.txt").write_text(transcripts[clip])
        samples, rate = soundfile.read(folder / f"pairs/{clip}.flac")
        for suffix in SUFFIXES[1:]:
            soundfile.write(folder / f"audio/{clip}.{suffix}", samples, rate)
    durations = {
        "convert": _command(folder, CONVERT, *CONVERSION, "--output-dir", "conversion"),
        "convert other": _command(folder, CONVERT, *OTHER_CONVERSION, "--output-dir", "other"),
        "convert model": _command(folder, CONVERT, "--model-id", "demo", *SMALL, "--output-dir", "model"),
        "reference": _command(
            folder, REFERENCE, "--model-id", "demo", "--dataset", "pairs", "--output", "pairs/reference.json"
        ),
        "compare": _command(
            folder, RUN, "compare", "--model-dir", "model", "--reference", "pairs/reference.json", "--report", "parity"
        ),
    }
    rows = [
        {"audio": f"{place}/{clip}.{suffix}", "text": transcripts[clip], "format": suffix}
        for clip in CLIPS
        for place, suffix in [("pairs", "flac"), *(("audio", suffix) for suffix in SUFFIXES[1:])]
    ]
    words: dict[str, list[Word]] = {}
    for suffix in SUFFIXES:
        listed = [row for row in rows if row["format"] == suffix]
        (folder / f"{suffix}.jsonl").write_text("\n".join(map(json.dumps, listed)))
        durations["infer"] = _command(
            folder, RUN, "infer", "--files", f"{suffix}.jsonl", "--model-dir", "model", "--output-dir", f"out-{suffix}"
        )
        words |= {f"{clip}.{suffix}": words_of((folder / f"out-{suffix}/{clip}.json").read_text()) for clip in CLIPS}
    return {"words": words, "transcripts": transcripts, "durations": durations}


def _command(folder: Path, script: str, *arguments: str) -> float:
    """Run a command, and return how long it took in s."""
    started = time.monotonic()
    subprocess.run(
        [sys.executable, ROOT / script, *arguments],
        cwd=folder,
        check=True,
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.DEVNULL,
        timeout=PREPARE_S,
    )
    return time.monotonic() - started
