"""The results as one JSON file, to which each part adds its own, and as tables."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.large_sets.commands import COMMANDS, WAYS
from forced_aligner.base.console import show_table
from forced_aligner.base.result_table import ResultTable

SPEED = {
    "clips": "clips", "wall_s": "wall s", "cpu_s": "CPU s", "first_result_s": "first s", "clips_per_s": "clips/s",
    "steady_clips_per_s": "steady clips/s", "audio_s_per_s": "x real time", "peak_pss_mb": "PSS MB",
    "peak_rss_mb": "RSS MB", "processes": "processes",
}  # fmt: skip
COST_OF_SIDE = [f"{side}_{what}" for side in ("packages", "pytorch") for what in ("ms", "median_ms", "ms_per_audio_s")]
COST = ("length", "clips", "mean_s", *COST_OF_SIDE)


def merge(path: Path, part: str, result: dict[str, Any]) -> dict[str, Any]:
    """Put the result of `part` into the file, in place of an earlier one, and keep the other parts."""
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    results[part] = result
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n")
    return results


def show(part: str, result: dict[str, Any]) -> None:
    """Print the tables of a part."""
    show_table(*tables(part, result))


def tables(part: str, result: dict[str, Any]) -> Iterator[ResultTable | str]:
    """The tables and lines of a part."""
    if part == "clips":
        yield "\n".join(f"{key}: {value}" for key, value in result.items())
        return
    for command in COMMANDS:
        if command in result:
            title = f"{part}: {command}" + (f", way: {result['way']}" if "way" in result else "")
            yield _speeds(f"{title} ({result['jobs']} jobs)", result[command])
            yield from _notes(result, command)
    if "cost_by_length" in result:
        cost = result["cost_by_length"]
        yield _table(f"{part}: cost by length, way: {cost['way']}", cost["rows"], COST)


def _speeds(title: str, result: Any) -> ResultTable:
    """Rows of throughput: by way, by size, or of an undisturbed run."""
    if isinstance(result, list):
        rows = [("", row) for row in result]
    else:
        rows = [(name, row) for name, row in result.items() if name in (*WAYS, "undisturbed")]
    cells = [[name, *(_cell(row[key]) for key in SPEED)] for name, row in rows]
    return ResultTable(title, ["way", *SPEED.values()], cells)


def _notes(result: dict[str, Any], command: str) -> Iterator[str]:
    """What the table of a command does not hold."""
    found = result[command]
    for summary in ("ratios", "fit"):
        if result.get(summary, {}).get(command):
            yield _line(result[summary][command])
    if isinstance(found, list):
        return
    for key in ("attempts", "differences"):
        for each in found.get(key, []) if key == "attempts" else [found.get(key)]:
            if each:
                yield f"{key}: {_line(each)}"
    for way in WAYS:
        if "differences" in found.get(way, {}):
            yield f"{way}, differences: {_line(found[way]['differences'])}"
    ratios = {key: value for key, value in found.items() if key.startswith("ratio")}
    if ratios:
        yield _line(ratios)


def _line(values: dict[str, Any]) -> str:
    return "; ".join(f"{key} {_cell(value)}" for key, value in values.items())


def _table(title: str, rows: list[dict[str, Any]], keys: tuple[str, ...]) -> ResultTable:
    headings = [key.replace("_", " ") for key in keys]
    return ResultTable(title, headings, [[_cell(row[key]) for key in keys] for row in rows])


def _cell(value: Any) -> str:
    return "" if value is None else str(value)
