"""The output formats: other programs' readers read them back, with the transcript's own spelling."""

import csv
import html
import io
import json
import re

import ass
import pysubs2
import pytest
import srt
import tgt
import webvtt
from praatio import textgrid

from forced_aligner.base.errors import UserError
from forced_aligner.output.cues import CueOptions, count_words_without_length, spans, subtitle_spans
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
        "text": "—", "word": None, "start_time_ms": None, "end_time_ms": None, "confidence": None, "mark": None,
        "weak": False, "glued": False,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["srt", "vtt", "ass"])
def test_subtitles_read_back_with_the_whole_text(name):
    events = pysubs2.SSAFile.from_string(FORMATS[name].write(FILE, CueOptions()), format_=name).events
    assert [event.plaintext for event in events] == ["Hello, — big world.", "Again!"]
    assert [event.start for event in events] == [80, 2400]
    # 19 characters take 950 ms at 20 a second, and the least duration is 833 ms; ASS has hundredths of a second
    assert [event.end for event in events] == [1030, 3230 if name == "ass" else 3233]


def test_karaoke_marks_every_word():
    vtt = FORMATS["vtt"].write(FILE, CueOptions(karaoke=True))
    assert "\nHello, — <00:00:00.400>big <00:00:00.410>world." in vtt
    ass = FORMATS["ass"].write(timed(("one", 100, 400), ("two", 600, 900)), CueOptions(karaoke=True))
    assert r"{\k30}one{\k20} {\k30}two" in ass


MARKUP = r'a<b>&{c} C:\new \N "d" {\an8} &lt;'


def written(name, *words, karaoke=False, **changes):
    return FORMATS[name].write(timed(*words, **changes), CueOptions(karaoke=karaoke))


def test_srt_has_no_escapes_so_text_is_written_as_it_is():
    (cue,) = srt.parse(written("srt", (MARKUP, 0, 500)))
    assert cue.content == MARKUP.replace(r"{\an8}", "{\u2060\\an8}")  # players would hide it, and move the cue


@pytest.mark.parametrize("karaoke", [False, True])
def test_vtt_is_escaped_as_html(karaoke):
    (cue,) = webvtt.from_string(written("vtt", (MARKUP, 0, 500), karaoke=karaoke))
    assert cue.raw_text.endswith(r'a&lt;b&gt;&amp;{c} C:\new \N "d" {\an8} &amp;lt;')
    assert html.unescape(cue.text) == MARKUP


@pytest.mark.parametrize("karaoke", [False, True])
def test_ass_parts_a_backslash_from_its_letter_and_has_no_foreign_braces(karaoke):
    (event,) = ass.Document.parse_string(written("ass", (MARKUP, 0, 500), karaoke=karaoke)).events
    text = re.sub(r"\{\\k\d+\}", "", event.text)
    assert text.replace("\\\u2060", "\\") == MARKUP.replace("{", "(").replace("}", ")")
    assert "\\" not in text.replace("\\\u2060", "")


def test_a_quote_in_a_tsv_cell_does_not_swallow_the_rows_after_it():
    rows = list(csv.reader(io.StringIO(written("tsv", ('"no', 0, 80), ('way"', 80, 160))), "excel-tab"))
    assert [row[2] for row in rows] == ["word", '"no', 'way"']


def test_a_quote_in_a_textgrid_is_doubled():
    text = written("textgrid", ('"a"', 0, 80), ('"', 80, 160))
    assert 'text = """a"""' in text
    grid = tgt.io3.read_textgrid(io.StringIO(text))
    assert [interval.text for interval in grid.get_tier_by_name("words")] == ['"a"', '"']


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "json"])
def test_control_characters_of_a_transcript_are_in_no_file(name):
    text = written(name, ("\x1b[31mone\x00", 0, 80), ("t\two\u2028\x9b2J", 80, 160))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028]", text)
    assert "[31mone" in text


@pytest.mark.parametrize(
    ("audio", "recording"),
    [
        ("a/my talk.wav", "my_talk"),
        ("a\tb\nc.wav", r"a\tb\nc"),
        ("\x1b[31m\xa0x\u2028.wav", r"\x1b[31m_x\u2028"),
        (";;talk.wav", "_;talk"),
        ("", "_"),
    ],
)
def test_the_recording_of_a_ctm_is_one_token(audio, recording):
    text = FORMATS["ctm"].write(FILE.model_copy(update={"audio": audio}), CueOptions())
    assert {line.split(" ")[0] for line in text.splitlines()} == {recording}
    assert all(len(line.split()) == 6 for line in text.splitlines())


def test_half_a_surrogate_pair_is_replaced_so_that_every_format_can_be_written():
    assert timed(("a\ud83d", 0, 80)).words[0].text == "a\ufffd"


def test_no_time_is_written_beyond_the_end_of_the_audio():
    words = [("a", 100, 400), ("b", 900, 1200), ("c", 1200, 1200), ("d", 1300, 1500)]
    assert [(word.start_ms, word.end_ms) for word in spans(timed(*words, duration_s=1.0))] == [
        (100, 400), (900, 980), (980, 990), (990, 1000),
    ]  # fmt: skip
    rows = [line.split("\t") for line in written("audacity", *words, duration_s=1.0).splitlines()]
    assert [row[:2] for row in rows[1:]] == [["0.900", "1.000"], ["1.000", "1.000"], ["1.000", "1.000"]]
    assert "\n900\t1000\tb" in written("tsv", *words, duration_s=1.0)
    assert written("textgrid", *words, duration_s=1.0).count("xmax = 1 ") == 7  # grid, tiers, and the last of each


def test_times_are_rounded_to_a_formats_resolution_within_the_audio():
    words = [("a", 1.6, 1234.56)]
    assert "00:00:00,002 --> 00:00:01,234" in written("srt", *words, duration_s=1.2346)
    assert "0:00:00.00,0:00:01.23," in written("ass", ("a", 1.6, 1238), duration_s=1.239)
    assert written("ctm", *words, duration_s=1.2346).split()[2:4] == ["0.002", "1.232"]


@pytest.mark.parametrize("tick_ns", [1, 1_000_000])
def test_audio_that_is_too_short_for_its_words_is_shared_evenly(tick_ns):
    words = spans(timed(*[(f"w{index}", 0, 0) for index in range(8)], duration_s=0.04), tick_ns)
    assert [(word.start_ms, word.end_ms) for word in words] == [(5 * index, 5 * index + 5) for index in range(8)]


def test_a_recording_that_a_subtitle_format_cannot_tell_is_refused():
    file = timed(("a", 0, 80), duration_s=36_000)
    with pytest.raises(UserError, match=r"ass holds times below 10 hours, and it has 10\.0; choose another format"):
        FORMATS["ass"].write(file, CueOptions())
    assert FORMATS["srt"].write(file, CueOptions())


def test_chinese_words_are_joined_without_spaces():
    file = timed(("你", 0, 200), ("好，", 200, 400, True), ("世", 400, 600, True))
    assert FORMATS["srt"].write(file, CueOptions()).splitlines()[2] == "你好，世"


def test_text_before_the_first_word_is_not_lost():
    assert [span.text for span in subtitle_spans(timed(("...", None, None), ("one", 0, 80)), "en")] == ["... one"]


def test_a_textgrid_reads_back(tmp_path):
    path = tmp_path / "talk.TextGrid"
    path.write_text(FORMATS["textgrid"].write(FILE, CueOptions()), encoding="utf-8")
    tier = textgrid.openTextgrid(str(path), includeEmptyIntervals=False).getTier("words")
    assert [entry.label for entry in tier.entries] == ["Hello,", "big", "world.", "Again!"]
    assert [(entry.start, entry.end) for entry in tier.entries] == [(0.08, 0.4), (0.4, 0.41), (0.41, 0.88), (2.4, 3.2)]
    assert tier.maxTimestamp == 10.0


def test_a_textgrid_has_tiers_of_sentences_and_confidences(tmp_path):
    path = tmp_path / "talk.TextGrid"
    words = [("Mr.", 0, 400), ("Bell", 400, 800), ("left.", 800, 1200), ("Who?", 2000, 2400)]
    path.write_text(written("textgrid", *words), encoding="utf-8")
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    assert grid.tierNames == ("words", "confidence", "sentences")
    assert [tuple(entry) for entry in grid.getTier("sentences").entries] == [
        (0.0, 1.2, "Mr. Bell left."),
        (2.0, 2.4, "Who?"),
    ]
    assert [tuple(entry) for entry in grid.getTier("confidence").entries] == [
        (start / 1000, end / 1000, "0.875") for _, start, end in words
    ]


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
