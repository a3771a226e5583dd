"""Sounds without speech, as between two parts of a recording: music, a tone, noise and silence. All are seeded."""

from collections.abc import Callable

import numpy as np

from demo.speech import SAMPLE_RATE_HZ

PEAK_DB = (-20.0, -6.0)  # of the loudest sample, relative to full scale
SILENCE_DB = (-90.0, -70.0)  # what is left in a silence: white noise, relative to full scale
FADE_S = 0.05
BEATS_PER_MINUTE = (80, 140)
# Degrees of a major scale, in semitones: tonic, fifth, sixth and fourth, as in much popular music.
CHORDS = ((0, 4, 7), (7, 11, 14), (9, 12, 16), (5, 9, 12))
LOWEST_NOTE_HZ, NOTES = 110.0, 12
HARMONICS = 6
BEATS_PER_CHORD = 4


def music(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Chords of plucked strings over a bass and drums: (samples,)."""
    beat = round(60 / rng.integers(*BEATS_PER_MINUTE) * SAMPLE_RATE_HZ)
    tonic_hz = LOWEST_NOTE_HZ * 2 ** (rng.integers(NOTES) / 12)
    audio = np.zeros(samples)
    for number, start in enumerate(range(0, samples, beat)):
        chord = CHORDS[number // BEATS_PER_CHORD % len(CHORDS)]
        notes_hz = [tonic_hz * 2 ** (semitones / 12) for semitones in (chord[0] - 12, *chord)]
        strike = sum(_pluck(hz, beat) for hz in notes_hz) + 2 * _drum(beat, rng, is_low=number % 2 == 0)
        audio[start : start + beat] += strike[: samples - start]
    return audio


def tone(samples: int, rng: np.random.Generator) -> np.ndarray:
    """One steady tone: (samples,)."""
    return np.asarray(np.sin(2 * np.pi * rng.uniform(200, 1000) * np.arange(samples) / SAMPLE_RATE_HZ))


def noise(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise between white and brown, as of wind or traffic, whose level swells slowly: (samples,)."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    hz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE_HZ)
    shaped = np.fft.irfft(spectrum / np.maximum(hz, 50.0) ** rng.uniform(0, 1), samples)
    swell = 1 + 0.5 * np.sin(2 * np.pi * np.arange(samples) / SAMPLE_RATE_HZ / rng.uniform(3, 10))
    return np.asarray(shaped * swell)


def _pluck(hz: float, samples: int) -> np.ndarray:
    """A plucked string: harmonics that decay, the high ones faster."""
    time_s = np.arange(samples) / SAMPLE_RATE_HZ
    harmonics = np.arange(1, HARMONICS + 1)[:, None]
    waves = np.sin(2 * np.pi * hz * harmonics * time_s) * np.exp(-2 * harmonics * time_s) / harmonics
    return np.asarray(waves.sum(axis=0))


def _drum(samples: int, rng: np.random.Generator, *, is_low: bool) -> np.ndarray:
    """A bass drum, or a snare."""
    time_s = np.arange(samples) / SAMPLE_RATE_HZ
    if is_low:
        return np.asarray(np.sin(2 * np.pi * 60 * time_s) * np.exp(-20 * time_s))
    return np.asarray(rng.standard_normal(samples) * np.exp(-30 * time_s))


SOUNDS: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {"music": music, "tone": tone, "noise": noise}
SILENCE = "silence"


def sound(kind: str, duration_s: float, rng: np.random.Generator) -> np.ndarray:
    """A sound of a random level, faded in and out, over the noise of a silence.

    Args:
        kind: a key of `SOUNDS`, or `SILENCE`.
        duration_s: how long it lasts.
        rng: draws everything else.

    Returns:
        (samples,) float32 at 16 kHz.
    """
    samples = int(duration_s * SAMPLE_RATE_HZ)
    audio = rng.standard_normal(samples) * 10 ** (rng.uniform(*SILENCE_DB) / 20)
    if kind != SILENCE:
        made = SOUNDS[kind](samples, rng)
        ramp = np.minimum(1, np.minimum(np.arange(samples), np.arange(samples)[::-1]) / (FADE_S * SAMPLE_RATE_HZ))
        audio += made * ramp * 10 ** (rng.uniform(*PEAK_DB) / 20) / np.abs(made).max()
    return audio.astype(np.float32)
