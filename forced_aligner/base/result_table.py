"""A table of results: its headings and cells are spelled once, for the terminal and for a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forced_aligner.base.text import visible

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class ResultTable:
    """Rows of text.

    Attributes:
        title: what the rows are of; may be empty.
        headings: one for each column.
        rows: the cells, one for each heading.
        texts: so many columns, from the left, hold words. The others hold numbers.
        total: the last row, set off from the others.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1
    total: Sequence[str] | None = None

    def rich(self) -> Table:
        """The table as the terminal shows it."""
        from rich.table import Table

        table = Table(title=visible(self.title))
        for number, heading in enumerate(self.headings):
            table.add_column(visible(heading), justify="left" if number < self.texts else "right")
        for row in self.rows:
            table.add_row(*map(visible, row))
        if self.total is not None:
            table.add_section()
            table.add_row(*map(visible, self.total))
        return table

    def paragraphs(self) -> str:
        """The same for a narrow terminal: a paragraph for each row, with its headings."""

        def paragraph(row: Sequence[str]) -> str:
            cells = [f"{heading} {cell}" for heading, cell in zip(self.headings[1:], row[1:], strict=True) if cell]
            return f"{row[0]}: {', '.join(cells)}"

        rows = self.rows if self.total is None else [*self.rows, self.total]
        return "\n".join(map(visible, [*filter(None, [self.title]), *map(paragraph, rows)]))
