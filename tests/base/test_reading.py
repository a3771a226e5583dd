"""Whatever a file from outside is or holds: it is read, or one sentence says why not. No read waits for ever."""

import json
import os
import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forced_aligner.base import reading
from forced_aligner.base.errors import UserError
from forced_aligner.base.reading import parse_json, read_bytes, read_json_value, read_text, require_audio_file


def sentence(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    return message


@pytest.fixture
def odd_places(tmp_path, monkeypatch):
    """Path -> the reason why it cannot be read."""
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)  # a socket's path has at most 100 characters or so
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "file").touch()
    return {
        tmp_path / "absent": "No such file or directory",
        tmp_path: "Is a directory",
        tmp_path / "pipe": "it is a pipe",
        tmp_path / "socket": "it is a socket",
        Path(os.devnull): "it is a device",
        tmp_path / ("a" * 300): "File name too long",
        tmp_path / "a\0b": "no file can have that name",
        tmp_path / "\ud800": "no file can have that name",
        tmp_path / "circle": "symbolic links",
        tmp_path / "file/below": "Not a directory",
    }


def test_what_is_no_regular_file_is_refused_without_opening_it(odd_places):
    for path, reason in odd_places.items():
        for read in (read_text, read_json_value):
            message = sentence(read, path)
            assert message.startswith("cannot read "), message
            assert f"{reason}); expected a " in message or f"{reason}" in message
            message.encode()  # it can be printed


def test_audio_that_is_no_regular_file_is_refused_without_opening_it(odd_places, tmp_path):
    (tmp_path / "good.wav").touch()
    require_audio_file(tmp_path / "good.wav")
    for path, reason in odd_places.items():
        message = sentence(require_audio_file, path)
        if path == tmp_path:
            assert message == f"{path} is a folder; expected an audio file (wav, flac, ogg or mp3)"
        elif path.name == "absent":
            assert message == f"no audio file at {path}"
        else:
            assert message.startswith("no audio file at ")
            assert reason in message


def test_not_a_byte_more_than_the_limit_is_read(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bytes(path, 5, "five bytes") == b"12345"
    message = sentence(read_bytes, path, 4, "four bytes")
    assert message == f"cannot read {path} (it has more than 4 bytes, the most that is read); expected four bytes"


def test_a_file_of_terabytes_is_refused_by_its_size(tmp_path):
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert "more than 4194304 bytes" in sentence(read_text, tmp_path / "sparse")


def test_text_is_utf8_with_or_without_a_mark(tmp_path):
    path = tmp_path / "talk.txt"
    path.write_bytes(b"\xef\xbb\xbf caf\xc3\xa9\r\n")
    assert read_text(path) == "café"
    path.write_bytes(b"caf\xe9")
    assert sentence(read_text, path) == f"cannot read {path} (byte 3 is not UTF-8); save it as UTF-8"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "Expecting property name"),
        (b"\xff{}", "byte 0 is not UTF-8"),
        (b"[" * 200_000, "nested too deep"),
        (b'{"a":' * 200_000, "nested too deep"),
        (b"1" * 5000, "a number of 5000 digits"),
        (b"-" + b"1" * 5000, "digits"),
        (b"1e999", "a number that is not finite: 1e999"),
        (b"1" * 5000 + b".5", "a number that is not finite"),
        (b'{"a": NaN}', "a number that is not finite: NaN"),
        (b"-Infinity", "a number that is not finite: -Infinity"),
        (b'{"a": 1, "b": 2, "a": 3}', "the key 'a' twice in one object"),
        (b'{"a": "\\ud800"}', "half a surrogate pair"),
        (b'{"\\udc00": 1}', "half a surrogate pair"),
    ],
    ids=lambda value: value[:12] if isinstance(value, bytes) else None,
)
def test_json_that_is_not_sound_is_one_sentence(tmp_path, content, reason):
    path = tmp_path / "file.json"
    path.write_bytes(content)
    message = sentence(read_json_value, path)
    assert message.startswith(f"{path} is not JSON (")
    assert reason in message
    assert message.endswith("; expected a JSON file")


def test_json_of_very_many_values_is_refused_before_they_take_memory(monkeypatch):
    monkeypatch.setattr(reading, "MAX_JSON_VALUES", 10)
    assert parse_json("[1, 2, 3]", "it") == [1, 2, 3]
    assert "more than 10 values" in sentence(parse_json, "[" + "[]," * 10 + "[]]", "it")


def test_half_a_surrogate_pair_is_kept_where_the_caller_judges_it():
    assert parse_json('"one \\ud800"', "it", lone_surrogates=True) == "one \ud800"
    assert parse_json('"\\ud83d\\ude00"', "it") == "😀"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=10,
)


@given(value=json_values, ascii_only=st.booleans())
def test_what_json_writes_is_read_back(value, ascii_only):
    assert parse_json(json.dumps(value, ensure_ascii=ascii_only), "it") == value


@given(content=st.binary(max_size=200) | st.text(alphabet='{}[]",:\\ud8001eE.-Na', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(content)
        for read in (read_text, read_json_value):
            try:
                read(path)
            except UserError as error:
                assert "\n" not in str(error)
