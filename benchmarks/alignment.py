"""Alignment time and memory: the packages on the MIL runtime, PyTorch, and the unoptimised baseline (`plain.py`).

    uv run benchmarks/alignment.py

On the full-size random model, with clips of several lengths. Each side is a separate process that loads once. Runs are
interleaved: one at a time on the same clip and the same number of threads, three runs per clip, or one for clips beyond
a minute. A time is measured from samples to the scores at the `<timestamp>` tokens; it is the best of all runs. The
memory is the process's peak so far, with clips in ascending order. The picture (docs/cost.png) shows the multiply-adds
that each stage executes and needs (see work.py), and the memory.
"""

import json
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import FULL_SIZE, RESULTS, ROOT, measured, peak_bytes, random_checkpoint, write_results
from benchmarks.work import Shape, Work
from forced_aligner.align.prompt import PROMPT_MARKS
from forced_aligner.base.console import quiet_libraries, run_app
from forced_aligner.convert.defaults import DEFAULT_LENGTHS

WORDS_PER_S = 2.5
TOKENS_PER_WORD = 4.5
WORDS = ("go", "the", "at", "him", "so", "way", "an", "old")  # 2.5 letters, each a token of the demo's tokenizer
LONG_LENGTHS = (3072, 7680)  # what 120 s and 300 s need beyond the default
MAX_TOKENS = 7680  # 400 s with 550 words; PyTorch's attention takes 11 GB there
LONG_S = 60.0  # each side runs once on a longer clip
PACKAGES = "alignment"  # the folder of the converted model
PICTURE = ROOT / "docs/cost.png"
BASELINE = "plain"  # key of the unoptimised baseline in the results
BASELINE_END_S = 19.0  # it has 256 audio frames
SIDES = ("packages", "pytorch", BASELINE)

Runner = Callable[[Any, list[str]], tuple[Any, dict[str, float]]]

app = typer.Typer(add_completion=False)


def clip(duration_s: float) -> tuple[Any, list[str]]:
    """(samples,) of demo speech, repeated and cut, and words at `WORDS_PER_S`."""
    from forced_aligner.align.audio import SAMPLE_RATE_HZ, load_audio
    from forced_aligner.data.clips import load_clips

    clips = load_clips("demo", None, is_demo_model=True, language=None)
    speech = np.concatenate([load_audio(Path(each.audio)) for each in clips])
    count = round(duration_s * SAMPLE_RATE_HZ)
    room = (MAX_TOKENS - 13 * duration_s - PROMPT_MARKS) / TOKENS_PER_WORD
    words = [WORDS[index % len(WORDS)] for index in range(int(min(duration_s * WORDS_PER_S, room)))]
    return np.resize(speech, count), words


def packages_side(folder: Path) -> Runner:
    """The chain on the converted packages, with the time of each stage."""
    from forced_aligner.align.chain import Aligner
    from forced_aligner.align.clock import Clock
    from forced_aligner.package.bundle import Bundle
    from forced_aligner.runtime.mil.backend import MilBackend

    bundle = Bundle.open(folder / PACKAGES)
    aligner = Aligner(bundle, MilBackend(bundle))

    def run(samples: Any, words: list[str]) -> tuple[Any, dict[str, float]]:
        clock = Clock()
        scores = aligner.timestamp_scores(samples, words, clock)
        clock.lap("head")
        return scores.classes, {stage: round(ms / 1000, 3) for stage, ms in clock.laps.items()}

    return run


def pytorch_side(folder: Path) -> Runner:
    """The checkpoint's own model and processor."""
    import torch

    from forced_aligner.checkpoint.find import find_checkpoint
    from forced_aligner.checkpoint.processor import load_processor
    from forced_aligner.checkpoint.weights import load_model

    checkpoint = find_checkpoint(str(random_checkpoint(folder)))
    model, processor = load_model(checkpoint), load_processor(checkpoint.folder)

    def run(samples: Any, words: list[str]) -> tuple[Any, dict[str, float]]:
        inputs, _ = processor.prepare_forced_aligner_inputs(samples, " ".join(words), "English")
        with torch.inference_mode():
            logits = model(**inputs).logits
        return logits[inputs["input_ids"] == model.config.timestamp_token_id].argmax(-1).numpy(), {}

    return run


def baseline_side(folder: Path) -> Runner:
    """The packages of the unoptimised baseline, with their fixed shapes."""
    from benchmarks.plain import BaselineChain
    from forced_aligner.align.chain import Aligner
    from forced_aligner.package.bundle import Bundle
    from forced_aligner.runtime.mil.backend import MilBackend

    bundle = Bundle.open(folder / PACKAGES)
    chain = BaselineChain(folder / BASELINE, Aligner(bundle, MilBackend(bundle)))
    return lambda samples, words: (chain.timestamp_logits(samples, words)[0].argmax(-1), {})


def serve(side: str, folder: Path, pipe: Any) -> None:
    """The process of a side: load, then run each job from `pipe` until None comes."""
    quiet_libraries()
    run = {"packages": packages_side, "pytorch": pytorch_side, BASELINE: baseline_side}[side](folder)
    pipe.send(None)
    while (job := pipe.recv()) is not None:
        started = time.perf_counter()
        classes, stages = run(*job)
        wall_s = time.perf_counter() - started - stages.get("load", 0.0)
        peak_mb = peak_bytes() / 1e6
        pipe.send((classes, {"wall_s": round(wall_s, 3), "peak_mb": round(peak_mb), "stages_s": stages}))


def measure(folder: Path, durations_s: list[float], rounds: int) -> list[dict[str, Any]]:
    """A row for each duration: each side's best time and peak memory, and the agreement with PyTorch."""
    context = multiprocessing.get_context("spawn")
    pipes, rows = {}, []
    for side in SIDES:
        pipes[side], child_pipe = context.Pipe()
        context.Process(target=serve, args=(side, folder, child_pipe), daemon=True).start()
        pipes[side].recv()
    for duration_s in sorted(durations_s):
        job = clip(duration_s)
        sides = [side for side in SIDES if side != BASELINE or duration_s <= BASELINE_END_S]
        row: dict[str, Any] = {"duration_s": duration_s, "words": len(job[1])}
        classes = {}
        for _ in range(rounds if duration_s <= LONG_S else 1):
            for side in sides:
                pipes[side].send(job)
                classes[side], measured_run = pipes[side].recv()
                if side not in row or measured_run["wall_s"] < row[side]["wall_s"]:
                    row[side] = measured_run
        row["distinct_classes"] = len(set(classes["pytorch"].tolist()))
        row["same_class_percent"] = round(float((classes["packages"] == classes["pytorch"]).mean() * 100), 2)
        for side in sides[1:]:
            row[f"packages_over_{side}"] = round(row["packages"]["wall_s"] / row[side]["wall_s"], 2)
        rows.append(row)
        print(row, file=sys.stderr)
    for pipe in pipes.values():
        pipe.send(None)
    return rows


def shape_of(duration_s: float, words: int) -> Shape:
    """The shape of a clip of whole seconds; the demo's tokenizer has one token per letter."""
    audio_tokens = 13 * int(duration_s)
    text_tokens = sum(len(WORDS[index % len(WORDS)]) + 2 for index in range(words))
    return Shape(duration_s, audio_tokens, words, audio_tokens + PROMPT_MARKS + text_tokens)


def draw(rows: list[dict[str, Any]], folder: Path) -> None:
    """Draw the multiply-adds of both stages, executed and needed, and the peak memory over the length of the audio."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from forced_aligner.package.bundle import Bundle

    bundle = Bundle.open(folder / PACKAGES)
    work, metadata = Work(bundle), bundle.metadata
    lengths_s = [row["duration_s"] for row in rows]
    shapes = [shape_of(row["duration_s"], row["words"]) for row in rows]
    curves = {
        "audio encoder": ([work.executed_encoder(s, metadata.audio_frames) for s in shapes], work.needed_encoder),
        "decoder": ([work.executed_decoder(s, metadata.decoder_lengths) for s in shapes], work.needed_decoder),
    }
    figure, (macs, memory) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for (stage, (executed, needed)), color in zip(curves.items(), ("tab:blue", "tab:orange"), strict=True):
        macs.plot(lengths_s, [value / 1e9 for value in executed], "o", color=color, label=f"{stage}, executed")
        macs.plot(lengths_s, [needed(s) / 1e9 for s in shapes], "-", color=color, label=f"{stage}, needed by the model")
    macs.set(xscale="log", yscale="log", xlabel="audio, s", ylabel="multiply-adds, billions")
    for side, marker in (("packages", "o-"), ("pytorch", "s--")):
        memory.plot(lengths_s, [row[side]["peak_mb"] / 1000 for row in rows], marker, label=side)
    memory.set(xlabel="audio, s", ylabel="peak memory, GB", ylim=(0, None))
    for axes in (macs, memory):
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
    figure.savefig(PICTURE, dpi=120)


def with_earlier(rows: list[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    """`rows` and those of an earlier run with other durations, by ascending duration."""
    earlier = json.loads(path.read_text())["clips"] if path.exists() else []
    by_duration = {row["duration_s"]: row for row in (*earlier, *rows)}
    return [by_duration[duration_s] for duration_s in sorted(by_duration)]


def convert_both(folder: Path) -> None:
    """Convert the random checkpoint in float32 and, unless that is done, with the unoptimised baseline."""
    checkpoint = random_checkpoint(folder)
    measured(
        "convert-coreml.py", "--model-id", checkpoint, "--output-dir", folder / PACKAGES, "--precision", "float32",
        "--decoder-lengths", ",".join(map(str, (*DEFAULT_LENGTHS["iOS18"], *LONG_LENGTHS))), "--force",
    )  # fmt: skip
    baseline, partial = folder / BASELINE, folder / f"{BASELINE}.partial"
    if not baseline.exists():
        shutil.rmtree(partial, ignore_errors=True)
        measured(ROOT / "benchmarks/plain.py", checkpoint, partial)
        partial.rename(baseline)


@app.command()
def main(
    folder: Annotated[Path, typer.Option(help="Where the checkpoint and the packages are.")] = FULL_SIZE,
    durations: Annotated[str, typer.Option(help="Comma-separated, in seconds.")] = "5,15,30,60,120,300,400",
    rounds: Annotated[int, typer.Option(help="Runs of each side on clips of up to a minute.")] = 3,
    convert: Annotated[bool, typer.Option("--convert/--no-convert", help="Convert first.")] = True,
    name: Annotated[str, typer.Option(help="Of the result.")] = "alignment",
) -> None:
    """Measure every side on every clip."""
    from rich.console import Console
    from rich.table import Table

    if convert:
        convert_both(folder)
    rows = measure(folder, [float(each) for each in durations.split(",")], rounds)
    table = Table(
        *("s", "words", "packages s", "PyTorch s", "unoptimised baseline s"),
        *("of PyTorch", "of baseline", "packages MB", "same class %"),
    )
    for row in rows:
        baseline_s = row.get(BASELINE, {}).get("wall_s", "-")
        times_s = (row["packages"]["wall_s"], row["pytorch"]["wall_s"], baseline_s)
        table.add_row(
            *map(str, (row["duration_s"], row["words"], *times_s)),
            *map(str, (row["packages_over_pytorch"], row.get(f"packages_over_{BASELINE}", "-"))),
            *map(str, (row["packages"]["peak_mb"], row["same_class_percent"])),
        )
    Console(width=120).print(table)
    rows = with_earlier(rows, RESULTS / f"{name}.json")
    write_results(name, {"threads": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count())), "clips": rows})
    draw(rows, folder)


if __name__ == "__main__":
    run_app(app)
