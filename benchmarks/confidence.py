"""Whether low confidence goes with large error, on words of fresh demo clips with true times.

uv run benchmarks/confidence.py --clips 200
"""

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import itertools

from benchmarks.common import write_results
from forced_aligner.base.console import run_app

app = typer.Typer(add_completion=False)
EDGES = (0.0, 0.5, 0.8, 0.95, 0.99, 1.0)
SEED = 2000


@app.command()
def main(clips: Annotated[int, typer.Option(min=1, help="Fresh clips to align.")] = 200) -> None:
    """Measure, print a table and write JSON."""
    from rich.console import Console
    from rich.table import Table

    from demo.clips import fresh_clips
    from forced_aligner.align.chain import Aligner
    from forced_aligner.checkpoint.find import find_checkpoint
    from forced_aligner.convert.options import Options
    from forced_aligner.jobs.convert import convert
    from forced_aligner.package.bundle import Bundle
    from forced_aligner.package.contract import DEFAULT_COMPONENTS
    from forced_aligner.runtime.mil.backend import MilBackend

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "m"
        convert(find_checkpoint("demo"), folder, Options(DEFAULT_COMPONENTS))
        bundle = Bundle.open(folder)
        aligner = Aligner(bundle, MilBackend(bundle))
        confidences, errors_ms = [], []
        for clip in fresh_clips(clips, SEED):
            alignment = aligner.align(clip.audio.astype(np.float32), clip.transcript, "English")
            true_times_ms = zip(clip.starts_s * 1000, clip.ends_s * 1000, strict=True)
            aligned = zip(alignment.words, alignment.confidences, true_times_ms, strict=True)
            for word, confidence, (start_ms, end_ms) in aligned:
                confidences.append(confidence)
                errors_ms.append(max(abs(word.start_time_ms - start_ms), abs(word.end_time_ms - end_ms)))
    band = np.digitize(confidences, EDGES[1:-1])
    table, results = Table("confidence", "words", "mean error ms", "beyond 160 ms %"), []
    for index, (low, high) in enumerate(itertools.pairwise(EDGES)):
        inside = np.array(errors_ms)[band == index]
        row = {"from": low, "to": high, "words": int(inside.size)}
        if inside.size:
            row |= {
                "mean_error_ms": round(float(inside.mean()), 1),
                "beyond_160ms_percent": round(float((inside > 160).mean() * 100), 1),
            }
        results.append(row)
        table.add_row(f"{low} to {high}", *(str(row.get(key, "")) for key in list(row)[2:]))
    Console(width=100).print(table)
    write_results("confidence", results)


if __name__ == "__main__":
    run_app(app)
