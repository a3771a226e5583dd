"""What `sweep` is asked for. It loads fast, so that an option that cannot be used is told at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from forced_aligner.base.errors import UserError
from forced_aligner.convert.options import Options
from forced_aligner.package.contract import DECODER_OF, DEFAULTS_OF, LayoutName
from forced_aligner.runtime.options import RuntimeOptions

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
CALIBRATED = "-calibrated"  # ends the name of a preset whose weights are fitted to clips


@dataclass(frozen=True)
class SweepOptions:
    """What `sweep` was asked for; `calibrate` is the number of clips for the calibrated presets."""

    presets: Sequence[str]
    decoder_lengths: tuple[int, ...]
    audio_frames: tuple[int, ...]
    runtime: RuntimeOptions
    layout: LayoutName = "five"
    calibrate: int = 64
    calibration_dataset: str = "auto"

    def conversion(self, preset: str) -> Options:
        """The options of a preset's conversion. A folder of the same conversion stays, another one is replaced."""
        given = dict(PRESETS[preset])
        given["compress"] = given.get("compress", "none").format(decoder=DECODER_OF[self.layout])
        if preset.endswith(CALIBRATED):
            given |= {"calibrate": self.calibrate, "calibration_dataset": self.calibration_dataset}
        sizes = (self.decoder_lengths, self.audio_frames)
        return Options(DEFAULTS_OF[self.layout], *sizes, force=True, keep_same=True, layout=self.layout, **given)

    def validate(self) -> None:
        """Refuse a preset that is not in `PRESETS`.

        Raises:
            UserError: one is not.
        """
        for preset in self.presets:
            if preset not in PRESETS:
                raise UserError(f"no preset {preset!r}; expected some of {', '.join(PRESETS)}")
