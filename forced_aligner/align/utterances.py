"""The second pass: each utterance by itself, between two pauses, with just its words.

The first pass asks for many words in long pieces, and a word after a pause may begin with the pause there. An utterance
by itself has little silence around it, and no words of others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.audio import SAMPLE_RATE_HZ
from forced_aligner.align.confidence import bins_of, word_confidences
from forced_aligner.align.findings import HOLE
from forced_aligner.align.listening import Listener
from forced_aligner.align.silences import seconds_before
from forced_aligner.align.walk import Walk

PAUSE_S = 0.3  # between two utterances
SHORTEST_S, JOINED_S = 1.5, 1.0  # an utterance that is shorter is joined to the next, unless the pause is longer
LONGEST_S = 12.0
CLICK_S = 0.06  # a sound by itself that is shorter has no words
CONTEXT_S = 0.2  # of silence kept on each side
NO_WORDS = np.zeros(0, np.int64)


@dataclass
class Utterance:
    """Audio from sample `start` to `end`, and the indices of the words in it.

    Attributes:
        start, end: with a little silence on each side.
        is_cut: whether it begins within a sound.
        words: indices of its words.
        milliseconds: (words, 2) their times.
        confidences: (words,).
        sound_s: the (start, end) in seconds of the sound in it.
    """

    start: int
    end: int
    sound_s: NDArray[np.float64]
    is_cut: bool = False
    words: NDArray[np.int64] = field(default_factory=lambda: NO_WORDS)
    milliseconds: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))
    confidences: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def align(self, listener: Listener, words: NDArray[np.int64]) -> None:
        """Give it `words`, by index, and their times."""
        self.words = words
        if not words.size:
            self.milliseconds, self.confidences = np.zeros((0, 2)), np.zeros(0)
            return
        aligner = listener.aligner
        texts = [listener.words[index] for index in words]
        scores = aligner.score_words(listener.encoded(self.start, self.end), texts, listener.clock)
        times = aligner.word_times(scores, texts)
        self.confidences = np.array(word_confidences(scores, bins_of(times, listener.segment_ms)))
        listener.clock.lap("head")
        found = np.array([(word.start_time_ms, word.end_time_ms) for word in times])
        offset_ms, end_ms = 1000 * self.start / SAMPLE_RATE_HZ, 1000 * self.end / SAMPLE_RATE_HZ
        self.milliseconds = np.minimum(found + offset_ms, end_ms)

    def parts(self, every_s: float = np.inf) -> list[Utterance]:
        """Itself, and the same from each of its other sounds on, and within a sound from every so many seconds on."""
        found = [self]
        for number, (start_s, end_s) in enumerate(self.sound_s.tolist()):
            if number:
                middle_s = (self.sound_s[number - 1, 1] + start_s) / 2
                found.append(self._from(max(middle_s, start_s - CONTEXT_S), number, start_s))
            inside_s = start_s + every_s
            while inside_s < end_s - every_s / 2:
                found.append(self._from(inside_s, number, inside_s))
                inside_s += every_s
        return found

    def _from(self, start_s: float, number: int, sound_start_s: float) -> Utterance:
        sound_s = self.sound_s[number:].copy()
        sound_s[0, 0] = sound_start_s
        return Utterance(round(start_s * SAMPLE_RATE_HZ), self.end, sound_s, is_cut=start_s == sound_start_s)

    def sound_before(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """How many seconds of its sound lie before some times."""
        return seconds_before(self.sound_s, times_s)

    def most_uncovered_s(self) -> float:
        """The most sound between two of its words, before the first or after the last."""
        edges_s = np.array([-np.inf, *(self.milliseconds.reshape(-1) / 1000).tolist(), np.inf])
        return float(np.diff(self.sound_before(edges_s).reshape(-1, 2), axis=1).max())


def find_utterances(listener: Listener, longest_s: float) -> list[Utterance]:
    """All that sounds in a recording, in utterances between pauses; all of it is one if nothing stands out."""
    longest_s = min(longest_s, LONGEST_S)
    silences, samples = listener.silences, listener.samples.size
    edges = np.concatenate([[[0, 0]], silences, [[samples, samples]]])
    sounds = np.stack([edges[:-1, 1], edges[1:, 0]], 1)  # between two silences
    is_click = sounds[:, 1] - sounds[:, 0] < CLICK_S * SAMPLE_RATE_HZ
    groups: list[list[int]] = []
    for number in np.flatnonzero(~is_click).tolist():
        start, end = sounds[number]
        if groups:
            first, last = groups[-1]
            pause = start - sounds[last, 1]
            is_short = sounds[last, 1] - sounds[first, 0] < SHORTEST_S * SAMPLE_RATE_HZ
            limit = JOINED_S if is_short else PAUSE_S
            if pause < limit * SAMPLE_RATE_HZ and end - sounds[first, 0] <= longest_s * SAMPLE_RATE_HZ:
                groups[-1][1] = number
                continue
        groups.append([number, number])
    context = CONTEXT_S * SAMPLE_RATE_HZ
    middles = edges.mean(1)
    found = [
        Utterance(
            int(max(middles[first], sounds[first, 0] - context)),
            int(min(middles[last + 1], sounds[last, 1] + context)),
            sounds[first : last + 1] / SAMPLE_RATE_HZ,
        )
        for first, last in groups
    ]
    return found or [Utterance(0, samples, np.array([[0.0, samples / SAMPLE_RATE_HZ]]))]


def spoken_words(walk: Walk) -> NDArray[np.int64]:
    """The words that were found and those few between them, by index; `walk.bins` gets a share of the time there."""
    spoken = walk.found.copy()
    for before, after in walk.found_pairs():
        count = after - before - 1
        if 0 < count < HOLE:
            start = walk.bins[before, 1] if before >= 0 else max(0, walk.bins[after, 0] - 8)
            end = walk.bins[after, 0] if after < walk.count else min(walk.listener.length, start + 8)
            shares = np.linspace(start, max(start, end), count + 1)
            walk.bins[before + 1 : after] = np.stack([shares[:-1], shares[1:]], 1)
            spoken[before + 1 : after] = True
    return np.flatnonzero(spoken)


def place_words(walk: Walk, utterances: list[Utterance], words: NDArray[np.int64], longest_s: float) -> None:
    """Align the words of a walk in the utterances in which they end, since a start may be early.

    In an utterance of more than `longest_s`, or whose words do not fit in a decoder, they keep their times.
    """
    listener = walk.listener
    ends = np.maximum.accumulate(walk.bins[words, 1]) * listener.bin_samples - listener.bin_samples / 2
    borders = [(left.end + right.start) / 2 for left, right in pairwise(utterances)]
    numbers = np.searchsorted(borders, ends)
    for number in np.unique(numbers).tolist():
        utterance, here = utterances[number], words[numbers == number]
        is_short = utterance.end - utterance.start <= longest_s * SAMPLE_RATE_HZ
        if is_short and listener.fitting(utterance.start, utterance.end, here) == here.size:
            utterance.align(listener, here)
        else:
            utterance.words, utterance.confidences = here, walk.confidences[here]
            end_ms = 1000 * listener.samples.size / SAMPLE_RATE_HZ
            utterance.milliseconds = np.clip(walk.bins[here] * listener.segment_ms, 0.0, end_ms)
