"""The options of a conversion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from forced_aligner.base.errors import UserError
from forced_aligner.convert.defaults import DEFAULT_FRAMES, DEFAULT_LENGTHS, Target
from forced_aligner.convert.presets import parse_compress
from forced_aligner.package.contract import (
    COMPONENTS_OF,
    FLOAT16_IN_MIXED,
    LENGTH_STEP,
    MAX_AUDIO_FRAMES,
    MAX_DECODER_LENGTH,
    MAX_FUNCTIONS,
    TOKEN_TABLE,
    LayoutName,
    layout_of,
)
from forced_aligner.package.metadata import Compression, Precision

ROUNDED = ("embedding", TOKEN_TABLE)  # each of their rows is an output of its own, so rounding is the best for it
MAX_DIGITS = 9  # of a size; Python itself refuses to read thousands of digits


def parse_components(text: str) -> tuple[str, ...]:
    """The components of `--components`, each once; `Options.validate` refuses those that are unknown."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",")))


def parse_sizes(option: str, text: str | None) -> tuple[int, ...] | None:
    """Comma-separated whole numbers; None for None.

    Raises:
        UserError: `text` holds something else, or a number of many digits.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) <= MAX_DIGITS for part in parts):
        raise UserError(f"{option} takes comma-separated whole numbers such as 256,512, not {text[:80]!r}")
    return tuple(int(part) for part in parts)


@dataclass(frozen=True)
class Options:
    """The options that `convert-coreml.py` was given."""

    components: tuple[str, ...]
    decoder_lengths: tuple[int, ...] = DEFAULT_LENGTHS["iOS18"]
    audio_frames: tuple[int, ...] = DEFAULT_FRAMES["iOS18"]
    precision: Literal["mixed", "float32", "float16"] = "mixed"
    deployment_target: Target = "iOS18"
    ane: bool = True
    optimize: bool = True
    compress: str = "none"  # see presets.parse_compress
    calibrate: int = 0  # number of clips to run; 0: no calibration
    calibration_dataset: str = "auto"
    force: bool = False
    keep_same: bool = False  # with `force`: a folder of the same conversion stays
    layout: LayoutName = "five"

    @property
    def presets(self) -> dict[str, Compression]:
        """How each component is compressed."""
        return parse_compress(self.compress, self.components)

    @property
    def fits(self) -> bool:
        """Whether weights are fitted to the calibration clips; those of the embedding are rounded in any case."""
        fitted = [preset for key, preset in self.presets.items() if key not in ROUNDED]
        return self.calibrate > 0 and any(preset != "none" for preset in fitted)

    @property
    def has_float16(self) -> bool:
        """Whether a component computes in FP16."""
        keys = [key for key in self.components if key != TOKEN_TABLE]
        return any(self.component_precision(key) == "float16" for key in keys)

    def component_precision(self, key: str) -> Precision:
        """The precision of one component."""
        if self.precision != "mixed":
            return self.precision
        return "float16" if key in FLOAT16_IN_MIXED else "float32"

    def validate(self) -> None:
        """Check the options, as far as this is possible without the model.

        Raises:
            UserError: a component is unknown, a size is not valid, or two options exclude each other.
        """
        expected = COMPONENTS_OF[self.layout]
        for key in self.components:
            if key not in expected:
                raise UserError(f"no component {key[:80]!r}; expected some of {', '.join(expected)}")
        if not self.components:
            raise UserError(f"no component to convert; expected some of {', '.join(expected)}")
        self._check_sizes("--decoder-lengths", self.decoder_lengths, MAX_DECODER_LENGTH)
        self._check_sizes("--audio-frames", self.audio_frames, MAX_AUDIO_FRAMES)
        for length in self.decoder_lengths:
            if length % LENGTH_STEP:
                raise UserError(f"decoder length {length} is not a multiple of {LENGTH_STEP}")
        if any(preset != "none" for preset in self.presets.values()) and self.deployment_target == "iOS17":
            raise UserError("--compress needs the constexpr ops of iOS 18: give --deployment-target iOS18")
        self._check_calibration()

    def _check_calibration(self) -> None:
        if not self.calibrate:
            if self.calibration_dataset != "auto":
                raise UserError("--calibration-dataset says which clips --calibrate runs: give both")
            return
        if not self.fits and not self.has_float16:
            raise UserError(
                "--calibrate finds what FP16 cannot hold, and fits compressed weights, but nothing is in FP16 or "
                "compressed: give --precision float16, or --compress, with it"
            )
        if self.has_float16 and not set(layout_of(self.components).components) <= set(self.components):
            raise UserError(
                "--calibrate runs clips through the packages, so it needs all of them: leave out --components"
            )
        if self.fits and self.presets.get("audio_encoder", "none") != "none":
            raise UserError(
                "--calibrate fits weights to attention across chunks, which audio_encoder has not: give "
                "audio_encoder=none in --compress, or leave it out"
            )

    def _check_sizes(self, option: str, sizes: tuple[int, ...], largest: int) -> None:
        if min(sizes, default=0) < 1:
            raise UserError(f"{option} takes numbers above 0, not {','.join(map(str, sizes))}")
        if max(sizes) > largest:
            raise UserError(f"{option} takes at most {largest}, which holds 400 s of speech, not {max(sizes)}")
        if len(set(sizes)) > MAX_FUNCTIONS:
            raise UserError(f"{option} takes at most {MAX_FUNCTIONS} sizes, not {len(set(sizes))}")
        if self.deployment_target == "iOS17" and len(sizes) != 1:
            raise UserError(
                f"iOS17 has no multifunction packages: give one size by {option}, or --deployment-target iOS18"
            )
