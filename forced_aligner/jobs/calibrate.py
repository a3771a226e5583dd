"""Run clips through the packages of a conversion, and see what FP16 cannot hold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.audio import load_clip
from forced_aligner.align.chain import Aligner
from forced_aligner.align.mel import MIN_SAMPLES
from forced_aligner.align.prompt import split_words
from forced_aligner.base.console import log
from forced_aligner.base.errors import UserError
from forced_aligner.convert.calibration import Watch, summarize
from forced_aligner.data.records import Clip
from forced_aligner.package.bundle import Bundle
from forced_aligner.package.metadata import Calibration
from forced_aligner.runtime.mil.backend import MilBackend
from individual_components import COMPONENTS


def measure_magnitudes(bundle: Bundle, clips: list[Clip]) -> dict[str, Calibration]:
    """Run `clips` through every function of the packages of `bundle`; findings of the FP16 components, by key.

    A clip that is too long for a function is cut for it.

    Raises:
        UserError: a component is missing, or a clip that cannot be used.
    """
    watches = {key: Watch() for key, record in bundle.metadata.components.items() if record.precision == "float16"}
    backend = MilBackend(bundle, watches)
    for key, record in bundle.metadata.components.items():
        if COMPONENTS[key].varies is None:
            continue
        for name, size in record.functions.items():
            only = record.model_copy(update={"functions": {name: size}})
            components = {**bundle.metadata.components, key: only}
            restricted = Bundle(bundle.folder, bundle.metadata.model_copy(update={"components": components}))
            aligner = Aligner(restricted, backend)
            log(f"calibration: {key}: {name}, {len(clips)} clips")
            for clip in clips:
                aligner.align_words(*_cut(aligner, clip))
    return {key: summarize(bundle, key, watch) for key, watch in watches.items()}


def _cut(aligner: Aligner, clip: Clip) -> tuple[NDArray[np.float32], list[str]]:
    """(samples,) and words of a clip, both from its start and in proportion, so that they fit."""
    samples = load_clip(clip)
    words = split_words(aligner.processor, clip.transcript, clip.language)
    while not aligner.fits(samples.size, words):
        if samples.size < MIN_SAMPLES and len(words) == 1:
            raise UserError(f"{clip.audio} cannot be cut for calibration: its first word is too long; use other clips")
        samples, words = samples[: samples.size * 4 // 5], words[: max(1, len(words) * 4 // 5)]
    return samples, words
