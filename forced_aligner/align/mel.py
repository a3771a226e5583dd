"""Log-mel spectrogram and its chunks, as a host computes them: without the checkpoint's processor."""

from __future__ import annotations

from typing import Any, Literal

import librosa
import numpy as np
from librosa.filters import get_window
from librosa.filters import mel as librosa_filters
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
_FILTERS: Any = {"fmin": 0.0, "fmax": MAX_FREQUENCY_HZ, "htk": False, "norm": "slaney"}


def log_mel(samples: NDArray[np.float32], mel_bins: int) -> NDArray[np.float32]:
    """(samples,) at 16 kHz -> (mel_bins, samples // 160) log-mel, as Qwen3ASRFeatureExtractor computes it.

    Slaney mel scale and norm, centred STFT with reflect padding and a periodic Hann window, last frame dropped,
    log10 floored at 1e-10 and at 8 below the clip's maximum, then (x + 4) / 4.
    """
    if samples.size < MIN_SAMPLES:
        samples = np.pad(samples, (0, MIN_SAMPLES - samples.size))
    power = librosa.feature.melspectrogram(
        y=samples,
        sr=SAMPLE_RATE_HZ,
        n_fft=N_FFT,
        hop_length=HOP_SAMPLES,
        window="hann",
        center=True,
        pad_mode=PADDING,
        power=POWER,
        n_mels=mel_bins,
        **_FILTERS,
    )[:, : samples.size // HOP_SAMPLES]
    log_power = np.log10(np.maximum(power, LOG_FLOOR))
    floored = np.maximum(log_power, log_power.max() - DYNAMIC_RANGE)
    return ((floored + LOG_OFFSET) / LOG_DIVISOR).astype(np.float32)


def mel_filters(mel_bins: int) -> NDArray[np.float32]:
    """(mel_bins, N_FFT // 2 + 1) filters of `log_mel`."""
    return librosa_filters(sr=SAMPLE_RATE_HZ, n_fft=N_FFT, n_mels=mel_bins, **_FILTERS)


def stft_window() -> NDArray[np.float32]:
    """(N_FFT,) periodic Hann window of `log_mel`."""
    return get_window("hann", N_FFT, fftbins=True).astype(np.float32)


def mel_chunks(mel: NDArray[np.float32], chunk_frames: int) -> list[NDArray[np.float32]]:
    """(bins, frames) -> chunks of (1, bins, chunk_frames); the last one is zero-padded."""
    padded = np.pad(mel, ((0, 0), (0, -mel.shape[1] % chunk_frames)))
    return [padded[None, :, start : start + chunk_frames] for start in range(0, mel.shape[1], chunk_frames)]
