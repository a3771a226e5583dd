"""The categories of faults: each has kinds, which take turns, and a share of the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from numpy.random import Generator

from benchmarks.fault_injection import (
    audio,
    checkpoints,
    folders,
    manifests,
    metadata,
    options,
    packages,
    processes,
    references,
    texts,
)
from benchmarks.fault_injection.fault import Fault
from benchmarks.fault_injection.material import Material

Kind = Callable[[Generator, Path, Material], Fault]


@dataclass(frozen=True)
class Category:
    """The makers of its faults, and how many of 1,400 faults are of it."""

    kinds: Sequence[Kind]
    weight: int


CATEGORIES = {
    "audio": Category(audio.KINDS, 180),
    "transcripts": Category(texts.KINDS, 140),
    "manifests": Category(manifests.KINDS, 150),
    "pairs": Category(folders.PAIRS, 70),
    "references": Category(references.KINDS, 130),
    "metadata": Category(metadata.KINDS, 150),
    "packages": Category(packages.KINDS, 130),
    "checkpoints": Category(checkpoints.KINDS, 130),
    "options": Category(options.KINDS, 140),
    "outputs": Category(folders.OUTPUTS, 80),
    "kills": Category((processes.kill, processes.kill, processes.kill_and_look), 60),
    "disk": Category((processes.full_disk,), 24),
    "writers": Category((processes.two_writers,), 16),
}
