"""What the benchmark of wrong transcripts writes down."""

from __future__ import annotations

from collections.abc import Iterable

from forced_aligner.base.records import Record


class Counts(Record):
    """What is counted in one case; counts of cases add up.

    Attributes:
        cases, errors: recordings, and those that ended in an error.
        duration_s, seconds, cpu_s: of audio, of wall time, and of one core's work.
        words: of the transcripts.
        boundaries: of spoken words; `within_160ms` and `beyond_1s` of the truth, and `lost`: without a time.
        long_runs, short_runs, replaced: words that nobody speaks, in runs of five and more, in shorter ones, and in
            place of others; `..._right`: those of them that were not found.
        flagged_in_long, flagged_in_short: words that were not found, in runs of five and more and in shorter ones;
            `..._right`: those of them that nobody speaks.
        places_far_off, places_named: places with words off by more than 1 s, and those that a message names.
        wrong_cases, silent_cases: with 1 % of the words off by more than 1 s, and those where no such place is named.
        alarms, false_alarms: places that are named for sound without words, weak words or times that are hard to
            believe, and those where nothing is wrong; `cases_with_false_alarms`.
        stretches, stretches_listed: of at least 5 s of speech without words, and those that are listed as such.
        listed_s, listed_with_words_s: seconds that are listed as without words, and those of them that have words.
        decoder_calls, audio_s: calls of the decoder, and seconds of audio that went through the convolutions.
    """

    cases: int = 0
    errors: int = 0
    duration_s: float = 0.0
    seconds: float = 0.0
    cpu_s: float = 0.0
    words: int = 0
    boundaries: int = 0
    within_160ms: int = 0
    beyond_1s: int = 0
    lost: int = 0
    long_runs: int = 0
    long_runs_right: int = 0
    short_runs: int = 0
    short_runs_right: int = 0
    replaced: int = 0
    replaced_right: int = 0
    flagged_in_long: int = 0
    flagged_in_long_right: int = 0
    flagged_in_short: int = 0
    flagged_in_short_right: int = 0
    places_far_off: int = 0
    places_named: int = 0
    wrong_cases: int = 0
    silent_cases: int = 0
    alarms: int = 0
    false_alarms: int = 0
    cases_with_false_alarms: int = 0
    stretches: int = 0
    stretches_listed: int = 0
    listed_s: float = 0.0
    listed_with_words_s: float = 0.0
    decoder_calls: int = 0
    audio_s: float = 0.0

    def __add__(self, other: Counts) -> Counts:
        """The counts of both."""
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in Counts.model_fields})


class CaseResult(Record):
    """What became of one case; `error` is the sentence that it ended with."""

    name: str
    kind: str
    faults: str
    counts: Counts
    error: str | None = None


class KindRow(Record):
    """A row of the table: percentages of `counts`; None where there is nothing to count."""

    kind: str
    within_160ms_percent: float | None
    beyond_1s_percent: float | None
    lost_percent: float | None
    recall_long_percent: float | None
    precision_long_percent: float | None
    recall_short_percent: float | None
    precision_short_percent: float | None
    recall_replaced_percent: float | None
    realtime_factor: float | None
    cpu_factor: float | None
    audio_passes: float | None
    counts: Counts


class WrongTranscripts(Record):
    """`results/wrong_transcripts.json`."""

    schema_version: int = 1
    kinds: list[KindRow]
    total: KindRow
    cases: list[CaseResult]


def row(kind: str, results: Iterable[CaseResult]) -> KindRow:
    """The row of some cases."""
    c = sum((result.counts for result in results), Counts())
    return KindRow(
        kind=kind,
        within_160ms_percent=_percent(c.within_160ms, c.boundaries),
        beyond_1s_percent=_percent(c.beyond_1s, c.boundaries),
        lost_percent=_percent(c.lost, c.boundaries),
        recall_long_percent=_percent(c.long_runs_right, c.long_runs),
        precision_long_percent=_percent(c.flagged_in_long_right, c.flagged_in_long),
        recall_short_percent=_percent(c.short_runs_right, c.short_runs),
        precision_short_percent=_percent(c.flagged_in_short_right, c.flagged_in_short),
        recall_replaced_percent=_percent(c.replaced_right, c.replaced),
        realtime_factor=round(c.seconds / c.duration_s, 4) if c.duration_s else None,
        cpu_factor=round(c.cpu_s / c.duration_s, 4) if c.duration_s else None,
        audio_passes=round(c.audio_s / c.duration_s, 2) if c.duration_s else None,
        counts=c,
    )


def _percent(part: float, whole: float) -> float | None:
    return round(100 * part / whole, 3) if whole else None
