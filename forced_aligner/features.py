"""Audio file -> 16 kHz mono -> log-mel -> chunks: the host's side, independent of the checkpoint's processor."""

from __future__ import annotations

import os
from pathlib import Path

import librosa
import numpy as np
import soundfile
from numpy.typing import NDArray

from forced_aligner.errors import UserError
from forced_aligner.files import require_audio_file

SAMPLE_RATE_HZ = 16_000
N_FFT = 400  # 25 ms
HOP_SAMPLES = 160  # 10 ms a mel frame
MIN_SAMPLES = 8_000  # shorter clips are zero-padded to 0.5 s, as qwen-asr does
MAX_FREQUENCY_HZ = 8_000
LOG_FLOOR = 1e-10
MAX_SAMPLE = 1e10  # full scale is 1, or 2^31 in a float file of integers; 1e16 and above overflow the power spectrum
DYNAMIC_RANGE = 8.0  # log10 units below the clip's maximum


def load_audio(path: Path) -> NDArray[np.float32]:
    """Decode `path` (wav, flac, ogg, mp3; any rate, any channels) to (samples,) at 16 kHz, mono.

    Raises:
        UserError: no such file, not audio, no samples, or samples that are not finite or beyond `MAX_SAMPLE`.
    """
    require_audio_file(path)
    try:
        samples, rate_hz = soundfile.read(os.fsencode(path), dtype="float32", always_2d=True)  # (samples, channels)
    except (soundfile.SoundFileError, OSError) as error:
        reason = str(error).removeprefix(f"Error opening {os.fsencode(path)!r}: ")
        raise UserError(f"cannot decode {path} ({reason}); expected wav, flac, ogg or mp3") from None
    except MemoryError:  # what a damaged header says of the length
        raise UserError(f"{path} does not fit into memory, or its header is damaged; export it again") from None
    if samples.size == 0:
        raise UserError(f"{path} holds no samples; expected a recording")
    if not (np.abs(samples) <= MAX_SAMPLE).all():
        raise UserError(f"{path} holds samples that are NaN or infinite, or beyond {MAX_SAMPLE:.0e}; export it again")
    mono = librosa.to_mono(samples.T)
    return librosa.resample(mono, orig_sr=rate_hz, target_sr=SAMPLE_RATE_HZ, res_type="soxr_hq")


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


def chunks(mel: NDArray[np.float32], chunk_frames: int) -> list[NDArray[np.float32]]:
    """(bins, frames) -> chunks of (1, bins, chunk_frames); the last is zero-padded."""
    padded = np.pad(mel, ((0, 0), (0, -mel.shape[1] % chunk_frames)))
    return [padded[None, :, start : start + chunk_frames] for start in range(0, mel.shape[1], chunk_frames)]
