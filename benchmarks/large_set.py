"""A test set of 2,620 clips from end to end: throughput with several jobs, memory, kills, and the cost of a clip.

    uv run --group demo benchmarks/large_set.py --part clips        # about 6 minutes on one core, once
    uv run benchmarks/large_set.py --part jobs --part cluster       # 500 clips
    uv run benchmarks/large_set.py --part simulation --part memory  # 2,620 clips
    uv run benchmarks/large_set.py --part full-size                 # the 0.6B dimensions, random weights

The clips have the durations of LibriSpeech test-clean (`benchmarks/large_sets/clips.py`). Every measured run is a
command of the project, in processes of its own. `jobs` compares a single process with the default number of threads
with one job and with several, of one thread each; `cluster` compares several jobs with a local Dask cluster of as many
workers. `simulation` makes the reference of all clips and compares the packages with it, undisturbed, and killed twice
at random and resumed. `memory` runs sets of three sizes. `full-size` shows by PSS what several jobs share. Each part
replaces its own results in `results/large_set.json` and keeps those of the others.
"""

import os
import platform
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import FULL_SIZE, RESULTS, ROOT, SEED, measured, random_checkpoint
from benchmarks.large_sets.clips import CLIPS, make_clips, make_equal_clips
from benchmarks.large_sets.commands import CLUSTER, COMMANDS, MANY, ONE, PLAIN, WAYS, Setup
from benchmarks.large_sets.parts import full_size_memory, memory_growth, simulation, throughput
from benchmarks.large_sets.tables import merge, show
from forced_aligner.base.console import run_app
from forced_aligner.base.errors import UserError

PARTS = ("clips", "jobs", "cluster", "simulation", "memory", "full-size")
THROUGHPUT_CLIPS = 500
MEMORY_CLIPS = (120, 500)  # and all
KILLS = 2
FULL_SIZE_CLIPS, FULL_SIZE_CLIP_S = 8, 10.0

app = typer.Typer(add_completion=False)


@app.command()
def main(
    part: Annotated[
        list[str] | None, typer.Option(help=f"Of {', '.join(PARTS)}; several by several options. (default: all)")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where clips, packages and outputs go.")] = ROOT / "build/large-set",
    clips: Annotated[
        int | None, typer.Option(min=1, help="So many, drawn from the set. (default: 500, or all for simulation)")
    ] = None,
    set_size: Annotated[int, typer.Option(min=1, help="Clips that are made.")] = CLIPS,
    makers: Annotated[int, typer.Option(min=1, help="Processes that make clips.")] = 1,
    model_id: Annotated[str, typer.Option(help="As convert-coreml.py takes it.")] = "demo",
    model_dir: Annotated[
        Path | None, typer.Option(help="The same model, converted. (default: it is converted)")
    ] = None,
    jobs: Annotated[int, typer.Option(min=2, help="Of the ways with several jobs.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each way in jobs and cluster; the fastest counts.")] = 1,
    way: Annotated[str, typer.Option(help=f"One of {', '.join(WAYS)}, in simulation and memory.")] = MANY,
    kills: Annotated[int, typer.Option(min=0, help="In simulation.")] = KILLS,
    seed: Annotated[int, typer.Option(help="Of the kills.")] = SEED,
    precision: Annotated[str, typer.Option(help="Of the full-size packages.")] = "mixed",
    with_options: Annotated[
        list[str] | None,
        typer.Option(help="Other options of a way, such as 'jobs=--jobs {jobs}' or 'cluster=--cluster {cluster}'."),
    ] = None,
    before: Annotated[Path, typer.Option(help="A checkout of an earlier commit for the way plain.")] = ROOT,
    results: Annotated[Path, typer.Option(help="Where the figures go.")] = RESULTS / "large_set.json",
) -> None:
    """Measure the parts, print tables, and put the figures into the results."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is measured is stopped too
    for name in part or []:
        _require(name, "part", PARTS)
    _require(way, "way", WAYS)
    folder = folder.resolve()
    setup = Setup(
        model_id,
        (model_dir or folder / "model").resolve(),
        folder / "clips",
        folder / "work",
        jobs,
        before=before.resolve(),
    )
    for text in with_options or []:
        name, _, options = text.partition("=")
        _require(name, "way", WAYS)
        setup.options[name] = options
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "clips": lambda: make_clips(setup.clips, set_size, makers),
        "jobs": lambda: throughput(setup, clips or THROUGHPUT_CLIPS, (PLAIN, ONE, MANY), rounds),
        "cluster": lambda: throughput(setup, clips or THROUGHPUT_CLIPS, (MANY, CLUSTER), rounds),
        "simulation": lambda: simulation(setup, clips or set_size, way, kills, seed),
        "memory": lambda: memory_growth(setup, _sizes(clips or set_size), way),
        "full-size": partial(_full_size, setup, precision),
    }
    for name in part or PARTS:
        if name not in ("clips", "full-size"):
            _prepare(setup)
        result = {"cores": os.cpu_count(), "machine": platform.machine(), "model_id": model_id, **parts[name]()}
        merge(results, name, result)
        show(name, result)


def _sizes(largest: int) -> list[int]:
    return [*(size for size in MEMORY_CLIPS if size < largest), largest]


def _require(name: str, what: str, known: Sequence[str]) -> None:
    if name not in known:
        raise UserError(f"no {what} {name!r}; expected one of {', '.join(known)}")


def _prepare(setup: Setup) -> None:
    """Convert the model, unless that is done.

    Raises:
        UserError: there are no clips.
    """
    if not any(setup.clips.glob("*.flac")):
        raise UserError(f"{setup.clips} holds no clips: run --part clips first")
    if not setup.model_dir.exists():
        measured("convert-coreml.py", "--model-id", setup.model_id, "--output-dir", setup.model_dir)


def _full_size(setup: Setup, precision: str) -> dict[str, Any]:
    """The full-size random model on eight clips of 10 s."""
    checkpoint, bundle, clips = random_checkpoint(), FULL_SIZE / precision, FULL_SIZE / "clips-10s"
    if not bundle.exists():
        measured("convert-coreml.py", "--model-id", checkpoint, "--output-dir", bundle, "--precision", precision)
    make_equal_clips(clips, FULL_SIZE_CLIPS, FULL_SIZE_CLIP_S)
    full = replace(setup, model_id=str(checkpoint), model_dir=bundle, clips=clips, work=FULL_SIZE / "work")
    return {"precision": precision, "model": "random, 0.6B dimensions", **full_size_memory(full, COMMANDS)}


if __name__ == "__main__":
    run_app(app)
