"""The default sizes of a conversion, and the presets of a sweep: `--help` shows them, so they load fast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Target = Literal["iOS17", "iOS18"]
# Chosen with benchmarks/work.py for LibriSpeech's durations. iOS 17 has no multifunction packages, so it has one size.
DEFAULT_LENGTHS: dict[Target, tuple[int, ...]] = {
    "iOS17": (1024,),
    "iOS18": (64, 128, 192, 256, 320, 384, 512, 768, 1024, 1536, 2048),
}
DEFAULT_FRAMES: dict[Target, tuple[int, ...]] = {"iOS17": (208,), "iOS18": (52, 78, 117, 156, 208)}
# What `convert-coreml.py` is given for each preset; {decoder} is the component with the decoder's weights. Calibrated
# weights are fitted to clips, the others are rounded.
PRESETS: dict[str, dict[str, Any]] = {
    "float32": {"precision": "float32"},
    "mixed": {"precision": "mixed"},
    "float16": {"precision": "float16"},
    "int8-calibrated": {"precision": "float16", "compress": "int8"},
    "int8": {"precision": "float16", "compress": "int8"},
    "int8-int4-calibrated": {"precision": "float16", "compress": "int8,{decoder}=int4"},
    "int6": {"precision": "float16", "compress": "int6"},
    "int4-calibrated": {"precision": "float16", "compress": "int4"},
    "int4": {"precision": "float16", "compress": "int4"},
}


def help_text(sizes: Mapping[Target, tuple[int, ...]]) -> str:
    """The end of an option's help text, which shows the default sizes."""
    many, one = (", ".join(map(str, sizes[target])) for target in ("iOS18", "iOS17"))
    return f"(default: {many}; iOS17: {one})"
