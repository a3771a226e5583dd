"""Whether a boundary that moved was a tie: PyTorch's margin between its class and the packages', for every preset.

    uv run run_coreml_inference.py sweep --model-id demo --dataset demo-120
    uv run benchmarks/margins.py

The margin of a boundary is PyTorch's score of its class less the next best one. Rounding moves boundaries with a small
margin, damage those with a large one. The same packages are run with one thread and with two: sums in another order
round in another way. Classes are compared before times are repaired.
"""

import sys
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import ROOT, write_results
from forced_aligner.base.console import log, run_app

EDGES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, np.inf)  # of the margins, in units of the scores
THREADS = (1, 2)
PICTURE = ROOT / "docs/margins.png"

app = typer.Typer(add_completion=False)


@app.command()
def main(
    models: Annotated[Path, typer.Option(help="What sweep has left: a converted folder for each preset.")] = (
        ROOT / "build/sweep"
    ),
    dataset: Annotated[str, typer.Option(help="As compare-models.py takes it.")] = "demo-120",
) -> None:
    """Measure, print a table, draw, and write JSON."""
    from rich.console import Console
    from rich.table import Table

    from forced_aligner.align.audio import load_clip
    from forced_aligner.align.words import split_words
    from forced_aligner.checkpoint.find import find_checkpoint
    from forced_aligner.checkpoint.processor import load_processor
    from forced_aligner.checkpoint.weights import load_model
    from forced_aligner.convert.defaults import PRESETS
    from forced_aligner.data.clips import load_clips
    from forced_aligner.jobs.golden import reference_stages

    checkpoint = find_checkpoint("demo")
    processor, model = load_processor(checkpoint.folder), load_model(checkpoint)
    clips = []
    for clip in load_clips(dataset, None, is_demo_model=True, language=None):
        words = split_words(clip.transcript, clip.language)
        clips.append((load_clip(clip), words))
    log(f"PyTorch: {len(clips)} clips")
    scores = [reference_stages(model, processor, *clip)["logits"].astype(np.float32) for clip in clips]
    expected = np.concatenate([rows.argmax(-1) for rows in scores])
    best_two = np.concatenate([np.partition(rows, -2)[:, -2:] for rows in scores])
    margins = best_two[:, 1] - best_two[:, 0]

    table = Table("preset", "boundaries", "other class", "largest margin of these", "differ with two threads")
    results: dict[str, Any] = {"dataset": dataset, "boundaries": expected.size, "edges": EDGES[:-1], "presets": {}}
    for preset in PRESETS:
        log(preset)
        one, two = (_classes(models / preset, clips, threads) for threads in THREADS)
        moved = one != expected
        row = {
            "moved": int(moved.sum()),
            "largest_margin": round(float(margins[moved].max(initial=0)), 3),
            "moved_by_margin": np.histogram(margins[moved], EDGES)[0].tolist(),
            "differ_with_two_threads": int((one != two).sum()),
        }
        results["presets"][preset] = row
        table.add_row(
            preset, *map(str, (expected.size, row["moved"], row["largest_margin"], row["differ_with_two_threads"]))
        )
    results["boundaries_by_margin"] = np.histogram(margins, EDGES)[0].tolist()
    Console(width=110).print(table)
    _draw(results)
    write_results("margins", results)


def _classes(folder: Path, clips: list[tuple[NDArray[np.float32], list[str]]], threads: int) -> NDArray[np.int64]:
    """The class of each boundary of all clips by the packages in `folder`, with so many threads."""
    from forced_aligner.align.chain import Aligner
    from forced_aligner.package.bundle import Bundle
    from forced_aligner.runtime.mil.backend import MilBackend

    bundle = Bundle.open(folder)
    aligner = Aligner(bundle, MilBackend(bundle, threads=threads))
    return np.concatenate([aligner.timestamp_scores(samples, words).classes for samples, words in clips])


def _draw(results: dict[str, Any]) -> None:
    """The share of boundaries that moved against PyTorch's margin, a line for each preset in which one did."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    count = np.array(results["boundaries_by_margin"])
    bands = [f"{low:g} to {high:g}" for low, high in pairwise(EDGES[:-1])] + [f"{EDGES[-2]:g} and more"]
    labels = [f"{band}\n({boundaries})" for band, boundaries in zip(bands, count, strict=True)]
    for preset, row in results["presets"].items():
        if row["moved"]:
            share = 100 * np.array(row["moved_by_margin"]) / np.maximum(count, 1)
            axes.plot(labels, share, marker="o", label=f"{preset}: {row['moved']} of {results['boundaries']}")
    axes.set_ylabel("other class than PyTorch, %")
    axes.set_xlabel("PyTorch's margin between its class and the next best (in brackets: boundaries)")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    run_app(app)
