"""Which weights of the demo matter: each part and each layer compressed alone, rounded or fitted to clips.

    uv run benchmarks/sensitivity.py

The weights are put into the PyTorch model, which computes in float32: so nothing else differs from the reference. For
each choice, the boundaries with another class than the reference are counted, and the divergence of the probabilities
is measured: the mean of KL(reference || compressed) over all boundaries, which is less noisy than the count.
"""

import copy
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import write_results
from forced_aligner.base.console import log, run_app
from forced_aligner.convert.compression import compress
from forced_aligner.convert.gptq.quantize import Presets, Quantizer, unpacked
from forced_aligner.convert.gptq.store import QuantizedWeights
from forced_aligner.package.metadata import Compression

PRESETS: tuple[Compression, ...] = ("int8", "int4")
app = typer.Typer(add_completion=False)


@app.command()
def main(
    dataset: Annotated[str, typer.Option(help="As compare-models.py takes it.")] = "demo-120",
    calibrate: Annotated[int, typer.Option(help="Clips of demo-calibration.")] = 64,
) -> None:
    """Measure, print a table, and write JSON."""
    from rich.console import Console
    from rich.table import Table

    from forced_aligner.align.audio import load_clip
    from forced_aligner.align.prompt import Prompt
    from forced_aligner.checkpoint.find import find_checkpoint
    from forced_aligner.checkpoint.lazy_weights import LazyModel
    from forced_aligner.checkpoint.processor import load_processor
    from forced_aligner.checkpoint.weights import load_model
    from forced_aligner.convert.metadata import expected_metadata
    from forced_aligner.convert.options import Options
    from forced_aligner.data.clips import load_clips
    from forced_aligner.jobs.calibrate import calibration_inputs
    from forced_aligner.jobs.calibration_clips import calibration_clips
    from forced_aligner.package.contract import DEFAULT_COMPONENTS

    checkpoint = find_checkpoint("demo")
    processor, model = load_processor(checkpoint.folder), load_model(checkpoint)
    options = Options(DEFAULT_COMPONENTS, calibrate=calibrate)
    metadata = expected_metadata(checkpoint, processor, options)
    prompt = Prompt.of_processor(processor, metadata.token_ids)
    clips = [calibration_inputs(prompt, metadata, clip) for clip in calibration_clips(checkpoint, options)]
    scored = [
        processor.prepare_forced_aligner_inputs(load_clip(clip), clip.transcript, clip.language)[0]
        for clip in load_clips(dataset, None, is_demo_model=True, language=None)
    ]
    reference, lazy = _log_probabilities(model, scored), LazyModel(checkpoint)

    transformer, decoder = (
        [f"{part}_{index:02d}" for index in range(len(layers))]
        for part, layers in (
            ("audio", model.model.audio_tower.layers),
            ("decoder", model.model.language_model.layers),
        )
    )
    blocks = ["conv", *transformer, "projector", *decoder, "head"]
    parts = {"everything": blocks, "all audio layers": transformer, "all decoder layers": decoder}
    rows = []
    for part, only in (parts | {block: [block] for block in blocks}).items():
        row: dict[str, Any] = {"part": part}
        for preset in PRESETS:
            with tempfile.TemporaryDirectory() as folder:
                store = QuantizedWeights(Path(folder), "")
                presets = Presets(conv=preset, transformer=preset, decoder=preset, head=preset)
                Quantizer(lazy, presets, clips, store, only).compress_all()
                for how in ("rounded", "fitted"):
                    compressed = _with_weights(model, store, preset if how == "rounded" else None)
                    row[f"{preset} {how}"] = _damage(reference, _log_probabilities(compressed, scored))
        log(str(row))
        rows.append(row)
    columns = [f"{preset} {how}" for preset in PRESETS for how in ("rounded", "fitted")]
    table = Table("compressed alone", *(f"{column}: {what}" for column in columns for what in ("moved", "KL / 1000")))
    for row in rows:
        cells = [cell for column in columns for cell in (str(row[column]["moved"]), f"{1000 * row[column]['kl']:.3f}")]
        table.add_row(row["part"], *cells)
    Console(width=160).print(table)
    write_results("sensitivity", {"dataset": dataset, "boundaries": len(reference), "clips": calibrate, "rows": rows})


def _log_probabilities(model: Any, scored: list[Any]) -> Tensor:
    """(boundaries, classes) in the PyTorch model."""
    timestamp = model.config.timestamp_token_id
    with torch.inference_mode():
        rows = [model(**inputs).logits[inputs["input_ids"] == timestamp] for inputs in scored]
    return torch.cat(rows).log_softmax(-1)


def _with_weights(model: nn.Module, store: QuantizedWeights, rounded: Compression | None) -> nn.Module:
    """A copy of the model with the weights that the store has; with `rounded`, they are rounded instead."""
    changed = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in changed.parameters():
            weight = parameter.numpy()
            if store.has(weight):
                parameter.copy_(unpacked(compress(weight, rounded) if rounded else store.constexpr(weight)))
    return changed


def _damage(reference: Tensor, compressed: Tensor) -> dict[str, float]:
    divergence = (reference.exp() * (reference - compressed)).sum(-1)
    return {
        "moved": int((reference.argmax(-1) != compressed.argmax(-1)).sum()),
        "kl": round(float(divergence.mean()), 7),
    }


if __name__ == "__main__":
    run_app(app)
