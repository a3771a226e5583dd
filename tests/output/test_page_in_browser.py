"""The page of a recording in headless Chromium: what it shows, plays and lights, and what no transcript can do."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from forced_aligner.align.audio import SAMPLE_RATE_HZ
from forced_aligner.jobs.recording_page import recording_page
from forced_aligner.jobs.recording_picture import spectrogram_of
from forced_aligner.output.alignment_picture import Spectrogram
from forced_aligner.output.records import Stretch, TimedFile, TimedWord

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.output.browsing import click, contrasts, loaded, open_page, set_scheme, wait

CHIRP_S = 1.0  # where the sound of `talk` begins


def word(text, start_ms, end_ms, **changes):
    return TimedWord(text=text, word="x", start_time_ms=start_ms, end_time_ms=end_ms, confidence=0.9, **changes)


WORDS = [
    TimedWord(text="ANNA:", mark="label"),
    word("Keynote,", 80, 480),
    word("one", 480, 480),
    word("weak", 480, 960, weak=True),
    TimedWord(text="missing", word="missing", status="not-found"),
    word("doubtful", 1040, 1520, doubtful="long"),
    word("a", 1520, 1600),
    word("lightweight", 1600, 1680),
    word("مرحبا", 2080, 2480),
    word("last.", 2480, 2960),
]
SPOKEN = [index for index, found in enumerate(WORDS) if found.start_time_ms is not None]


def write_page(folder, words, duration_s=4.0, name="talk.wav", **changes):
    samples = np.zeros(round(duration_s * SAMPLE_RATE_HZ), np.float32)
    at = np.arange(samples.size) / SAMPLE_RATE_HZ
    samples[at >= CHIRP_S] = 0.3 * np.sin(2 * np.pi * 400 * at[at >= CHIRP_S]).astype(np.float32)
    file = TimedFile(audio=name, language="English", duration_s=duration_s, words=words, **changes)
    page = folder / "page.html"
    page.write_text(recording_page(file, samples, spectrogram_of(samples), folder / name, folder), encoding="utf-8")
    return page


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    gap = [Stretch(start_s=3.2, end_s=3.9)]
    return write_page(tmp_path_factory.mktemp("page"), WORDS, untranscribed=gap)


@pytest.fixture
def shown(browser, page):
    return show(browser, page)


def show(browser, page):
    open_page(browser, page)
    wait(browser, lambda: browser.execute_script("return document.getElementById('audio').readyState > 0"))
    return browser


def run(browser, script, *arguments):
    return browser.execute_script(
        "const audio = document.getElementById('audio'), picture = document.getElementById('picture');" + script,
        *arguments,
    )


def now_s(browser):
    return run(browser, "return audio.currentTime")


def seek(browser, time_s):
    run(browser, "audio.pause(); audio.currentTime = arguments[0]", time_s)
    wait(browser, lambda: not run(browser, "return audio.seeking"))
    run(browser, "return new Promise(requestAnimationFrame)")


def lit(browser):
    """The indices of the words that are lit in the picture, and in the transcript."""
    return tuple(
        run(browser, f"return [...document.querySelectorAll('{place} .lit')].map((node) => +node.dataset.index)")
        for place in ("#words", "#transcript")
    )


def press(browser, key):
    ActionChains(browser).send_keys(key).perform()


def test_it_loads_without_an_error_and_loads_nothing_else(shown):
    assert shown.get_log("browser") == []
    assert loaded(shown) == []
    assert run(shown, "return audio.duration") == pytest.approx(4.0, abs=0.04)
    assert run(shown, "return audio.error") is None
    assert not shown.find_element(By.ID, "trouble").is_displayed()
    assert run(shown, "return [...document.images].every((image) => image.complete && image.naturalWidth === 400)")


def test_a_browser_hears_the_sound_at_its_time(shown):
    """An MP3 encoder puts samples before the first one, which the browser must leave out."""
    onset_s = shown.execute_async_script(
        """const done = arguments[0], base64 = document.getElementById("audio").src.split(",")[1];
        const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
        new OfflineAudioContext(1, 1, 16000).decodeAudioData(bytes.buffer).then((sound) => {
            done(sound.getChannelData(0).findIndex((sample) => Math.abs(sample) > 0.1) / sound.sampleRate);
        });"""
    )
    assert onset_s == pytest.approx(CHIRP_S, abs=0.003)


@pytest.mark.parametrize("place", ["#transcript", "#words"])
def test_a_click_on_a_word_plays_from_there(shown, place):
    click(shown, f"{place} [data-index='5']" + (" .label" if place == "#words" else ""))
    wait(shown, lambda: not run(shown, "return audio.paused") and now_s(shown) > 1.06)
    assert now_s(shown) < 1.9
    assert run(shown, "return audio.played.start(0)") == pytest.approx(1.04, abs=0.01)


def test_a_click_on_a_word_that_was_not_found_plays_from_the_end_of_the_word_before(shown):
    click(shown, "#transcript .not-found")
    wait(shown, lambda: now_s(shown) > 0.96)
    assert run(shown, "return audio.played.start(0)") == pytest.approx(0.96, abs=0.01)


def test_a_click_on_the_picture_plays_from_there(shown):
    x = run(shown, "return -picture.clientWidth / 2 + 2.0 * document.getElementById('strip').clientWidth / 4.0")
    ActionChains(shown).move_to_element_with_offset(
        shown.find_element(By.ID, "picture"), round(x), 40
    ).click().perform()
    wait(shown, lambda: run(shown, "return audio.played.length"))
    assert run(shown, "return audio.played.start(0)") == pytest.approx(2.0, abs=0.02)


@pytest.mark.parametrize(
    ("time_s", "index"),
    [
        (0.0, None),
        (0.08, 1),
        (0.4799, 3),
        (0.48, 3),
        (0.97, None),
        (1.04, 5),
        (1.5, 5),
        (1.6, 7),
        (2.2, 8),
        (3.5, None),
    ],
)
def test_the_lit_word_is_the_one_at_the_time(shown, time_s, index):
    seek(shown, time_s)
    assert lit(shown) == (([], []) if index is None else ([index], [index]))


def test_the_lit_word_follows_the_playback(shown):
    seek(shown, 1.0)
    run(
        shown,
        """window.seen = [];
        (function look() {
            const pair = ["#words .lit", "#transcript .lit"].map((lit) => document.querySelector(lit)?.dataset.index);
            if (String(pair) !== String(seen.at(-1))) seen.push(pair);
            requestAnimationFrame(look);
        })();""",
    )
    press(shown, Keys.SPACE)
    wait(shown, lambda: run(shown, "return audio.ended"))
    seen = run(shown, "return window.seen")
    assert all(above == below for above, below in seen)
    order = [int(above) for above, _ in seen if above is not None]
    assert order == sorted(order)
    assert {5, 8, 9} <= set(order)


def test_keys_step_by_word_play_and_zoom(shown):
    starts = sorted({WORDS[index].start_time_ms / 1000 for index in SPOKEN})
    visited = []
    for _ in range(len(starts) + 1):
        press(shown, Keys.ARROW_RIGHT)
        visited.append(now_s(shown))
    assert visited == pytest.approx([*starts, starts[-1]], abs=0.001)
    for start_s in starts[-2::-1]:
        press(shown, Keys.ARROW_LEFT)
        assert now_s(shown) == pytest.approx(start_s, abs=0.001)
    assert run(shown, "return audio.paused")
    press(shown, Keys.SPACE)
    wait(shown, lambda: not run(shown, "return audio.paused") and now_s(shown) > starts[0] + 0.05)
    press(shown, Keys.SPACE)
    wait(shown, lambda: run(shown, "return audio.paused"))
    width = run(shown, "return picture.scrollWidth")
    press(shown, "+")
    assert run(shown, "return picture.scrollWidth") == pytest.approx(1.5 * width, rel=0.01)
    press(shown, "-")
    assert run(shown, "return picture.scrollWidth") == pytest.approx(width, rel=0.01)
    assert run(shown, "return scrollY") == 0


def test_the_buttons_zoom_around_the_playback(shown):
    seek(shown, 2.0)
    for _ in range(2):
        shown.find_element(By.ID, "zoom-in").click()
    head = shown.find_element(By.ID, "playhead").rect
    view = shown.find_element(By.ID, "picture").rect
    assert view["x"] < head["x"] < view["x"] + view["width"]


@pytest.mark.parametrize("zooms", range(-4, 4))
def test_labels_fit_into_their_words_and_words_do_not_overlap(shown, zooms):
    for _ in range(abs(zooms)):
        press(shown, "+" if zooms > 0 else "-")
    boxes = run(
        shown,
        """return [...document.querySelectorAll("#words .label")].map((label) => {
            const box = label.getBoundingClientRect();
            return [box.left, box.right, label.scrollWidth <= label.clientWidth, label.textContent];
        }).filter((label) => label[3]).sort((a, b) => a[0] - b[0])""",
    )
    assert len(boxes) > 3
    assert all(fits for _, _, fits, _ in boxes)
    assert all(left[1] <= right[0] + 2 for left, right in pairwise(boxes))  # one edge is shared


CONTRAST_PLACES = "h1, header p, #legend *, .paragraph time, .paragraph .word, .label, #ticks span"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(shown, scheme):
    set_scheme(shown, scheme)
    seek(shown, 1.2)
    ratios = contrasts(shown, CONTRAST_PLACES)
    assert len(ratios) > 20
    assert [(text, ratio) for text, ratio in ratios if ratio < 4.5] == []  # WCAG 2, AA
    background = run(shown, "return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")


def test_print_has_the_transcript_with_times_and_no_player(shown):
    shown.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    assert not shown.find_element(By.ID, "player").is_displayed()
    paragraph = shown.find_element(By.CLASS_NAME, "paragraph")
    assert paragraph.text.split("\n", 1)[0] == "0:00"
    assert "Keynote, one weak missing doubtful" in paragraph.text


HOSTILE = [
    "<script>window.harm = 1</script>", "</script><script>window.harm = 1</script>", "<img src=x onerror='harm=1'>",
    '"quoted"', "it's", "<!--", "-->", "&lt;b&gt;", "{{ 7*7 }}", "javascript:alert(1)", "شكرا", "\u202etxet", "\u2028x",
]  # fmt: skip
HOSTILE_NAME = "<img src=x onerror='harm=1'> \"&amp;.wav"


def test_a_hostile_transcript_is_shown_as_it_is_and_does_no_harm(browser, tmp_path):
    words = [word(text, 200 * index, 200 * index + 150) for index, text in enumerate(HOSTILE)]
    show(browser, write_page(tmp_path, words, name=HOSTILE_NAME))
    assert browser.get_log("browser") == []
    assert run(browser, "return window.harm") is None
    texts = run(browser, "return [...document.querySelectorAll('#transcript .word')].map((node) => node.textContent)")
    assert texts == [" ".join(text.split()) for text in HOSTILE]
    assert run(browser, "return document.querySelectorAll('script').length") == 2
    assert browser.title == HOSTILE_NAME
    assert run(browser, "return document.querySelectorAll('#transcript img').length") == 0


def test_the_policy_stops_what_the_page_does_not_need(shown):
    assert run(
        shown,
        """const blocked = [];
        document.addEventListener("securitypolicyviolation", (event) => blocked.push(event.effectiveDirective));
        document.body.insertAdjacentHTML("beforeend", `<b style="color: red" onclick="window.harm = 1">x</b>
            <img src="https://example.invalid/x.png"><iframe src="data:text/html,x"></iframe>`);
        const script = document.createElement("script");
        script.textContent = "window.harm = 1";
        document.body.append(script);
        document.body.querySelector("b:last-of-type").click();
        return fetch("data:,x").catch(() => {}).then(() => new Promise((done) => setTimeout(done, 300)))
            .then(() => [[...new Set(blocked)].sort(), window.harm ?? null])""",
    ) == [["connect-src", "frame-src", "img-src", "script-src-attr", "script-src-elem", "style-src-attr"], None]


HOUR_S = 3600


def test_an_hour_of_ten_thousand_words_is_usable(browser, tmp_path):
    count = 10_000
    each_ms = 1000 * HOUR_S / count
    words = [word(f"word-{i}.", i * each_ms, (i + 0.9) * each_ms, weak=i % 50 == 0) for i in range(count)]
    soundfile.write(tmp_path / "an hour.wav", np.zeros(HOUR_S * 4000, np.float32), 4000, subtype="PCM_U8")
    file = TimedFile(audio="an hour.wav", language=None, duration_s=HOUR_S, words=words)
    flat = Spectrogram(HOUR_S, lambda start_s, end_s: np.zeros((128, round((end_s - start_s) * 100)), np.float32))
    page = tmp_path / "page.html"
    page.write_text(recording_page(file, np.zeros(0, np.float32), flat, tmp_path / "an hour.wav", tmp_path, link=True))
    show(browser, page)
    assert browser.get_log("browser") == []
    assert run(browser, "return document.querySelectorAll('#transcript .word').length") == count

    def drawn():
        run(browser, "return new Promise((done) => setTimeout(done, 50))")
        nodes = (
            "return [document.querySelectorAll('#words .word').length, document.querySelectorAll('#tiles img').length]"
        )
        return run(browser, nodes)

    assert 10 < drawn()[0] < 200
    seek(browser, 3000.2)
    assert lit(browser) == ([8333], [8333])
    assert 10 < drawn()[0] < 200
    press(browser, Keys.ARROW_RIGHT)
    assert lit(browser) == ([8334], [8334])
    shown = browser.find_element(By.CSS_SELECTOR, "#transcript .lit").rect
    top, height = run(browser, "return [scrollY, innerHeight]")
    assert top < shown["y"] < top + height
    for _ in range(20):
        press(browser, "-")
    assert drawn()[0] < 4000
    assert drawn()[1] < 60
    assert not browser.find_element(By.ID, "zoom-out").is_enabled()
    slowest_ms = run(
        browser,
        """const times = [0, 1e3, 5e3, 1e4].map((left) => {
            const begun = performance.now();
            picture.scrollLeft = left;
            picture.dispatchEvent(new Event("scroll"));
            return new Promise(requestAnimationFrame).then(() => performance.now() - begun);
        });
        return Promise.all(times).then((all) => Math.max(...all))""",
    )
    assert slowest_ms < 2000
    click(browser, "#transcript [data-index='9999']")
    wait(browser, lambda: now_s(browser) >= words[-1].start_time_ms / 1000 and not run(browser, "return audio.seeking"))


def test_a_missing_recording_is_told(browser, tmp_path):
    file = TimedFile(audio="gone.wav", language=None, duration_s=4, words=WORDS)
    samples = np.zeros(4 * SAMPLE_RATE_HZ, np.float32)
    page = tmp_path / "page.html"
    page.write_text(
        recording_page(file, samples, spectrogram_of(samples), Path(tmp_path / "gone.wav"), tmp_path, link=True)
    )
    browser.get(page.as_uri())
    wait(browser, lambda: browser.find_element(By.ID, "trouble").is_displayed())
    assert "gone.wav" in browser.find_element(By.ID, "trouble").text
