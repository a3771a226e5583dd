"""A test set as large as LibriSpeech test-clean, of synthetic speech: 2,620 clips of its durations.

The published quantiles of the durations are joined by straight lines from normal to log-normal quantiles, so the
distribution is log-normal between two of them. 2,620 durations last 5.40 hours, 7.42 s on average, as those of
test-clean do. The speech is the held-out speech of `demo/clips.py`: random words, fewer a second than in a book (about
2.0 instead of 2.7), in voices that training never heard.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from demo.clips import Clip, ClipMaker
from demo.speech import SAMPLE_RATE_HZ
from forced_aligner.base.errors import UserError
from forced_aligner.data.time_files import SILENCES

CLIPS = 2620
SEED = 170_000  # of the first batch; each batch has the next one
BATCH = 20  # clips that one synthesizer speaks; what is missing of a batch is made anew with the whole batch
# Share of the utterances -> duration in seconds, of test-clean: icefall (k2-fsa/icefall, commit 0cffe78),
# egs/librispeech/ASR/local/display_manifest_statistics.py. Its mean is 7.4 s, its standard deviation 5.2 s.
QUANTILES_S = {
    0.0: 1.3, 0.001: 1.6, 0.005: 1.8, 0.01: 2.0, 0.05: 2.3, 0.1: 2.7, 0.25: 3.7, 0.5: 5.8, 0.75: 9.6, 0.9: 14.6,
    0.95: 17.8, 0.99: 25.5, 0.995: 28.4, 0.999: 32.8, 1.0: 35.0,
}  # fmt: skip
WORDS_PER_MINUTE = (150, 221)  # nominal; the upper half of what the demo aligner was trained on
COMMAS = (0.0, 0.25)


def durations_s(count: int) -> NDArray[np.float64]:
    """(count,) durations in seconds: evenly spaced quantiles, in a random order that is always the same."""
    normal, half = NormalDist(), 0.5 / count
    shares = np.clip(list(QUANTILES_S), half, 1 - half)
    known = [normal.inv_cdf(share) for share in shares]
    wanted = [normal.inv_cdf((index + 0.5) / count) for index in range(count)]
    durations = np.exp(np.interp(wanted, known, np.log(list(QUANTILES_S.values()))))
    return np.random.default_rng(SEED).permutation(durations.round(3))


@dataclass(frozen=True)
class Batch:
    """Clips that are made together: the number of the batch, and the duration of each clip by its name."""

    number: int
    durations_s: dict[str, float]


def batches(count: int) -> list[Batch]:
    """All clips of a set of `count`."""
    durations, digits = durations_s(count).tolist(), len(str(count))
    names = [f"clip-{number:0{digits}d}" for number in range(1, count + 1)]
    pairs = list(zip(names, durations, strict=True))
    return [Batch(start // BATCH, dict(pairs[start : start + BATCH])) for start in range(0, count, BATCH)]


def make_clips(folder: Path, count: int = CLIPS, processes: int = 1) -> dict[str, Any]:
    """Write `count` clips to `folder`, but for those that are there; returns what was made, and how long it took.

    A clip is `clip-0001.flac`, `.txt` with its transcript, and `.ctm` with its true word times.

    Raises:
        UserError: the folder holds a set of another size.
    """
    folder.mkdir(parents=True, exist_ok=True)
    size = folder / "set.json"
    if size.exists() and (found := json.loads(size.read_text())["clips"]) != count:
        raise UserError(f"{folder} holds a set of {found} clips, not of {count}: name another folder")
    size.write_text(json.dumps({"clips": count, "seed": SEED}) + "\n")
    missing = [batch for batch in batches(count) if not all((folder / f"{n}.flac").exists() for n in batch.durations_s)]
    started = time.perf_counter()
    for done, _ in enumerate(_made(missing, folder, processes), start=1):
        print(f"{done}/{len(missing)} batches, {time.perf_counter() - started:.0f} s", flush=True)
    made = sum(len(batch.durations_s) for batch in missing)
    return {"made": made, "processes": processes, "wall_s": round(time.perf_counter() - started, 1), **summary(folder)}


def _made(missing: list[Batch], folder: Path, processes: int) -> Iterator[None]:
    # A process ends after some batches: each synthesizer loads a library of its own, which is never unloaded. A
    # ProcessPoolExecutor waits for ever where its only process has ended so (CPython issue 115634).
    with get_context("spawn").Pool(processes, maxtasksperchild=20) as pool:
        yield from pool.imap_unordered(partial(_make_batch, folder=folder), missing)


def _make_batch(batch: Batch, folder: Path) -> None:
    maker = ClipMaker(SEED + batch.number)
    for name, duration_s in batch.durations_s.items():
        speed = int(maker.rng.integers(*WORDS_PER_MINUTE))
        write_clip(maker.clip_of(duration_s, speed, float(maker.rng.uniform(*COMMAS))), folder, name)


def write_clip(clip: Clip, folder: Path, name: str) -> None:
    """Write the clip's three files; the audio appears last, and whole.

    A clip of a word that means silence in a file of times, such as `sil`, has no such file: 4 of 2,620.
    """
    (folder / f"{name}.txt").write_text(clip.transcript + "\n")
    times = zip(clip.words, clip.starts_s, clip.ends_s, strict=True)
    lines = [f"{name} 1 {start_s:.4f} {end_s - start_s:.4f} {word}\n" for word, start_s, end_s in times]
    if SILENCES.isdisjoint(word.lower() for word in clip.words):
        (folder / f"{name}.ctm").write_text("".join(lines))
    partial = folder / f"{name}.partial"
    soundfile.write(partial, (clip.audio * 32768).astype(np.int16), SAMPLE_RATE_HZ, format="FLAC")
    partial.rename(folder / f"{name}.flac")


def make_equal_clips(folder: Path, count: int, duration_s: float) -> None:
    """Write `count` clips of one length to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    maker = ClipMaker(SEED)
    for number in range(1, count + 1):
        write_clip(maker.clip_of(duration_s, WORDS_PER_MINUTE[0]), folder, f"clip-{number}")


def summary(folder: Path) -> dict[str, Any]:
    """Count, hours, words and the distribution of the durations of the clips in `folder`."""
    files = sorted(folder.glob("*.flac"))
    lengths = np.array([soundfile.info(file).duration for file in files])
    words = sum(len(file.with_suffix(".txt").read_text().split()) for file in files)
    return {
        "clips": len(files),
        "hours": round(float(lengths.sum()) / 3600, 3),
        "mean_s": round(float(lengths.mean()), 2),
        "standard_deviation_s": round(float(lengths.std()), 2),
        "quantiles_s": {str(share): round(float(np.quantile(lengths, share)), 1) for share in QUANTILES_S},
        "words": words,
        "words_per_s": round(words / float(lengths.sum()), 2),
        "size_mb": round(sum(file.stat().st_size for file in files) / 1e6),
    }
