"""What exactness buys: this project beside common mistakes, on the demo clips, against PyTorch.

    uv run benchmarks/exactness.py

The common mistakes:

- attended padding, no windows: in the audio transformer every frame of a call attends to every other and to the zero
  padding, as in the conversion of FluidInference/mobius pull request 21;
- no windows: padding is excluded, but the 8 s windows attend to each other, as in the qwen-asr package on CPU
  (QwenLM/Qwen3-ASR issue 213);
- monolithic encoder: one call per chunk of 1 s, without attention across chunks.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import typer
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import attend_all, write_results
from forced_aligner.base.console import run_app

app = typer.Typer(add_completion=False)
MOBIUS_FRAMES = (256,)  # of the audio transformer in FluidInference/mobius pull request 21


def attend_real(real: int, frames: int, window: int) -> NDArray[np.float32]:
    """A mask that excludes padding, but has no windows."""
    from forced_aligner.align.positions import window_mask

    return window_mask(real, frames, frames)


@app.command()
def main() -> None:
    """Score this project and each common mistake, and print a table."""
    from rich.console import Console
    from rich.table import Table

    from forced_aligner.align.chain import Aligner
    from forced_aligner.base.model_ids import DEMO_MODEL_ID
    from forced_aligner.base.paths import REFERENCE_FILE
    from forced_aligner.checkpoint.find import find_checkpoint
    from forced_aligner.convert.options import Options
    from forced_aligner.data.clips import load_clips
    from forced_aligner.jobs.compare import compare
    from forced_aligner.jobs.convert import convert
    from forced_aligner.jobs.reference import make_reference
    from forced_aligner.package.bundle import Bundle
    from forced_aligner.package.contract import COMPONENTS_OF, MONOLITHIC
    from forced_aligner.runtime.mil.backend import MilBackend
    from forced_aligner.score.gate import Gate
    from forced_aligner.score.tables import SCORE_COLUMNS, score_cells

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = find_checkpoint(DEMO_MODEL_ID)
        clips = load_clips("demo", None, is_demo_model=True, language=None)
        reference = make_reference(checkpoint, clips, folder / REFERENCE_FILE)
        convert(checkpoint, folder / "m", Options(COMPONENTS_OF["five"], audio_frames=MOBIUS_FRAMES))
        bundle = Bundle.open(folder / "m")
        records = {key: record for key, record in bundle.metadata.components.items() if key in MONOLITHIC.components}
        monolithic = Bundle(bundle.folder, bundle.metadata.model_copy(update={"components": records}))
        variants = {
            "this project": Aligner(bundle, MilBackend(bundle)),
            "attended padding, no windows": Aligner(bundle, MilBackend(bundle), mask=attend_all),
            "no windows": Aligner(bundle, MilBackend(bundle), mask=attend_real),
            "monolithic encoder": Aligner(monolithic, MilBackend(monolithic)),
        }
        table = Table("variant", *SCORE_COLUMNS)
        results = {}
        for variant, aligner in variants.items():
            report, _ = compare(aligner, reference, folder, Gate())
            table.add_row(variant, *score_cells(report))
            results[variant] = report.model_dump(include={"boundaries", "bin_exact_percent", "aas_ms", "max_error_ms"})
    Console(width=120).print(table)
    write_results("exactness", results)


if __name__ == "__main__":
    run_app(app)
