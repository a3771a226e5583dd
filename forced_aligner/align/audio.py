"""Audio files: decoded, mixed to mono, resampled to 16 kHz."""

from __future__ import annotations

import os
from pathlib import Path

import librosa
import numpy as np
import soundfile
from numpy.typing import NDArray

from forced_aligner.base.errors import UserError
from forced_aligner.base.reading import require_audio_file

SAMPLE_RATE_HZ = 16_000
MAX_SAMPLE = 1e10  # full scale is 1, or 2^31 in a float file of integers; 1e16 and above overflow the power spectrum


def load_audio(path: Path) -> NDArray[np.float32]:
    """Decode `path` (wav, flac, ogg, mp3; any rate, any channels) to (samples,) at 16 kHz, mono.

    Raises:
        UserError: there is no such file, it is not audio, it has no samples, or a sample is not finite or beyond
            `MAX_SAMPLE`.
    """
    require_audio_file(path)
    try:
        samples, rate_hz = soundfile.read(os.fsencode(path), dtype="float32", always_2d=True)  # (samples, channels)
    except (soundfile.SoundFileError, OSError) as error:
        reason = str(error).removeprefix(f"Error opening {os.fsencode(path)!r}: ")
        raise UserError(f"cannot decode {path} ({reason}); expected wav, flac, ogg or mp3") from None
    except MemoryError:  # a damaged header may claim a huge length
        raise UserError(f"{path} does not fit into memory, or its header is damaged; export it again") from None
    if samples.size == 0:
        raise UserError(f"{path} holds no samples; expected a recording")
    if not (np.abs(samples) <= MAX_SAMPLE).all():
        raise UserError(f"{path} holds samples that are NaN or infinite, or beyond {MAX_SAMPLE:.0e}; export it again")
    mono = librosa.to_mono(samples.T)
    return librosa.resample(mono, orig_sr=rate_hz, target_sr=SAMPLE_RATE_HZ, res_type="soxr_hq")


def check_duration(samples: NDArray[np.float32], end_s: float) -> None:
    """Refuse (samples,) of 16 kHz audio that is longer than `end_s`, the last time that the head can express (400 s).

    Raises:
        UserError: it is longer.
    """
    duration_s = samples.size / SAMPLE_RATE_HZ
    if duration_s > end_s:
        raise UserError(f"the audio lasts {duration_s:.1f} s, but the model's times end at {end_s:.0f} s: cut it there")
