"""Start-up time: `--help` of each command, options that are refused, and `infer` from the shell to its result.

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

INFERENCE = "run_coreml_inference.py"
HELP = [
    ("convert-coreml.py",),
    ("compare-models.py",),
    (INFERENCE,),
    *((INFERENCE, name) for name in ("infer", "compare", "sweep", "benchmark", "check-host", "demo")),
]
REFUSED = [
    ("convert-coreml.py", "--compress", "int5"),
    ("convert-coreml.py", "--model-id", "demo", "--output-dir", "docs"),
    ("compare-models.py", "--dataset", "nope"),
    (INFERENCE, "infer", "--audio-file", "README.md", "--text", "a", "--model-dir", "build/demo/forced-aligner"),
    (INFERENCE, "compare", "--reference", "nope.json"),
    (INFERENCE, "sweep", "--presets", "x"),
    (INFERENCE, "benchmark", "--model-dir", "docs"),
]
TRANSCRIPT = "Scorched, solely; breaking (chapter) supporting."

app = typer.Typer(add_completion=False)


@app.command()
def main(rounds: Annotated[int, typer.Option(help="Runs of each command.")] = 5) -> None:
    """Measure and print a table."""
    from rich.console import Console
    from rich.table import Table

    bundle = ROOT / "build/demo/forced-aligner"
    if not bundle.exists():
        measured("run_coreml_inference.py", "demo")
    clip = ("--audio-file", "demo/clips/clip-03.flac", "--text", TRANSCRIPT)
    commands = {" ".join([*command, "--help"]): (*command, "--help") for command in HELP}
    commands |= {f"{' '.join(command)} (refused)": command for command in REFUSED}
    commands["infer, a clip of 3.2 s"] = (INFERENCE, "infer", "--model-dir", str(bundle), *clip)
    commands["python -c 'import torch'"] = ("-c", "import torch")
    results = {}
    runs = [
        {name: measured(*command, refused=command in REFUSED) for name, command in commands.items()}
        for _ in range(rounds)
    ]
    table = Table("command", "wall s", "peak MB")
    for name in commands:
        wall_s = statistics.median(run[name]["wall_s"] for run in runs)
        peak_gb = max(run[name]["peak_gb"] for run in runs)
        table.add_row(name, f"{wall_s:.2f}", f"{peak_gb * 1000:.0f}")
        results[name] = {"wall_s": wall_s, "peak_gb": peak_gb}
    Console(width=140).print(table)
    write_results("startup", results)


if __name__ == "__main__":
    run_app(app)
