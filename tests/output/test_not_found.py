"""Words that were not found, sound without words, and times that are hard to believe: in every format, and in words."""

import csv
import io
import json

import ass
import pysubs2
import pytest
import srt
import tgt
import webvtt

from forced_aligner.base.errors import IncompleteError
from forced_aligner.data.records import WordTime
from forced_aligner.output.cues import CueOptions
from forced_aligner.output.doubts import doubts
from forced_aligner.output.formats import FORMATS
from forced_aligner.output.records import NotFound, Stretch, TimedFile, TimedWord
from forced_aligner.output.remarks import SHOWN_RANGES, not_found_ranges, remarks, require_complete

STEP_MS = 500


def spoken(text, glued=False, **changes):
    """A file of the words of `text`, half a second each: `[word]` was not found, and a dash is no word."""
    words = []
    for number, written in enumerate(text.split()):
        place = {"no_space_before": glued and number > 0}
        if written == "—":
            words.append(TimedWord(text=written))
        elif written.startswith("["):
            words.append(TimedWord(text=written.strip("[]"), word="x", status="not-found", **place))
        else:
            times = {"start_time_ms": STEP_MS * number, "end_time_ms": STEP_MS * (number + 1)}
            words.append(TimedWord(text=written, word="x", confidence=0.9, **times, **place))
    ranges = not_found_ranges([word for word in words if word.word])
    return TimedFile(audio="talk.wav", language=None, duration_s=60, words=words, not_found=ranges, **changes)


def test_json_marks_them_and_says_nothing_where_all_is_well():
    raw = json.loads(FORMATS["json"].write(spoken("one [two] three"), CueOptions()))
    assert raw["words"][1] == {
        "text": "two", "word": "x", "start_time_ms": None, "end_time_ms": None, "confidence": None, "weak": False,
        "glued": False, "mark": None, "status": "not-found",
    }  # fmt: skip
    assert raw["not_found"] == [{"first_word": 2, "last_word": 2, "near_s": 0.5}]
    right = spoken("one two")
    assert not {"not_found", "untranscribed"} & set(json.loads(right.model_dump_json()))
    assert not {"status", "doubtful"} & set(json.loads(right.model_dump_json())["words"][0])


def test_what_json_says_is_read_back():
    file = spoken("one [two] — [three] four", untranscribed=[Stretch(start_s=61, end_s=83.5)])
    file.words[0] = file.words[0].model_copy(update={"doubtful": "long"})
    assert TimedFile.model_validate_json(FORMATS["json"].write(file, CueOptions())) == file


def test_textgrid_has_an_empty_interval_there_and_ctm_and_audacity_leave_them_out():
    file = spoken("one [two] three")
    tier = tgt.io3.read_textgrid(
        io.StringIO(FORMATS["textgrid"].write(file, CueOptions())), include_empty_intervals=True
    )
    intervals = [(float(i.start_time), float(i.end_time), i.text) for i in tier.get_tier_by_name("words")]
    assert intervals[:3] == [(0, 0.5, "one"), (0.5, 1, ""), (1, 1.5, "three")]
    assert [line.split()[4] for line in FORMATS["ctm"].write(file, CueOptions()).splitlines()] == ["one", "three"]
    labels = [line.split("\t")[2] for line in FORMATS["audacity"].write(file, CueOptions()).splitlines()]
    assert labels == ["one", "three"]


def test_tsv_lists_them_without_times():
    rows = list(csv.reader(io.StringIO(FORMATS["tsv"].write(spoken("one [two]"), CueOptions())), "excel-tab"))
    assert rows[2] == ["", "", "two", ""]


READERS = {
    "srt": lambda text: [cue.content for cue in srt.parse(text)],
    "vtt": lambda text: [cue.text for cue in webvtt.from_string(text)],
    "ass": lambda text: [event.text for event in ass.Document.parse_string(text).events],
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    ("text", "cues"),
    [
        ("one [two] three.", ["one two three."]),
        ("[one] two", ["one two"]),
        ("one two [three]", ["one two three"]),
        (
            "They have all gone home now. [He] sat there for long. [Then] [rose.]",
            ["They have all gone home now.", "He sat there for long. Then rose."],
        ),
        ("One and only [two.] Then there came three", ["One and only two.", "Then there came three"]),
        ("one [a] [b] — [c] [d]", ["one a b — c d"]),
        ("one — [a] [b] — [c] [d] [e] — two", ["one — —", "two"]),
        ("[a] [b] [c] [d] [e] one.", ["one."]),
        ("One. [A] [b] [c] [d] [e.] Two.", ["One.", "Two."]),
        ("[one] [two]", []),
        ("[a] [b] [c] [d] [e]", []),
    ],
)
def test_subtitles_show_a_few_of_them_with_their_neighbours_and_leave_out_a_passage(name, text, cues):
    content = FORMATS[name].write(spoken(text), CueOptions())
    assert READERS[name](content) == cues
    assert len(pysubs2.SSAFile.from_string(content, format_=name).events) == len(cues)


def test_in_chinese_they_are_joined_without_a_space():
    assert READERS["srt"](FORMATS["srt"].write(spoken("你 [好] 世 界", glued=True), CueOptions())) == ["你好世界"]


def test_karaoke_marks_them_with_their_neighbour():
    content = FORMATS["vtt"].write(spoken("one [two] three"), CueOptions(karaoke=True))
    assert "\none two <00:00:01.000>three" in content


def test_ranges_count_words_and_no_dashes_and_name_the_place():
    file = spoken("[a] — [b] one — [c] [d] two three [e]")
    assert file.not_found == [
        NotFound(first_word=1, last_word=2, near_s=1.5),
        NotFound(first_word=4, last_word=5, near_s=2.0),
        NotFound(first_word=8, last_word=8, near_s=4.5),
    ]
    assert remarks(file, 0.0) == [
        'words 1 to 2 were not found (about 1.5 s): "a b"',
        'words 4 to 5 were not found (about 2.0 s): "c d"',
        'word 8 was not found (about 4.5 s): "e"',
    ]


def test_a_long_range_is_quoted_from_both_ends():
    (line,) = remarks(spoken("one [A] [b] [c] [d] [e.]"), 0.0)
    assert line == 'words 2 to 6 were not found (about 0.5 s): "A b" ... "d e."'


def test_many_ranges_are_told_as_a_number():
    lines = remarks(spoken("one [x] " * (SHOWN_RANGES + 3)), 0.0)
    assert len(lines) == SHOWN_RANGES + 1
    assert lines[-1] == "and 3 more ranges of words that were not found; JSON has all of them"


def test_sound_without_words_is_told_with_its_place():
    file = spoken("one", untranscribed=[Stretch(start_s=61, end_s=83.5)])
    assert remarks(file, 0.0) == ["no words from 61.0 to 83.5 s, where there is sound"]


def test_weak_words_are_listed_as_ranges():
    file = spoken("a b c [x] d e")
    weak = [word.model_copy(update={"weak": word.text in "bce"}) for word in file.words]
    assert remarks(file.model_copy(update={"words": weak, "not_found": []}), 0.5) == [
        "3 of 5 words are weak (confidence below 0.5): 2 to 3 (0.5 to 1.5 s), 6 (2.5 to 3.0 s)"
    ]


def test_a_speaker_of_whom_nothing_is_shown_has_no_label():
    file = spoken("Hello. ANNA: [a] [b] [c] [d] [e] [f] BOB: Yes.")
    words = [TimedWord(text=word.text, mark="label") if word.text.endswith(":") else word for word in file.words]
    file = file.model_copy(update={"words": words})
    texts = [cue.content for cue in srt.parse(FORMATS["srt"].write(file, CueOptions()))]
    assert texts == ["Hello.", "BOB: Yes."]


def test_a_number_in_digits_that_is_weak_is_hinted_at():
    file = spoken("in 1984 it cost $3.50 each")
    weak = [word.model_copy(update={"weak": word.text == "$3.50"}) for word in file.words]
    lines = remarks(file.model_copy(update={"words": weak}), 0.5)
    assert lines[1:] == ['1 of these words are in digits, such as "$3.50": write numbers as they are spoken']
    assert remarks(file, 0.0) == []


def times(*words):
    return [WordTime(text=text, start_time_ms=start, end_time_ms=end) for text, start, end in words]


def test_a_word_that_lasts_longer_than_speech_is_doubtful():
    """The Montreal Forced Aligner's issue 966: `sit` lasts 298.8 s."""
    assert doubts(times(("I", 0, 80), ("sit", 80, 298_880), ("there", 298_880, 300_880))) == [None, "long", None]


@pytest.mark.parametrize("word", ["Donaudampfschifffahrtsgesellschaft", "0441234567"])
def test_a_long_word_and_a_long_number_may_last_longer(word):
    assert doubts(times((word, 0, 4000), ("two", 4000, 8000))) == [None, "long"]


def test_words_that_all_lie_at_one_time_are_doubtful_and_single_ones_are_not():
    same = [(word, 800, 800) for word in "abcd"]
    assert doubts(times(("x", 0, 80), *same)) == [None, *["no-length"] * 4]
    assert doubts(times(*same[:3], ("x", 800, 880))) == [None] * 4
    assert doubts(times(*same[:3], ("x", 880, 880), ("y", 880, 880))) == [None] * 5  # at two times


def test_doubtful_words_are_named_with_their_place():
    file = spoken("I sit a b c d")
    changes = {"sit": {"doubtful": "long", "start_time_ms": 12_100, "end_time_ms": 310_900}}
    changes |= {text: {"doubtful": "no-length", "start_time_ms": 311_000, "end_time_ms": 311_000} for text in "abcd"}
    words = [word.model_copy(update=changes.get(word.text, {})) for word in file.words]
    ask = "does the transcript say what is spoken there?"
    assert remarks(file.model_copy(update={"words": words}), 0.0) == [
        f'word 2, "sit", lasts 298.8 s, from 12.1 to 310.9 s: {ask}',
        f'words 3 to 6, "a b c d", all lie at 311.0 s and last no time: {ask}',
    ]


@pytest.mark.parametrize(
    ("text", "stretches", "message"),
    [
        ("one [two]", [], r"1 of 2 words was not found; the result is written"),
        ("one", [(1, 3.5), (10, 12)], r"4\.5 s of sound have no words; "),
        ("[one]", [(1, 3)], r"1 of 1 words was not found and 2\.0 s of sound have no words; "),
    ],
)
def test_strict_refuses_what_is_missing(text, stretches, message):
    untranscribed = [Stretch(start_s=start_s, end_s=end_s) for start_s, end_s in stretches]
    with pytest.raises(IncompleteError, match=message) as caught:
        require_complete(spoken(text, untranscribed=untranscribed))
    assert caught.value.exit_code == 1
    require_complete(spoken("one — two"))
