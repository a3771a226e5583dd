"""The page of a recording: nothing of a transcript becomes markup, nothing is loaded, and all words are in it.

What a browser makes of it is in `test_page_in_browser.py`.
"""

import base64
import hashlib
import io
import re
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urljoin

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from forced_aligner.align.audio import SAMPLE_RATE_HZ
from forced_aligner.jobs import recording_page as recording_page_module
from forced_aligner.jobs.recording_page import recording_page
from forced_aligner.jobs.recording_picture import spectrogram_of
from forced_aligner.output import mel_tiles as mel_tiles_module
from forced_aligner.output.alignment_picture import Spectrogram
from forced_aligner.output.mel_tiles import COLORS, TILE_S, mel_tiles
from forced_aligner.output.page import MAX_PARAGRAPH_WORDS, PARAGRAPH_WORDS, clock, paragraphs
from forced_aligner.output.page_audio import audio_link, embedded_audio
from forced_aligner.output.page_template import SOURCES
from forced_aligner.output.records import Stretch, TimedFile, TimedWord
from tests.output.parsing import Parsed

HOSTILE = [
    "<script>alert(1)</script>", "</script>", "<!--", "-->", "]]>", "\"quoted\"", "it's", "&lt;", "{{ 7*7 }}", "\u2028",
    "\u202eabc", "مرحبا", "你好，", "<img src=x onerror=alert(1)>", "javascript:alert(1)", "\\u003c", "a\x00b\x1b[31m",
]  # fmt: skip


def noise(duration_s):
    return (0.1 * np.random.default_rng(0).standard_normal(round(duration_s * SAMPLE_RATE_HZ))).astype(np.float32)


def timed(*texts, each_ms=80.0, **changes):
    words = [
        TimedWord(text=text, word="x", start_time_ms=index * each_ms, end_time_ms=(index + 1) * each_ms, confidence=0.9)
        for index, text in enumerate(texts)
    ]
    values = {"audio": "some/secret place/my talk.wav", "language": "English", "duration_s": 2.0, "words": words}
    return TimedFile(**(values | changes))


def page_of(file, **options):
    samples = noise(file.duration_s)
    return recording_page(file, samples, spectrogram_of(samples), Path("a/my talk.wav"), Path("a"), **options)


@pytest.fixture(scope="module")
def hostile():
    file = timed(*HOSTILE, audio="a/<script>alert('x')</script> \"&amp;.wav", language="<b>&")
    return Parsed(page_of(file))


def test_nothing_of_a_transcript_or_a_name_becomes_markup(hostile):
    names = [name for name, _ in hostile.elements]
    plain = [name for name, _ in Parsed(page_of(timed("one"))).elements]
    assert names == plain
    # A script element ends at `</script`, and changes its rules at `<!--`.
    assert re.search("[^\x20-\x7e]|[<>&]", hostile.text("script", id="data")) is None
    assert [word["text"] for word in hostile.data["file"]["words"]] == [
        " ".join(text.replace("\x00", "").replace("\x1b", "").split()) for text in HOSTILE
    ]


def test_the_policy_allows_this_style_and_this_script_alone(hostile):
    def hash_of(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert hostile.policy == {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "img-src": "data:",
        "media-src": "data:",
        "style-src": hash_of(hostile.text("style")),
        "script-src": hash_of(next(text for (name, found), text in hostile.texts if name == "script" and not found)),
    }
    assert not any(key == "style" or key.startswith("on") for _, found in hostile.elements for key in found)
    addresses = [found[key] for _, found in hostile.elements for key in ("src", "href") if key in found]
    assert all(address.startswith("data:") for address in addresses)


def test_the_sources_name_nothing_outside_and_make_no_markup():
    for path in sorted(SOURCES.iterdir()):
        content = path.read_text(encoding="utf-8")
        assert not re.search(
            r"https?:|@import|url\(|fetch\(|XMLHttp|innerHTML|insertAdjacent|document\.write|eval\(", content
        )


def test_the_words_are_those_of_the_alignment_and_the_path_is_not_there():
    words = [
        TimedWord(text="ANNA:", mark="label"),
        TimedWord(text="one,", word="one", start_time_ms=80, end_time_ms=400, confidence=0.25, weak=True),
        TimedWord(text="two", word="two", status="not-found", no_space_before=True),
        TimedWord(text="six", word="six", start_time_ms=400, end_time_ms=400, confidence=0.9, doubtful="no-length"),
    ]
    file = timed(words=words, untranscribed=[Stretch(start_s=0.5, end_s=1.5)])
    page = page_of(file)
    read = TimedFile.model_validate(Parsed(page).data["file"])
    assert read == file.model_copy(update={"audio": "my talk.wav"})
    assert "secret place" not in page
    legend = re.sub(r"\s+", " ", page[page.index('id="legend"') : page.index("<main")])
    assert all(
        f"{what} (1)" in legend for what in ("low confidence", "hard to believe", "in the audio", "without words")
    )


def test_a_legend_names_only_what_is_there():
    legend = page_of(timed("one")).split('id="legend"')[1].split("<main")[0]
    assert not re.search("weak|doubtful|not-found|gap", legend)


@given(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=8))
def test_any_text_comes_back_as_one_line_of_it(texts):
    file = timed(*texts)
    flat = Spectrogram(2.0, lambda start_s, end_s: np.zeros((128, 200), np.float32))
    parsed = Parsed(recording_page(file, np.zeros(0, np.float32), flat, Path("a"), Path(), link=True))
    assert [word["text"] for word in parsed.data["file"]["words"]] == [word.one_line for word in file.words]
    assert len(parsed.texts) == 3


def pictures(tiles):
    return [Image.open(io.BytesIO(base64.b64decode(tile.removeprefix("data:image/png;base64,")))) for tile in tiles]


@pytest.mark.parametrize(("fine_s", "step"), [(600, 1), (10, 2)])
@pytest.mark.parametrize("duration_s", [0.3, 30.0, 65.0, 60.01])
def test_the_tiles_cover_the_recording(monkeypatch, duration_s, fine_s, step):
    monkeypatch.setattr(mel_tiles_module, "FINE_S", fine_s)
    step = step if duration_s > fine_s else 1
    tiles = pictures(mel_tiles(spectrogram_of(noise(duration_s))))
    assert {tile.height for tile in tiles} == {128 // step}
    assert all(tile.width * step == TILE_S * 100 for tile in tiles[:-1])
    assert sum(tile.width for tile in tiles) * step == pytest.approx(duration_s * 100, abs=step)


def test_a_tile_shows_its_own_time_low_tones_below_and_all_have_one_brightness():
    rate = SAMPLE_RATE_HZ
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
    samples = np.zeros(50 * rate, np.float32)
    samples[10 * rate : 11 * rate], samples[40 * rate : 41 * rate] = tone, tone / 10  # 20 dB quieter
    loud, quiet = (np.asarray(picture) for picture in pictures(mel_tiles(spectrogram_of(samples))))
    assert loud.max() == COLORS - 1
    assert quiet.max() == pytest.approx((COLORS - 1) * 2 / 3, abs=1)  # of 60 dB
    for levels in (loud, quiet):
        row, column = np.unravel_index(levels.argmax(), levels.shape)
        assert 1000 <= column < 1100
        assert row > levels.shape[0] / 2


def test_silence_is_dark():
    (picture,) = pictures(mel_tiles(spectrogram_of(np.zeros(SAMPLE_RATE_HZ, np.float32))))
    assert np.asarray(picture).max() == 0


def test_the_sound_inside_begins_and_ends_with_the_recording():
    samples = np.zeros(2 * SAMPLE_RATE_HZ, np.float32)
    samples[SAMPLE_RATE_HZ::1000] = 2.0  # is clipped
    uri = embedded_audio(samples, SAMPLE_RATE_HZ)
    content = base64.b64decode(uri.removeprefix("data:audio/mpeg;base64,"))
    decoded, rate = soundfile.read(io.BytesIO(content))
    assert (decoded.size, rate) == (samples.size, SAMPLE_RATE_HZ)
    assert np.flatnonzero(np.abs(decoded) > 0.4)[0] == pytest.approx(SAMPLE_RATE_HZ, abs=16)  # 1 ms
    assert b"LAME" in content[:500]  # tells players to leave out what the encoder put before the first sample
    assert len(content) < 2.5 * 40_000 / 8


def test_a_recording_above_the_limit_is_linked_and_a_line_says_so(monkeypatch, capsys):
    monkeypatch.setattr(recording_page_module, "MAX_EMBEDDED_S", 1.0)
    page = Parsed(page_of(timed("one")))
    assert page.first("audio")["src"] == "my%20talk.wav"
    assert page.policy["media-src"] == "'self'"
    assert "my talk.wav lasts more than 0 minutes, so it is not inside the page" in capsys.readouterr().err


def test_a_short_recording_is_linked_on_request():
    assert Parsed(page_of(timed("one"), link=True)).first("audio")["src"] == "my%20talk.wav"


@pytest.mark.parametrize(
    ("audio", "folder", "address"),
    [
        ("talks/a.wav", "talks", "a.wav"),
        ("talks/a.wav", "out/pages", "../../talks/a.wav"),
        ("a: b%20#?é.wav", "", "a%3A%20b%2520%23%3F%C3%A9.wav"),
        ("javascript:alert(1).wav", "", "javascript%3Aalert%281%29.wav"),
        ("\"'<>&\\.wav", "", "%22%27%3C%3E%26%5C.wav"),
        ("a\udcff.wav", "", "a%FF.wav"),
    ],
)
def test_a_link_is_relative_and_percent_encoded(tmp_path, audio, folder, address):
    assert audio_link(tmp_path / audio, tmp_path / folder) == address
    base = f"file://{tmp_path}/{folder}/page.html".replace("//page", "/page")
    assert unquote(urljoin(base, address), errors="surrogateescape") == f"file://{tmp_path}/{audio}"


def test_paragraphs_begin_at_speakers_and_pauses_and_stay_short():
    words = timed(*["word"] * 300).words
    assert paragraphs(timed(words=words)) == [0, MAX_PARAGRAPH_WORDS, 2 * MAX_PARAGRAPH_WORDS]
    stops = [word.model_copy(update={"text": "stop." if i % 10 == 9 else "go"}) for i, word in enumerate(words)]
    assert paragraphs(timed(words=stops))[:3] == [0, PARAGRAPH_WORDS, 2 * PARAGRAPH_WORDS]
    late = timed(*["one"] * PARAGRAPH_WORDS, "Mr.", "Smith", "said,", '"Go."', "Then", "he", "went.")
    assert paragraphs(late) == [0, PARAGRAPH_WORDS + 4]  # after the quote, and not after the abbreviation
    later = [
        *words[:5],
        TimedWord(text="BOB:", mark="label"),
        *words[5:8],
        *[w.model_copy(update={"start_time_ms": 9000.0, "end_time_ms": 9100.0}) for w in words[8:10]],
    ]
    assert paragraphs(timed(words=later)) == [0, 5, 9]
    assert all(a < b for a, b in pairwise(paragraphs(timed(words=later))))
    assert paragraphs(timed(words=[])) == []


@pytest.mark.parametrize(
    ("time_s", "text"), [(0, "0.0 s"), (3.24, "3.2 s"), (60, "1:00"), (3599.9, "59:59"), (3661, "1:01:01")]
)
def test_durations_are_read_as_a_clock(time_s, text):
    assert clock(time_s) == text
