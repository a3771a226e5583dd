"""The default sizes of a conversion. They have their own module because `--help` shows them and must load fast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Target = Literal["iOS17", "iOS18"]
# Chosen with benchmarks/work.py for LibriSpeech's durations. iOS 17 has no multifunction packages, so it has one size.
DEFAULT_LENGTHS: dict[Target, tuple[int, ...]] = {
    "iOS17": (1024,),
    "iOS18": (64, 128, 192, 256, 320, 384, 512, 768, 1024, 1536, 2048),
}
DEFAULT_FRAMES: dict[Target, tuple[int, ...]] = {"iOS17": (208,), "iOS18": (52, 78, 117, 156, 208)}


def help_text(sizes: Mapping[Target, tuple[int, ...]]) -> str:
    """The end of an option's help text, which shows the default sizes."""
    many, one = (", ".join(map(str, sizes[target])) for target in ("iOS18", "iOS17"))
    return f"(default: {many}; iOS17: {one})"
