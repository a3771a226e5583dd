"""For any transcript, file name and times: every format is written, and a reader that is not its writer gets it back.

Other programs' readers read the text; the rules that a player applies after that (`shown_by_*`) are written down here.
"""

import csv
import html
import io
import json
import re
from itertools import pairwise

import ass
import pytest
import srt
import tgt
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from forced_aligner.output.cues import MIN_WORD_MS, SHOWN_NOT_FOUND, CueOptions
from forced_aligner.output.formats import FORMATS
from forced_aligner.output.reading import MAX_LINES
from forced_aligner.output.records import TimedFile, TimedWord

WORD_JOINER = "\u2060"
ROUNDING_S = 1e-9
TGT_PRECISION_S = 1e-4  # tgt takes times that are closer for one

SPECIALS = [
    "C:\\new", "\\N", "\\h", "{\\an8}", "{\\p1}", "{y:i}", "{", "}", "\\{", "\\", "a\\", "<b>", "</i>",
    "<00:00:01.000>", "&", "&amp;", "&lt", '"', '"no', 'way"', '""', "'", "a\tb", "a\nb", "a\r\nb", "\u2028x",
    "x\u2029y", "a\xa0b", "\x85x", "\x1b[31mred", "\x9b2J", "\x07", "\x1ax", "\x00", "\u202eabc", "\u200f", "\ufeffx",
    "👩\u200d👧", "e\u0301", "你好，", "-->", "00:00:00,000-->00:00:01,000", "1", ";;", "#", "NOTE", "WEBVTT",
    "Dialogue:", "[Events]", "item", "$x_1$", "=1+1", "a,b;c", "\ud800", "_", ".", "x.",
]  # fmt: skip


def reads_as_an_attribute(text):
    """tgt cuts a label at ` = `; no word has that, since words have no white space, but a random text may."""
    return " = " in " ".join(text.split())


texts = st.one_of(
    st.sampled_from(SPECIALS),
    st.lists(st.sampled_from(SPECIALS), min_size=2, max_size=3).map("".join),
    st.text(st.characters(exclude_categories=()), min_size=1, max_size=8),
).filter(lambda text: not reads_as_an_attribute(text))


KINDS = ("timed", "timed", "dash", "not found")


@st.composite
def files(draw):
    """A recording of 0.1 ms to 9 h; some words have no length, no times, or times beyond the end of the audio.

    Words without times are dashes, or were not found.
    """
    duration_s = draw(st.one_of(st.integers(1, 1000), st.integers(1, 324_000_000))) / 10_000
    words = draw(st.lists(st.tuples(texts, st.sampled_from(KINDS), st.booleans()), min_size=1, max_size=12))
    last_ms = 1250 * duration_s
    some_ms = st.one_of(st.floats(0, last_ms), st.just(last_ms), st.sampled_from([0.0, 80.0, 400.0]))
    times = sorted(draw(st.lists(some_ms, min_size=2 * len(words), max_size=2 * len(words))))
    timed_words = []
    for index, (text, kind, no_space_before) in enumerate(words):
        start_ms, end_ms = times[2 * index : 2 * index + 2]
        fields = {"word": "x", "start_time_ms": start_ms, "end_time_ms": end_ms, "confidence": 0.5}
        fields = {} if kind == "dash" and index else fields
        fields = {"word": "x", "status": "not-found"} if kind == "not found" else fields
        timed_words.append(TimedWord(text=text, no_space_before=no_space_before, **fields))
    audio = draw(st.one_of(texts, texts.map(lambda name: f"folder/{name}.wav")))
    return TimedFile(audio=audio, language=None, duration_s=duration_s, words=timed_words)


def written(text):
    """A word as it shall be read: without control characters, and any white space in it is one space."""
    kept = "".join(letter for letter in text if letter.isspace() or not re.match(r"[\x00-\x1f\x7f-\x9f]", letter))
    return " ".join(kept.split())


def shown(file):
    """The texts that subtitles have: no long run of words that were not found, and nothing where none was found."""
    kinds = "".join("d" if word.word is None else "m" if word.status else "f" for word in file.words)
    long_runs = [run for run in re.finditer("m(?:d*m)*", kinds) if run[0].count("m") > SHOWN_NOT_FOUND]
    left_out = {number for run in long_runs for number in range(*run.span())}
    return [word.text for number, word in enumerate(file.words) if number not in left_out and file.timed]


def squashed(texts):
    """All letters in order. Cues join words with and without spaces, and word joiners are not seen."""
    return "".join("".join(texts).split()).replace(WORD_JOINER, "")


def check_times(spans_s, file, with_length=False):
    """Times are in order and within the audio, and no span overlaps the next; `with_length`, none is empty."""
    assert all(0 <= start <= end <= file.duration_s + ROUNDING_S for start, end in spans_s)
    assert all(end <= start + ROUNDING_S for (_, end), (start, _) in pairwise(spans_s))
    assert not with_length or all(start < end for start, end in spans_s)


def plain_lines(content):
    """Lines as every reader splits them; control characters and escape sequences are in none."""
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", content)
    content.encode()
    lines = content.split("\n")
    assert lines == [*content.splitlines(), ""]
    return lines[:-1]


def shown_by_libass(text):
    """What libass draws: `ass_get_next_char` and `ass_parse_tags` of libass."""
    text = re.sub(r"(?<!\\)\{[^}]*\}", "", text)
    escapes = {"\\N": "\n", "\\n": "\n", "\\h": "\xa0", "\\{": "{", "\\}": "}"}
    return re.sub(r"\\[Nnh{}]", lambda match: escapes[match[0]], text)


def check_cues(cues, file, expected):
    """`cues` are (start s, end s, text)."""
    assert all(text.count("\n") < MAX_LINES and "\xa0" not in text for *_, text in cues)
    assert squashed(text for *_, text in cues) == squashed(expected)
    check_times([(start, end) for start, end, _ in cues], file)


@given(files())
def test_srt_is_read_back_by_srt(file):
    content = FORMATS["srt"].write(file, CueOptions())
    plain_lines(content)
    cues = [(c.start.total_seconds(), c.end.total_seconds(), c.content.rstrip("\n")) for c in srt.parse(content)]
    check_cues(cues, file, [written(text) for text in shown(file)])
    assert not re.search(r"\{(\\|[CcFfoPSsYy]:)", content)  # FFmpeg's `handle_open_brace` hides these


@given(files(), st.booleans())
def test_vtt_is_read_back_by_webvtt(file, karaoke):
    content = FORMATS["vtt"].write(file, CueOptions(karaoke=karaoke))
    plain_lines(content)
    captions = webvtt.from_string(content)
    # `text` has no tags; character references are replaced after that, as browsers do
    cues = [(seconds(c.start), seconds(c.end), html.unescape(c.text)) for c in captions]
    check_cues(cues, file, [written(text) for text in shown(file)])
    marks = [(seconds(c.start), seconds(mark)) for c in captions for mark in re.findall(r"<([\d:.]+)>", c.raw_text)]
    assert all(start < mark for start, mark in marks)  # WebVTT asks for it, so the first word has none
    others = len(file.timed) - len(captions) if karaoke else 0
    assert len(marks) == others or (len(marks) < others and file.duration_s * 1000 < MIN_WORD_MS * len(file.timed))
    check_times([(mark, mark) for _, mark in marks], file)


def seconds(clock):
    hours, minutes, rest = clock.split(":")
    return round(int(hours) * 3600 + int(minutes) * 60 + float(rest), 3)


@given(files(), st.booleans())
def test_ass_is_read_back_by_ass_and_shown_by_libass(file, karaoke):
    content = FORMATS["ass"].write(file, CueOptions(karaoke=karaoke))
    plain_lines(content)
    events = ass.Document.parse_string(content).events
    cues = [(e.start.total_seconds(), e.end.total_seconds(), shown_by_libass(e.text)) for e in events]
    parentheses = str.maketrans("{}", "()")
    check_cues(cues, file, [written(text).translate(parentheses) for text in shown(file)])
    for event in events if karaoke else []:
        lasts = sum(int(mark) for mark in re.findall(r"\{\\k(\d+)\}", event.text))
        assert lasts * 10 == round((event.end - event.start).total_seconds() * 1000)


@given(files())
def test_textgrid_is_read_back_by_tgt(file):
    content = FORMATS["textgrid"].write(file, CueOptions())
    plain_lines(content)
    tier = tgt.io3.read_textgrid(io.StringIO(content)).get_tier_by_name("words")
    expected = [written(word.text) for word in file.timed]
    assert [interval.text for interval in tier] == [text for text in expected if text]
    check_times([(float(interval.start_time), float(interval.end_time)) for interval in tier], file, with_length=True)
    assert float(tier.end_time) == pytest.approx(file.duration_s, abs=TGT_PRECISION_S)


@given(files())
def test_ctm_is_split_on_white_space(file):
    rows = [line.split() for line in plain_lines(FORMATS["ctm"].write(file, CueOptions()))]
    assert [row[4] for row in rows] == [written(word.text).replace(" ", "_") or "_" for word in file.timed]
    assert all(len(row) == 6 and row[0] == rows[0][0] and not row[0].startswith(";;") for row in rows)
    check_times([(float(start), round(float(start) + float(length), 3)) for _, _, start, length, *_ in rows], file)


@given(files())
def test_tsv_is_read_back_by_csv_with_excels_tabs(file):
    content = FORMATS["tsv"].write(file, CueOptions())
    plain_lines(content)
    rows = list(csv.reader(io.StringIO(content), "excel-tab", strict=True))
    assert rows[0] == ["start_ms", "end_ms", "word", "confidence"]
    assert [row[2] for row in rows[1:]] == [written(word.text) for word in file.words]
    check_times([(float(start) / 1000, float(end) / 1000) for start, end, *_ in rows[1:] if start], file)


@given(files())
def test_audacity_labels_are_split_at_tabs(file):
    rows = [line.split("\t") for line in plain_lines(FORMATS["audacity"].write(file, CueOptions()))]
    assert [label for *_, label in rows] == [written(word.text) for word in file.timed]
    assert all(len(row) == 3 for row in rows)
    check_times([(float(start), float(end)) for start, end, _ in rows], file)


@given(files())
def test_json_has_the_text_and_the_times_as_they_are(file):
    content = FORMATS["json"].write(file, CueOptions())
    content.encode()
    words = json.loads(content)["words"]
    assert [word["text"] for word in words] == [re.sub("[\ud800-\udfff]", "\ufffd", word.text) for word in file.words]
    assert [word["start_time_ms"] for word in words] == [word.start_time_ms for word in file.words]
