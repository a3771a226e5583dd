"""What a large residual stream does to FP16: our RMSNorm beside the standard RMSNorm formula, on the demo clips.

    uv run benchmarks/fp16_overflow.py

RMSNorm makes the decoder independent of the scale of its residual stream. If everything that is written into the stream
(token embeddings, the projector's output, every layer's o_proj and down_proj) is multiplied by one factor, the function
stays the same except for eps. The table shows powers of ten from 0.1 on, and the factor that brings the stream to
30 000, half of FP16's range. Both conversions differ only in RMSNorm: the standard formula squares the stream.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import write_results
from forced_aligner.base.console import run_app
from forced_aligner.runtime.protocol import Arrays, Backend
from forced_aligner.runtime.wrapped import WrappedBackend

HIGHEST_RESIDUAL = 30_000.0
DECODER_LENGTHS = (256, 768)  # the longest demo clip has 747 tokens

app = typer.Typer(add_completion=False)


def scale_stream(model: Any, factor: float) -> None:
    """Multiply everything that is written into the decoder's residual stream by `factor`, in place."""
    decoder, projector = model.model.language_model, model.model.multi_modal_projector
    writers = [decoder.embed_tokens, projector.linear_2]
    for layer in decoder.layers:
        writers += [layer.self_attn.o_proj, layer.mlp.down_proj]
    with torch.no_grad():
        for writer in writers:
            for parameter in writer.parameters():
                parameter.mul_(factor)


def save_scaled(checkpoint: Any, factor: float, folder: Path) -> Any:
    """A checkpoint in `folder`: `checkpoint` with its stream multiplied by `factor`."""
    from forced_aligner.checkpoint.find import find_checkpoint
    from forced_aligner.checkpoint.weights import load_model

    model = load_model(checkpoint)
    scale_stream(model, factor)
    model.save_pretrained(folder)
    for path in checkpoint.folder.iterdir():
        if not (folder / path.name).exists() and path.suffix != ".safetensors":
            shutil.copy(path, folder)
    return find_checkpoint(str(folder))


def largest_residual(model: Any, processor: Any, clips: list[Any]) -> float:
    """The largest magnitude in the decoder's residual stream over `clips`, in PyTorch and float32."""
    from forced_aligner.align.audio import load_audio
    from forced_aligner.jobs.reference import align_with_pytorch

    largest = 0.0

    def observe(_module: Any, _inputs: Any, output: Any) -> None:
        nonlocal largest
        state: Tensor = output[0] if isinstance(output, tuple) else output
        largest = max(largest, float(state.abs().max()))

    hooks = [layer.register_forward_hook(observe) for layer in model.model.language_model.layers]
    for clip in clips:
        align_with_pytorch(model, processor, load_audio(Path(clip.audio)), clip.transcript, clip.language)
    for hook in hooks:
        hook.remove()
    return largest


@contextmanager
def standard_rms_norm() -> Iterator[None]:
    """Within the block, the wrappers use the standard RMSNorm formula, which squares the residual stream."""
    import individual_components

    def standard(x: Tensor, weight: Tensor, eps: float) -> Tensor:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + eps) * weight

    ours = individual_components.rms_norm
    individual_components.rms_norm = standard
    try:
        yield
    finally:
        individual_components.rms_norm = ours


def converted_scores(checkpoint: Any, reference: Any, root: Path, folder: Path) -> dict[str, Any]:
    """Convert `checkpoint` in float16 and score it against `reference`; `finite` says if every output was finite."""
    from forced_aligner.align.chain import Aligner
    from forced_aligner.base.errors import UserError
    from forced_aligner.convert.options import Options
    from forced_aligner.jobs.compare import compare
    from forced_aligner.jobs.convert import convert
    from forced_aligner.package.bundle import Bundle
    from forced_aligner.package.contract import DEFAULT_COMPONENTS
    from forced_aligner.runtime.mil.backend import MilBackend
    from forced_aligner.score.gate import Gate

    options = Options(DEFAULT_COMPONENTS, DECODER_LENGTHS, precision="float16", force=True)
    convert(checkpoint, folder, options)
    backend = FiniteCheck(MilBackend(Bundle.open(folder)))
    aligner = Aligner(Bundle.open(folder), backend)
    # The scaled checkpoint computes the same function, so the reference holds for it too.
    reference = reference.model_copy(update={"checkpoint_fingerprint": aligner.metadata.checkpoint_fingerprint})
    try:
        report, _ = compare(aligner, reference, root, Gate())
    except UserError:
        if backend.finite:
            raise
        return {"bin_exact_percent": None, "aas_ms": None, "max_error_ms": None, "finite": False}
    scores = report.model_dump(include={"bin_exact_percent", "aas_ms", "max_error_ms"})
    return {**scores, "finite": backend.finite}


class FiniteCheck(WrappedBackend):
    """A backend that wraps another and records whether every output was finite."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self.finite = True

    def predict(self, component: str, function: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """As the backend within."""
        outputs = super().predict(component, function, inputs)
        self.finite = self.finite and all(bool(np.isfinite(array).all()) for array in outputs.values())
        return outputs


def factors(first_residual: float) -> list[float]:
    """Powers of ten below the factor that brings the stream to `HIGHEST_RESIDUAL`, and that factor."""
    last = HIGHEST_RESIDUAL / first_residual
    powers = [10.0**exponent for exponent in range(-1, 20)]
    return [power for power in powers if power < last] + [last]


@app.command()
def main() -> None:
    """Convert with both formulas and score them at every factor, and print a table."""
    from rich.console import Console
    from rich.table import Table

    from forced_aligner.base.model_ids import DEMO_MODEL_ID
    from forced_aligner.base.paths import REFERENCE_FILE
    from forced_aligner.checkpoint.find import find_checkpoint
    from forced_aligner.checkpoint.processor import load_processor
    from forced_aligner.checkpoint.weights import load_model
    from forced_aligner.data.clips import load_clips
    from forced_aligner.jobs.reference import make_reference

    demo = find_checkpoint(DEMO_MODEL_ID)
    clips = load_clips("demo", None, is_demo_model=True, language=None)
    processor = load_processor(demo.folder)
    table = Table(
        "factor", "largest residual", "PyTorch the same", "ours: exact %", "finite", "standard: exact %", "finite"
    )
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference = make_reference(demo, clips, folder / REFERENCE_FILE)
        for factor in factors(largest_residual(load_model(demo), processor, clips)):
            scaled = save_scaled(demo, factor, folder / f"x{factor:g}")
            residual = largest_residual(load_model(scaled), processor, clips)
            again = make_reference(scaled, clips, folder / f"x{factor:g}.json")
            same = all(a.alignments == b.alignments for a, b in zip(reference.samples, again.samples, strict=True))
            ours = converted_scores(scaled, reference, folder, folder / "ours")
            with standard_rms_norm():
                standard = converted_scores(scaled, reference, folder, folder / "standard")
            row = {"factor": factor, "residual": residual, "same_in_pytorch": same, "ours": ours, "naive": standard}
            rows.append(row)  # "naive" is the key of the standard RMSNorm formula in the results
            cells = [(_percent(scores["bin_exact_percent"]), str(scores["finite"])) for scores in (ours, standard)]
            table.add_row(f"{factor:g}", f"{residual:.0f}", str(same), *cells[0], *cells[1])
    Console(width=120).print(table)
    write_results("fp16_overflow", rows)


def _percent(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    run_app(app)
