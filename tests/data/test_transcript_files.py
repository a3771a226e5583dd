"""Transcripts are read from text, subtitles and JSON; what is bad is one sentence."""

import json

import pytest

from forced_aligner.base.errors import UserError
from forced_aligner.data.clips import input_clips
from forced_aligner.data.manifest import manifest_clips
from forced_aligner.data.pairs import paired_clips
from forced_aligner.data.transcripts import read_transcript

SRT = (
    "1\r\n00:00:01,000 --> 00:00:02,500\r\n<i>Hello,</i> {\\an8}world.\r\n\r\nAgain!\r\n\r\n"
    "2\r\n00:00:03,000 --> 00:00:04,000\r\nYes\r\n2024\r\n"
)
SRT_CUES = [("Hello, world.\r\n\r\nAgain!", 1000, 2500), ("Yes\r\n2024", 3000, 4000)]
VTT = """WEBVTT - talk

STYLE
::cue { color: red }

NOTE not spoken

intro
00:01.000 --> 00:02.500 align:start
<v Anna>Salt &amp; <c.loud>pepper</c>

00:03.000 --> 00:04.000
- Yes
"""
ASS = """[Script Info]
Title: talk

[V4+ Styles]
Format: Name, Fontname
Style: Loud,Arial

[Events]
Format: Start, End, Style, Text
Comment: 0:00:00.00,0:00:09.00,Loud,not spoken
Dialogue: 0:00:03.00,0:00:04.00,Loud,second
Dialogue: 0:00:01.00,0:00:02.50,Loud,{\\b1}First,{\\b0} one\\Nline
Dialogue: 0:00:01.00,0:00:02.50,Loud,{\\c&H0&}First, one\\Nline
Dialogue: 0:00:01.00,0:00:02.50,Loud,{\\p1}m 0 0 l 9 9{\\p0}
"""


def read(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_transcript(path)


@pytest.mark.parametrize(
    ("name", "content", "cues"),
    [
        ("talk.srt", SRT, SRT_CUES),
        ("talk.srt", b"\xef\xbb\xbf" + SRT.encode(), SRT_CUES),
        ("talk.VTT", VTT, [("Salt & pepper", 1000, 2500), ("- Yes", 3000, 4000)]),
        ("talk.ass", ASS, [("First, one\nline", 1000, 2500), ("second", 3000, 4000)]),
        ("talk.srt", "0:00:01.5-->0:00:02\rOne\r", [("One", 1500, 2000)]),
    ],
)  # fmt: skip
def test_subtitles_say_what_their_cues_say_in_the_order_of_time(tmp_path, name, content, cues):
    transcript = read(tmp_path, name, content)
    assert [(cue.text, cue.start_ms, cue.end_ms) for cue in transcript.cues.cues] == cues
    assert transcript.text == "\n".join(text for text, *_ in cues)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            {"segments": [{"text": " Hello there.", "words": []}, {"text": "How are you?"}]},
            "Hello there.\nHow are you?",
        ),
        ({"transcription": [{"text": " Hel"}, {"text": "lo,"}, {"text": " you"}]}, "Hello,\nyou"),
        ({"transcription": [{"text": "你"}, {"text": "好"}]}, "你\n好"),
        ({"words": [{"text": "Hi,"}, {"text": "you", "glued": False}, {"text": "!", "glued": True}]}, "Hi, you!"),
        ({"text": "Hello."}, "Hello."),
    ],
)
def test_the_json_of_recognisers_is_a_transcript(tmp_path, content, expected):
    text = read(tmp_path, "talk.json", json.dumps(content)).text
    assert [line.strip() for line in text.splitlines()] == expected.splitlines()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("talk.srt", "Hello", "has no subtitle cues; expected SRT, with lines such as 00:00:01,000 --> "),
        ("talk.vtt", "", "has no subtitle cues; expected VTT"),
        (
            "talk.ass",
            "Dialogue: 0:00:01.00,0:00:02.00,x",
            "has no subtitle cues; expected ASS, with lines that begin with",
        ),
        ("talk.srt", b"caf\xe9", "byte 3 is not UTF-8"),
        ("talk.json", "[]", "has no transcript; expected the JSON of WhisperX"),
        (
            "talk.json",
            '{"segments": [{"text": "a"}, {"start": 1}]}',
            "entry 2 has no text; expected the JSON of WhisperX",
        ),
        ("talk.json", '{"text": 5}', "has no transcript"),
        ("talk.json", "{", "is not JSON"),
        (
            "talk.json",
            json.dumps({"text": "a" * (5 << 20)}),
            "has a text of 5242880 characters; at most 4194304 are read",
        ),
    ],
)
def test_a_bad_transcript_file_is_one_sentence(tmp_path, name, content, message):
    with pytest.raises(UserError, match=message) as error:
        read(tmp_path, name, content)
    assert "\n" not in str(error.value)


def test_subtitles_are_found_wherever_transcripts_are(tmp_path):
    (tmp_path / "talk.wav").touch()
    (tmp_path / "talk.srt").write_text(SRT)
    (tmp_path / "list.jsonl").write_text('{"audio": "talk.wav", "text_file": "talk.srt"}')
    (tmp_path / "list.csv").write_text("audio,text_file\ntalk.wav,talk.srt\n")
    found = [
        *input_clips(tmp_path / "talk.wav", None, tmp_path / "talk.srt", None, None),
        *paired_clips(tmp_path, None),
        *manifest_clips(tmp_path / "list.jsonl", None),
        *manifest_clips(tmp_path / "list.csv", None),
    ]
    assert [len(clip.cues.cues) for clip in found] == [2] * 4
    assert {clip.transcript.split()[0] for clip in found} == {"Hello,"}
    assert all(str(tmp_path / "talk.srt") in clip.sources for clip in found)


def test_a_text_file_goes_before_subtitles_which_an_earlier_run_may_have_written(tmp_path):
    (tmp_path / "talk.wav").touch()
    (tmp_path / "talk.srt").write_text(SRT)
    (tmp_path / "talk.txt").write_text("The text")
    (clip,) = paired_clips(tmp_path, None)
    assert (clip.transcript, clip.cues, clip.problem) == ("The text", None, None)
    assert clip.sources == (str(tmp_path / "talk.txt"),)


def test_a_text_file_that_a_manifest_names_in_vain_is_the_problem_of_its_clip(tmp_path):
    (tmp_path / "list.jsonl").write_text('{"audio": "talk.wav", "text_file": "none.srt"}')
    (clip,) = manifest_clips(tmp_path / "list.jsonl", None)
    assert "none.srt (No such file or directory); expected a subtitle file (srt)" in clip.problem
