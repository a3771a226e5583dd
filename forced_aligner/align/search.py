"""Where the transcript and the audio meet again after words that nobody speaks, or speech that has no words.

The head finds words only if the prompt begins about where the audio does: it survives three or four words too many or
too few (measured on the demo aligner, `problems_encountered.md`). So hypotheses are tried: so many words are not
spoken, or speech goes on without words until some pause, or both; small ones first.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from forced_aligner.align.audio import SAMPLE_RATE_HZ
from forced_aligner.align.findings import trust
from forced_aligner.align.listening import Listener
from forced_aligner.align.walk import Place, Walk

PIECE_S = 12.0  # of audio for each hypothesis
ASKED, ASKED_SHARP = 30, 45  # words
STRIDE = 5  # words between two hypotheses: what the head survives on either side
NEAR_WORDS, NEAR_S = 66, 30.0  # of the small hypotheses
FAR_WORDS, FAR_S = 340, 240.0
BOTH_WORDS, BOTH_S, BOTH_STRIDE = 120, 60.0, 6  # unspoken words and speech without words at once
MAX_CALLS = 420
WANTED, WANTED_BOTH = 11, 14  # excess of found words that is a hit; wrong places give two or three, seldom eight
SURE = 0.75  # least mean confidence of a hit
WORDS_PER_S = 2.6  # of speech
SLOWEST_S = 0.1  # least mean duration of a word
PAUSE_S = 0.25
NO_PAUSE_S = 3.0  # after so long without a pause, pieces begin every 2 s
EVERY_S = 2.0
BACK = 6  # words before a loss that may be wrong
STEP_BACK_S = 1.0
STEPS_BACK = 7
SKIPPED_S = 20.0  # of audio where nothing is found
FASTEST_PER_S = 4.0
FEW_S = 40.0  # of audio left, in which fewer words are wanted


class Search:
    """Finds the place again where a walk has lost it."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        silences = listener.silences
        pauses = silences[silences[:, 1] - silences[:, 0] >= PAUSE_S * SAMPLE_RATE_HZ]
        ends = pauses[:, 1] // listener.bin_samples - 1
        self._speech_starts = [int(end) for end in ends if end > 0]
        self._calls = 0

    def __call__(self, walk: Walk, lost: Place) -> Place | None:
        """Where the walk goes on after it was lost; None at the end of the audio."""
        self._calls = 0
        for guess in self._guesses(walk, lost):
            excess, _ = self._value(guess, guess.at + self.listener.bins(PIECE_S), ASKED)
            if excess >= self._wanted(walk, lost, guess):
                found = walk.found.copy()
                place = self._sharpened(walk, lost, guess)
                walk.forget(min(place.word, lost.word), walk.count)
                if place.at < lost.at:
                    walk.found &= walk.bins[:, 1] <= place.at
                if following := walk.step(place, self.listener.bins(PIECE_S)):
                    return following
                walk.found[:] = found
        at = lost.at + self.listener.bins(SKIPPED_S)
        return Place(at, lost.word) if at < self.listener.length else None

    def _guesses(self, walk: Walk, lost: Place) -> Iterator[Place]:
        near = self._starts(lost.at, NEAR_S)
        far = [at for at in self._starts(lost.at, FAR_S) if at not in near]
        yield from (Place(lost.at, lost.word + skipped) for skipped in range(0, NEAR_WORDS, STRIDE))
        yield from (Place(at, lost.word) for at in near)
        yield from (Place(lost.at, lost.word + skipped) for skipped in range(NEAR_WORDS, FAR_WORDS, STRIDE))
        yield from (Place(at, lost.word) for at in far)
        for at in self._starts(lost.at, BOTH_S):
            yield from (Place(at, lost.word + skipped) for skipped in range(BOTH_STRIDE, BOTH_WORDS, BOTH_STRIDE))

    def _starts(self, after: int, seconds: float) -> list[int]:
        """The bins at which a piece may begin: where speech begins after a pause, and every 2 s where there is none."""
        bins = self.listener.bins
        end = min(after + bins(seconds), self.listener.length - bins(1.0))
        starts, last = list[int](), after
        for at in [*(at for at in self._speech_starts if after < at < end), end]:
            while at - last > bins(NO_PAUSE_S):
                last += bins(EVERY_S)
                starts.append(last)
            if at < end:
                starts.append(at)
                last = at
        return starts

    def _value(self, guess: Place, end: int, asked: int) -> tuple[int, float]:
        """How many more words than others are found from a place on, and the score; nothing for chance."""
        count = len(self.listener.words)
        if self._calls >= MAX_CALLS or not 0 <= guess.word < count:
            return -1, -1.0
        self._calls += 1
        heard = self.listener.hear(guess.at, end, range(guess.word, min(count, guess.word + asked)))
        found = np.flatnonzero(heard.found[: heard.inside])
        if not found.size or heard.confidences[found].mean() < SURE:
            return 0, 0.0
        spoken_s = self.listener.seconds(int(heard.bins[found[-1], 1] - heard.bins[found[0], 0]))
        return (0, 0.0) if spoken_s < SLOWEST_S * found.size else (heard.excess, heard.score)

    def _wanted(self, walk: Walk, lost: Place, guess: Place) -> int:
        """The excess that makes a hit: less near the end, for what can be spoken there."""
        left_s = self.listener.seconds(self.listener.length - guess.at)
        words = walk.count - guess.word
        if guess.at > lost.at and guess.word > lost.word:
            return WANTED_BOTH
        if guess.at > lost.at and words > FASTEST_PER_S * left_s:
            return WANTED
        if left_s >= FEW_S or guess.word > lost.word:
            words = WANTED * 2
        return min(WANTED, max(3, int(0.6 * min(words, left_s * 1.5))))

    def _sharpened(self, walk: Walk, lost: Place, hit: Place) -> Place:
        """The place around a hit that explains most. The last words before the loss may be wrong too."""
        end = min(hit.at + self.listener.bins(PIECE_S), self.listener.length)
        before = [index for index in range(max(0, lost.word - BACK), lost.word) if walk.found[index]]

        def score(place: Place) -> float:
            kept = [index for index in before if index < place.word and walk.bins[index, 1] <= place.at]
            return self._value(place, end, ASKED_SHARP)[1] + float(trust(walk.confidences[kept]).sum())

        around = range(max(0, lost.word - BACK, hit.word - BACK), min(walk.count, hit.word + BACK))
        scores = {place: score(place) for place in (Place(hit.at, word) for word in around)}
        best = max(scores, key=scores.__getitem__)
        places = []
        if hit.at == lost.at:  # words that are not spoken were heard in the audio of those that are
            for index in before:
                if index and walk.found[index - 1]:
                    stolen = lost.word - index
                    words = range(best.word - stolen - 3, best.word - stolen + 2)
                    places += [Place(int(walk.bins[index - 1, 1]), word) for word in words if word >= index]
        else:  # the words may begin within an utterance
            for step in range(1, 1 + STEPS_BACK):
                at = hit.at - self.listener.bins(step * STEP_BACK_S)
                usual = round(step * STEP_BACK_S * WORDS_PER_S)
                words = range(max(0, lost.word - BACK, best.word - usual - 2), best.word - usual + 3)
                places += [Place(at, word) for word in words if at > lost.at]
        scores |= {place: score(place) for place in places}
        return max(scores, key=scores.__getitem__)
