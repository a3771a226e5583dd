"""Pages of results: nothing in them becomes markup, nothing is loaded, and only an own page is replaced.

What a browser makes of them is in `test_result_pages_in_browser.py`.
"""

import base64
import hashlib
import os
import re

import pytest

from forced_aligner.base.result_table import ResultTable
from forced_aligner.output.own_files import is_own_parity_page, is_own_results_page
from forced_aligner.output.parity_page import PACKAGES, PYTORCH, Spot
from forced_aligner.output.results_page import Picture, results_page
from tests.output.parsing import Parsed
from tests.output.reports import HOSTILE, REPORT, ROWS, hostile_page, report_page, spot


def results(text="x"):
    tables = [ResultTable(text, [text] * 3, [[text] * 3], texts=2)]
    return results_page(text, tables, notes=[text], pictures=[Picture(b"\x89PNG", text)])


def addresses(parsed):
    return [found[key] for _, found in parsed.elements for key in ("src", "href", "action") if found.get(key)]


@pytest.mark.parametrize("page", [hostile_page(), report_page(), results(" ".join(HOSTILE))])
def test_the_policy_allows_this_style_and_this_script_alone(page):
    def hash_of(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    parsed = Parsed(page)
    script = next(text for (name, found), text in parsed.texts if name == "script" and not found)
    assert parsed.policy["default-src"] == parsed.policy["base-uri"] == parsed.policy["form-action"] == "'none'"
    assert (parsed.policy["img-src"], parsed.policy["media-src"]) == ("data:", "data:")
    assert parsed.policy["style-src"] == hash_of(parsed.text("style"))
    assert parsed.policy["script-src"] == hash_of(script)
    assert not any(key == "style" or key.startswith("on") for _, found in parsed.elements for key in found)
    assert all(address.startswith("data:") for address in addresses(parsed))


def test_nothing_of_a_transcript_or_a_name_becomes_markup():
    parsed = Parsed(hostile_page())
    names = {name for name, _ in parsed.elements}
    assert names <= {name for name, _ in Parsed(report_page(failed=[("a", "b")])).elements}
    assert sum(name == "script" for name, _ in parsed.elements) == 2
    assert re.search("[^\x20-\x7e]|[<>&]", parsed.text("script", id="data")) is None
    assert [name for name, _ in Parsed(results(" ".join(HOSTILE))).elements] == [
        name for name, _ in Parsed(results()).elements
    ]
    assert "\x1b" not in hostile_page() + results(" ".join(HOSTILE))
    assert "\u202e" not in hostile_page() + results(" ".join(HOSTILE))


def test_a_page_says_how_many_it_leaves_out_and_what_failed():
    page = re.sub(r"\s+", " ", report_page(moved=9, failed=[("gone.wav", "no audio file")]))
    assert "9 moved; the 4 largest are here, 5 are left out." in page
    assert "<bdi>gone.wav</bdi>: no audio file" in page
    assert "left out" not in re.sub(r"\s+", " ", report_page(moved=4)).split("<main>")[1].split("<script")[0]


def test_a_page_on_which_nothing_moved_says_so():
    page = report_page(moved=0, passed=True)
    assert "No boundary moved" in page
    assert 'id="verdict" class="passed"' in page


def test_the_excerpt_has_the_words_of_each_side_at_their_times():
    data = Parsed(report_page()).data
    (found,) = data["excerpts"]
    packages, pytorch, truth = found["sides"]
    assert packages[1] == [1, "two", 0.56, 0.8]
    assert pytorch[1] == [1, "two", 0.4, 0.8]
    assert truth[1] == [1, "two", 0.36, 0.8]
    assert data["spots"][1] == {"excerpt": 0, "word": 1, "at_s": [0.56, 0.4, 0.36]}


def test_the_bars_say_what_they_hold():
    bars = Parsed(report_page()).data["bars"]
    assert [(bar["tick"], bar["count"]) for bar in bars] == [
        ("<−160", 0), ("−160", 0), ("−80", 1), ("same", 91), ("+80", 6), ("+160", 2), (">+160", 0),
    ]  # fmt: skip
    assert [bar["label"] for bar in bars][-2:] == ["up to 160 ms later", "more than 160 ms later"]


def test_a_boundary_is_later_or_earlier_than_pytorchs():
    assert spot(0).amount == "160 ms later"
    assert Spot("a", "b", 0, "end", {PACKAGES: 80.0, PYTORCH: 400.0}, None).amount == "320 ms earlier"
    assert Spot("a", "b", 0, "end", {PACKAGES: 80.0, PYTORCH: 80.0}, None).amount == "same"


def test_the_terminal_and_the_page_have_the_same_cells():
    parsed = Parsed(report_page())
    assert sum(name == "th" and found.get("scope") == "row" for name, found in parsed.elements) >= len(ROWS) + 1
    table = REPORT.files.rich()
    assert [column.header for column in table.columns] == list(REPORT.files.headings)
    assert [list(column.cells) for column in table.columns] == [
        list(cells) for cells in zip(*ROWS, REPORT.files.total, strict=True)
    ]
    page = report_page()
    assert all(f">{cell}<" in page for row in (*ROWS, REPORT.files.total) for cell in row)


def test_only_an_own_page_of_the_same_kind_is_replaced(tmp_path):
    (tmp_path / "own.html").write_text(report_page())
    (tmp_path / "other.html").write_text(results())
    assert is_own_parity_page(tmp_path / "own.html")
    assert is_own_results_page(tmp_path / "other.html")
    meta = re.search("<meta name=.generator.*?>", report_page())[0]
    (tmp_path / "link.html").symlink_to(tmp_path / "own.html")
    (tmp_path / "empty.html").touch()
    (tmp_path / "folder.html").mkdir()
    os.mkfifo(tmp_path / "fifo.html")
    (tmp_path / "cut.html").write_text(report_page()[:40])
    (tmp_path / "later.html").write_text(f"<!doctype html><title>my notes</title>{meta}")
    (tmp_path / "text.html").write_text(f"see {meta}")
    others = [path for path in tmp_path.iterdir() if path.name != "own.html"]
    assert not any(map(is_own_parity_page, [*others, tmp_path / "gone.html", tmp_path / ("n" * 300)]))


def test_every_kind_of_page_names_itself():
    names = {Parsed(page).first("meta", name="generator")["content"] for page in (report_page(), results())}
    assert len(names) == 2
    assert all(name.startswith("qwen3-forcedaligner-coreml, ") for name in names)
