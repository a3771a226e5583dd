"""The whole job on a model of the full 0.6B dimensions with seeded random weights.

    uv run benchmarks/full_size.py

Makes the checkpoint, converts it, makes the reference of a 12 s and a 30 s clip, and runs the packages; each step is
the project's own command in a process of its own, with its wall time and peak memory. Then it compares the classes at
the `<timestamp>` tokens before the monotonic repair, which makes a handful of times of whatever a random model says.
The same with a mask that shuts out nothing shows what the comparison can see.
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

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from forced_aligner import console
from forced_aligner.positions import window_mask

ROOT = Path(__file__).resolve().parents[1]
SEED = 0
# With plain random weights every `<timestamp>` says the same. Sharp attention whose values weigh much makes a token
# depend on what it attends to: 50 classes among 110 timestamps, where it had been 3 (tried on a model of width 256).
NORM_WEIGHT = 3.0  # of the norms of queries and keys
VALUE_GAIN = 4.0  # on the projections of values and attention outputs
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
        tie_word_embeddings=False,
    )
    torch.manual_seed(SEED)
    torch.set_default_dtype(torch.bfloat16)
    model = Qwen3ASRForTokenClassification(config)
    torch.set_default_dtype(torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, parameter[0].numel() ** -0.5)
            if "v_proj" in name or "o_proj" in name:
                parameter.mul_(VALUE_GAIN)
            if "q_norm" in name or "k_norm" in name:
                parameter.fill_(NORM_WEIGHT)
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
    """Run a command of the project; its wall time and peak memory. A failure ends the benchmark."""
    print(f"$ {' '.join(map(str, command))}", file=sys.stderr)
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *map(str, command)], cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code and not (code == console.EXIT_THRESHOLD_MISSED and "compare" in command):
        raise typer.Exit(code)
    unit = 1e9 if sys.platform == "darwin" else 1e6  # bytes on macOS, kB on Linux
    return {"wall_s": round(time.perf_counter() - started, 1), "peak_gb": round(usage.ru_maxrss / unit, 2)}


def attend_all(real: int, frames: int, window: int) -> Any:
    """A mask that shuts out nothing."""
    return np.zeros((1, 1, frames, frames), np.float32)


def compare_classes(checkpoint_folder: Path, bundle_folder: Path, clips_folder: Path) -> list[dict[str, Any]]:
    """The class of every `<timestamp>`, before repair: packages against PyTorch."""
    import torch

    from forced_aligner import checkpoint, datasets, features
    from forced_aligner.aligner import Aligner, split_words
    from forced_aligner.backends import MilBackend
    from forced_aligner.bundle import Bundle

    found = checkpoint.resolve(str(checkpoint_folder))
    model, processor = checkpoint.load_model(found), checkpoint.load_processor(found.folder)
    bundle = Bundle.open(bundle_folder)
    backend = MilBackend(bundle)
    rows = []
    for clip in datasets.paired_clips(clips_folder, "English"):
        samples = features.load_audio(Path(clip.audio))
        inputs, _ = processor.prepare_forced_aligner_inputs(samples, clip.transcript, "English")
        with torch.inference_mode():
            logits = model(**inputs).logits[inputs["input_ids"] == model.config.timestamp_token_id]
        best = logits.topk(2).values
        words = split_words(processor, clip.transcript, "English")
        expected, same = logits.argmax(-1).numpy(), {}
        for name, mask in (("same_percent", window_mask), ("same_without_mask_percent", attend_all)):
            classes = Aligner(bundle, backend, mask).timestamp_logits(samples, words)[0].argmax(-1)
            same[name] = classes == expected
        rows.append(
            {
                "clip": Path(clip.audio).name,
                "timestamps": len(logits),
                "distinct_classes": len(set(expected.tolist())),
                "smallest_margin": round(float((best[:, 0] - best[:, 1]).min()), 5),
                **{name: round(float(agrees.mean() * 100), 2) for name, agrees in same.items()},
            }
        )
        print(rows[-1], file=sys.stderr)
    return rows


@app.command()
def main(
    folder: Annotated[Path, typer.Option(help="Where the checkpoint and the packages go.")] = ROOT / "build/full-size",
    precision: Annotated[str, typer.Option(help="As convert-coreml.py takes it.")] = "float32",
    compress: Annotated[str, typer.Option(help="As convert-coreml.py takes it.")] = "none",
    lengths: Annotated[str, typer.Option(help="As convert-coreml.py takes them.")] = "256,512,1024,2048",
) -> None:
    """Make, convert, run and compare a full-size random model."""
    name = precision if compress == "none" else compress
    checkpoint, bundle, clips = folder / "checkpoint", folder / name, folder / "clips"
    reference, report = folder / "pytorch_reference.json", folder / f"parity-{name}.json"
    folder.mkdir(parents=True, exist_ok=True)
    if not checkpoint.exists():
        make_checkpoint(checkpoint)
    make_clips(clips)
    for left in (reference, report):
        left.unlink(missing_ok=True)
    steps = {
        "convert": measured(
            "convert-coreml.py", "--model-id", checkpoint, "--output-dir", bundle, "--precision", precision,
            "--compress", compress, "--decoder-lengths", lengths, "--force",
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
    result = {
        "precision": precision,
        "compress": compress,
        "decoder_lengths": lengths,
        "size_gb": round(sum(path.stat().st_size for path in bundle.rglob("*.bin")) / 1e9, 2),
        "steps": steps,
        "boundaries_bin_exact_percent": scores["bin_exact_percent"],
        "boundaries": scores["boundaries"],
        "classes": compare_classes(checkpoint, bundle, clips),
        "threads": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count())),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"full_size_{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    console.run(app)
