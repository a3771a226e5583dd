"""Log-mel spectrogram and its chunks, as a host computes them: without the checkpoint's processor."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.audio import SAMPLE_RATE_HZ

N_FFT = 400  # 25 ms
HOP_SAMPLES = 160  # 10 ms a mel frame
MIN_SAMPLES = 8_000  # shorter clips are zero-padded to 0.5 s, as qwen-asr does
MAX_FREQUENCY_HZ = 8_000
LOG_FLOOR = 1e-10
DYNAMIC_RANGE = 8.0  # log10 units below the clip's maximum
LOG_OFFSET = LOG_DIVISOR = 4.0  # the floored logarithm x becomes (x + LOG_OFFSET) / LOG_DIVISOR
POWER = 2.0  # of the spectrum's magnitude
PADDING: Literal["reflect"] = "reflect"  # of the centred STFT, half of N_FFT on each side
# Slaney's mel scale (Auditory Toolbox, 1998).
LOG_START_HZ, LOG_START_MEL = 1000.0, 15.0
LOG_STEP = np.log(6.4) / 27  # from each mel to the next, above
LOG_MELS = np.log(MAX_FREQUENCY_HZ / LOG_START_HZ) / LOG_STEP
_BLOCK_FRAMES = 1 << 12  # of the STFT at once, in float64: 13 MB


def log_mel(samples: NDArray[np.float32], mel_bins: int) -> NDArray[np.float32]:
    """(samples,) at 16 kHz -> (mel_bins, samples // 160) log-mel, as Qwen3ASRFeatureExtractor computes it.

    Slaney mel scale and norm, centred STFT with reflect padding and a periodic Hann window, last frame dropped,
    log10 floored at 1e-10 and at 8 below the clip's maximum, then (x + 4) / 4.
    """
    if samples.size < MIN_SAMPLES:
        samples = np.pad(samples, (0, MIN_SAMPLES - samples.size))
    power = _magnitude(samples) ** POWER  # (frequencies, frames)
    with _blas_controller().limit(limits=1):
        mel = np.einsum("ft,mf->mt", power, mel_filters(mel_bins), optimize=True)[:, : samples.size // HOP_SAMPLES]
    log_power = np.log10(np.maximum(mel, LOG_FLOOR))
    floored = np.maximum(log_power, log_power.max() - DYNAMIC_RANGE)
    return ((floored + LOG_OFFSET) / LOG_DIVISOR).astype(np.float32)


def _magnitude(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """(samples,) -> (N_FFT // 2 + 1, samples // 160 + 1): the magnitude of the STFT, computed in float64."""
    padded = np.pad(samples, N_FFT // 2, mode=PADDING)
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP_SAMPLES].T
    window = _hann()[:, None]
    magnitude = np.empty((N_FFT // 2 + 1, frames.shape[1]), np.float32, order="F")
    for start in range(0, frames.shape[1], _BLOCK_FRAMES):
        block = slice(start, start + _BLOCK_FRAMES)
        spectrum = np.fft.rfft(window * frames[:, block], axis=0)
        magnitude[:, block] = np.abs(spectrum.astype(np.complex64))
    return magnitude


@cache
def _blas_controller() -> Any:
    """Sets how many threads numpy multiplies with.

    With two, the product of a clip of 10 s was not faster than with one. But the second thread then waits for more work
    without sleeping, for longer than the rest of the clip takes, on a core that PyTorch needs.
    """
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(internal_api="openblas")


@cache
def mel_filters(mel_bins: int) -> NDArray[np.float32]:
    """(mel_bins, N_FFT // 2 + 1) triangular filters of `log_mel`, each with an area of 1."""
    edges_hz = _mel_to_hz(np.linspace(0, LOG_START_MEL + LOG_MELS, mel_bins + 2))
    from_edge_hz = np.linspace(0, SAMPLE_RATE_HZ / 2, N_FFT // 2 + 1) - edges_hz[:, None]  # (mel_bins + 2, 201)
    widths_hz = np.diff(edges_hz)[:, None]
    rising, falling = from_edge_hz[:-2] / widths_hz[:-1], -from_edge_hz[2:] / widths_hz[1:]
    filters: NDArray[np.float32] = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    filters *= (2 / (edges_hz[2:] - edges_hz[:-2]))[:, None]
    filters.flags.writeable = False
    return filters


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slaney's scale: linear up to 1 kHz, then logarithmic."""
    linear = mel * (LOG_START_HZ / LOG_START_MEL)
    return np.where(mel < LOG_START_MEL, linear, LOG_START_HZ * np.exp(LOG_STEP * (mel - LOG_START_MEL)))


def place_of(frequency_hz: float, mel_bins: int) -> float:
    """Where a frequency lies in a picture of the bins of `log_mel`: 0 is the lower edge of the first, 1 the upper edge
    of the last. The middle of a bin is the frequency at which its filter is highest."""
    mel = frequency_hz * (LOG_START_MEL / LOG_START_HZ)
    if frequency_hz > LOG_START_HZ:
        mel = LOG_START_MEL + np.log(frequency_hz / LOG_START_HZ) / LOG_STEP
    edge = mel / (LOG_START_MEL + LOG_MELS) * (mel_bins + 1)  # edges 0, 1, 2 are those of the first filter
    return float((edge - 0.5) / mel_bins)


def stft_window() -> NDArray[np.float32]:
    """(N_FFT,) periodic Hann window of `log_mel`."""
    return _hann().astype(np.float32)


def _hann() -> NDArray[np.float64]:
    return 0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, N_FFT + 1)[:-1])


def mel_chunks(mel: NDArray[np.float32], chunk_frames: int) -> list[NDArray[np.float32]]:
    """(bins, frames) -> chunks of (1, bins, chunk_frames); the last one is zero-padded."""
    padded = np.pad(mel, ((0, 0), (0, -mel.shape[1] % chunk_frames)))
    return [padded[None, :, start : start + chunk_frames] for start in range(0, mel.shape[1], chunk_frames)]
