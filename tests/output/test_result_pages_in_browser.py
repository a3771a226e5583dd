"""Pages of results in headless Chromium: what they show, play and sort, and what no transcript can do."""

import pytest

from forced_aligner.base.result_table import ResultTable
from forced_aligner.output.results_page import results_page
from tests.output.reports import HOSTILE, ROWS, hostile_page, report_page

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.output.browsing import click, contrasts, loaded, open_page, set_scheme, wait

SPOT = ".spot[data-index='1']"  # the packages have its boundary at 0.56 s of the excerpt, PyTorch at 0.4 s
AUDIO = f'const audio = document.querySelector("{SPOT} audio");'


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "parity.html"
    path.write_text(report_page(), encoding="utf-8")
    return path


@pytest.fixture
def shown(browser, page):
    open_page(browser, page)
    return browser


@pytest.fixture
def opened(shown):
    """The second boundary is open, and its sound can be played."""
    click(shown, f"{SPOT} summary")
    wait(shown, lambda: shown.execute_script(AUDIO + "return audio?.readyState > 0"))
    return shown


def played(browser):
    return browser.execute_script(
        AUDIO
        + "return Array.from({length: audio.played.length}, (_, n) => [audio.played.start(n), audio.played.end(n)])"
    )


def is_done(browser):
    return browser.execute_script(AUDIO + "return audio.paused && audio.played.length > 0")


def test_it_loads_without_an_error_and_loads_nothing_else(opened):
    assert opened.get_log("browser") == []
    assert loaded(opened) == []
    assert not opened.find_element(By.ID, "trouble").is_displayed()
    assert opened.execute_script(AUDIO + "return audio.duration") == pytest.approx(4.0, abs=0.04)


def test_a_boundary_opens_with_the_words_of_each_side_at_their_times(opened):
    lanes = opened.execute_script(
        """const strip = document.querySelector(".strip"), mel = strip.querySelector("img").getBoundingClientRect();
        const at = (node) => 4 * (node.getBoundingClientRect().left - mel.left) / mel.width;
        return [...strip.querySelectorAll(".lane")].map((lane) => [...lane.children].map((w) => [w.textContent, at(w)]))
            .concat([[...strip.querySelectorAll("i")].map((line) => at(line))])"""
    )
    texts = ["one", "two", "three", "four"]
    for lane, shift_s in zip(lanes[:3], (0.16, 0.0, -0.04), strict=True):
        assert [text for text, _ in lane] == texts
        assert [at_s for _, at_s in lane] == pytest.approx([0.4 * n + shift_s for n in range(4)], abs=0.01)
    assert lanes[3] == pytest.approx([0.56, 0.4, 0.36], abs=0.01)
    lit = opened.find_elements(By.CSS_SELECTOR, ".lit")
    assert [node.text for node in lit] == ["two"] * 3
    image = "const image = document.querySelector('.strip img'); return image.complete && image.naturalWidth"
    wait(opened, lambda: opened.execute_script(image) == 400)


@pytest.mark.parametrize(("side", "at_s"), [(0, 0.56), (1, 0.4), (2, 0.36)])
def test_each_sides_button_plays_the_half_second_around_its_boundary(opened, side, at_s):
    click(opened, f"{SPOT} [data-side='{side}'] button")
    wait(opened, lambda: is_done(opened))
    ((start_s, end_s),) = played(opened)
    assert start_s == pytest.approx(at_s - 0.25, abs=0.01)
    assert at_s + 0.24 < end_s < at_s + 0.75  # a busy machine may stop late


def test_the_whole_excerpt_is_played(opened):
    opened.execute_script(AUDIO + "audio.playbackRate = 4")
    click(opened, f"{SPOT} > button")
    wait(opened, lambda: is_done(opened))
    ((start_s, end_s),) = played(opened)
    assert start_s == pytest.approx(0, abs=0.01)
    assert end_s == pytest.approx(4.0, abs=0.05)


def test_the_keyboard_opens_and_plays_and_closing_stops(shown):
    shown.execute_script(f'document.querySelector("{SPOT} summary").focus()')
    ActionChains(shown).send_keys(Keys.ENTER).perform()
    wait(shown, lambda: shown.execute_script(AUDIO + "return audio?.readyState > 0"))
    ActionChains(shown).send_keys(Keys.TAB).perform()
    assert shown.switch_to.active_element.get_attribute("aria-label").endswith("the boundary of packages")
    ActionChains(shown).send_keys(Keys.SPACE).perform()
    wait(shown, lambda: shown.execute_script(AUDIO + "return audio.played.length"))
    click(shown, f"{SPOT} > button")
    wait(shown, lambda: not shown.execute_script(AUDIO + "return audio.paused"))
    click(shown, f"{SPOT} summary")
    wait(shown, lambda: shown.execute_script(AUDIO + "return audio.paused"))


def column(browser, number):
    script = (
        "return [...document.querySelectorAll('.results tbody tr')].map((row) => row.cells[arguments[0]].textContent)"
    )
    return browser.execute_script(script, number)


def test_a_click_on_a_heading_sorts_and_the_total_stays_below(shown):
    click(shown, ".results th:nth-child(2) button")
    assert column(shown, 1) == ["1,000", "80", "9"]
    assert shown.find_element(By.CSS_SELECTOR, ".results [aria-sort]").get_attribute("aria-sort") == "descending"
    click(shown, ".results th:nth-child(2) button")
    assert column(shown, 1) == ["9", "80", "1,000"]
    click(shown, ".results th:nth-child(1) button")
    assert column(shown, 0) == ["a", "b", "c"]
    click(shown, ".results th:nth-child(3) button")
    click(shown, ".results th:nth-child(3) button")
    assert column(shown, 2) == ["99.50", "100.00", "NOT FINITE"]
    assert shown.find_element(By.CSS_SELECTOR, ".results tfoot").text.startswith("all")


def test_the_histogram_has_a_bar_for_each_step_and_a_text_for_who_cannot_see_it(shown):
    heights = shown.execute_script(
        "return [...document.querySelectorAll('#histogram rect')].map((r) => +r.getAttribute('height'))"
    )
    assert len(heights) == 7
    assert heights[0] == heights[-1] == 0
    assert 0 < heights[2] < heights[5] < heights[4] < heights[3]
    label = shown.find_element(By.CSS_SELECTOR, "#histogram svg").get_attribute("aria-label")
    assert "up to 80 ms earlier: 1, same bin: 91, up to 80 ms later: 6" in label


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(opened, scheme):
    set_scheme(opened, scheme)
    places = "h1, h2, p, summary span, .times th, .times td, .results th *, .results td, .lane .word, button, dt, dd"
    ratios = contrasts(opened, places)
    assert len(ratios) > 40
    assert [(text, ratio) for text, ratio in ratios if ratio < 4.5] == []  # WCAG 2, AA


def test_a_narrow_page_scrolls_in_its_boxes_alone(opened, page):
    size = {"width": 360, "height": 700, "deviceScaleFactor": 1, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        assert opened.execute_script("return [innerWidth, document.documentElement.scrollWidth]") == [360, 360]
        box = "const box = document.querySelector('.excerpt'); return box.scrollWidth > box.clientWidth"
        assert opened.execute_script(box)
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_print_has_the_tables_and_what_is_open_without_buttons(opened):
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    assert not any(button.is_displayed() for button in opened.find_elements(By.CSS_SELECTOR, ".spot button"))
    assert opened.find_element(By.CSS_SELECTOR, ".strip").is_displayed()
    assert opened.find_element(By.CSS_SELECTOR, ".results tfoot").is_displayed()


def test_hostile_texts_are_shown_as_they_are_and_do_no_harm(browser, tmp_path):
    text = " ".join(HOSTILE)
    tables = [ResultTable(text, [text, "x"], [[text, text]])]
    (tmp_path / "parity.html").write_text(hostile_page(), encoding="utf-8")
    (tmp_path / "results.html").write_text(results_page(text, tables, notes=[text]), encoding="utf-8")
    for name in ("parity.html", "results.html"):
        open_page(browser, tmp_path / name)
        browser.execute_script("for (const spot of document.querySelectorAll('.spot')) spot.open = true")
        opened = "return document.querySelectorAll('.spot').length === document.querySelectorAll('.spot audio').length"
        wait(browser, lambda: browser.execute_script(opened))  # noqa: B023
        assert browser.get_log("browser") == []
        assert loaded(browser) == []
        assert browser.execute_script("return [window.harm ?? null, document.scripts.length]") == [None, 2]
        assert "<script>window.harm = 1</script>" in browser.title
        shown = browser.execute_script("return document.querySelector('tbody th[dir]').textContent")
        assert shown.startswith("".join(HOSTILE[:1]))
    open_page(browser, tmp_path / "parity.html")
    browser.execute_script("document.querySelector('.spot').open = true")
    wait(browser, lambda: browser.execute_script("return document.querySelector('.lane')"))
    words = browser.execute_script(
        "return [...document.querySelector('.lane').children].map((node) => node.textContent)"
    )
    assert words[:3] == HOSTILE[:3]


def test_the_policy_stops_what_the_page_does_not_need(shown):
    assert shown.execute_script(
        """const blocked = [];
        document.addEventListener("securitypolicyviolation", (event) => blocked.push(event.effectiveDirective));
        document.body.insertAdjacentHTML("beforeend", `<b style="color: red" onclick="window.harm = 1">x</b>
            <img src="https://example.invalid/x.png"><audio src="https://example.invalid/x.mp3"></audio>`);
        document.body.querySelector("b:last-of-type").click();
        return fetch("data:,x").catch(() => {}).then(() => new Promise((done) => setTimeout(done, 300)))
            .then(() => [[...new Set(blocked)].sort(), window.harm ?? null])"""
    ) == [["connect-src", "img-src", "media-src", "script-src-attr", "style-src-attr"], None]


def test_a_page_of_tables_loads_and_sorts(browser, tmp_path):
    path = tmp_path / "results.html"
    path.write_text(results_page("demo", [ResultTable("presets", ["a", "b", "c"], ROWS)]), encoding="utf-8")
    open_page(browser, path)
    assert browser.get_log("browser") == []
    assert loaded(browser) == []
    click(browser, ".results th:nth-child(2) button")
    assert column(browser, 1) == ["1,000", "80", "9"]


def test_what_is_no_number_is_sorted_below_all_numbers_and_what_is_equal_above(browser, tmp_path):
    rows = [["a", "31.2"], ["b", "NOT FINITE"], ["c", "equal"], ["d", "88.0"]]
    path = tmp_path / "results.html"
    path.write_text(results_page("demo", [ResultTable("presets", ["a", "dB"], rows)]), encoding="utf-8")
    open_page(browser, path)
    for expected in (["equal", "88.0", "31.2", "NOT FINITE"], ["31.2", "88.0", "equal", "NOT FINITE"]):
        click(browser, ".results th:nth-child(2) button")
        assert column(browser, 1) == expected
