"""The output formats: other programs' readers read them back, with the transcript's own spelling."""

import json

import pysubs2
import pytest
from praatio import textgrid

from forced_aligner.base.errors import UserError
from forced_aligner.output.cues import CueOptions, count_words_without_length, group_cues, spans, subtitle_spans
from forced_aligner.output.formats import FORMATS, parse_formats
from forced_aligner.output.records import TimedFile, TimedWord
from forced_aligner.output.spelling import written_words


def spelled(transcript, words):
    return [(stretch.text, stretch.word) for stretch in written_words(transcript, words)]


@pytest.mark.parametrize(
    ("transcript", "words", "expected"),
    [
        ("Hello, world!", ["Hello", "world"], [("Hello,", 0), ("world!", 1)]),
        ('He said "no way" (twice).', ["He", "said", "no", "way", "twice"],
         [("He", 0), ("said", 1), ('"no', 2), ('way"', 3), ("(twice).", 4)]),
        ("one — two", ["one", "two"], [("one", 0), ("—", None), ("two", 1)]),
        ("... one ...", ["one"], [("...", None), ("one", 0), ("...", None)]),
        ("it's 3.5 o'clock", ["it's", "35", "o'clock"], [("it's", 0), ("3.5", 1), ("o'clock", 2)]),
        ("你好，世界「人」。", list("你好世界人"), [("你", 0), ("好，", 1), ("世", 2), ("界", 3), ("「人」。", 4)]),
        ("well-known", ["wellknown"], [("well-known", 0)]),
        ("one\n two", ["one", "two"], [("one", 0), ("two", 1)]),
        # as nagisa spells them: full-width digits and half-width kana in their usual width
        ("２０２３年、ﾃﾞｰﾀ（Ａ）５㌔", ["2023", "年", "データ", "A", "5", "キロ"],
         [("２０２３", 0), ("年、", 1), ("ﾃﾞｰﾀ", 2), ("（Ａ）", 3), ("５", 4), ("㌔", 5)]),
        ("か\u3099く", ["がく"], [("か\u3099く", 0)]),
    ],
)  # fmt: skip
def test_every_word_keeps_its_spelling_and_its_place(transcript, words, expected):
    assert spelled(transcript, words) == expected


def test_no_letter_is_lost_or_doubled():
    transcript = 'First - "second", (third) ... fourth; ¿fifth? 6th'
    stretches = written_words(transcript, ["First", "second", "third", "fourth", "fifth", "6th"])
    assert " ".join(stretch.text for stretch in stretches) == transcript
    assert [stretch.word for stretch in stretches if stretch.word is not None] == list(range(6))


def test_words_that_the_transcript_does_not_spell_are_refused():
    with pytest.raises(UserError, match="'colour' is not spelled so in the transcript"):
        written_words("the color", ["the", "colour"])


def timed(*words, duration_s=10.0):
    """A file of words (text, start_ms, end_ms[, no_space_before]); the times are None where there is no word."""
    return TimedFile(
        audio="folder/my talk.wav",
        language="English",
        duration_s=duration_s,
        words=[
            TimedWord(
                text=text,
                word=text.strip(".,!") if start is not None else None,
                start_time_ms=start,
                end_time_ms=end,
                confidence=0.875 if start is not None else None,
                no_space_before=bool(no_space_before),
            )
            for text, start, end, *no_space_before in words
        ],
    )


FILE = timed(
    ("Hello,", 80, 400), ("—", None, None), ("big", 400, 400), ("world.", 400, 880), ("Again!", 2400, 3200)
)  # fmt: skip


def test_words_without_a_length_last_one_mel_frame_and_delay_the_next_word():
    assert [(word.start_ms, word.end_ms) for word in spans(FILE)] == [(80, 400), (400, 410), (410, 880), (2400, 3200)]
    assert count_words_without_length(FILE) == 1


def test_json_has_the_raw_times_and_reads_back():
    assert TimedFile.model_validate_json(FORMATS["json"].write(FILE, CueOptions())) == FILE
    raw = json.loads(FORMATS["json"].write(FILE, CueOptions()))
    assert (raw["words"][2]["start_time_ms"], raw["words"][2]["end_time_ms"]) == (400, 400)
    assert raw["words"][1] == {
        "text": "—", "word": None, "start_time_ms": None, "end_time_ms": None, "confidence": None, "weak": False,
        "glued": False,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["srt", "vtt", "ass"])
def test_subtitles_read_back_with_the_whole_text(name):
    events = pysubs2.SSAFile.from_string(FORMATS[name].write(FILE, CueOptions()), format_=name).events
    assert [event.plaintext for event in events] == ["Hello, — big world.", "Again!"]
    assert [(event.start, event.end) for event in events] == [(80, 880), (2400, 3200)]


def test_cues_keep_their_limits():
    words = spans(timed(*((f"word{i}", i * 500, i * 500 + 400) for i in range(40)), duration_s=20))
    options = CueOptions(max_line_chars=20, max_cue_s=2.0)
    cues = group_cues(words, options)
    assert [word for cue in cues for word in cue] == words
    for cue in cues:
        assert len(" ".join(word.text for word in cue)) <= 20
        assert cue[-1].end_ms - cue[0].start_ms <= 2000
    limited_by_time = group_cues(words, CueOptions(max_line_chars=1000, max_cue_s=2.0))
    assert {len(cue) for cue in limited_by_time} == {4}


def test_a_word_longer_than_a_line_is_a_cue_of_its_own():
    words = spans(timed(("a" * 50, 0, 500), ("b", 500, 900)))
    assert [len(cue) for cue in group_cues(words, CueOptions())] == [1, 1]


def test_karaoke_marks_every_word():
    vtt = FORMATS["vtt"].write(FILE, CueOptions(karaoke=True))
    assert "<00:00:00.080>Hello, — <00:00:00.400>big <00:00:00.410>world." in vtt
    ass = FORMATS["ass"].write(timed(("one", 100, 400), ("two", 600, 900)), CueOptions(karaoke=True))
    assert r"{\k30}one{\k20} {\k30}two" in ass


def test_characters_that_mean_something_in_a_format_are_escaped():
    file = timed(("a<b>&{c}", 0, 500))
    assert "a&lt;b&gt;&amp;(c)" in FORMATS["vtt"].write(file, CueOptions())
    assert pysubs2.SSAFile.from_string(FORMATS["ass"].write(file, CueOptions())).events[0].plaintext == "a<b>&(c)"


def test_chinese_words_are_joined_without_spaces():
    file = timed(("你", 0, 200), ("好，", 200, 400, True), ("世", 400, 600, True))
    assert FORMATS["srt"].write(file, CueOptions()).splitlines()[2] == "你好，世"


def test_text_before_the_first_word_is_not_lost():
    assert [span.text for span in subtitle_spans(timed(("...", None, None), ("one", 0, 80)))] == ["... one"]


def test_a_textgrid_reads_back(tmp_path):
    path = tmp_path / "talk.TextGrid"
    path.write_text(FORMATS["textgrid"].write(FILE, CueOptions()), encoding="utf-8")
    tier = textgrid.openTextgrid(str(path), includeEmptyIntervals=False).getTier("words")
    assert [entry.label for entry in tier.entries] == ["Hello,", "big", "world.", "Again!"]
    assert [(entry.start, entry.end) for entry in tier.entries] == [(0.08, 0.4), (0.4, 0.41), (0.41, 0.88), (2.4, 3.2)]
    assert tier.maxTimestamp == 10.0


def test_a_textgrid_keeps_words_that_were_moved_past_the_end(tmp_path):
    file = timed(("a", 1000, 1000), ("b", 1000, 1000), duration_s=1.0)
    (tmp_path / "t").write_text(FORMATS["textgrid"].write(file, CueOptions()), encoding="utf-8")
    assert len(textgrid.openTextgrid(str(tmp_path / "t"), includeEmptyIntervals=False).getTier("words").entries) == 2


def test_ctm_has_six_fields_a_line():
    lines = FORMATS["ctm"].write(FILE, CueOptions()).splitlines()
    assert lines[0] == "my_talk 1 0.080 0.320 Hello, 0.875"
    assert all(len(line.split()) == 6 for line in lines)
    assert len(lines) == 4


def test_audacity_labels_have_raw_times():
    assert FORMATS["audacity"].write(FILE, CueOptions()).splitlines()[1] == "0.400\t0.400\tbig"


def test_tsv_lists_every_word():
    lines = FORMATS["tsv"].write(FILE, CueOptions()).splitlines()
    assert lines[:3] == ["start_ms\tend_ms\tword\tconfidence", "80\t400\tHello,\t0.875", "\t\t—\t"]


def test_formats_are_named_in_the_error():
    assert parse_formats("srt, JSON,srt") == ["srt", "json"]
    with pytest.raises(UserError, match="no format 'doc'; expected some of json, srt, vtt, ass, textgrid, ctm"):
        parse_formats("doc")
