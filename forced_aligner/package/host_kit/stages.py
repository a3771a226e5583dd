"""The stages of a host, in their order, and the names of the golden vectors."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

CONFIG_FILE = "config.json"
HOST_FOLDER = "host"  # the kit's folder in a published one
REFERENCE, PACKAGES, MISTAKE = "reference", "packages", "mistake"  # who gave a golden vector
WORDS, WORD_PIECES = "words", "word_pieces"  # metadata of a golden file: JSON
TIMES = "times_ms"
ROWS = "rows"  # of the audio embeddings that a mistake changes most


@dataclass(frozen=True)
class Stage:
    """One stage, whose result a host can be asked for.

    Attributes:
        name: of its tensor; a stage with `calls` has one for each call, with its number at the end: `mask.0`.
        shape: in words.
        measure: how far two results are apart. `absolute`: the largest difference. `relative`: the largest of the rows'
            norms of the difference, as a part of the expected row's norm. `count`: how many values differ.
        tolerance: the largest distance that is no departure.
        calls: whether there is one tensor for each call.
        by_packages: whether the packages have a part in it, so that the golden vectors have it of them too.
    """

    name: str
    shape: str
    measure: Literal["absolute", "relative", "count"]
    tolerance: float
    calls: bool = False
    by_packages: bool = True


# What the tolerances allow for: another decoder of the audio (samples), another Fourier transform in float32 (mel), the
# last bits of a float32 angle (cos, sin), and FP16 and other orders of a sum on another processor (relative ones).
STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("samples", "(samples,)", "absolute", 1e-3, by_packages=False),
        Stage("mel", "(mel bins, frames)", "absolute", 2e-3, by_packages=False),
        Stage("chunks", "(chunks, mel bins, 100)", "absolute", 2e-3, by_packages=False),
        Stage("conv_features", "(audio tokens, audio hidden)", "relative", 0.02),
        Stage("mask", "(size, size)", "count", 0, calls=True),
        Stage("audio_embeddings", "(audio tokens, hidden)", "relative", 0.02),
        Stage("token_ids", "(tokens,)", "count", 0, by_packages=False),
        Stage("hidden_states", "(tokens, hidden)", "relative", 0.02),
        Stage("cos", "(tokens, head dim)", "absolute", 1e-3, by_packages=False),
        Stage("sin", "(tokens, head dim)", "absolute", 1e-3, by_packages=False),
        Stage("decoder_states", "(2 words, hidden)", "relative", 0.05),
        Stage("logits", "(2 words, classes)", "relative", 0.05),
        Stage("classes", "(2 words,)", "count", 0),  # without those whose scores tie
        Stage("raw_times_ms", "(2 words,)", "count", 0),  # that the host's own classes give
        Stage(TIMES, "(2 words,)", "count", 0),  # that the host's own raw times give
    )
}
FINAL_STAGES = ("classes", "raw_times_ms", TIMES)
_CALL = re.compile(r"(.+)\.([0-9]{1,4})")


def key(side: str, stage: str) -> str:
    """The name of a golden vector."""
    return f"{side}.{stage}"


def stage_of(name: str) -> Stage | None:
    """The stage of a tensor, by its name without a side; None if there is none."""
    call = _CALL.fullmatch(name)
    stage = STAGES.get(call[1] if call else name)
    return stage if stage and stage.calls == bool(call) else None


def in_order(names: Collection[str]) -> list[str]:
    """The names of tensors, in the order of their stages and calls; others are left out."""
    order = list(STAGES)
    stages = {name: stage for name in names if (stage := stage_of(name))}
    return sorted(stages, key=lambda name: (order.index(stages[name].name), len(name), name))
