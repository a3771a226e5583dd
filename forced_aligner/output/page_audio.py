"""The audio of a page: MP3 inside it, or a link to a file beside it."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from urllib.parse import quote

import numpy as np
import soundfile
from numpy.typing import NDArray

MAX_EMBEDDED_S = 3600.0  # 24 MB of base64; Firefox takes data URIs up to 32 MB
# 40 kbit/s at 16 kHz. The rate is constant, since browsers seek in MP3 of a variable rate by a table of 100 entries,
# which misses by seconds in an hour. Below 40 kbit/s, LAME leaves out the header that tells players how many samples
# its encoder put before the first one (1,105, or 69 ms), and every word would be heard late.
_MP3 = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT", "compression_level": 0.8}


def embedded_audio(samples: NDArray[np.float32], rate_hz: int) -> str:
    """(samples,) of mono audio as a data URI of MP3, which every browser plays.

    Args:
        samples: full scale is 1; louder samples are clipped.
        rate_hz: their rate, one that MP3 has, such as 16,000.
    """
    content = io.BytesIO()
    with soundfile.SoundFile(content, "w", rate_hz, 1, **_MP3) as file:
        for start in range(0, samples.size, rate_hz * 60):  # hours of it are never copied at once
            file.write(np.clip(samples[start : start + rate_hz * 60], -1, 1))
    return "data:audio/mpeg;base64," + base64.b64encode(content.getvalue()).decode()


def audio_link(audio: Path, folder: Path) -> str:
    """The relative, percent-encoded address of `audio` for a page in `folder`. No file is looked at.

    Neither path is resolved, because a browser takes `..` out of an address by its letters.
    """
    relative = os.path.relpath(os.path.abspath(audio), os.path.abspath(folder))  # noqa: PTH100
    return quote(os.fsencode(relative).replace(os.fsencode(os.sep), b"/"), safe="/")
