"""The scores of the benchmark of wrong transcripts, on alignments that are right or wrong in known places."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.transcript_faults.picture import curve, plot
from benchmarks.transcript_faults.records import CaseResult, row
from benchmarks.transcript_faults.score import Scored
from benchmarks.transcript_faults.tables import tables
from demo.transcript_edits import INSERTED, MOVED, REPEATED, REPLACED, SPOKEN
from demo.wrong_transcripts import Case, Repeat
from forced_aligner.align.chain import Alignment
from forced_aligner.data.records import WordTime


def case_of(labels, *, repeats=(), untranscribed_s=(), sounds_s=()):
    """One word a second, for half a second, where somebody speaks; a second copy has the times of the first."""
    times_ms, second = [], 0
    for index, label in enumerate(labels):
        copied = next((r.first + index - r.second for r in repeats if r.second <= index < r.second + r.count), None)
        if copied is not None:
            times_ms.append(times_ms[copied])
            continue
        times_ms.append(None if label in (INSERTED, REPLACED) else (1000.0 * second, 1000.0 * second + 500))
        second += label != INSERTED
    words = [f"word{index}," for index in range(len(labels))]
    audio = np.zeros(16_000 * second, np.float32)
    return Case("made", "made", audio, words, labels, times_ms, list(untranscribed_s), list(sounds_s), list(repeats))


def aligned(case, *, shifts=None, not_found=(), untranscribed_s=(), weak=()):
    """The true times, shifted by ms where told; words without true times get 0."""
    words = []
    for index, (token, time) in enumerate(zip(case.transcript, case.times_ms, strict=True)):
        start, end = time or (0.0, 0.0)
        shift = (shifts or {}).get(index, 0)
        words.append(WordTime(text=token.strip(","), start_time_ms=start + shift, end_time_ms=end + shift))
    return Alignment(
        words,
        [0.3 if index in weak else 1.0 for index in range(len(words))],
        case.duration_s,
        not_found=frozenset(not_found),
        untranscribed_s=list(untranscribed_s),
    )


def counts(case, **told):
    return Scored(case, aligned(case, **told)).counts()


def line(case, **told):
    result = CaseResult(name="", kind="", faults="", counts=counts(case, **told))
    return row("", [result])


def test_a_perfect_alignment_has_full_marks():
    labels = [SPOKEN] * 10 + [INSERTED] * 6 + [SPOKEN] * 4 + [REPLACED] + [SPOKEN] * 3 + [INSERTED] * 2
    made = line(case_of(labels), not_found=[*range(10, 16), 20, 24, 25])
    assert (made.within_160ms_percent, made.beyond_1s_percent, made.lost_percent) == (100, 0, 0)
    assert (made.recall_long_percent, made.precision_long_percent) == (100, 100)
    assert (made.recall_short_percent, made.precision_short_percent, made.recall_replaced_percent) == (100, 100, 100)
    assert made.counts.boundaries == 2 * 17


def test_boundaries_are_counted_and_not_words():
    case = case_of([SPOKEN] * 10)
    alignment = aligned(case, shifts={1: 160, 2: 161, 3: 1001})
    word = alignment.words[4]
    alignment.words[4] = replace(word, end_time_ms=word.end_time_ms + 2000)
    made = Scored(case, alignment).counts()
    assert (made.boundaries, made.within_160ms, made.beyond_1s, made.lost) == (20, 15, 3, 0)


def test_a_spoken_word_that_was_not_found_is_lost_and_costs_precision():
    made = line(case_of([SPOKEN] * 10 + [INSERTED] * 5 + [SPOKEN] * 5), not_found=[9, *range(10, 15)])
    assert made.counts.lost == 2 and made.counts.beyond_1s == 0 and made.within_160ms_percent < 100
    assert made.recall_long_percent == 100
    assert made.precision_long_percent == pytest.approx(100 * 5 / 6, abs=0.01)


def test_an_error_loses_every_spoken_word_and_recognises_none():
    case = case_of([SPOKEN] * 10 + [INSERTED] * 5, repeats=[])
    made = Scored(case, None).counts()
    assert (made.errors, made.lost, made.boundaries) == (1, 20, 20)
    assert (made.long_runs, made.long_runs_right, made.wrong_cases) == (5, 0, 0)


def test_runs_of_five_words_are_long_and_of_four_short():
    labels = [INSERTED] * 5 + [SPOKEN] * 3 + [INSERTED] * 4 + [SPOKEN] * 3 + [REPLACED] + [SPOKEN]
    made = counts(case_of(labels), not_found=[0, 1, 2, 8, 15])
    assert (made.long_runs, made.long_runs_right) == (5, 3)
    assert (made.short_runs, made.short_runs_right) == (4, 1)
    assert (made.replaced, made.replaced_right) == (1, 1)
    assert (made.flagged_in_long, made.flagged_in_short, made.flagged_in_short_right) == (0, 5, 5)


@pytest.mark.parametrize("not_found", [[], range(5, 10)])
def test_a_moved_passage_is_not_judged(not_found):
    labels = [SPOKEN] * 5 + [MOVED] * 5 + [SPOKEN] * 5
    made = counts(case_of(labels), not_found=not_found, shifts=dict.fromkeys(range(5, 10), 9000))
    assert made.boundaries == made.within_160ms == 20
    assert made.long_runs == made.flagged_in_long == 0


@pytest.mark.parametrize("taken", [0, 2, 6])
def test_either_copy_of_a_passage_or_a_part_of_each_may_be_found(taken):
    case = case_of([SPOKEN] * 10 + [REPEATED] * 6 + [SPOKEN] * 4, repeats=[Repeat(4, 10, 6)])
    not_found = [*range(4 + taken, 10), *range(10, 10 + taken)]
    made = counts(case, not_found=not_found, shifts=dict.fromkeys(not_found, 5000))
    assert made.boundaries == made.within_160ms == 2 * 14
    assert made.long_runs == made.long_runs_right == made.flagged_in_long_right == 6


def test_both_copies_of_a_passage_are_too_many():
    case = case_of([SPOKEN] * 10 + [REPEATED] * 6 + [SPOKEN] * 4, repeats=[Repeat(4, 10, 6)])
    made = counts(case, shifts=dict.fromkeys(range(10, 16), 5000))
    assert made.within_160ms == made.boundaries
    assert (made.long_runs, made.long_runs_right) == (6, 0)


def test_wrong_words_are_silent_unless_their_place_is_named():
    case = case_of([SPOKEN] * 100)
    shifts = dict.fromkeys((50, 51, 54, 90), 1500)
    silent = counts(case, shifts=shifts, weak=[20])
    assert (silent.places_far_off, silent.places_named, silent.wrong_cases, silent.silent_cases) == (2, 0, 1, 1)
    for told in ({"weak": [48]}, {"not_found": [48]}, {"untranscribed_s": [(40.0, 45.0)]}):
        named = counts(case, shifts=shifts, **told)
        assert (named.places_named, named.wrong_cases, named.silent_cases) == (1, 1, 0)
    assert counts(case_of([SPOKEN] * 101), shifts={3: 1500}).wrong_cases == 0  # less than one percent


def test_a_message_about_a_place_where_nothing_is_wrong_is_a_false_alarm():
    case = case_of([SPOKEN] * 50 + [INSERTED] * 5 + [SPOKEN] * 50)
    not_found = range(50, 55)
    made = counts(case, weak=[48, 49, 85], not_found=not_found, untranscribed_s=[(20.0, 24.0)])
    assert (made.alarms, made.false_alarms, made.cases_with_false_alarms) == (3, 2, 1)
    assert counts(case, weak=[48], not_found=not_found).false_alarms == 0


def test_a_word_that_lasts_too_long_names_its_place():
    case = case_of([SPOKEN] * 50)
    told = aligned(case, shifts={20: 1500})
    told.words[20] = replace(told.words[20], start_time_ms=20_000)
    assert case.times_ms[20] == (20_000, 20_500) and told.words[20].end_time_ms == 22_000
    assert Scored(case, told).counts().places_named == 0
    told.words[20] = replace(told.words[20], end_time_ms=22_100)
    assert Scored(case, told).counts().places_named == 1


def test_stretches_without_words_are_found_and_those_with_words_are_not_listed():
    case = case_of([SPOKEN] * 60, untranscribed_s=[(60.0, 70.0), (80.0, 81.0)])
    made = counts(case, untranscribed_s=[(61.0, 70.0), (10.0, 12.0)])
    assert (made.stretches, made.stretches_listed, made.listed_s) == (1, 1, 11)
    assert made.listed_with_words_s == pytest.approx(1.0)
    assert counts(case, untranscribed_s=[(66.0, 70.0)]).stretches_listed == 0


def test_words_that_are_not_the_transcripts_are_refused():
    case, other = case_of([SPOKEN] * 3), case_of([SPOKEN] * 4)
    with pytest.raises(ValueError, match="not those of the transcript"):
        Scored(case, aligned(other))


def test_the_tables_have_a_row_for_each_kind_and_the_picture_is_drawn(tmp_path):
    case = case_of([SPOKEN] * 20 + [INSERTED] * 5, untranscribed_s=[(2.0, 4.0)], sounds_s=[(5.0, 6.0)])
    scored = Scored(case, aligned(case, shifts={3: 400}, not_found=[7]))
    result = CaseResult(name="made", kind="made", faults="", counts=scored.counts())
    assert [table.row_count for table in tables([row("made", [result, result]), row("all", [result])])] == [2, 2]
    assert row("made", [result, result]).counts.boundaries == 80
    shown = curve(scored)
    assert shown.errors_ms.tolist().count(400.0) == 1 and np.isinf(shown.errors_ms[7])
    assert shown.inserted_s == [(19.5, 5)]
    plot({"made": shown, "again": shown}, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
