"""Which words belong to which utterance, where that is in doubt: the choice that explains the audio best.

Where a transcript is wrong, the words beside the fault may be heard in a neighbouring utterance, and words that nobody
speaks in the audio of spoken ones. So around each doubtful utterance all choices are weighed against each other: where
in the audio words begin, from which word on, how many of them are spoken there, and which words and which sound are
left out. In this model a word does not depend on those after it, so one call weighs all the numbers of words.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.audio import SAMPLE_RATE_HZ
from forced_aligner.align.findings import HOLE, LIKELY
from forced_aligner.align.listening import Listener
from forced_aligner.align.utterances import NO_WORDS, Utterance
from forced_aligner.align.worth import gap_cost, weigh, word_worths

DOUBTFUL = 0.5  # worth of a word below which its utterance is in doubt
UNCOVERED_S = 1.0  # of sound in a row without a word, from which on an utterance is in doubt
FAR = 3  # utterances without words that are further than this from words stay without
NEAR = 4  # words around the present first word of an utterance and its neighbours from which on it is asked
FEW = 30  # if there are no more words, each is tried
FASTEST_PER_S, FASTER = 3.5, 1.5  # most words of an utterance: a second, or relative to the recording's own rate
MORE = 3  # words asked for in addition
LONGEST_SHARED_S = 30.0  # longer utterances keep their words
USUAL_DOUBTS = 0.3  # if the words of more utterances are unsure, that says little, and only faults count
EVERY_S = 1.0  # where much sound has no word, words may begin within speech: the head survives three or four others
EMPTY, STILL_EMPTY = 0.6, 0.1  # cost of the first opening without words, and of each after it
PART, CUT = 0.2, 1.0  # cost of words that begin within an utterance, and within a sound
UNCHANGED = 0.5  # worth of leaving an utterance as it is, if it is not in doubt
SKIPPED = 0.2  # cost of each word left out; no more than `HOLE` in a row are counted
OVERLAP_S = 0.1  # by which words may begin before others have ended


@dataclass(frozen=True)
class _Opening:
    """Audio in which words may begin: the utterance with that `number`, from one of its sounds on."""

    number: int
    audio: Utterance
    is_part: bool
    is_doubtful: bool
    is_faulty: bool

    @property
    def cost(self) -> float:
        """What it costs that words begin there."""
        return CUT if self.audio.is_cut else PART * self.is_part


class _State(NamedTuple):
    """The next word, and whether the sound just before has no words."""

    word: int
    is_empty: bool


@dataclass(frozen=True)
class _Choice:
    """The best way to a state: its value, the opening and the next word before it, and the words taken there."""

    value: float
    before: tuple[int, _State]
    words: NDArray[np.int64]


class Sharing:
    """Utterances and their words, some of them in doubt."""

    def __init__(self, listener: Listener, utterances: list[Utterance], longest_s: float) -> None:
        """Note the last word before each utterance, -1 if there is none, and the first one from it on."""
        self._listener, self._utterances = listener, utterances
        self._longest = min(longest_s, LONGEST_SHARED_S) * SAMPLE_RATE_HZ
        sound_s = sum(float(np.diff(each.sound_s).sum()) for each in utterances if each.words.size)
        words = sum(each.words.size for each in utterances)
        self._most_per_s = max(FASTEST_PER_S, FASTER * words / max(sound_s, 1.0))
        last, first, count = -1, len(listener.words), len(utterances)
        self._lasts, self._firsts = [last], [first] * (count + 1)
        for utterance in utterances:
            last = int(utterance.words[-1]) if utterance.words.size else last
            self._lasts.append(last)
        for number in reversed(range(count)):
            first = int(utterances[number].words[0]) if utterances[number].words.size else first
            self._firsts[number] = first

    def run(self) -> list[Utterance]:
        """The utterances with the words of all doubtful regions shared anew; those without words are left out."""
        numbers, movable = range(len(self._utterances)), self._movable()
        faulty = movable & np.array([self._is_faulty(number) for number in numbers])
        unsure = np.array([self._is_unsure(number) for number in numbers])
        doubtful = faulty | (movable & unsure) if unsure.mean() <= USUAL_DOUBTS else faulty
        is_in_region = _widened(doubtful, 1) & movable
        result, first = list[Utterance](), 0
        while first < len(doubtful):
            last = first + 1
            if is_in_region[first]:
                while last < len(doubtful) and is_in_region[last]:
                    last += 1
                begin = int(result[-1].words[-1]) + 1 if result else 0
                openings = [
                    opening
                    for number in range(first, last)
                    for opening in self._openings(number, bool(doubtful[number]), bool(faulty[number]))
                ]
                result += self._shared(range(first, last), begin, openings)
            elif self._utterances[first].words.size:
                result.append(self._utterances[first])
            first = last
        return result

    def _movable(self) -> NDArray[np.bool_]:
        """(utterances,) whether words may come to each: it is not too long, and not far from all words."""
        has_words = np.array([utterance.words.size > 0 for utterance in self._utterances])
        is_short = np.array([each.end - each.start <= self._longest for each in self._utterances])
        return _widened(has_words, FAR) & is_short

    def _is_unsure(self, number: int) -> bool:
        """Whether one of its words is worth little."""
        utterance = self._utterances[number]
        times_s = utterance.milliseconds / 1000
        worths = word_worths(self._listener, utterance, utterance.words, times_s, utterance.confidences)
        return float(worths.min(initial=1.0)) < DOUBTFUL

    def _is_faulty(self, number: int) -> bool:
        """Whether much of its sound has no word, or words in it or beside it are in no utterance."""
        utterance = self._utterances[number]
        around = [self._lasts[number], *utterance.words, self._firsts[number + 1]]
        return not utterance.words.size or _lacks_words(utterance) or bool((np.diff(around) > 1).any())

    def _openings(self, number: int, is_doubtful: bool, is_faulty: bool) -> list[_Opening]:
        """An utterance from its start on and, where it is in doubt, from others on at which its words may begin."""
        utterance = self._utterances[number]
        parts = [utterance]
        if is_doubtful:
            parts = utterance.parts(EVERY_S if _lacks_words(utterance) else np.inf)
        return [_Opening(number, audio, bool(part), is_doubtful, is_faulty) for part, audio in enumerate(parts)]

    def _shared(self, region: range, begin: int, openings: list[_Opening]) -> list[Utterance]:
        """The utterances of a region, with the words from `begin` on shared anew."""
        end = self._firsts[region.stop]
        if begin >= end:
            return []
        holes = self._holes(region, begin, end)
        states: list[dict[_State, _Choice]] = [{} for _ in range(len(openings) + 1)]
        states[0][_State(begin, False)] = _Choice(0.0, (-1, _State(-1, False)), NO_WORDS)
        for at, opening in enumerate(openings):
            states[at] = _worth_following(states[at])
            for state, choice in states[at].items():
                value = choice.value - (STILL_EMPTY if state.is_empty else EMPTY)
                _keep_best(states[at + 1], _State(state.word, True), _Choice(value, (at, state), NO_WORDS))
            for start in self._starts(opening, region, begin, end):
                ways = [
                    (each.value - _skipping(start - s.word), s) for s, each in states[at].items() if s.word <= start
                ]
                if not ways:
                    continue
                value, before = max(ways)
                for words in self._askings(opening, start, end, holes):
                    for taken in weigh(self._listener, opening.audio, words):
                        next_at, left_s = _following(openings, at, taken.end_s)
                        chosen = words[: taken.count]
                        worth = value + taken.worth - opening.cost - float(gap_cost(left_s))
                        if not opening.is_doubtful and np.array_equal(chosen, opening.audio.words):
                            worth += UNCHANGED
                        choice = _Choice(worth, (at, before), chosen)
                        _keep_best(states[next_at], _State(int(words[taken.count - 1]) + 1, False), choice)
        return self._traced(openings, states, end)

    def _traced(self, openings: list[_Opening], states: list[dict[_State, _Choice]], end: int) -> list[Utterance]:
        """The utterances of the best way through the states."""
        at, last = len(openings), states[-1]
        state = max(last, key=lambda state: last[state].value - _skipping(end - state.word))
        found = list[Utterance]()
        while at > 0:
            choice = states[at][state]
            at, state = choice.before
            if choice.words.size:
                audio = openings[at].audio
                if not np.array_equal(choice.words, audio.words):
                    audio.align(self._listener, choice.words)
                if (is_unspoken := _unlikely_runs(audio.confidences)).any():
                    audio.align(self._listener, audio.words[~is_unspoken])
                if audio.words.size:
                    found.append(audio)
        return found[::-1]

    def _holes(self, region: range, begin: int, end: int) -> list[tuple[int, int]]:
        """The first word, and the one after the last, of each long run of words in no utterance."""
        words = np.concatenate([[begin - 1], *(u.words for u in self._utterances[region.start : region.stop]), [end]])
        return [(a + 1, b) for a, b in zip(words.tolist(), words[1:].tolist(), strict=False) if b - a > HOLE]

    def _starts(self, opening: _Opening, region: range, begin: int, end: int) -> list[int]:
        """The words from which on an utterance is asked."""
        if end - begin <= FEW:
            return list(range(begin, end))
        edges, own = set[int](), self._utterances[opening.number]
        if own.words.size:
            later = own.words[own.milliseconds[:, 1] > 1000 * opening.audio.start / SAMPLE_RATE_HZ]
            edges |= set(later[:1].tolist())
        if opening.is_faulty:
            for other in range(max(region.start, opening.number - 1), min(region.stop, opening.number + 2)):
                edges |= {self._lasts[other] + 1, self._firsts[other]}
        near = {word for edge in edges for word in range(edge - NEAR, edge + NEAR + 1)}
        return sorted(word for word in near if begin <= word < end)

    def _askings(
        self, opening: _Opening, start: int, end: int, holes: list[tuple[int, int]]
    ) -> list[NDArray[np.int64]]:
        """The words to ask for from one on: all, and those without a hole."""
        audio = opening.audio
        own = int((self._utterances[opening.number].words >= start - NEAR).sum()) + 2 * NEAR
        count = int(self._most_per_s * (audio.end - audio.start) / SAMPLE_RATE_HZ) + MORE
        count = max(own, count) if opening.is_doubtful else own
        askings = [np.arange(start, min(end, start + count))]
        for first, last in holes:
            if start < first < start + count and last < end:
                askings.append(np.concatenate([np.arange(start, first), np.arange(last, end)])[:count])
        return askings


def _following(openings: list[_Opening], at: int, end_s: float) -> tuple[int, float]:
    """The opening after words that begin in one and end at `end_s`, and the seconds of sound left before it."""
    number, following, until_s = openings[at].number, at + 1, np.inf
    while following < len(openings) and openings[following].number == number:
        start_s = openings[following].audio.sound_s[0, 0]
        if start_s >= end_s - OVERLAP_S:
            until_s = start_s
            break
        following += 1
    end, until = openings[at].audio.sound_before(np.array([end_s, until_s]))
    return following, float(until - end)


def _lacks_words(utterance: Utterance) -> bool:
    """Whether much of its sound has no word."""
    return utterance.most_uncovered_s() >= UNCOVERED_S


def _worth_following(states: dict[_State, _Choice]) -> dict[_State, _Choice]:
    """The states without those that no way can make better than another: one further back may skip words to them."""
    most, kept = -np.inf, dict[_State, _Choice]()
    for state in sorted(states):
        value = states[state].value
        if value + _skipping(HOLE) + EMPTY - STILL_EMPTY > most:
            kept[state] = states[state]
        most = max(most, value)
    return kept


def _keep_best(states: dict[_State, _Choice], state: _State, choice: _Choice) -> None:
    if state not in states or choice.value > states[state].value:
        states[state] = choice


def _unlikely_runs(confidences: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(words,) whether each belongs to `HOLE` or more in a row that are not likely."""
    unlikely = (confidences < LIKELY).tolist()
    runs = [list(run) for _, run in groupby(unlikely)]
    return np.array([is_one and len(run) >= HOLE for run in runs for is_one in run], bool)


def _skipping(words: int) -> float:
    return SKIPPED * min(words, HOLE)


def _widened(marked: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    """Marked ones and those that are at most `by` from one."""
    return np.convolve(marked, np.ones(2 * by + 1))[by : by + len(marked)] > 0
