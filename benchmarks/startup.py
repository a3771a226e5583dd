"""Start-up time: `--help` of each script, and `infer` from a cold start to its first result.

    uv run benchmarks/startup.py

Times are medians. A cold start is a new process, with the files in the system's cache. The demo model is converted
first, unless that is done.
"""

import statistics
import sys
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import ROOT, measured, write_results
from forced_aligner.base.console import run_app

HELP = {
    "convert-coreml.py --help": ("convert-coreml.py", "--help"),
    "compare-models.py --help": ("compare-models.py", "--help"),
    "run_coreml_inference.py --help": ("run_coreml_inference.py", "--help"),
    "run_coreml_inference.py infer --help": ("run_coreml_inference.py", "infer", "--help"),
}

app = typer.Typer(add_completion=False)


@app.command()
def main(rounds: Annotated[int, typer.Option(help="Runs of each command.")] = 5) -> None:
    """Measure and print a table."""
    from rich.console import Console
    from rich.table import Table

    bundle = ROOT / "build/demo/forced-aligner"
    if not bundle.exists():
        measured("run_coreml_inference.py", "demo")
    infer = (
        "run_coreml_inference.py", "infer", "--model-dir", bundle, "--audio-file", ROOT / "demo/clips/clip-01.flac",
        "--text", "word",
    )  # fmt: skip
    commands = {**HELP, "run_coreml_inference.py infer, a clip of 0.9 s": infer}
    results = {}
    runs = [{name: measured(*command) for name, command in commands.items()} for _ in range(rounds)]
    table = Table("command", "wall s", "peak MB")
    for name in commands:
        wall_s = statistics.median(run[name]["wall_s"] for run in runs)
        peak_gb = max(run[name]["peak_gb"] for run in runs)
        table.add_row(name, f"{wall_s:.2f}", f"{peak_gb * 1000:.0f}")
        results[name] = {"wall_s": wall_s, "peak_gb": peak_gb}
    Console(width=120).print(table)
    write_results("startup", results)


if __name__ == "__main__":
    run_app(app)
