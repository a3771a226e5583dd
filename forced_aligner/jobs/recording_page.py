"""The page of a recording that `infer --format html` writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.audio import SAMPLE_RATE_HZ
from forced_aligner.base.console import log_always
from forced_aligner.output.alignment_picture import Spectrogram
from forced_aligner.output.page import alignment_page
from forced_aligner.output.page_audio import MAX_EMBEDDED_S, audio_link, embedded_audio
from forced_aligner.output.records import TimedFile


def recording_page(
    file: TimedFile,
    samples: NDArray[np.float32],
    spectrogram: Spectrogram,
    audio: Path,
    folder: Path,
    *,
    link: bool = False,
) -> str:
    """The page of a recording, as HTML. Its audio is inside, or linked to if it is longer than `MAX_EMBEDDED_S`.

    Args:
        file: the words.
        samples: (samples,) of 16 kHz audio.
        spectrogram: that of `samples`.
        audio: the recording's own file.
        folder: where the page will be; a link is relative to it.
        link: whether to link to the audio even if it is short.
    """
    if not link and file.duration_s <= MAX_EMBEDDED_S:
        return alignment_page(file, spectrogram, embedded_audio(samples, SAMPLE_RATE_HZ))
    address = audio_link(audio, folder)
    why = "" if link else f" lasts more than {MAX_EMBEDDED_S / 60:.0f} minutes, so it"
    log_always(f"{audio}{why} is not inside the page, which links to it: keep both where they are")
    return alignment_page(file, spectrogram, address)
