"""Training batches: utterances of one voice laid out in time, in a noisy room, with every target.

All clips of a batch have exactly the same length, so nothing but the text needs padding.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from demo.corpus import Corpus
from demo.features import log_mel
from demo.network import (
    AUDIO_END,
    AUDIO_PAD,
    AUDIO_START,
    CHUNK_EMBEDDINGS,
    PAD,
    SEGMENT_MS,
    TIMESTAMP,
    embeddings_for,
)
from demo.speech import SAMPLE_RATE_HZ

HOP_SAMPLES = 160  # 10 ms
GAP_S = (0.02, 0.5)  # silence between two utterances, before the slack is spread
PEAK_DB = (-24.0, 0.0)  # of the loudest sample, relative to full scale
NOISE_DB = (-80.0, -38.0)  # relative to full scale
CLEAN_PROBABILITY = 0.1  # of no noise
ECHO_PROBABILITY = 0.3
ECHOES, ECHO_DELAY_S, ECHO_GAIN = 4, (0.005, 0.09), (0.03, 0.3)
LOG_UNIFORM_PROBABILITY = 0.5  # that a batch's clip length is drawn log-uniformly, else uniformly
STOP_PROBABILITY = 0.04  # that the rest of a clip is silent after an utterance
NOISE_POOL_S = 120


@dataclass
class Batch:
    """One batch. `rows` index the flattened (batch * positions) hidden states; bins are times / 80 ms.

    Attributes:
        mel: (batch, 128, chunks * 100) float32.
        frames: real mel frames of every clip.
        input_ids: (batch, positions) int64, right-padded.
        timestamp_rows, timestamp_bins: (2 * words,) int64 and float32, start and end of each word in turn.
        byte_rows, byte_bins: (bytes,) the text bytes, and when each is spoken if its word's time is split evenly.
        frame_bins: (embeddings,) the bin of each audio embedding's own time.
        phonemes: (batch, embeddings) int64, the phoneme class at that time.
    """

    mel: Tensor
    frames: int
    input_ids: Tensor
    timestamp_rows: Tensor
    timestamp_bins: Tensor
    byte_rows: Tensor
    byte_bins: Tensor
    frame_bins: Tensor
    phonemes: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved)  # type: ignore[arg-type]


class BatchMaker:
    """Draws batches from a corpus; the same (seed, step) always gives the same batch."""

    def __init__(self, corpus: Corpus, seed: int) -> None:
        self.corpus, self.seed = corpus, seed
        self.durations = corpus.durations
        order = np.argsort(self.durations, kind="stable")
        self.by_voice = [order[corpus.voices[order] == voice] for voice in np.unique(corpus.voices)]
        self.noise = _noise_pool(np.random.default_rng(seed))

    def batch(self, step: int, shortest_s: float, longest_s: float, batch_s: float) -> Batch:
        """A batch of `batch_s` seconds of audio, in clips of one length from `shortest_s` to `longest_s`.

        Half of the lengths are drawn log-uniformly, the other half uniformly, so that there are long ones too.
        """
        rng = np.random.default_rng((self.seed, step))
        length_s = rng.uniform(shortest_s, longest_s)
        if rng.random() < LOG_UNIFORM_PROBABILITY:
            length_s = np.exp(rng.uniform(np.log(shortest_s), np.log(longest_s)))
        length = int(length_s * SAMPLE_RATE_HZ)
        count = max(2, round(batch_s * SAMPLE_RATE_HZ / length))
        clips = [self._clip(rng, length) for _ in range(count)]
        audio = torch.from_numpy(np.stack([clip[0] for clip in clips]))
        frames = length // HOP_SAMPLES
        return _with_targets(log_mel(audio), frames, self.corpus, [clip[1] for clip in clips])

    def _clip(self, rng: np.random.Generator, length: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
        """One clip as (samples, [(utterance, its first sample)])."""
        chosen, gaps, slack = self._choose(rng, length)
        shares = rng.exponential(size=len(chosen) + 1) * (rng.random(len(chosen) + 1) < 0.7)
        shares = slack * shares / shares.sum() if shares.sum() > 0 else np.full(len(chosen) + 1, 0.0)
        speech = np.zeros(length, np.float32)
        placed, cursor = [], 0
        for utterance, gap, share in zip(chosen, gaps, shares, strict=False):
            cursor += int(share) + gap
            samples = self.corpus.audio[slice(*self.corpus.sample_offsets[utterance : utterance + 2])]
            speech[cursor : cursor + len(samples)] = samples
            placed.append((utterance, cursor))
            cursor += len(samples)
        return self._in_a_room(rng, speech / 32768.0), placed

    def _choose(self, rng: np.random.Generator, length: int) -> tuple[list[int], list[int], int]:
        """Utterances of one voice that fit in `length` samples, the gap before each, and the samples that remain."""
        while True:
            ids = self.by_voice[int(rng.integers(len(self.by_voice)))]
            chosen: list[int] = []
            gaps: list[int] = []
            lengths, remaining = self.durations[ids], length
            while True:
                gap = int(rng.uniform(*GAP_S) * SAMPLE_RATE_HZ) if chosen else 0
                fitting = int(np.searchsorted(lengths, remaining - gap, side="right"))
                if fitting == 0 or (chosen and rng.random() < STOP_PROBABILITY):
                    break
                pick = int(rng.integers(fitting))
                chosen.append(int(ids[pick]))
                gaps.append(gap)
                remaining -= gap + int(lengths[pick])
            if chosen:
                return chosen, gaps, remaining

    def _in_a_room(self, rng: np.random.Generator, speech: np.ndarray) -> np.ndarray:
        """(samples,) speech with a random level, sometimes echoes, and white or pink noise."""
        if rng.random() < ECHO_PROBABILITY:
            dry = speech.copy()
            for _ in range(ECHOES):
                delay = int(rng.uniform(*ECHO_DELAY_S) * SAMPLE_RATE_HZ)
                speech[delay:] += rng.uniform(*ECHO_GAIN) * dry[:-delay]
        speech *= 10 ** (rng.uniform(*PEAK_DB) / 20) / max(1e-3, float(np.abs(speech).max()))
        if rng.random() >= CLEAN_PROBABILITY:
            noise = self.noise[int(rng.integers(len(self.noise)))]
            begin = int(rng.integers(len(noise) - len(speech)))
            speech += noise[begin : begin + len(speech)] * np.float32(10 ** (rng.uniform(*NOISE_DB) / 20))
        return speech.astype(np.float32)


def _noise_pool(rng: np.random.Generator) -> np.ndarray:
    """(2, samples) float32: white and pink noise of RMS 1."""
    white = rng.standard_normal(NOISE_POOL_S * SAMPLE_RATE_HZ)
    spectrum = np.fft.rfft(rng.standard_normal(len(white)))
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))), len(white))
    return np.stack([white, pink / pink.std()]).astype(np.float32)


def _with_targets(mel: Tensor, frames: int, corpus: Corpus, clips: list[list[tuple[int, int]]]) -> Batch:
    """Tokens and targets of clips given as [(utterance, its first sample)]."""
    audio_tokens = embeddings_for(frames)
    frame_s = _embedding_times_s(audio_tokens)
    head = [AUDIO_START] + [AUDIO_PAD] * audio_tokens + [AUDIO_END]
    texts, stamps, letters, phonemes = [], [], [], []
    for placed in clips:
        tokens, clip_stamps, clip_letters = list(head), [], []
        kinds = np.zeros(audio_tokens, np.int64)
        for utterance, first_sample in placed:
            offset_s = first_sample / SAMPLE_RATE_HZ
            for word in range(*corpus.word_offsets[utterance : utterance + 2]):
                start, end = offset_s + corpus.starts_s[word], offset_s + corpus.ends_s[word]
                spelled = str(corpus.words[word]).encode()
                times = start + (np.arange(len(spelled)) + 0.5) / len(spelled) * (end - start)
                clip_letters += [(len(tokens) + i, time) for i, time in enumerate(times)]
                clip_stamps += [(len(tokens) + len(spelled), start), (len(tokens) + len(spelled) + 1, end)]
                tokens += [*spelled, TIMESTAMP, TIMESTAMP]
            span = slice(*corpus.phoneme_offsets[utterance : utterance + 2])
            last = int(corpus.durations[utterance]) / SAMPLE_RATE_HZ
            index = np.searchsorted(corpus.phoneme_starts_s[span], frame_s - offset_s, side="right") - 1
            inside = (index >= 0) & (frame_s - offset_s < last)
            kinds[inside] = corpus.phonemes[span][index[inside]]
        texts.append(tokens)
        stamps.append(clip_stamps)
        letters.append(clip_letters)
        phonemes.append(kinds)
    width = max(map(len, texts))
    ids = np.array([tokens + [PAD] * (width - len(tokens)) for tokens in texts])
    return Batch(
        mel,
        frames,
        torch.from_numpy(ids),
        *_flat(stamps, width),
        *_flat(letters, width),
        torch.from_numpy(frame_s * 1000 / SEGMENT_MS).float(),
        torch.from_numpy(np.stack(phonemes)),
    )


def _embedding_times_s(count: int) -> np.ndarray:
    """(count,) the middle of the time span of each audio embedding: every 80 ms, starting again in each second."""
    index = np.arange(count)
    return index // CHUNK_EMBEDDINGS + index % CHUNK_EMBEDDINGS * SEGMENT_MS / 1000


def _flat(marks: list[list[tuple[int, float]]], width: int) -> tuple[Tensor, Tensor]:
    """[(position, time in seconds)] of each clip as rows of the flattened batch, and bins."""
    rows = [clip * width + position for clip, clip_marks in enumerate(marks) for position, _ in clip_marks]
    bins = [time * 1000 / SEGMENT_MS for clip_marks in marks for _, time in clip_marks]
    return torch.tensor(rows), torch.tensor(bins, dtype=torch.float32)
