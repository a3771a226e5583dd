"""Converting: this project beside the plain way (`plain.py`), on the full-size random model.

    uv run benchmarks/conversion.py

Every run is a process of its own: its wall time from start to end, its CPU time and its peak memory. The whole
conversions take turns; then each component is converted alone, once each way.
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

PLAIN = "plain"
COMPONENTS = ("audio_conv", "audio_transformer", "embedding", "decoder_prefill", "lm_head")

app = typer.Typer(add_completion=False)


def convert(way: str, checkpoint: Path, folder: Path, components: str) -> dict[str, float]:
    """Convert one way, `plain` or a precision, and measure it."""
    target = folder / f"conversion-{way}"
    shutil.rmtree(target, ignore_errors=True)
    if way == PLAIN:
        return measured(ROOT / "benchmarks/plain.py", checkpoint, target, "--components", components)
    return measured(
        "convert-coreml.py", "--model-id", checkpoint, "--output-dir", target, "--precision", way,
        "--components", components,
    )  # fmt: skip


def package_gb(folder: Path) -> float:
    """Bytes of all files below `folder`, in GB."""
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9, 2)


@app.command()
def main(
    folder: Annotated[Path, typer.Option(help="Where the checkpoint is.")] = FULL_SIZE,
    rounds: Annotated[int, typer.Option(help="Turns of each whole conversion.")] = 2,
    each: Annotated[bool, typer.Option("--each/--no-each", help="Each component alone as well.")] = True,
) -> None:
    """Measure, and print a table."""
    from rich.console import Console
    from rich.table import Table

    checkpoint = random_checkpoint(folder)
    ways = (PLAIN, "mixed", "float16")
    runs = [{way: convert(way, checkpoint, folder, ",".join(COMPONENTS)) for way in ways} for _ in range(rounds)]
    results = {}
    for way in ways:
        results[way] = {
            "wall_s": statistics.median(run[way]["wall_s"] for run in runs),
            "cpu_s": statistics.median(run[way]["cpu_s"] for run in runs),
            "peak_gb": max(run[way]["peak_gb"] for run in runs),
            "size_gb": package_gb(folder / f"conversion-{way}"),
            "wall_over_plain": round(statistics.median(run[way]["wall_s"] / run[PLAIN]["wall_s"] for run in runs), 3),
        }
    keys = COMPONENTS if each else ()
    alone = {key: {way: convert(way, checkpoint, folder, key) for way in ways} for key in keys}
    table = Table("", "way", "wall s", "CPU s", "peak GB", "of plain wall")
    for label, found in {"all": results, **alone}.items():
        for way, row in found.items():
            ratio = row["wall_s"] / found[PLAIN]["wall_s"]
            table.add_row(label, way, *(f"{row[key]:.1f}" for key in ("wall_s", "cpu_s", "peak_gb")), f"{ratio:.2f}")
    Console(width=120).print(table)
    write_results("conversion", {"all": results, "alone": alone, "runs": runs})


if __name__ == "__main__":
    run_app(app)
