"""Conversion time and memory: this project beside the unoptimised baseline (`plain.py`), on the full-size random model.

    uv run benchmarks/conversion.py

Each run is a separate process; its wall time, CPU time and peak memory are measured. Runs of the whole conversion are
interleaved. Then each component of the five is converted alone, once per variant. `compact` is float16 in the compact
layout.
"""

import shutil
import statistics
import sys
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import FULL_SIZE, ROOT, measured, random_checkpoint, write_results
from forced_aligner.base.console import run_app

BASELINE = "plain"  # key of the unoptimised baseline in the results
COMPONENTS = ("audio_conv", "audio_transformer", "embedding", "decoder_prefill", "lm_head")
OPTIONS = {
    "mixed": ("--precision", "mixed"),
    "float16": ("--precision", "float16"),
    "compact": ("--precision", "float16", "--layout", "compact"),
}

app = typer.Typer(add_completion=False)


def convert(variant: str, checkpoint: Path, folder: Path, component: str | None = None) -> dict[str, float]:
    """Convert one variant, `BASELINE` or one of `OPTIONS`, in whole or one component of it, and measure it."""
    target = folder / f"conversion-{variant}"
    shutil.rmtree(target, ignore_errors=True)
    if variant == BASELINE:
        keys = component or ",".join(COMPONENTS)
        return measured(ROOT / "benchmarks/plain.py", checkpoint, target, "--components", keys)
    alone = ("--components", component) if component else ()
    arguments = ("--model-id", checkpoint, "--output-dir", target, *OPTIONS[variant], *alone)
    return measured("convert-coreml.py", *arguments)


def package_gb(folder: Path) -> float:
    """Size of all files below `folder`, in GB."""
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9, 2)


@app.command()
def main(
    folder: Annotated[Path, typer.Option(help="Where the checkpoint is.")] = FULL_SIZE,
    rounds: Annotated[int, typer.Option(help="Runs of each whole conversion.")] = 2,
    each: Annotated[bool, typer.Option("--each/--no-each", help="Each component alone as well.")] = True,
) -> None:
    """Measure, and print a table."""
    from rich.console import Console
    from rich.table import Table

    checkpoint = random_checkpoint(folder)
    variants = (BASELINE, *OPTIONS)
    runs = [{name: convert(name, checkpoint, folder) for name in variants} for _ in range(rounds)]
    results = {}
    for name in variants:
        ratios = [run[name]["wall_s"] / run[BASELINE]["wall_s"] for run in runs]
        results[name] = {
            "wall_s": statistics.median(run[name]["wall_s"] for run in runs),
            "cpu_s": statistics.median(run[name]["cpu_s"] for run in runs),
            "peak_gb": max(run[name]["peak_gb"] for run in runs),
            "size_gb": package_gb(folder / f"conversion-{name}"),
            "wall_over_plain": round(statistics.median(ratios), 3),
        }
    keys = COMPONENTS if each else ()
    of_the_five = (BASELINE, "mixed", "float16")
    alone = {key: {name: convert(name, checkpoint, folder, key) for name in of_the_five} for key in keys}
    table = Table("", "variant", "wall s", "CPU s", "peak GB", "of baseline's wall")
    for label, measurements in {"all": results, **alone}.items():
        for name, row in measurements.items():
            ratio = row["wall_s"] / measurements[BASELINE]["wall_s"]
            variant = "unoptimised baseline" if name == BASELINE else name
            table.add_row(
                label, variant, *(f"{row[key]:.1f}" for key in ("wall_s", "cpu_s", "peak_gb")), f"{ratio:.2f}"
            )
    Console(width=120).print(table)
    write_results("conversion", {"all": results, "alone": alone, "runs": runs})


if __name__ == "__main__":
    run_app(app)
