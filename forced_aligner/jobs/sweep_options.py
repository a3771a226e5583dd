"""What `sweep` is asked for. It loads fast, so that an option that cannot be used is told at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forced_aligner.base.errors import UserError
from forced_aligner.convert.defaults import PRESETS
from forced_aligner.convert.options import Options
from forced_aligner.package.contract import DECODER_OF, DEFAULTS_OF, LayoutName
from forced_aligner.runtime.options import RuntimeOptions

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
