"""How much words speak for being spoken in an utterance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.audio import SAMPLE_RATE_HZ
from forced_aligner.align.listening import Listener
from forced_aligner.align.utterances import Utterance
from forced_aligner.base.text import spoken_letters

SHARPNESS = 8  # words heard by mistake often have a confidence of 0.8 to 0.95, right ones 0.99
LETTER_S, LONGEST_LETTER_S = 0.03, 0.2  # least and most sound of a letter
LONG_WORD_S = 0.6  # however few letters it has
FREE = 0.3  # worth of a word that speaks neither for nor against a choice
LISTED = 0.1  # cost of a word that was asked for and not found
GAP_COST_PER_S, SMALL_GAP_S, GAP_COST = 0.6, 0.25, 0.8  # of sound without a word


@dataclass(frozen=True)
class Taken:
    """The first `count` of some words, of which the last ends at `end_s`, and what that is `worth`."""

    count: int
    end_s: float
    worth: float


def word_worths(
    listener: Listener,
    utterance: Utterance,
    words: NDArray[np.int64],
    times_s: NDArray[np.float64],
    confidences: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(words,) from 0 to 1: less for a word that is unsure, or too short or too long for its letters."""
    letters = np.array([spoken_letters(listener.words[index]) for index in words])
    sounded = np.diff(utterance.sound_before(times_s), axis=1)[:, 0]
    long_s = np.maximum(LONGEST_LETTER_S * letters, LONG_WORD_S)
    plausible = np.minimum(sounded / (LETTER_S * letters), long_s / np.maximum(sounded, long_s))
    return confidences**SHARPNESS * np.minimum(1.0, plausible)


def weigh(listener: Listener, utterance: Utterance, words: NDArray[np.int64]) -> list[Taken]:
    """What an utterance with the first so many of some words is worth; only where the last of them is likely.

    The worth of its words, less that of free ones, and less the cost of those between that are not found and of sound
    without a word.
    """
    heard = listener.hear_samples(utterance.start, utterance.end, words)
    times_s = (heard.bins * listener.bin_samples + utterance.start) / SAMPLE_RATE_HZ
    weights = word_worths(listener, utterance, words[: len(heard.bins)], times_s, heard.confidences) - FREE + LISTED
    starts, ends = utterance.sound_before(times_s).T
    best, taken = np.full(len(weights), -np.inf), []
    for index in np.flatnonzero(heard.usable).tolist():
        earlier = heard.bins[:index, 1] <= heard.bins[index, 0]
        chained = best[:index][earlier] - gap_cost(starts[index] - ends[:index][earlier])
        best[index] = weights[index] + max(chained.max(initial=-np.inf), -gap_cost(starts[index]))
        taken.append(Taken(index + 1, float(times_s[index, 1]), float(best[index]) - LISTED * (index + 1)))
    return taken


def gap_cost(sound_s: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """What it costs that so much sound has no word."""
    return np.clip(GAP_COST_PER_S * (np.asarray(sound_s) - SMALL_GAP_S), 0.0, GAP_COST)
