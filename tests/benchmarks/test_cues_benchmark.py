"""What the benchmark of cues counts."""

import pysubs2

from benchmarks.cues import ABBREVIATIONS, PROSE, figures


def event(start_ms, end_ms, text):
    return pysubs2.SSAEvent(start=start_ms, end=end_ms, text=text.replace("\n", "\\N"))


def test_every_broken_rule_is_counted():
    counts = figures(
        [
            event(0, 800, "I met Mr."),
            event(790, 1790, "Smith"),
            event(2000, 3000, "who speaks very fast today,"),
            event(3000, 10_100, "one\ntwo\nthree."),
            event(11_000, 15_000, "a line of forty-three characters and 1 more."),
        ]
    )
    rules = ["below_least_duration", "above_longest_duration", "one_word", "above_reading_speed", "above_two_lines"]
    rules += ["line_too_wide", "ends_in_an_abbreviation", "overlaps_the_next", "ends_with_a_clause"]
    assert {counts[rule] for rule in rules} == {1}
    assert (counts["cues"], counts["ends_with_a_sentence"]) == (5, 2)


def test_no_sentence_of_the_prose_ends_in_an_abbreviation():
    lines = [line for line in PROSE.read_text(encoding="utf-8").splitlines() if line]
    assert 1500 < sum(len(line.split()) for line in lines) < 1800
    assert not [line for line in lines if ABBREVIATIONS.fullmatch(line.split()[-1])]
