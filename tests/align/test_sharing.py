"""Utterances between pauses, what words in them are worth, and how words in doubt are shared among them."""

from dataclasses import dataclass, field

import numpy as np
import pytest

import forced_aligner.align.sharing as sharing
from forced_aligner.align.findings import HOLE, Findings
from forced_aligner.align.sharing import Sharing
from forced_aligner.align.silences import find_silences
from forced_aligner.align.utterances import Utterance, find_utterances
from forced_aligner.align.worth import FREE, GAP_COST, LISTED, gap_cost, weigh, word_worths

RATE = 16_000


def spoken(*sounds_s, total_s):
    """Quiet noise with loud stretches."""
    rng = np.random.default_rng(0)
    audio = rng.normal(0, 1e-4, round(total_s * RATE))
    for start_s, end_s in sounds_s:
        part = slice(round(start_s * RATE), round(end_s * RATE))
        audio[part] = rng.normal(0, 0.1, part.stop - part.start)
    return audio.astype(np.float32)


@dataclass
class Heard:
    """Stands for a listener: what it hears is told by the test."""

    words: list[str]
    samples: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    bins: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), int))
    confidences: np.ndarray = field(default_factory=lambda: np.zeros(0))
    bin_samples: int = 1280

    @property
    def silences(self):
        return find_silences(self.samples, 0.2)

    def hear_samples(self, start, end, words):
        return Findings(self.bins.copy(), np.zeros(len(self.bins), bool), self.confidences)


def test_utterances_lie_between_pauses_and_short_ones_are_joined():
    sounds = [(0.5, 3.0), (3.25, 5.0), (6.0, 6.8), (7.3, 9.0), (12.0, 12.03), (14.0, 14.5)]
    listener = Heard([], spoken(*sounds, total_s=16))
    found = find_utterances(listener, 12.0)
    # 250 ms are no pause; 0.8 s are short, and joined to the next; 30 ms are a click, and no utterance.
    np.testing.assert_allclose(
        [(u.start / RATE, u.end / RATE) for u in found], [(0.3, 5.2), (5.8, 9.2), (13.8, 14.7)], atol=0.06
    )
    assert [len(u.sound_s) for u in found] == [2, 2, 1]


def test_no_utterance_is_joined_beyond_the_longest():
    listener = Heard([], spoken((0.5, 5.0), (5.25, 9.0), (9.25, 14.0), total_s=15))
    assert [len(u.sound_s) for u in find_utterances(listener, 12.0)] == [2, 1]
    assert [len(u.sound_s) for u in find_utterances(listener, 4.0)] == [1, 1, 1]


def utterance():
    """Sound from 1 to 3 s and from 4 to 8 s."""
    return Utterance(RATE, 8 * RATE, np.array([[1.0, 3.0], [4.0, 8.0]]))


def test_the_sound_before_a_time_leaves_pauses_out():
    np.testing.assert_allclose(utterance().sound_before(np.array([0, 1, 2, 3.5, 4, 6, 99])), [0, 0, 1, 2, 2, 4, 6])


def test_the_most_sound_without_a_word_may_lie_at_an_edge():
    made = utterance()
    assert made.most_uncovered_s() == 6
    made.milliseconds = np.array([[1000.0, 2500.0], [4500.0, 5000.0]])
    assert made.most_uncovered_s() == pytest.approx(3)


def test_the_parts_of_an_utterance_begin_with_its_sounds_and_within_them():
    parts = utterance().parts()
    assert [(part.start / RATE, part.is_cut) for part in parts] == [(1, False), (3.8, False)]
    assert parts[1].sound_s.tolist() == [[4, 8]]
    cut = utterance().parts(1.5)
    assert [(part.start / RATE, part.is_cut) for part in cut] == [(1, False), (3.8, False), (5.5, True), (7, True)]
    assert cut[2].sound_s.tolist() == [[5.5, 8]] and all(part.end == 8 * RATE for part in cut)


def test_a_word_is_worth_less_if_it_is_unsure_or_too_short_or_too_long():
    words = ["sentence"] * 4
    listener = Heard(words)
    times_s = np.array([[1.0, 1.5], [1.5, 1.6], [4.0, 7.2], [2.9, 4.2]])
    worths = word_worths(listener, utterance(), np.arange(4), times_s, np.array([0.9, 1.0, 1.0, 1.0]))
    # Eight letters take 0.24 to 1.6 s of sound; the last word has 0.3 s of it, and a pause.
    np.testing.assert_allclose(worths, [0.9**8, 0.1 / 0.24, 0.5, 1.0])


def test_what_is_found_in_order_counts_and_what_is_not_costs():
    bins = np.array([[12, 18], [18, 24], [60, 66], [24, 30]])  # the third lies after the fourth
    listener = Heard(["abc"] * 4, bins=bins, confidences=np.array([1.0, 1.0, 0.2, 1.0]))
    taken = weigh(listener, Utterance(0, 3 * RATE, np.array([[1.0, 3.0]])), np.arange(4))
    assert [each.count for each in taken] == [1, 2, 4]
    assert taken[-1].end_s == pytest.approx(2.4)
    worth = 3 * (1.0 - FREE) - LISTED
    assert taken[-1].worth == pytest.approx(worth, abs=0.15)


def test_sound_without_a_word_costs_up_to_a_limit():
    assert gap_cost(0.2) == 0 and 0 < gap_cost(1.0) < gap_cost(1.3) and gap_cost(100.0) == GAP_COST
    bins = np.array([[0, 5], [50, 55]])
    near, far = (
        weigh(
            Heard(["abc"] * 2, bins=bins, confidences=np.ones(2)),
            Utterance(0, 5 * RATE, np.array(sounds)),
            np.arange(2),
        )
        for sounds in ([[0.0, 0.4], [4.0, 4.4]], [[0.0, 4.4]])
    )
    assert near[1].worth - far[1].worth == pytest.approx(GAP_COST)


class Scripted:
    """A listener for whom each word of `spoken_in` is spoken at its time, in seconds.

    A word is found in audio that holds it if the prompt begins about where the audio does: no more than three words
    before it in the prompt are spoken elsewhere, and the first one is spoken within 4 s.
    """

    bin_samples, segment_ms = 1280, 80

    def __init__(self, spoken_in, count, lasts_bins):
        self.lasts_bins = lasts_bins
        self.words, self.spoken_in, self.calls = ["word"] * count, spoken_in, 0

    def hear_samples(self, start, end, words):
        self.calls += 1
        bins, confidences, foreign, first_s = [], [], 0, None
        for index in words:
            at_s = self.spoken_in.get(int(index), -1.0)
            is_inside = start <= at_s * RATE < end
            foreign += not is_inside
            first_s = at_s if first_s is None and is_inside else first_s
            is_found = is_inside and foreign <= 3 and first_s - start / RATE < 4
            first = round((at_s - start / RATE) / 0.08)
            bins.append((first, first + self.lasts_bins) if is_found else (3, 5))
            confidences.append(0.99 if is_found else 0.2)
        return Findings(np.array(bins), np.zeros(len(bins), bool), np.array(confidences))


def scripted(monkeypatch, spoken_in, given, count, lasts_bins=10):
    """Utterances with the words `given` to each, of a listener by whom the words of `spoken_in` are heard."""
    listener = Scripted(spoken_in, count, lasts_bins)

    def align(self, listener, words):
        self.words, self.milliseconds, self.confidences = words, np.zeros((0, 2)), np.zeros(0)
        if words.size:
            heard = listener.hear_samples(self.start, self.end, words)
            self.milliseconds = heard.bins * 80.0 + 1000 * self.start / RATE
            self.confidences = heard.confidences

    monkeypatch.setattr(Utterance, "align", align)
    utterances = []
    for number, words in enumerate(given):
        start_s, end_s = 12.0 * number, 12.0 * number + 10.4
        made = Utterance(round(start_s * RATE), round(end_s * RATE), np.array([[start_s, end_s]]))
        made.align(listener, np.array(words, int))
        utterances.append(made)
    return listener, Sharing(listener, utterances, 12.0)


def spoken_at(words, number):
    """These words, one a second, in an utterance."""
    return {word: 12.0 * number + 0.2 + place for place, word in enumerate(words)}


ALL = {
    word: at_s for number in range(7) for word, at_s in spoken_at(range(10 * number, 10 * number + 10), number).items()
}
RIGHT = [[*range(10 * number, 10 * number + 10)] for number in range(7)]


def shares(found):
    return [u.words.tolist() for u in found]


def test_words_that_are_in_no_doubt_are_left_alone(monkeypatch):
    listener, made = scripted(monkeypatch, ALL, RIGHT, 70)
    calls = listener.calls
    assert shares(made.run()) == RIGHT
    assert listener.calls == calls


def test_words_in_the_wrong_utterance_are_moved(monkeypatch):
    given = [*RIGHT[:3], range(30, 43), range(43, 50), *RIGHT[5:]]
    _, made = scripted(monkeypatch, ALL, given, 70)
    assert shares(made.run()) == RIGHT


def test_words_that_nobody_speaks_are_left_out(monkeypatch):
    heard = {word + 5 if word >= 40 else word: at_s for word, at_s in ALL.items()}
    given = [*RIGHT[:3], range(30, 42), range(43, 55), range(55, 65), range(65, 75)]
    _, made = scripted(monkeypatch, heard, given, 75)
    assert shares(made.run()) == [*RIGHT[:4], [*range(45, 55)], [*range(55, 65)], [*range(65, 75)]]


def test_an_utterance_may_have_no_words(monkeypatch):
    heard = {word - 10 if word >= 40 else word: at_s for word, at_s in ALL.items() if not 30 <= word < 40}
    given = [*RIGHT[:3], range(30, 36), range(36, 40), *RIGHT[4:6]]
    _, made = scripted(monkeypatch, heard, given, 60)
    assert shares(made.run()) == RIGHT[:6]


def test_words_may_begin_within_an_utterance(monkeypatch):
    """The first half of the fourth utterance is not in the transcript."""
    heard = {word - 5 if word >= 35 else word: at_s for word, at_s in ALL.items() if not 30 <= word < 35}
    given = [*RIGHT[:3], [], range(33, 45), range(45, 55), range(55, 65)]
    _, made = scripted(monkeypatch, heard, given, 65)
    found = made.run()
    assert shares(found) == [*RIGHT[:3], [*range(30, 35)], [*range(35, 45)], [*range(45, 55)], [*range(55, 65)]]
    assert found[3].start > 40 * RATE


def test_no_word_of_fast_speech_is_left_out(monkeypatch):
    count, apart_s = 240, 0.17
    heard = {word: 12.0 * (word // 60) + 0.2 + apart_s * (word % 60) for word in range(count)}
    given = [range(60), range(60, 118), range(118, 180), range(180, 240)]
    _, made = scripted(monkeypatch, heard, given, count, lasts_bins=2)
    assert [len(words) for words in shares(made.run())] == [60] * 4


def test_all_words_of_an_utterance_may_turn_out_unspoken(monkeypatch):
    _, made = scripted(monkeypatch, {word: ALL[word] for word in range(10)}, [range(10), range(10, 20)], 20)
    assert shares(made.run()) == RIGHT[:1]


def test_where_most_words_are_unsure_that_says_nothing(monkeypatch):
    listener, made = scripted(monkeypatch, ALL, RIGHT, 70)
    for utterance in made._utterances:
        utterance.confidences = np.full(10, 0.8)
    calls = listener.calls
    assert shares(made.run()) == RIGHT and listener.calls == calls


def test_no_sound_that_stands_out_is_one_utterance_of_no_sharing():
    audio = np.random.default_rng(0).normal(0, 0.1, 3 * RATE).astype(np.float32)
    (made,) = find_utterances(Heard([], audio), 12.0)
    assert (made.start, made.end, made.sound_s.tolist()) == (0, 3 * RATE, [[0, 3]])
    clicks = np.zeros(RATE, np.float32)
    clicks[8000:8100] = 0.5
    (made,) = find_utterances(Heard([], clicks), 12.0)
    assert (made.start, made.end) == (0, RATE)


def test_the_cost_of_words_that_are_left_out_does_not_grow_with_a_long_run():
    assert 0 < sharing._skipping(1) < sharing._skipping(HOLE) == sharing._skipping(100)
