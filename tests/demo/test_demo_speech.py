"""The data maker: its word times are true, and training and held-out words stay apart."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch

from demo.optimizer import orthogonal
from demo.speech import SAMPLE_RATE_HZ, Synthesizer, Utterance, Voice
from demo.words import is_unseen, load_words

WORDS = ["Silver", "boats", "drifted", "slowly", "past", "the", "harbour"]
TEXT = "Silver boats, drifted slowly, past the, harbour."


@pytest.fixture(scope="module")
def speak() -> Callable[[Voice], Utterance]:
    pytest.importorskip("espeakng_loader", reason="espeak-ng is in the dependency group demo: uv sync --group demo")
    synthesizer = Synthesizer()

    def spoken(voice: Voice) -> Utterance:
        utterance = synthesizer.speak(WORDS, TEXT, voice)
        assert utterance is not None
        return utterance

    return spoken


def level(utterance: Utterance, begin_s: float, end_s: float) -> float:
    part = utterance.audio[int(begin_s * SAMPLE_RATE_HZ) : int(end_s * SAMPLE_RATE_HZ)]
    return float(np.sqrt(np.mean(part**2)))


@pytest.mark.parametrize("name", ["en-us+m3", "en-gb-scotland+f2", "en+Hugo", "en-029+steph"])
@pytest.mark.parametrize("words_per_minute", [120, 200])
def test_a_silence_is_silent_and_a_word_is_not(speak, name, words_per_minute):
    utterance = speak(Voice(name, words_per_minute, 50))
    spans = list(zip(utterance.starts_s, utterance.ends_s, strict=True))
    loud = [level(utterance, *span) for span in spans]
    # 30 ms are left out after each word: espeak-ng lets its sounds ring out a little.
    gaps = [(end + 0.03, start) for (_, end), (start, _) in pairwise(spans) if start - end > 0.06]
    assert len(gaps) == TEXT.count(",")
    quiet = [level(utterance, *gap) for gap in gaps]
    assert max(quiet) < 0.1 * min(loud)


def test_times_are_in_order_and_inside_the_audio(speak):
    utterance = speak(Voice("en-us+m3", 150, 50))
    times = np.stack([utterance.starts_s, utterance.ends_s], axis=1).reshape(-1)
    assert utterance.words == WORDS
    assert np.all(np.diff(times) >= 0)
    assert times[0] >= 0 and times[-1] <= len(utterance.audio) / SAMPLE_RATE_HZ


def test_a_slower_voice_takes_longer(speak):
    slow, fast = (speak(Voice("en-us+m3", rate, 50)) for rate in (120, 200))
    assert slow.ends_s[-1] > 1.2 * fast.ends_s[-1]


def test_the_split_of_the_words_is_fixed_and_about_a_fifth():
    pytest.importorskip("wordfreq", reason="the word list is in the dependency group demo: uv sync --group demo")
    seen, unseen = load_words()
    assert not set(seen) & set(unseen)
    assert all(map(is_unseen, unseen)) and not any(map(is_unseen, seen))
    assert 0.18 < len(unseen) / (len(seen) + len(unseen)) < 0.22


def test_the_newton_schulz_iteration_makes_matrices_nearly_orthogonal():
    torch.manual_seed(0)
    singular = torch.linalg.svdvals(orthogonal(torch.randn(3, 64, 128)))
    assert singular.min() > 0.3 and singular.max() < 1.3


def test_any_prose_has_a_time_for_each_word():
    """espeak-ng speaks "of the" as one word, and a number as several."""
    pytest.importorskip("espeakng_loader", reason="espeak-ng is in the dependency group demo: uv sync --group demo")
    text = 'At 5 p.m. on the first of the month, Dr. Lowe paid $48,500. "Why?" she asked.'
    utterance = Synthesizer().speak_prose(text, Voice("en-us", 150, 50))
    assert utterance.words == text.split()
    assert np.all(utterance.starts_s < utterance.ends_s)
    assert np.all(utterance.ends_s[:-1] <= utterance.starts_s[1:] + 1e-9)
    lasts_s = dict(zip(utterance.words, utterance.ends_s - utterance.starts_s, strict=True))
    assert lasts_s["$48,500."] > 5 * lasts_s["the"]
    pause_s = utterance.starts_s[9] - utterance.ends_s[8]  # after "month,"
    assert pause_s > 0.05
    assert utterance.ends_s[-1] <= len(utterance.audio) / SAMPLE_RATE_HZ
