"""The page of tables and pictures that `sweep` and `benchmark` write."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from forced_aligner.base.result_table import ResultTable
from forced_aligner.base.text import visible
from forced_aligner.output.own_files import RESULTS
from forced_aligner.output.page_template import render


@dataclass(frozen=True)
class Picture:
    """A PNG file's content, and what it shows in words, for whoever cannot see it."""

    content: bytes
    alt: str

    @property
    def address(self) -> str:
        """The picture as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.content).decode()


def results_page(
    title: str, tables: Sequence[ResultTable], *, notes: Sequence[str] = (), pictures: Sequence[Picture] = ()
) -> str:
    """HTML with the tables, the notes and the pictures below each other, and all of it inside.

    Args:
        title: heading of the page.
        tables: their rows are sorted by a click on a heading.
        notes: a line each.
        pictures: are shown on white, since they are drawn for it.
    """
    return render(RESULTS, {}, title=visible(title), tables=tables, notes=notes, pictures=pictures)
