"""Subtitles get new times and nothing else; other programs' readers read them back."""

import io
import re

import ass
import pysubs2
import pytest
import srt
import webvtt

from forced_aligner.data.cue_sheets import read_cue_sheet
from forced_aligner.data.spoken import spoken_text
from forced_aligner.output.cues import CueOptions
from forced_aligner.output.formats import FORMATS
from forced_aligner.output.records import TimedFile, TimedWord
from forced_aligner.output.spelling import written_words

SRT = (
    "1\r\n00:00:01,000 --> 00:00:02,500 X1:40\r\n<i>Anna, salt</i>\r\n& pepper?\r\n\r\n"
    "2\r\n00:00:02,600 --> 00:00:02,800\r\n[applause]\r\n\r\n"
    "3\r\n00:00:03,000 --> 00:00:04,000\r\n{\\an8}No—never.\r\n\r\n"
    "4\r\n00:00:09,000 --> 00:00:10,000\r\n♪\r\n"
)
VTT = """WEBVTT - talk

STYLE
::cue(.loud) { color: red }

NOTE by hand

intro
00:01.000 --> 00:02.500 align:start line:0
<v Anna>Anna, <00:01.750><c.loud>salt</c> &amp; pepper?

00:02.600 --> 00:02.800
[applause]

00:03.000 --> 00:04.000
No—never.
"""
ASS = """[Script Info]
; kept
ScriptType: v4.00+
PlayResX: 640

[Aegisub Project Garbage]
Active Line: 1

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Loud,Arial,20,&H00FFFFFF,&H000000FF,&H00000000,&H00000000,0,0,0,0,100,100,0,0,1,2,2,2,10,10,10,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:09.00,Loud,,0,0,0,,a note
Dialogue: 0,0:00:03.00,0:00:04.00,Loud,,0,0,0,,No—never.
Dialogue: 0,0:00:01.00,0:00:02.50,Loud,,0,0,0,,{\\i1}Anna, salt{\\i0}\\N& pepper?
Dialogue: 1,0:00:01.00,0:00:02.50,Loud,,0,0,0,,{\\bord4}Anna, salt\\N& pepper?
Dialogue: 0,0:00:02.60,0:00:02.80,Loud,,0,0,0,,[applause]
"""
FILES = {"srt": SRT, "vtt": VTT, "ass": ASS}
TIMES = {"Anna": (5000, 5400), "salt": (5400, 5800), "pepper": (5800, 6500), "No": (8000, 8200), "never": (8200, 9000)}
PAIR, LATER = (5000, 6500), (8000, 9000)
BETWEEN = (6800, 7400)  # a fifth and three fifths of the way from 2.5 to 3 s, of which 6.5 to 8 s became


def sheet_of(tmp_path, kind):
    path = tmp_path / f"talk.{kind}"
    path.write_bytes(FILES[kind].encode())
    return read_cue_sheet(path)


def aligned(sheet, times=TIMES):
    """The words of a sheet with the times; without where there are none."""
    spoken = spoken_text(sheet.transcript)
    names = re.findall(r"\w+", spoken.text)
    words = []
    for written in written_words(sheet.transcript, names, spoken):
        name = None if written.word is None else names[written.word]
        start, end = times.get(name, (None, None))
        words.append(TimedWord(text=written.text, word=name, start_time_ms=start, end_time_ms=end, mark=written.mark))
    return TimedFile(audio="talk.wav", language=None, duration_s=12, words=words)


def written(sheet, kind, times=TIMES):
    return FORMATS[kind].write(aligned(sheet, times), CueOptions(sheet=sheet))


@pytest.mark.parametrize("kind", FILES)
def test_a_subtitle_file_keeps_all_but_its_times(tmp_path, kind):
    text = written(sheet_of(tmp_path, kind), kind)
    time = re.compile(r"(\d+:)?(\d\d:)?\d\d[.,]\d{2,3}")
    assert time.sub("", text) == time.sub("", FILES[kind])
    assert text != FILES[kind]


def test_srt_reads_back_with_the_times_of_its_words(tmp_path):
    cues = list(srt.parse(written(sheet_of(tmp_path, "srt"), "srt").replace("\r\n", "\n")))
    times = [tuple(round(time.total_seconds() * 1000) for time in (cue.start, cue.end)) for cue in cues]
    assert times == [PAIR, BETWEEN, LATER, (14_000, 15_000)]  # the last moved with the one before
    assert [cue.content for cue in cues] == ["<i>Anna, salt</i>\n& pepper?", "[applause]", "{\\an8}No—never.", "♪"]
    assert cues[0].proprietary == "X1:40"


def test_webvtt_reads_back_with_its_settings_and_the_times_inside_its_cues(tmp_path):
    text = written(sheet_of(tmp_path, "vtt"), "vtt")
    read = webvtt.from_buffer(io.StringIO(text))
    assert (read.captions[0].start, read.captions[0].end) == ("00:00:05.000", "00:00:06.500")
    assert len(read.captions) == 3
    assert (read.captions[0].identifier, read.captions[0].voice) == ("intro", "Anna")
    assert (read.captions[1].start, read.captions[1].end) == ("00:00:06.800", "00:00:07.400")
    assert [style.text for style in read.styles] == ["::cue(.loud) { color: red }"]
    assert "<00:00:05.750><c.loud>salt" in text  # half of the way, as before


def test_ass_reads_back_with_styles_layers_and_comments(tmp_path):
    text = written(sheet_of(tmp_path, "ass"), "ass")
    events = ass.parse_string(text).events
    times = [tuple(round(time.total_seconds() * 1000) for time in (event.start, event.end)) for event in events]
    assert times == [(0, 9000), LATER, PAIR, PAIR, BETWEEN]
    assert [type(event).__name__ for event in events] == ["Comment", *["Dialogue"] * 4]
    assert {event.style for event in events} == {"Loud"}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("other", FILES)
def test_another_subtitle_format_has_the_same_cues(tmp_path, kind, other):
    """Without their styles, and in the order of time."""
    text = written(sheet_of(tmp_path, kind), other)
    events = sorted(pysubs2.SSAFile.from_string(text, format_=other).events, key=lambda event: event.start)
    found = {(event.start, event.end): " ".join(event.plaintext.split()) for event in events if not event.is_comment}
    pair = found.pop(PAIR).replace("&amp;", "&")
    pair = re.sub("<[^>]*>", "", pair)  # the word's time inside the cue of WebVTT
    assert pair == "Anna, salt & pepper?"
    assert found.pop(BETWEEN) == "[applause]"
    assert found.pop(LATER) == "No—never."


def test_a_cue_none_of_whose_words_was_found_moves_with_the_others(tmp_path):
    times = {word: time for word, time in TIMES.items() if word not in ("No", "never")}
    cues = list(srt.parse(written(sheet_of(tmp_path, "srt"), "srt", times).replace("\r\n", "\n")))
    starts = [round(cue.start.total_seconds() * 1000) for cue in cues]
    assert starts == [5000, 6600, 7000, 13_000]


def test_without_any_word_the_cues_keep_their_times(tmp_path):
    assert written(sheet_of(tmp_path, "srt"), "srt", {}) == SRT


def test_a_cue_whose_last_word_was_not_found_ends_with_the_one_before(tmp_path):
    times = {word: time for word, time in TIMES.items() if word != "pepper"}
    first, *_ = srt.parse(written(sheet_of(tmp_path, "srt"), "srt", times).replace("\r\n", "\n"))
    assert (first.start.total_seconds(), first.end.total_seconds()) == (5.0, 5.8)


def test_words_without_length_still_make_a_cue_with_one(tmp_path):
    text = written(sheet_of(tmp_path, "srt"), "srt", dict.fromkeys(TIMES, (5000, 5000)))
    assert all(cue.start < cue.end for cue in srt.parse(text.replace("\r\n", "\n")))


def spelled(text):
    spoken = spoken_text(text)
    return [
        (found.text, found.word, found.mark)
        for found in written_words(text, re.findall(r"[\w']+", spoken.text), spoken)
    ]


def test_what_is_not_spoken_keeps_its_place_in_the_spelling():
    assert spelled("ANNA: We’re here! [door slams] \u00a0No—“well,”\r\nBOB (off):\tYes.") == [
        ("ANNA:", None, "label"), ("We’re", 0, None), ("here!", 1, None), ("[door slams]", None, "direction"),
        ("No—", 2, None), ("“well,”", 3, None), ("BOB (off):", None, "label"), ("Yes.", 4, None),
    ]  # fmt: skip


def test_a_label_begins_a_cue_and_a_direction_ends_one():
    words = [
        TimedWord(text="1", mark="number"),
        TimedWord(text="ANNA:", mark="label"),
        TimedWord(text="[sighs]", mark="direction"),
        TimedWord(text="Yes", word="Yes", start_time_ms=0, end_time_ms=400),
        TimedWord(text="[laughs]", mark="direction"),
        TimedWord(text="BOB:", mark="label"),
        TimedWord(text="No", word="No", start_time_ms=400, end_time_ms=800),
    ]
    file = TimedFile(audio="talk.wav", language=None, duration_s=2, words=words)
    cues = [cue.content for cue in srt.parse(FORMATS["srt"].write(file, CueOptions()))]
    assert cues == ["ANNA: [sighs] Yes [laughs]", "BOB: No"]
    assert "\tANNA:\t" in FORMATS["tsv"].write(file, CueOptions())
    assert "ANNA" not in FORMATS["ctm"].write(file, CueOptions())
