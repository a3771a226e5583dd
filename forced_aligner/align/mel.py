"""Log-mel spectrogram and its chunks, as a host computes them: without the checkpoint's processor."""

from __future__ import annotations

import librosa
import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.audio import SAMPLE_RATE_HZ

N_FFT = 400  # 25 ms
HOP_SAMPLES = 160  # 10 ms a mel frame
MIN_SAMPLES = 8_000  # shorter clips are zero-padded to 0.5 s, as qwen-asr does
MAX_FREQUENCY_HZ = 8_000
LOG_FLOOR = 1e-10
DYNAMIC_RANGE = 8.0  # log10 units below the clip's maximum


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
        pad_mode="reflect",
        power=2.0,
        n_mels=mel_bins,
        fmin=0.0,
        fmax=MAX_FREQUENCY_HZ,
        htk=False,
        norm="slaney",
    )[:, : samples.size // HOP_SAMPLES]
    log_power = np.log10(np.maximum(power, LOG_FLOOR))
    floored = np.maximum(log_power, log_power.max() - DYNAMIC_RANGE)
    return ((floored + 4.0) / 4.0).astype(np.float32)


def mel_chunks(mel: NDArray[np.float32], chunk_frames: int) -> list[NDArray[np.float32]]:
    """(bins, frames) -> chunks of (1, bins, chunk_frames); the last one is zero-padded."""
    padded = np.pad(mel, ((0, 0), (0, -mel.shape[1] % chunk_frames)))
    return [padded[None, :, start : start + chunk_frames] for start in range(0, mel.shape[1], chunk_frames)]
