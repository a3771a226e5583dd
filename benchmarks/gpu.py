"""An NVIDIA GPU beside the CPU: boundaries and time of PyTorch and of the packages, on the demo's 120 clips.

    uv run benchmarks/gpu.py

PyTorch on the CPU is what every other run is compared with. Times are medians over the clips, so they leave out the
first one, in which a GPU loads its kernels.
"""

import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, Literal

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import write_results
from forced_aligner.base.console import run_app
from forced_aligner.runtime.device import processor_name
from forced_aligner.runtime.options import DeviceName
from forced_aligner.score.records import Reference

app = typer.Typer(add_completion=False)
DEVICES: tuple[DeviceName, ...] = ("cpu", "cuda")
PRECISIONS: tuple[Literal["float32", "mixed", "float16"], ...] = ("float32", "mixed", "float16")


def moved(reference: Reference, other: Reference) -> dict[str, Any]:
    """How many boundaries of `other` are not where `reference` has them, and by how much at most."""
    pairs = [
        (expected, actual)
        for one, two in zip(reference.samples, other.samples, strict=True)
        for expected, actual in zip(one.alignments, two.alignments, strict=True)
    ]
    errors = [
        abs(error)
        for expected, actual in pairs
        for error in (expected.start_time_ms - actual.start_time_ms, expected.end_time_ms - actual.end_time_ms)
    ]
    return {"boundaries": len(errors), "moved": sum(map(bool, errors)), "max_error_ms": max(errors)}


@app.command()
def main() -> None:
    """Align with PyTorch on both devices, then with packages of each precision on both devices."""
    import torch

    from forced_aligner.align.chain import Aligner
    from forced_aligner.checkpoint.find import find_checkpoint
    from forced_aligner.convert.options import Options
    from forced_aligner.data.clips import load_clips
    from forced_aligner.jobs.compare import compare
    from forced_aligner.jobs.convert import convert
    from forced_aligner.jobs.reference import make_reference
    from forced_aligner.package.bundle import Bundle
    from forced_aligner.package.contract import DEFAULT_COMPONENTS
    from forced_aligner.runtime.device import require_device
    from forced_aligner.runtime.mil.backend import MilBackend
    from forced_aligner.score.gate import Gate

    require_device("cuda")
    result: dict[str, Any] = {
        "card": processor_name("cuda"),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = find_checkpoint("demo")
        clips = load_clips("demo-120", None, is_demo_model=True, language=None)
        references = [make_reference(checkpoint, clips, folder / f"{device}.json", device) for device in DEVICES]
        result["pytorch"] = {
            device: {
                **moved(references[0], reference),
                "median_ms": round(median(sample.latency_ms for sample in reference.samples), 1),
            }
            for device, reference in zip(DEVICES, references, strict=True)
        }
        for precision in PRECISIONS:
            convert(checkpoint, folder / precision, Options(DEFAULT_COMPONENTS, precision=precision))
            bundle = Bundle.open(folder / precision)
            for device in DEVICES:
                aligner = Aligner(bundle, MilBackend(bundle, device=device))
                report, _ = compare(aligner, references[0], folder, Gate())
                result.setdefault(precision, {})[device] = {
                    **report.model_dump(include={"boundaries", "moved", "beyond_80ms", "beyond_160ms", "max_error_ms"}),
                    "median_ms": round(median(sample.packages_latency_ms for sample in report.samples), 1),
                }
    write_results("gpu", result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    run_app(app)
