"""Shared by the benchmarks: the full-size random model, measured commands, and the folder of results."""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer
from numpy.typing import NDArray

from forced_aligner.base.errors import EXIT_BAD_INPUT, EXIT_THRESHOLD_MISSED

if TYPE_CHECKING:
    from transformers import Qwen3ASRConfig

ROOT = Path(__file__).resolve().parents[1]
FULL_SIZE = ROOT / "build/full-size"
RESULTS = Path(__file__).parent / "results"
SEED = 0
# With unscaled random weights every `<timestamp>` gets the same class. Sharp attention with large values makes a token
# depend on what it attends to: 110 timestamps had 50 distinct classes instead of 3 (tried on a model of width 256).
NORM_WEIGHT = 3.0  # of the norms of queries and keys
VALUE_GAIN = 4.0  # on the projections of values and attention outputs


def random_checkpoint(folder: Path = FULL_SIZE) -> Path:
    """The folder of the full-size random checkpoint, in `folder`; it is made if it is missing."""
    checkpoint = folder / "checkpoint"
    if not checkpoint.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _make_checkpoint(checkpoint)
    return checkpoint


def _make_checkpoint(folder: Path) -> None:
    """A `Qwen3ASRForTokenClassification` of the 0.6B dimensions, in bfloat16, with the demo's tokenizer."""
    import torch
    from transformers import Qwen3ASRForTokenClassification

    from forced_aligner.base.paths import DEMO_FOLDER
    from forced_aligner.checkpoint.processor import load_processor

    config = _full_size_config()
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


def _full_size_config() -> "Qwen3ASRConfig":
    """The dimensions of the 0.6B checkpoint, with the demo's token ids."""
    from transformers import Qwen3ASRConfig

    from forced_aligner.base.paths import DEMO_FOLDER

    demo = json.loads((DEMO_FOLDER / "model/config.json").read_text())
    return Qwen3ASRConfig(
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


def measured(*command: str | Path, refused: bool = False) -> dict[str, float]:
    """Run a command of the project and return its wall time, CPU time and peak memory; a failure ends the benchmark.

    One that is to be `refused` must end with the exit code for that.
    """
    print(f"$ {' '.join(map(str, command))}", file=sys.stderr)
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *map(str, command)], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    expected = EXIT_BAD_INPUT if refused else 0
    if code != expected and not (code == EXIT_THRESHOLD_MISSED and "compare" in command):
        raise typer.Exit(code or 1)
    return {
        "wall_s": round(time.perf_counter() - started, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_gb": round(peak_bytes(usage) / 1e9, 2),
    }


def peak_bytes(usage: resource.struct_rusage | None = None) -> int:
    """The peak memory in bytes of the process of `usage`, or of this one. macOS counts bytes, Linux KiB."""
    usage = usage or resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def attend_all(real: int, frames: int, window: int) -> NDArray[np.float32]:
    """A mask of the audio transformer that excludes nothing; see `positions.window_mask`."""
    return np.zeros((1, 1, frames, frames), np.float32)


def write_results(name: str, result: Any) -> None:
    """Write `result` to `results/<name>.json`."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
