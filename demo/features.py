"""Log-mel features of a batch of clips of one length, as `Qwen3ASRFeatureExtractor` computes them one by one."""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Qwen3ASRFeatureExtractor

from demo.network import CHUNK_FRAMES

N_FFT = 400  # 25 ms
HOP_SAMPLES = 160  # 10 ms
DYNAMIC_RANGE = 8.0  # in decades, below the loudest bin


@cache
def _mel_filters(device: torch.device) -> Tensor:
    """(128, 201) Slaney mel filters."""
    return torch.from_numpy(Qwen3ASRFeatureExtractor().mel_filters).float().T.contiguous().to(device)


def log_mel(audio: Tensor) -> Tensor:
    """Log-mel of (batch, samples) float32 at 16 kHz: (batch, 128, chunks * 100), zero after the last frame."""
    window = torch.hann_window(N_FFT, device=audio.device)
    spectrum = torch.stft(audio, N_FFT, HOP_SAMPLES, window=window, return_complex=True)[..., :-1]
    mel = _mel_filters(audio.device) @ (spectrum.real.square() + spectrum.imag.square())
    log = mel.clamp(min=1e-10).log10()
    log = torch.maximum(log, log.amax(dim=(1, 2), keepdim=True) - DYNAMIC_RANGE)
    return F.pad((log + 4.0) / 4.0, (0, -log.shape[-1] % CHUNK_FRAMES))
