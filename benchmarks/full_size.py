"""The whole job on a model of the full 0.6B dimensions with seeded random weights.

    uv run benchmarks/full_size.py

Makes the checkpoint, converts it, makes the reference of a 12 s and a 30 s clip, runs the packages and scores them;
each step is the project's own command in a process of its own, with its wall time and peak memory. Random weights
leave far smaller margins between the bins than trained ones, so an agreement here is the harder one.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soundfile
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

SEED = 0
WEIGHT_SCALE = 0.04  # standard deviation; twice the usual one, so that attention is not flat
CLIP_LENGTHS_S = (12.0, 30.0)
RESULTS = Path(__file__).parent / "results"

app = typer.Typer(add_completion=False)


def make_checkpoint(folder: Path) -> None:
    """A `Qwen3ASRForTokenClassification` of the 0.6B dimensions, in bfloat16, with the demo's tokenizer."""
    import torch
    from transformers import Qwen3ASRConfig, Qwen3ASRForTokenClassification

    from forced_aligner.checkpoint import load_processor
    from forced_aligner.paths import DEMO_FOLDER

    demo = json.loads((DEMO_FOLDER / "model/config.json").read_text())
    config = Qwen3ASRConfig(
        audio_config={"model_type": "qwen3_asr_encoder", "output_dim": 1024},
        text_config={
            "model_type": "qwen3",
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "vocab_size": 152064,
            "max_position_embeddings": 65536,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
            "tie_word_embeddings": False,
        },
        num_labels=5000,
        audio_token_id=demo["audio_token_id"],
        timestamp_token_id=demo["timestamp_token_id"],
        pad_token_id=demo["pad_token_id"],
        initializer_range=WEIGHT_SCALE,
        tie_word_embeddings=False,
    )
    for part in (config.audio_config, config.text_config):
        part.initializer_range = WEIGHT_SCALE
    torch.manual_seed(SEED)
    torch.set_default_dtype(torch.bfloat16)
    model = Qwen3ASRForTokenClassification(config)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.0f} M parameters", file=sys.stderr)
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    load_processor(DEMO_FOLDER / "model").save_pretrained(partial)
    partial.rename(folder)


def make_clips(folder: Path) -> None:
    """A pair for each of `CLIP_LENGTHS_S`, joined from demo clips and cut."""
    from forced_aligner.datasets import load_clips

    folder.mkdir(parents=True, exist_ok=True)
    clips = load_clips("demo", None, is_demo_model=True, language=None)
    samples = np.concatenate([soundfile.read(clip.audio)[0] for clip in clips])
    words = [(word.text, word.end_time_ms / 1000, at) for clip, at in _offsets(clips) for word in clip.alignments or []]
    for length_s in CLIP_LENGTHS_S:
        name = f"clip-{length_s:.0f}s"
        soundfile.write(folder / f"{name}.flac", samples[: int(length_s * 16_000)], 16_000)
        inside = [text for text, end_s, at in words if at + end_s < length_s]
        (folder / f"{name}.txt").write_text(" ".join(inside))


def _offsets(clips: list[Any]) -> list[tuple[Any, float]]:
    starts = np.cumsum([0.0, *(clip.duration_s for clip in clips)])
    return list(zip(clips, starts.tolist(), strict=False))


def measured(*command: str | Path) -> dict[str, float]:
    """Run a command of the project; its wall time and peak memory."""
    print(f"$ {' '.join(map(str, command))}", file=sys.stderr)
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *map(str, command)], cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 1):  # 1: a threshold is missed, and the report says by how much
        raise typer.Exit(code)
    return {"wall_s": round(time.perf_counter() - started, 1), "peak_gb": round(usage.ru_maxrss / 1e6, 2)}


@app.command()
def main(
    folder: Annotated[Path, typer.Option(help="Where the checkpoint and the packages go.")] = ROOT / "build/full-size",
    precision: Annotated[str, typer.Option(help="As convert-coreml.py takes it.")] = "float32",
    lengths: Annotated[
        str, typer.Option(help="Decoder lengths, as convert-coreml.py takes them.")
    ] = "256,512,1024,2048",
) -> None:
    """Make, convert, run and score a full-size random model."""
    checkpoint, bundle, clips = folder / "checkpoint", folder / precision, folder / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    if not checkpoint.exists():
        make_checkpoint(checkpoint)
    make_clips(clips)
    reference, report = folder / "pytorch_reference.json", folder / f"parity-{precision}.json"
    steps = {
        "convert": measured(
            "convert-coreml.py", "--model-id", checkpoint, "--output-dir", bundle, "--precision", precision,
            "--decoder-lengths", lengths, "--force",
        ),
        "reference": measured(
            "compare-models.py", "--model-id", checkpoint, "--dataset", clips, "--language", "English",
            "--output", reference,
        ),
        "compare": measured(
            "run_coreml_inference.py", "compare", "--model-dir", bundle, "--reference", reference,
            "--report", report, "--verbose",
        ),
    }  # fmt: skip
    scores = json.loads(report.read_text())
    size_gb = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file()) / 1e9
    result = {
        "precision": precision,
        "decoder_lengths": lengths,
        "size_gb": round(size_gb, 2),
        "steps": steps,
        "bin_exact_percent": scores["bin_exact_percent"],
        "boundaries": scores["boundaries"],
        "aas_ms": scores["aas_ms"],
        "samples": [
            {key: sample[key] for key in ("audio", "duration_s", "boundaries", "bin_exact_percent", "max_error_ms")}
            for sample in scores["samples"]
        ],
        "threads": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count())),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"full_size_{precision}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    app()
