"""What the converting and the running side agree on beside `metadata.json`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LayoutName = Literal["five", "compact"]  # of `--layout`
MAIN = "main"  # the function of a package that has one
# Added to attention scores that must not count. Finite, since a -inf mask gave all-NaN decoders in published
# bundles, and within FP16, which finfo(float32).min is not. exp(-1e4) is 0 in every precision.
MASKED = -1e4
# The files of a package.
MANIFEST = Path("Manifest.json")
SPEC_FILE = Path("Data/com.apple.CoreML/model.mlmodel")
WEIGHTS_FILE = Path("Data/com.apple.CoreML/weights/weight.bin")
COMPILED_SUFFIX = ".mlmodelc"
# The most that is converted. The head's 400 s are 5,200 audio tokens, and at 4 words of 5 tokens a second 8,000 more.
MAX_DECODER_LENGTH = 16_384
MAX_AUDIO_FRAMES = 5_200
MAX_FUNCTIONS = 32  # of one package
LENGTH_STEP = 64  # decoder lengths are multiples of it


@dataclass(frozen=True)
class Layout:
    """A way to split the model into components, which together can align."""

    name: str
    components: tuple[str, ...]


_TEXT = ("embedding", "decoder_prefill", "lm_head")
FIVE = Layout("five", ("audio_conv", "audio_transformer", *_TEXT))
MONOLITHIC = Layout("monolithic", ("audio_encoder", *_TEXT))
TOKEN_TABLE = "token_table"  # a file instead of a package
COMPACT = Layout("compact", ("audio", TOKEN_TABLE, "text"))
LAYOUTS = (FIVE, MONOLITHIC, COMPACT)  # where a folder holds several, the first one is run
# What a conversion of each layout may have, and what it has unless `--components` says less or more.
COMPONENTS_OF: dict[LayoutName, tuple[str, ...]] = {
    "five": tuple(dict.fromkeys(FIVE.components + MONOLITHIC.components)),
    "compact": COMPACT.components,
}
DEFAULT_COMPONENTS = FIVE.components
DEFAULTS_OF: dict[LayoutName, tuple[str, ...]] = {"five": DEFAULT_COMPONENTS, "compact": COMPACT.components}
DECODER_OF: dict[LayoutName, str] = {"five": "decoder_prefill", "compact": "text"}
FLOAT16_IN_MIXED = ("embedding",)  # the components that `--precision mixed` puts into FP16; its rows are looked up


def layout_of(components: Collection[str]) -> Layout:
    """The first layout whose components are all there, else the one of which most are."""

    def rank(layout: Layout) -> tuple[bool, int]:
        present = len({*layout.components} & {*components})
        return present == len(layout.components), present

    return max(LAYOUTS, key=rank)  # the first of those that are equal


def compiled_name(package: str) -> str:
    """The name of a package's compiled form."""
    return Path(package).with_suffix(COMPILED_SUFFIX).name
