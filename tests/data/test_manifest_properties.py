"""Manifests: what json and csv wrote is read back; any bytes give clips or one sentence; no row is lost silently."""

import csv
import io
import json
import string
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forced_aligner.base.errors import UserError
from forced_aligner.base.text import without_controls
from forced_aligner.data import manifest
from forced_aligner.data.manifest import manifest_clips


def read(name, content, language=None):
    """The clips of a manifest with this content."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return manifest_clips(path, language)


def refusal(name, content):
    with pytest.raises(UserError) as caught:
        read(name, content)
    message = str(caught.value)
    assert "\n" not in message
    return message.split(f"{name} ", 1)[1]


names = st.text(string.ascii_letters + string.digits + " -_é", min_size=1, max_size=12).map(str.strip).filter(bool)
texts = st.text(max_size=40) | st.text(alphabet=" ,;\"'\n\r\t\\ab\u2028\x85\x00", max_size=20)
rows = st.lists(st.tuples(names, texts), min_size=1, max_size=6, unique_by=lambda row: row[0])


def expected(text):
    return without_controls(text.strip())


@given(rows=rows, ascii_only=st.booleans())
def test_json_lines_are_read_back(rows, ascii_only):
    lines = [json.dumps({"audio": f"{name}.wav", "text": text}, ensure_ascii=ascii_only) for name, text in rows]
    clips = read("m.jsonl", "\n".join(lines))
    assert [(Path(clip.audio).stem, clip.transcript) for clip in clips] == [(n, expected(text)) for n, text in rows]
    assert not any(clip.problem for clip in clips)


@given(
    rows=rows,
    # with "\n", csv.writer of Python 3.11 and 3.12 does not quote "\r"
    style=st.sampled_from([(csv.QUOTE_MINIMAL, "\r\n"), (csv.QUOTE_ALL, "\r\n"), (csv.QUOTE_ALL, "\n")]),
    text_first=st.booleans(),
)
@example(rows=[("a", 'one,\n"two"\r\n\n three')], style=(csv.QUOTE_MINIMAL, "\r\n"), text_first=False)
def test_csv_is_read_back(rows, style, text_first):
    order = -1 if text_first else 1
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, quoting=style[0], lineterminator=style[1])
    writer.writerow(["audio", "text"][::order])
    writer.writerows([f"{name}.wav", text][::order] for name, text in rows)
    clips = read("m.csv", buffer.getvalue())
    assert [(Path(clip.audio).stem, clip.transcript) for clip in clips] == [(n, expected(text)) for n, text in rows]
    assert not any(clip.problem for clip in clips)
    assert all(Path(source).name == "m.csv" for clip in clips for source in clip.sources)


fragments = st.lists(
    st.sampled_from(
        ['"', ",", "\n", "\r", "audio", "text", "a.wav", '{"audio": "a.wav", "text": "one"}', "\\ud800", "é"]
    )
    | st.text(max_size=3),
    max_size=20,
)


@given(
    content=st.binary(max_size=200) | fragments.map("".join).map(str.encode), name=st.sampled_from(["m.csv", "m.jsonl"])
)
@example(content=b"[" * 100_000, name="m.jsonl")
@example(content=b'{"audio": "a.wav", "text": "one", "duration": 1' + b"0" * 5000 + b"}", name="m.jsonl")
@example(content=b"audio,text,duration\na.wav,one,1" + b"0" * 5000, name="m.csv")
@example(content=b'{"audio": "a.wav", "text": "one", "duration": [1], "offset": {}}', name="m.jsonl")
@example(content=b'{"audio": "' + b"a" * 300 + b'", "text": "\\ud800"}', name="m.jsonl")
def test_any_bytes_are_clips_or_one_sentence(content, name):
    try:
        clips = read(name, content)
    except UserError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 1000
    else:
        assert clips


@given(
    rows=st.lists(
        st.tuples(names, st.text(alphabet='ab ,"', max_size=12)), min_size=2, max_size=4, unique_by=lambda r: r[0]
    )
)
def test_rows_that_nobody_quoted_are_all_read_or_refused(rows):
    """Written without a csv module: commas and quotes may shift cells, but no text takes in another recording."""
    content = "audio,text\n" + "".join(f"{name}.wav,{text}\n" for name, text in rows)
    try:
        clips = read("m.csv", content)
    except UserError:
        return
    assert [Path(clip.audio).name for clip in clips] == [f"{name}.wav" for name, _ in rows]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "audio,text\na.wav,well, I said\n",
            "line 2: expected the keys audio and text, both texts, found 3 cells, but",
        ),
        ("audio,text,language\na.wav,one,de\nb.wav,two\n", "line 3: .* found 2 cells, but the header has 3: write a"),
        ('audio,text\na.wav,one\nb.wav,"two\nc.wav,three\n', r"line 3 is not CSV \(a quote is not closed\)"),
        ('audio,text\na.wav,"one" two\n', "line 2 is not CSV"),
        (
            'audio,text\na.wav,"I said\nb.wav,and left."\nc.wav,x\n',
            "line 2: a quote takes in other rows, since .wav is",
        ),
        ('text,audio\n"I said,a.wav\nand left.",b.wav\n', "line 2: a quote takes in other rows, since .wav is in the"),
        ("audio,text,text\na.wav,one,two\n", "line 1 has the column 'text' twice"),
        ("audio,text\n" + "x" * 5000 + ",one\n", "line 2: the audio's path or the language has over 4096 characters"),
    ],
)
def test_a_csv_row_that_would_lose_text_is_refused_with_its_line(content, message):
    found = refusal("m.csv", content)
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(found)


def test_line_ends_inside_quotes_do_not_shift_the_line_of_an_error():
    assert refusal("m.csv", 'audio,text\na.wav,"one\n\ntwo"\n\nb.wav\n').startswith("line 6: ")


@pytest.mark.parametrize("key", ["audio", "text"])
def test_a_key_twice_in_one_row_is_refused(key):
    row = '{"audio": "a.wav", "text": "one", "KEY": "b"}'.replace("KEY", key)
    assert refusal("m.jsonl", row) == (
        f"line 1 is not JSON (the key '{key}' twice in one object); expected JSON Lines, or name it .csv"
    )


def nemo(**fields):
    return json.dumps({"audio_filepath": "a.wav", "text": "one", **fields})


@pytest.mark.parametrize(
    ("fields", "declared_s"),
    [
        ({}, None),
        ({"duration": 3.5}, 3.5),
        ({"duration": 3, "offset": 0}, 3.0),
        ({"offset": 0.0}, None),
        ({"duration": None, "offset": None}, None),
        ({"duration": "2.5", "offset": ""}, 2.5),
    ],
)
def test_nemos_duration_is_what_the_whole_file_must_last(fields, declared_s):
    (clip,) = read("m.jsonl", nemo(**fields))
    assert (clip.problem, clip.declared_duration_s) == (None, declared_s)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            {"offset": 12.5, "duration": 3.0},
            "it starts at 12.50 s of its file: parts of files are not read; cut the audio",
        ),
        ({"offset": -1}, "it starts at -1.00 s of its file"),
        ({"duration": "long"}, "its duration 'long' is no number of seconds"),
        ({"duration": True}, "its duration 'True' is no number"),
        ({"offset": [0]}, r"its offset '\[0\]' is no number"),
        ({"duration": "inf"}, "its duration 'inf' is no number"),
        ({"offset": "nan"}, "its offset 'nan' is no number"),
    ],
)
def test_a_part_of_a_file_is_the_problem_of_its_clip(fields, problem):
    other = json.dumps({"audio": "b.wav", "text": "two"})
    first, second = read("m.jsonl", f"{nemo(**fields)}\n{other}\n")
    assert second.problem is None
    with pytest.raises(UserError, match=problem):
        first.check()


def test_a_very_long_transcript_is_the_problem_of_its_clip(monkeypatch):
    monkeypatch.setattr(manifest, "MAX_TRANSCRIPT_BYTES", 1000)
    for name, content in (("m.csv", "audio,text\na.wav,{}\nb.wav,two"), ("m.jsonl", nemo(text="{}") + "\n" + nemo())):
        clips = read(name, content.replace("{}", "w " * 501).replace('"a.wav"', '"b.wav"', 1))
        assert clips[0].transcript == ""
        assert clips[0].problem == "its transcript has 1002 characters; at most 1000 are read"
        assert clips[1].problem is None


def test_the_number_of_recordings_and_of_bytes_is_bounded(monkeypatch):
    monkeypatch.setattr(manifest, "MAX_MANIFEST_ROWS", 2)
    content = "audio,text\na.wav,one\nb.wav,two\n"
    assert len(read("m.csv", content)) == 2
    assert refusal("m.csv", content + "c.wav,three") == "lists more than 2 recordings: split it"
    monkeypatch.setattr(manifest, "MAX_MANIFEST_BYTES", 20)
    assert "more than 20 bytes" in refusal("m.csv", content)


def test_transcripts_are_read_without_control_characters():
    (clip,) = read("m.jsonl", json.dumps({"audio": "a.wav", "text": "one\x1b[31m\x00 two\x07"}))
    assert clip.transcript == "one[31m two"
