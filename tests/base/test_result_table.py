"""A table of results fits its terminal, and no figure is lost where it is narrow."""

import os
import pty
import re
import subprocess
import sys

import pytest

from forced_aligner.base.paths import ROOT
from forced_aligner.base.result_table import ResultTable

CODE = (
    "from forced_aligner.base.console import show_table; from forced_aligner.base.result_table import ResultTable\n"
    "show_table(ResultTable('scores', ['file', *(f'figure {n}' for n in range(9))], "
    "[['clip-01.flac', *(f'{n}.25' for n in range(9))]], total=['all', *'123456789']))"
)


def shown_at(columns):
    """What a terminal of so many columns gets."""
    parent, child = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm", "NO_COLOR": "1"}
    subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, env=environment, stdout=child, check=True)
    os.close(child)
    said = os.read(parent, 1 << 16).decode()
    os.close(parent)
    return said


def test_a_wide_terminal_gets_the_table():
    said = shown_at(160)
    assert "figure 8" in said
    assert re.search("│ +8.25 │", said)
    assert "figure 8 8.25" not in said


@pytest.mark.parametrize("columns", [40, 80])
def test_a_narrow_terminal_gets_every_figure(columns):
    said = " ".join(shown_at(columns).split())
    assert "clip-01.flac: figure 0 0.25, figure 1 1.25," in said
    assert said.endswith("all: " + ", ".join(f"figure {n} {n + 1}" for n in range(9)))
    assert "…" not in said


def test_empty_cells_have_no_heading():
    table = ResultTable("", ["file", "a", "b"], [["x", "1", ""]])
    assert table.paragraphs() == "x: a 1"
