"""Synthetic speech whose word and phoneme times are exact to the sample: espeak-ng, called through ctypes.

The library and its data come from the Python package `espeakng-loader`; no system package is needed. During synthesis,
espeak-ng reports events with sample positions: the start of each word and of each phoneme.
A word ends where the next silence phoneme or the next word starts.
"""

import ctypes
import re
import shutil
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import soxr  # type: ignore[import-not-found, import-untyped, unused-ignore]

SAMPLE_RATE_HZ = 16_000

# From espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_PHONEME_EVENTS = 0x0001
_EVENT_LIST_TERMINATED, _EVENT_WORD, _EVENT_PHONEME = 0, 1, 7
_POS_CHARACTER = 1
_CHARS_UTF8 = 1
_PARAMETER_RATE, _PARAMETER_PITCH, _PARAMETER_RANGE = 1, 3, 4


class _EventId(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class Voice:
    """How one utterance is spoken.

    Attributes:
        name: espeak-ng language and variant, such as `en-us+m3`.
        words_per_minute: nominal speaking rate.
        pitch: base pitch, 0 to 100 (espeak-ng's own scale).
    """

    name: str
    words_per_minute: int
    pitch: int


@dataclass(frozen=True)
class Utterance:
    """One synthesised text.

    Attributes:
        audio: (samples,) float32 at 16 kHz, in [-1, 1].
        words: the spoken words, in order.
        starts_s, ends_s: (words,) float64, the times of each word in seconds.
        phonemes: (name, start in seconds) of each phoneme; silences have a name that starts with `_`.
    """

    audio: np.ndarray
    words: list[str]
    starts_s: np.ndarray
    ends_s: np.ndarray
    phonemes: list[tuple[str, float]]


class Synthesizer:
    """espeak-ng. The library keeps state from one text to the next, so each synthesizer loads a copy of its own.

    What one speaks therefore depends on nothing that was spoken before it was made.
    """

    def __init__(self) -> None:
        try:
            import espeakng_loader  # type: ignore[import-not-found, import-untyped, unused-ignore]
        except ImportError as error:
            raise RuntimeError("espeakng-loader is missing: uv sync --group demo") from error
        with tempfile.TemporaryDirectory() as folder:  # the same file would be the same library
            self._library = ctypes.CDLL(shutil.copy(espeakng_loader.get_library_path(), folder))
        data_path = str(espeakng_loader.get_data_path()).encode()
        self._native_rate_hz = self._library.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, 0, data_path, _INITIALIZE_PHONEME_EVENTS
        )
        if self._native_rate_hz <= 0:
            raise RuntimeError(f"espeak_Initialize failed with {self._native_rate_hz} on {data_path!r}")
        self._samples: list[np.ndarray] = []
        self._events: list[tuple[int, int, int, str]] = []
        self._callback = _CALLBACK(self._collect)  # kept alive: the library holds the pointer only
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(self, wav: Any, sample_count: int, events: Any) -> int:
        """espeak-ng's callback: copy the samples and the events of one buffer."""
        if wav and sample_count > 0:
            self._samples.append(np.ctypeslib.as_array(wav, shape=(sample_count,)).copy())
        index = 0
        while events[index].type != _EVENT_LIST_TERMINATED:
            event = events[index]
            if event.type in (_EVENT_WORD, _EVENT_PHONEME):
                name = event.id.string.decode(errors="replace") if event.type == _EVENT_PHONEME else ""
                self._events.append((event.type, event.sample, event.text_position, name))
            index += 1
        return 0

    def speak(self, words: list[str], text: str, voice: Voice) -> Utterance | None:
        """Synthesise `text`, whose words are `words`, with `voice`.

        Returns None where espeak-ng spoke two words as one ("of the") or split one in two, for then the word
        times are not known.
        """
        self._synthesize(text, voice)
        return self._utterance(words, text)

    def speak_prose(self, text: str, voice: Voice) -> Utterance:
        """Synthesise any text; its words are those between white space.

        Where espeak-ng spoke several words as one ("of the"), these share its time by their letters. A word that it
        spoke as several, such as a number, has the time of all of them.
        """
        self._synthesize(text, voice)
        native, spoken, phonemes = self._sound()
        written = list(re.finditer(r"\S+", text))
        times_s: dict[int, list[float]] = {}  # of what is spoken, by the word that it begins with
        for position, time_s in spoken:
            owner = max(sum(word.start() < position for word in written) - 1, 0)
            times_s.setdefault(owner if times_s else 0, []).append(time_s)
        length_s = len(native) / self._native_rate_hz
        nexts = [*list(times_s.items())[1:], (len(written), [length_s])]
        edges_s: list[tuple[float, float]] = []
        for (first, (begin_s, *more_s)), (following, (next_s, *_)) in zip(times_s.items(), nexts, strict=True):
            end_s = _end([begin_s, *more_s][-1], next_s, phonemes)
            letters = np.cumsum([0, *(len(word[0]) for word in written[first:following])])
            edges_s += pairwise(begin_s + (end_s - begin_s) * letters / letters[-1])
        starts_s, ends_s = np.array(edges_s).T
        return Utterance(self._resampled(native), [word[0] for word in written], starts_s, ends_s, phonemes)

    def _synthesize(self, text: str, voice: Voice) -> None:
        """Fill the buffers."""
        self._samples, self._events = [], []
        if self._library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice.name!r}")
        self._library.espeak_SetParameter(_PARAMETER_RATE, voice.words_per_minute, 0)
        self._library.espeak_SetParameter(_PARAMETER_PITCH, voice.pitch, 0)
        data = text.encode()
        self._library.espeak_Synth(data, len(data) + 1, 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None)
        self._library.espeak_Synchronize()

    def _utterance(self, words: list[str], text: str) -> Utterance | None:
        """The collected buffers as an `Utterance`, or None where the words do not match the events."""
        if not self._samples:
            return None
        positions, cursor = [], 0
        for word in words:
            cursor = text.index(word, cursor)
            positions.append(cursor + 1)  # espeak-ng counts characters from 1
            cursor += len(word)
        native, spoken, phonemes = self._sound()
        if [position for position, _ in spoken] != positions:
            return None
        starts_s = np.array([time_s for _, time_s in spoken])
        nexts_s = [*starts_s[1:], len(native) / self._native_rate_hz]
        ends_s = np.array(
            [_end(start, following, phonemes) for start, following in zip(starts_s, nexts_s, strict=True)]
        )
        if np.any(ends_s <= starts_s):
            return None
        return Utterance(self._resampled(native), words, starts_s, ends_s, phonemes)

    def _sound(self) -> tuple[np.ndarray, list[tuple[int, float]], list[tuple[str, float]]]:
        """The collected samples, (character, start in seconds) of each word, and (name, start) of each phoneme."""
        times = [(*event, event[1] / self._native_rate_hz) for event in self._events]
        words = [(position, time_s) for kind, _, position, _, time_s in times if kind == _EVENT_WORD]
        phonemes = [(name, time_s) for kind, _, _, name, time_s in times if kind == _EVENT_PHONEME]
        return np.concatenate(self._samples), words, phonemes

    def _resampled(self, native: np.ndarray) -> np.ndarray:
        return soxr.resample(native.astype(np.float32) / 32768.0, self._native_rate_hz, SAMPLE_RATE_HZ)


def _end(start_s: float, next_s: float, phonemes: list[tuple[str, float]]) -> float:
    """The end of a word: the first silence before the next word, or that word."""
    return min([next_s, *(time_s for name, time_s in phonemes if name.startswith("_") and start_s < time_s < next_s)])
