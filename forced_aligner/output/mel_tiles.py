"""The mel spectrogram of a recording as small PNG files, which a page shows one by one."""

from __future__ import annotations

import base64
import io
import math

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from forced_aligner.output.alignment_picture import Spectrogram

TILE_S = 30.0
FINE_S = 600.0  # up to this duration, a pixel is a mel frame and a bin; above, it is the mean of 2 x 2
COLORS = 32  # an hour takes 6 MB; with 64 it takes 7, and looks the same
LEAST_TOP = 0.0  # a tone of -65 dBFS: the maximum of a recording that is quieter, so that silence is dark
SHOWN_RANGE = 1.5  # of the log-mel, below the recording's maximum: 60 dB, since log_mel divides log10 by 4


def mel_tiles(spectrogram: Spectrogram) -> list[str]:
    """PNG data URIs, one for each `TILE_S` of the recording; the last one may be narrower.

    A tile is (bins, frames) pixels, the lowest bin at the bottom. All tiles of a recording have one scale of
    brightness, from its maximum down to `SHOWN_RANGE` below it.
    """
    step = 1 if spectrogram.duration_s <= FINE_S else 2
    count = max(1, math.ceil(spectrogram.duration_s / TILE_S))
    parts = []
    for index in range(count):
        start_s, end_s = index * TILE_S, min((index + 1) * TILE_S, spectrogram.duration_s)
        mel = spectrogram.between(start_s, end_s)[:, : max(1, round((end_s - start_s) * 100))]
        parts.append(_means(mel, step).astype(np.float16))  # half the memory; 32 colors need no more
    top = max(LEAST_TOP, *(float(part.max()) for part in parts))
    return [_png_uri((part.astype(np.float32) - top) / SHOWN_RANGE + 1) for part in parts]


def _means(mel: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """(bins, frames) -> (bins / step, ceil(frames / step)), each the mean of its square."""
    if step == 1:
        return mel
    padded = np.pad(mel, ((0, 0), (0, -mel.shape[1] % step)), mode="edge")
    bins, frames = padded.shape
    return padded.reshape(bins // step, step, frames // step, step).mean(axis=(1, 3))


def _png_uri(brightness: NDArray[np.float32]) -> str:
    """A PNG data URI of (bins, frames) values; 0 and below are dark, 1 is bright."""
    levels = np.clip(np.rint(brightness * (COLORS - 1)), 0, COLORS - 1).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(levels[::-1]))
    colors = matplotlib.colormaps["magma"](np.linspace(0, 1, COLORS), bytes=True)[:, :3]
    picture.putpalette(colors.tobytes())
    content = io.BytesIO()
    picture.save(content, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
