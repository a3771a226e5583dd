"""Mistakes in the mel spectrogram, told by computing each of them from the clip's samples."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forced_aligner.package.host_kit.golden import Golden
from forced_aligner.package.host_kit.stages import REFERENCE, STAGES, key

Array = NDArray[Any]
MAX_SHIFT = 4  # frames
INT16_SCALE = 32768.0
TOLERANCE = STAGES["mel"].tolerance


def mel_mistake(given: Array, expected: Array, golden: Golden) -> str | None:
    """Another frame, axis or formula: each known formula is computed from the clip's samples."""
    if given.ndim != 2 or expected.shape[0] not in given.shape:
        return None
    if given.shape[0] != expected.shape[0]:
        if given.T.shape == expected.shape and _same_frames(given.T, expected):
            return "it is transposed"
        also = mel_mistake(given.T, expected, golden)
        return also and f"it is transposed, and {also}"
    if _same_frames(given, expected) and given.shape[1] != expected.shape[1]:
        return f"it has {given.shape[1]} frames and not {expected.shape[1]}: the last frame of the STFT is dropped"
    for shift in range(1, MAX_SHIFT + 1):
        if _same_frames(given[:, shift:], expected):
            return f"it is shifted by {shift} frame{'s' * (shift > 1)}: frame 0 is in place {shift}"
        if _same_frames(given, expected[:, shift:]):
            return f"it is shifted by {shift} frame{'s' * (shift > 1)}: frame {shift} is in place 0"
    return next((sentence for sentence, mel in Formulas(golden).wrong() if _same_frames(given, mel)), None)


def _same_frames(given: Array, mel: Array) -> bool:
    """Whether the first frames that both have are the same; they may have some frames more or fewer."""
    count = min(given.shape[1], mel.shape[1])
    close = count > MAX_SHIFT and abs(given.shape[1] - mel.shape[1]) <= MAX_SHIFT
    scale = max(1.0, float(np.abs(mel).max()) / 4)  # a spectrogram in dB has larger numbers
    return close and float(np.abs(given[:, :count] - mel[:, :count]).max()) <= TOLERANCE * scale


class Formulas:
    """Mel spectrograms by wrong formulas."""

    def __init__(self, golden: Golden) -> None:
        self._mel = golden.config.mel
        self._bins = golden.config.sizes.mel_bins
        samples = golden.tensors[key(REFERENCE, "samples")]
        self._samples = np.pad(samples, (0, max(0, self._mel.min_samples - samples.size)))

    def wrong(self) -> Iterator[tuple[str, Array]]:
        """Each known mistake, and then each two of them, with the spectrogram that it gives."""
        mistakes: list[tuple[str, dict[str, Any]]] = [
            ("no centring: half a window of reflected samples belongs before and after", {"padding": None}),
            ("padded with zeros, and not with reflected samples", {"padding": "constant"}),
            ("HTK filters: the mel scale is Slaney's", {"htk": True}),
            ("filters without Slaney's norm", {"norm": None}),
            ("natural logarithm: it is log10", {"log": "ln"}),
            ("dB: it is log10, without the factor 10", {"log": "dB"}),
            ("no (x + 4) / 4 after the logarithm", {"scaled": False}),
            ("no floor at 8 below the maximum", {"floored": False}),
            ("the magnitude of the spectrum, and not its square", {"power": 1.0}),
            ("a symmetric window: Hann's is periodic here", {"symmetric": True}),
            ("samples of 16 bits that were not divided by 32,768", {"gain": INT16_SCALE}),
        ]
        for sentence, change in mistakes:
            yield sentence, self.mel(**change)
        for (first, change), (second, other) in combinations(mistakes, 2):
            if change.keys() != other.keys():
                yield f"{first}; and {second}", self.mel(**change, **other)

    def mel(
        self,
        *,
        padding: str | None = "reflect",
        htk: bool = False,
        norm: str | None = "slaney",
        log: str = "log10",
        scaled: bool = True,
        floored: bool = True,
        power: float | None = None,
        symmetric: bool = False,
        gain: float = 1.0,
    ) -> Array:
        """(bins, frames); by default the right one."""
        mel = self._mel
        samples = self._samples * np.float32(gain)
        if padding is not None:
            samples = np.pad(samples, mel.n_fft // 2, mode=padding)  # type: ignore[call-overload]
        window = np.hanning(mel.n_fft) if symmetric else np.hanning(mel.n_fft + 1)[:-1]
        frames = np.lib.stride_tricks.sliding_window_view(samples, mel.n_fft)[:: mel.hop_samples]
        spectrum = np.abs(np.fft.rfft(frames[: self._samples.size // mel.hop_samples] * window))
        filters = self._filters(htk=htk, norm=norm)
        energy = np.maximum(filters @ (spectrum ** (power or mel.power)).T, mel.log_floor)
        x = np.log(energy) if log == "ln" else np.log10(energy)
        if floored:
            x = np.maximum(x, x.max() - mel.dynamic_range)
        x = 10 * x if log == "dB" else x
        return (x + mel.log_offset) / mel.log_divisor if scaled else x

    def _filters(self, *, htk: bool, norm: str | None) -> Array:
        """(bins, n_fft // 2 + 1). librosa warns of HTK filters that no frequency falls into, which is no news here."""
        from librosa.filters import mel as librosa_filters

        mel = self._mel
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Empty filters")
            return librosa_filters(
                sr=mel.sample_rate_hz,
                n_fft=mel.n_fft,
                n_mels=self._bins,
                fmin=mel.min_frequency_hz,
                fmax=mel.max_frequency_hz,
                htk=htk,
                norm=norm,
            )
