"""Cases with wrong transcripts: what a case says of its words and of its audio is true."""

from collections import Counter

import numpy as np
import pytest

from demo.recordings import long_recording
from demo.sounds import SILENCE, SOUNDS, sound
from demo.transcript_edits import MOVED, REPEATED, REPLACED, SPOKEN, Edit, Editor, plain
from demo.wrong_transcripts import QUICK, Repeat, Spec, make, specs

RATE_HZ = 16_000
TOKENS = [f"{'S' if number % 8 == 0 else 's'}poken{number}" for number in range(200)]
RUNS = [Edit(kind, 20, at) for kind in ("inserted", "missing", REPEATED) for at in (0.0, 0.5, 1.0)] + [
    Edit(MOVED, 20, 0.4)
]
ALL_OVER = [Edit(REPLACED, 0.05), Edit("left out", 0.05), Edit("short insertions")]
FAULTY = Spec("a test", "several", 0.4, (Edit("missing", 6, 0.1), Edit("inserted", 7, 0.5), Edit("music", 3.0, 0.6)))


def edited(*edits):
    editor = Editor(TOKENS, 1)
    editor.apply(list(edits))
    return editor.entries


@pytest.fixture(scope="module")
def recording():
    return long_recording(FAULTY.minutes * 60, FAULTY.seed)


@pytest.fixture(scope="module")
def case():
    return make(FAULTY)


def test_there_are_enough_recordings_of_each_length_and_fault():
    made = specs()
    long = [spec for spec in made if spec.minutes >= 2]
    assert len(long) >= 60 and max(spec.minutes for spec in long) == 30
    assert len({spec.name for spec in made}) == len(made)
    assert sum(spec.kind == "right" and not spec.edits for spec in long) >= 8
    for kind in ("inserted", "missing"):
        edits = [spec.edits[0] for spec in long if spec.kind == kind]
        assert {edit.amount for edit in edits} == {5, 15, 40, 100, 300}
        assert {0.0, 1.0} < {edit.at for edit in edits}
    assert {edit.kind for spec in long for edit in spec.edits} >= {*SOUNDS, SILENCE, REPEATED, MOVED, REPLACED}
    assert all(10 <= edit.amount <= 90 for spec in long for edit in spec.edits if edit.kind in (*SOUNDS, SILENCE))
    assert set(QUICK) <= {spec.name for spec in made}
    assert {spec.kind for spec in made if spec.name in QUICK} == {spec.kind for spec in made}


@pytest.mark.parametrize("edit", RUNS + ALL_OVER, ids=str)
def test_a_word_that_is_called_spoken_is_the_spoken_word(edit):
    entries = edited(edit)
    for entry in entries:
        assert (entry.token in TOKENS) == (entry.spoken is not None)
        assert entry.spoken is None or TOKENS[entry.spoken] == entry.token
    in_order = [entry.spoken for entry in entries if entry.label == SPOKEN]
    assert in_order == sorted(set(in_order))


@pytest.mark.parametrize(
    "edit, words, labels",
    [
        (Edit("inserted", 20, 0.5), 220, {"spoken": 200, "inserted": 20}),
        (Edit("missing", 20, 1.0), 180, {"spoken": 180}),
        (Edit(REPEATED, 20, 0.5), 220, {"spoken": 200, "repeated": 20}),
        (Edit(MOVED, 20, 0.4), 200, {"spoken": 180, "moved": 20}),
        (Edit(REPLACED, 0.05), 200, {"spoken": 190, "replaced": 10}),
        (Edit("left out", 0.05), 190, {"spoken": 190}),
    ],
    ids=str,
)
def test_a_fault_is_as_large_as_it_is_said_to_be(edit, words, labels):
    entries = edited(edit)
    assert len(entries) == words
    assert Counter(entry.label for entry in entries) == labels


def test_short_insertions_have_one_to_four_words():
    labels = "".join("i" if entry.spoken is None else " " for entry in edited(Edit("short insertions")))
    assert {len(run) for run in labels.split()} <= {1, 2, 3, 4}
    assert len(labels.split()) == 5  # one for 40 words


def test_faults_at_the_start_and_at_the_end_are_there():
    assert edited(Edit("inserted", 20, 0.0))[20].spoken == 0
    assert edited(Edit("inserted", 5, 1.0))[-6].spoken == 199
    for count in (5, 20):
        assert edited(Edit("missing", count, 0.0))[0].spoken == count
        assert edited(Edit("missing", count, 1.0))[-1].spoken == 199 - count


def test_what_is_out_of_order_is_the_smaller_part():
    entries = edited(Edit(MOVED, 20, 0.4))
    begin = [entry.label for entry in entries].index(MOVED)
    assert [entry.label for entry in entries[begin : begin + 20]] == [MOVED] * 20
    assert abs(entries[begin].spoken - begin) > 20  # so many words it has passed


def test_a_long_fault_in_the_middle_begins_a_sentence_and_a_short_one_may_be_anywhere():
    begins = [[e.label for e in edited(Edit("inserted", count, 0.53))].index("inserted") for count in (20, 5)]
    assert begins == [104, 106]


def test_a_run_that_is_longer_than_its_transcript_is_refused():
    with pytest.raises(ValueError, match="200 words"):
        edited(Edit("missing", 201, 0.5))


def test_each_word_has_the_time_at_which_it_is_spoken(case, recording):
    start_s, end_s = case.sounds_s[0]
    before = recording.times_ms[:, 0] < 1000 * start_s
    true = recording.times_ms + np.where(before, 0, 1000 * (end_s - start_s))[:, None]
    spoken = [number for number in range(len(true)) if tuple(true[number]) in set(case.times_ms)]
    texts = [plain(token) for token, time in zip(case.transcript, case.times_ms, strict=True) if time is not None]
    assert texts == [recording.words[number].lower() for number in spoken]
    without = [number for number in range(len(true)) if number not in spoken]
    assert len(without) == 6 and np.diff(without).max() == 1
    assert case.untranscribed_s == [(true[without[0], 0] / 1000, true[without[-1], 1] / 1000)]


def test_a_sound_is_put_between_words_and_changes_no_other_sample(case, recording):
    start, end = (round(second * RATE_HZ) for second in case.sounds_s[0])
    assert end - start == 3 * RATE_HZ
    rest = np.concatenate([case.audio[:start], case.audio[end:]])
    assert len(rest) == len(recording.audio)
    np.testing.assert_allclose(rest, recording.audio, atol=0.1)  # espeak-ng's output may vary a little
    assert np.std(case.audio[start:end]) > 0.01
    times = [time for time in case.times_ms if time is not None]
    assert not any(start_ms < 1000 * end / RATE_HZ and end_ms > 1000 * start / RATE_HZ for start_ms, end_ms in times)


def test_the_same_name_gives_the_same_case_whatever_was_made_before():
    specs = [Spec(name, "several", 0.05, (Edit(REPLACED, 0.1), Edit("tone", 1.0, 1.0))) for name in ("one", "other")]
    one, other, again = make(specs[0]), make(specs[1]), make(specs[0])
    assert (again.transcript, again.labels, again.times_ms) == (one.transcript, one.labels, one.times_ms)
    assert (again.sounds_s, again.untranscribed_s) == (one.sounds_s, one.untranscribed_s)
    assert len(again.audio) == len(one.audio)
    assert other.transcript != one.transcript


def test_a_passage_that_is_there_twice_is_named():
    made = make(Spec("twice", REPEATED, 0.3, (Edit(REPEATED, 8, 0.5),)))
    (repeat,) = made.repeats
    first, second = (slice(start, start + 8) for start in (repeat.first, repeat.second))
    assert repeat == Repeat(repeat.first, repeat.first + 8, 8)
    assert made.transcript[first] == made.transcript[second]
    assert made.times_ms[first] == made.times_ms[second]
    assert made.untranscribed_s == []


@pytest.mark.parametrize("kind", [*SOUNDS, SILENCE])
def test_sounds_are_seeded_and_of_their_length(kind):
    made, again, other = (sound(kind, 2.0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert made.shape == (2 * RATE_HZ,) and made.dtype == np.float32
    assert np.array_equal(made, again) and not np.array_equal(made, other)
    assert (np.abs(made).max() < 0.01) == (kind == SILENCE)
    assert np.abs(made).max() < 0.6
