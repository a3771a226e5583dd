"""Conversion, reference and comparison on a model of the full 0.6B dimensions with seeded random weights.

    uv run benchmarks/full_size.py

It makes the checkpoint, converts it, makes the reference of a 12 s and a 30 s clip, and runs the packages. Each step is
a command of the project in a separate process; its wall time and peak memory are measured. Then the classes at the
`<timestamp>` tokens are compared before the monotonic repair, which turns a random model's classes into a few distinct
times. The same comparison with a mask that excludes nothing shows that it can see a fault.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import soundfile
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import FULL_SIZE, attend_all, measured, random_checkpoint, write_results
from forced_aligner.align.positions import window_mask
from forced_aligner.base.console import run_app
from forced_aligner.runtime.device import processor_name
from forced_aligner.runtime.options import DeviceName

CLIP_LENGTHS_S = (12.0, 30.0)
TIMED_RUNS = 3

app = typer.Typer(add_completion=False)


def make_clips(folder: Path) -> None:
    """Write a pair for each of `CLIP_LENGTHS_S`: joined demo clips, cut to that length."""
    from forced_aligner.data.clips import load_clips

    folder.mkdir(parents=True, exist_ok=True)
    clips = load_clips("demo", None, is_demo_model=True, language=None)
    samples = np.concatenate([soundfile.read(clip.audio)[0] for clip in clips])
    words = [
        (word.text, offset_s + word.end_time_ms / 1000)
        for clip, offset_s in _offsets_s(clips)
        for word in clip.alignments or []
    ]
    for length_s in CLIP_LENGTHS_S:
        name = f"clip-{length_s:.0f}s"
        soundfile.write(folder / f"{name}.flac", samples[: int(length_s * 16_000)], 16_000)
        inside = [text for text, end_s in words if end_s < length_s]
        (folder / f"{name}.txt").write_text(" ".join(inside))


def _offsets_s(clips: list[Any]) -> list[tuple[Any, float]]:
    """Each clip with its start in the joined recording, in seconds."""
    starts = np.cumsum([0.0, *(clip.duration_s for clip in clips)])
    return list(zip(clips, starts.tolist(), strict=False))


def median_ms(run: Callable[..., Any], *arguments: Any) -> float:
    """The median time of `TIMED_RUNS` calls; an earlier one has loaded what they need."""
    times_ms = []
    for _ in range(TIMED_RUNS):
        started = time.perf_counter()
        run(*arguments)
        times_ms.append((time.perf_counter() - started) * 1000)
    return round(median(times_ms), 1)


def compare_classes(
    checkpoint_folder: Path, bundle_folder: Path, clips_folder: Path, device: DeviceName = "cpu"
) -> list[dict[str, Any]]:
    """Compare the class of every `<timestamp>` before the repair: packages against PyTorch, both on `device`."""
    import torch

    from forced_aligner.align.audio import load_audio
    from forced_aligner.align.chain import Aligner
    from forced_aligner.align.words import split_words
    from forced_aligner.checkpoint.find import find_checkpoint
    from forced_aligner.checkpoint.processor import load_processor
    from forced_aligner.checkpoint.weights import load_model
    from forced_aligner.data.pairs import paired_clips
    from forced_aligner.package.bundle import Bundle
    from forced_aligner.runtime.mil.backend import MilBackend

    checkpoint = find_checkpoint(str(checkpoint_folder))
    bundle = Bundle.open(bundle_folder)
    backend = MilBackend(bundle, device=device)
    model, processor = load_model(checkpoint).to(device), load_processor(checkpoint.folder)

    def pytorch_logits(inputs: Any) -> torch.Tensor:
        with torch.inference_mode():
            return model(**inputs).logits[inputs["input_ids"] == model.config.timestamp_token_id].cpu()

    rows = []
    for clip in paired_clips(clips_folder, "English"):
        samples = load_audio(Path(clip.audio))
        inputs, _ = processor.prepare_forced_aligner_inputs(samples, clip.transcript, "English")
        inputs = inputs.to(device)
        logits = pytorch_logits(inputs)
        best_two = logits.topk(2).values
        words = split_words(clip.transcript, "English")
        expected, same = logits.argmax(-1).numpy(), {}
        for name, mask in (("same_percent", window_mask), ("same_without_mask_percent", attend_all)):
            classes = Aligner(bundle, backend, mask).timestamp_scores(samples, words).classes
            same[name] = classes == expected
        rows.append(
            {
                "clip": Path(clip.audio).name,
                "timestamps": len(logits),
                "distinct_classes": len(set(expected.tolist())),
                "smallest_margin": round(float((best_two[:, 0] - best_two[:, 1]).min()), 5),
                **{name: round(float(agrees.mean() * 100), 2) for name, agrees in same.items()},
                "pytorch_ms": median_ms(pytorch_logits, inputs),
                "packages_ms": median_ms(Aligner(bundle, backend).timestamp_scores, samples, words),
            }
        )
        print(rows[-1], file=sys.stderr)
    return rows


def _device_facts(device: DeviceName) -> dict[str, Any]:
    """The card, and the most of its memory that this process had in use: the model and the packages together."""
    import torch

    if device == "cpu":
        return {"device": device}
    peak_gb = round(torch.cuda.max_memory_allocated() / 1e9, 2)
    return {"device": device, "chip": processor_name(device), "torch": torch.__version__, "card_peak_gb": peak_gb}


@app.command()
def main(
    folder: Annotated[Path, typer.Option(help="Where the checkpoint and the packages go.")] = FULL_SIZE,
    precision: Annotated[str, typer.Option(help="As convert-coreml.py takes it.")] = "float32",
    compress: Annotated[str, typer.Option(help="As convert-coreml.py takes it.")] = "none",
    calibrate: Annotated[int, typer.Option(help="As convert-coreml.py takes it.")] = 0,
    lengths: Annotated[str, typer.Option(help="As convert-coreml.py takes them.")] = "256,512,1024,2048",
    device: Annotated[DeviceName, typer.Option(help="As the commands take it.")] = "cpu",
) -> None:
    """Make, convert, run and compare a full-size random model."""
    name = precision if compress == "none" else compress
    name += "-calibrated" if calibrate else ""
    result_name = f"full_size_{name}" if device == "cpu" else f"full_size_{name}_{device}"
    checkpoint, bundle, clips = random_checkpoint(folder), folder / name, folder / "clips"
    reference, report = folder / "pytorch_reference.json", folder / f"parity-{name}.json"
    make_clips(clips)
    for old_file in (reference, report):
        old_file.unlink(missing_ok=True)
    steps = {
        "convert": measured(
            "convert-coreml.py", "--model-id", checkpoint, "--output-dir", bundle, "--precision", precision,
            "--compress", compress, "--calibrate", str(calibrate), "--decoder-lengths", lengths, "--force",
        ),
        "reference": measured(
            "compare-models.py", "--model-id", checkpoint, "--dataset", clips, "--language", "English",
            "--output", reference, "--device", device,
        ),
        "compare": measured(
            "run_coreml_inference.py", "compare", "--model-dir", bundle, "--reference", reference,
            "--report", report, "--verbose", "--device", device,
        ),
    }  # fmt: skip
    scores = json.loads(report.read_text())
    result = {
        "precision": precision,
        "compress": compress,
        "calibrate": calibrate,
        "decoder_lengths": lengths,
        "size_gb": round(sum(path.stat().st_size for path in bundle.rglob("*.bin")) / 1e9, 2),
        "steps": steps,
        "boundaries_bin_exact_percent": scores["bin_exact_percent"],
        "boundaries": scores["boundaries"],
        "classes": compare_classes(checkpoint, bundle, clips, device),
        **_device_facts(device),
        "threads": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count())),
    }
    write_results(result_name, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    run_app(app)
