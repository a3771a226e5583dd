"""At least 1,000 seeded faults, and what became of each.

    uv run benchmarks/faults.py
    uv run benchmarks/faults.py --category kills --count 30
    uv run benchmarks/faults.py --fault audio-0012      one again; its scratch folder is kept

A fault is damage to something that a command reads, an odd option, an output that must not be written, a kill, a full
disk or a second writer. Each is run on the demo aligner, in a scratch folder of its own. It is refused in one sentence,
or the answer is right, or a warning says that it may not be. A kill leaves nothing that the next run stumbles over. The
number of a fault and the seed make the fault, so it can be run again by itself.
"""

import json
import os
import shutil
import sys
import tempfile
import zlib
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import ROOT, SEED, write_results
from benchmarks.fault_injection.categories import CATEGORIES
from benchmarks.fault_injection.execute import load_libraries, run_steps
from benchmarks.fault_injection.fault import GOOD, OUTCOMES, Outcome
from benchmarks.fault_injection.judge import judge, snapshot
from benchmarks.fault_injection.material import Material, prepare
from forced_aligner.base.console import run_app
from forced_aligner.base.errors import EXIT_THRESHOLD_MISSED, UserError

BUILD = ROOT / "build/faults"  # what the faults are made of, and all results
app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Result:
    """What became of one fault."""

    id: str
    what: str
    commands: list[str]
    outcome: Outcome
    why: str
    wall_s: float
    peak_gb: float
    scratch: str = ""


def run_fault(name: str, material: Material, seed: int, *, keep: bool = False) -> Result:
    """Make the fault `name`, such as `audio-0012`, run it, and say what became of it."""
    category, _, number = name.rpartition("-")
    kinds = CATEGORIES[category].kinds
    rng = np.random.default_rng([seed, zlib.crc32(category.encode()), int(number)])
    outer = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    scratch = outer / "work"  # so that `..` is a folder of the fault too
    scratch.mkdir()
    here, tempfile.tempdir = tempfile.tempdir, None
    with tempfile.TemporaryDirectory() as said:
        tempfile.tempdir = said
        fault = kinds[int(number) % len(kinds)](rng, scratch, material)
        before, material_before = snapshot(scratch), material.state()
        runs = run_steps(fault, scratch)
        verdict = judge(fault, scratch, before, snapshot(scratch), runs)
        if material.state() != material_before:
            raise RuntimeError(f"{name} has changed the material of all faults: {fault.what}")
        fault.undo()
    tempfile.tempdir = here
    if keep:
        for run in runs:
            print(f"$ {' '.join(run.run.arguments)}\nexit {run.code}, {run.wall_s:.1f} s\n{run.out}\n{run.err}")
    else:
        shutil.rmtree(os.fsencode(outer))
    return Result(
        id=name,
        what=_shown(fault.what),
        commands=[_shown(" ".join(run.run.arguments).replace(str(material.folder), "MATERIAL")) for run in runs],
        outcome=verdict.outcome,
        why=_shown(verdict.why),
        wall_s=round(sum(run.wall_s for run in runs), 1),
        peak_gb=round(max(run.peak_bytes for run in runs) / 1e9, 2),
        scratch=str(scratch) if keep else "",
    )


def _shown(text: str) -> str:
    """A text of others as JSON and a terminal may hold it."""
    return text[:500].encode("unicode_escape").decode()


def fault_names(count: int, category: str | None) -> list[str]:
    """The names of `count` faults, spread over the categories by their weights."""
    if category is not None and category not in CATEGORIES:
        raise UserError(f"no category {category!r}; expected one of {', '.join(CATEGORIES)}")
    chosen = {name: each for name, each in CATEGORIES.items() if category in (None, name)}
    total = sum(each.weight for each in chosen.values())
    return [
        f"{name}-{number:04d}"
        for name, each in chosen.items()
        for number in range(max(1, round(count * each.weight / total)))
    ]


@app.command()
def main(
    count: Annotated[int, typer.Option(min=1, help="About so many faults, of all categories together.")] = 1200,
    seed: Annotated[int, typer.Option(help="Another one makes other faults.")] = SEED,
    category: Annotated[str | None, typer.Option(help=f"One of {', '.join(CATEGORIES)}. (default: all)")] = None,
    fault: Annotated[str | None, typer.Option(help="This one alone, such as audio-0012; its folder is kept.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="So many at a time.")] = 2,
) -> None:
    """Run seeded faults, and print a table of what became of them. Exit code 1: one ended badly."""
    material = prepare(BUILD / "material")
    load_libraries()
    if fault is not None:
        result = run_fault(fault, material, seed, keep=True)
        print(json.dumps(asdict(result), indent=2))
        raise typer.Exit(0 if result.outcome in GOOD else EXIT_THRESHOLD_MISSED)
    names = fault_names(count, category)
    results = []
    with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
        for result in pool.map(partial(run_fault, material=material, seed=seed), names):
            results.append(result)
            if result.outcome not in GOOD or len(results) % 50 == 0:
                line = f"[{len(results)}/{len(names)}] {result.id} {result.outcome}: {result.what}; {result.why}"
                print(line, file=sys.stderr, flush=True)
    details = BUILD / f"results-{category or 'all'}-{seed}.jsonl"
    details.write_text("".join(json.dumps(asdict(result)) + "\n" for result in results))
    bad = [result for result in results if result.outcome not in GOOD]
    _print_table(results)
    if category is None:
        write_results("faults", _summary(results, bad, seed))
    raise typer.Exit(EXIT_THRESHOLD_MISSED if bad else 0)


def _outcomes(results: list[Result]) -> dict[str, Counter[Outcome]]:
    found: dict[str, Counter[Outcome]] = {}
    for result in results:
        found.setdefault(result.id.rpartition("-")[0], Counter())[result.outcome] += 1
    return found


def _print_table(results: list[Result]) -> None:
    from rich.console import Console
    from rich.table import Table

    counted = _outcomes(results)
    columns = [outcome for outcome in OUTCOMES if outcome in GOOD or any(row[outcome] for row in counted.values())]
    table = Table("category", "faults", *columns)
    for category, row in counted.items():
        table.add_row(category, str(row.total()), *(str(row[outcome] or "") for outcome in columns))
    total = sum(counted.values(), Counter())
    table.add_row("all", str(total.total()), *(str(total[outcome] or "") for outcome in columns))
    Console(width=140).print(table)


def _summary(results: list[Result], bad: list[Result], seed: int) -> dict[str, object]:
    return {
        "seed": seed,
        "faults": len(results),
        "bad": len(bad),
        "categories": {category: dict(row) for category, row in _outcomes(results).items()},
        "peak_gb": max(result.peak_gb for result in results),
        "longest_s": max(result.wall_s for result in results),
        "bad_faults": [
            {key: value for key, value in asdict(result).items() if key not in ("wall_s", "peak_gb", "scratch")}
            for result in bad
        ],
    }


if __name__ == "__main__":
    run_app(app)
