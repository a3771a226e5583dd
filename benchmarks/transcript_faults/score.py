"""Score the alignment of a wrong transcript: what was right, what was wrong, and what was said about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.transcript_faults.records import Counts
from demo.transcript_edits import MOVED, REPLACED, plain
from demo.wrong_transcripts import Case, Repeat
from forced_aligner.align.chain import Alignment
from forced_aligner.output.doubts import doubts
from forced_aligner.output.limits import WEAK

NEAR_MS, FAR_MS = 160.0, 1000.0
LONG_RUN_WORDS = 5
WRONG_SHARE = 0.01  # of the spoken words, far off: a recording that must not pass without a warning
PLACE_GAP_WORDS = 3  # words far off belong to one place if no more words than these are between them
NAMED_WORDS = 5  # a word that was not found names a place up to this many words away
NAMED_S = 10.0  # a message names what is up to this far from its place
LEAST_STRETCH_S = 5.0  # untranscribed speech that should be listed
Span = tuple[float, float]


class Scored:
    """One alignment beside the truth.

    Attributes:
        case: the truth.
        not_found: (words,) whether the aligner says that a word is not in the audio.
        is_suspicious: (words,) whether it says that a word that it found is weak, or its times are hard to believe.
        untranscribed_s: the stretches that it says have no words.
        given_ms: (words, 2) start and end as aligned; infinite after an error.
        true_ms: (words, 2) the true ones; NaN where there are none.
        is_spoken: (words,) whether a word is spoken, and has to be found.
        is_unspoken: (words,) whether nobody speaks it; words that are not judged are neither.
        errors_ms: (words, 2) of the spoken words; NaN for all others, and infinite for a spoken one without a time.
    """

    def __init__(self, case: Case, alignment: Alignment | None) -> None:
        """Compare word by word.

        Args:
            case: the truth.
            alignment: what was found; None after an error, which loses every word.

        Raises:
            ValueError: the words of the alignment are not those of the transcript.
        """
        words = len(case.transcript)
        self.case, self.is_error = case, alignment is None
        self.untranscribed_s = alignment.untranscribed_s if alignment else []
        self.not_found = np.isin(np.arange(words), list(alignment.not_found if alignment else []))
        self.is_suspicious = _suspicious(alignment) if alignment else np.zeros(words, bool)
        self.given_ms = _given_ms(case, alignment)
        self.true_ms = np.array([time or (np.nan, np.nan) for time in case.times_ms], float)
        errors_ms = np.where(self.not_found[:, None], np.inf, np.abs(self.given_ms - self.true_ms))
        has_time = ~np.isnan(self.true_ms[:, 0])
        is_surplus = np.zeros(words, bool)
        for repeat in case.repeats:
            is_surplus[_surplus_copies(repeat, errors_ms, self.not_found, has_time)] = True
        is_judged = np.array([label != MOVED for label in case.labels])
        self.is_spoken = is_judged & has_time & ~is_surplus
        self.is_unspoken = is_judged & ~self.is_spoken
        self.errors_ms = np.where(self.is_spoken[:, None], errors_ms, np.nan)

    @property
    def is_far_off(self) -> NDArray[np.bool_]:
        """(words,) whether a spoken word has a time that is far off."""
        worst_ms = self.errors_ms.max(axis=1)
        return (worst_ms > FAR_MS) & np.isfinite(worst_ms)

    def counts(self) -> Counts:
        """All that is counted, but for time and calls."""
        counted = Counts(
            cases=1,
            errors=int(self.is_error),
            duration_s=self.case.duration_s,
            words=len(self.case.transcript),
            boundaries=2 * int(self.is_spoken.sum()),
            within_160ms=int((self.errors_ms <= NEAR_MS).sum()),
            beyond_1s=int((np.isfinite(self.errors_ms) & (self.errors_ms > FAR_MS)).sum()),
            lost=int(np.isposinf(self.errors_ms).sum()),
        )
        return counted + self._recognised() + self._places() + self._alarms() + self._untranscribed()

    def _recognised(self) -> Counts:
        """Words that nobody speaks, by the length of their run, and words that were called so."""
        labels = np.array(self.case.labels)
        counted: Counter[str] = Counter()
        for run in _runs(self.is_unspoken):
            name = "long_runs" if len(run) >= LONG_RUN_WORDS else "short_runs"
            name = "replaced" if (labels[run] == REPLACED).all() else name
            counted[name] += len(run)
            counted[f"{name}_right"] += int(self.not_found[run].sum())
        for run in _runs(self.not_found):
            name = "flagged_in_long" if len(run) >= LONG_RUN_WORDS else "flagged_in_short"
            counted[name] += int((self.is_spoken | self.is_unspoken)[run].sum())
            counted[f"{name}_right"] += int(self.is_unspoken[run].sum())
        return Counts.model_validate(counted)

    def _places(self) -> Counts:
        """Places where words are far off, and those that a warning names; whether the case is wrong in silence."""
        places = _runs(self.is_far_off, PLACE_GAP_WORDS)
        named = sum(self._is_named(place) for place in places)
        is_wrong = bool(places) and self.is_far_off.sum() >= WRONG_SHARE * self.is_spoken.sum()
        return Counts(
            places_far_off=len(places),
            places_named=named,
            wrong_cases=int(is_wrong),
            silent_cases=int(is_wrong and named == 0),
        )

    def _is_named(self, place: list[int]) -> bool:
        around = slice(max(0, place[0] - NAMED_WORDS), place[-1] + NAMED_WORDS + 1)
        times_s = np.concatenate([self.true_ms[place], self.given_ms[place]]) / 1000
        span = (float(times_s.min()), float(times_s.max()))
        is_listed = any(_is_near(span, other, NAMED_S) for other in self.untranscribed_s)
        return is_listed or bool((self.not_found | self.is_suspicious)[around].any())

    def _alarms(self) -> Counts:
        """Messages about words and sound, but for words that were not found, and those where nothing is wrong."""
        alarms = list(self.untranscribed_s)
        for run in _runs(self.is_suspicious, PLACE_GAP_WORDS):
            alarms.append((self.given_ms[run[0], 0] / 1000, self.given_ms[run[-1], 1] / 1000))
        trouble = self._trouble_s()
        false = sum(not any(_is_near(alarm, span, NAMED_S) for span in trouble) for alarm in alarms)
        return Counts(alarms=len(alarms), false_alarms=false, cases_with_false_alarms=int(false > 0))

    def _trouble_s(self) -> list[Span]:
        """Where something is wrong with the transcript or with the alignment."""
        spans = [*self.case.untranscribed_s, *self.case.sounds_s]
        for run in _runs(~self.is_spoken | self.is_far_off | np.isposinf(self.errors_ms).any(axis=1)):
            known = self.true_ms[run]
            before, after = self.true_ms[: run[0], 1], self.true_ms[run[-1] + 1 :, 0]
            ends = [*known[~np.isnan(known)], *before[~np.isnan(before)][-1:], *after[~np.isnan(after)][:1]]
            spans.append((min(ends) / 1000, max(ends) / 1000))
        return spans

    def _untranscribed(self) -> Counts:
        """Stretches of speech without words that were listed, and how much of what was listed has words."""
        stretches = [span for span in self.case.untranscribed_s if span[1] - span[0] >= LEAST_STRETCH_S]
        spoken_s = [(start / 1000, end / 1000) for start, end in self.true_ms[self.is_spoken]]
        listed = [_overlap_s(span, self.untranscribed_s) >= (span[1] - span[0]) / 2 for span in stretches]
        return Counts(
            stretches=len(stretches),
            stretches_listed=sum(listed),
            listed_s=sum(end - start for start, end in self.untranscribed_s),
            listed_with_words_s=sum(_overlap_s(span, spoken_s) for span in self.untranscribed_s),
        )


def _suspicious(alignment: Alignment) -> NDArray[np.bool_]:
    is_found = np.array([index not in alignment.not_found for index in range(len(alignment.words))])
    found = [word for word, is_there in zip(alignment.words, is_found, strict=True) if is_there]
    suspicious = is_found & (np.array(alignment.confidences) < WEAK)
    suspicious[is_found] |= np.array([doubt is not None for doubt in doubts(found)], bool)
    return suspicious


def _given_ms(case: Case, alignment: Alignment | None) -> NDArray[np.float64]:
    if alignment is None:
        return np.full((len(case.transcript), 2), np.inf)
    if [word.text.lower() for word in alignment.words] != [plain(token) for token in case.transcript]:
        raise ValueError(f"{case.name}: the aligned words are not those of the transcript")
    return np.array([(word.start_time_ms, word.end_time_ms) for word in alignment.words], float)


def _surplus_copies(
    repeat: Repeat, errors_ms: NDArray[np.float64], not_found: NDArray[np.bool_], has_time: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The words of a doubled passage that count as not spoken.

    The passage is spoken once. Any word of it may be the last that is taken from the first copy; the rest is then of
    the second one. Counted is the choice that is best for the aligner.
    """
    first, second = (np.arange(start, start + repeat.count) for start in (repeat.first, repeat.second))
    is_bad = (errors_ms > NEAR_MS).any(axis=1) & has_time
    if_first = is_bad[first].astype(int) + ~not_found[second]
    if_second = is_bad[second].astype(int) + ~not_found[first]
    cost = np.concatenate([[0], np.cumsum(if_first)]) + np.concatenate([np.cumsum(if_second[::-1])[::-1], [0]])
    taken = int(cost.argmin())
    return np.concatenate([first[taken:], second[:taken]])


def _runs(marked: NDArray[np.bool_], gap: int = 0) -> list[list[int]]:
    """Runs of marked words; words that are at most `gap` unmarked ones apart are in one run."""
    runs: list[list[int]] = []
    for index in np.flatnonzero(marked).tolist():
        if runs and index - runs[-1][-1] <= gap + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


def _is_near(span: Span, other: Span, distance: float) -> bool:
    return span[0] - distance <= other[1] and other[0] <= span[1] + distance


def _overlap_s(span: Span, others: Sequence[Span]) -> float:
    return sum(max(0.0, min(span[1], end) - max(span[0], start)) for start, end in others)
