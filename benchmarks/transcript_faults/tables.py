"""The tables of the benchmark of wrong transcripts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.table import Table

from benchmarks.transcript_faults.records import KindRow

Cell = Callable[[KindRow], object]
TIMES: Mapping[str, Cell] = {
    "kind": lambda row: row.kind,
    "cases": lambda row: row.counts.cases,
    "errors": lambda row: row.counts.errors,
    "boundaries": lambda row: row.counts.boundaries,
    "≤ 160 ms %": lambda row: row.within_160ms_percent,
    "> 1 s %": lambda row: row.beyond_1s_percent,
    "lost %": lambda row: row.lost_percent,
    "wall / audio": lambda row: row.realtime_factor,
    "CPU / audio": lambda row: row.cpu_factor,
    "audio passes": lambda row: row.audio_passes,
    "decoder calls": lambda row: row.counts.decoder_calls,
}
SAID: Mapping[str, Cell] = {
    "kind": lambda row: row.kind,
    "recall ≥ 5": lambda row: row.recall_long_percent,
    "precision ≥ 5": lambda row: row.precision_long_percent,
    "recall 1-4": lambda row: row.recall_short_percent,
    "precision 1-4": lambda row: row.precision_short_percent,
    "recall replaced": lambda row: row.recall_replaced_percent,
    "wrong / silent": lambda row: f"{row.counts.wrong_cases} / {row.counts.silent_cases}",
    "places / named": lambda row: f"{row.counts.places_far_off} / {row.counts.places_named}",
    "alarms / false": lambda row: f"{row.counts.alarms} / {row.counts.false_alarms}",
    "stretches / listed": lambda row: f"{row.counts.stretches} / {row.counts.stretches_listed}",
    "listed s / with words": lambda row: f"{row.counts.listed_s:.0f} / {row.counts.listed_with_words_s:.0f}",
}


def tables(rows: Sequence[KindRow]) -> list[Table]:
    """Two tables: the times of spoken words, and what was said of the others."""
    return [
        _table("Boundaries of spoken words", TIMES, rows),
        _table("Words that nobody speaks (%), and messages", SAID, rows),
    ]


def _table(title: str, columns: Mapping[str, Cell], rows: Sequence[KindRow]) -> Table:
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*(_text(cell(row)) for cell in columns.values()))
    return table


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)
