"""The demo aligner's error: `python -m demo.evaluate` on the ten clips, with `--fresh 200` also on new ones.

The saved model is loaded by `transformers` and run in float32 on one clip at a time.
"""

import json
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import torch
import typer
from rich.console import Console
from rich.table import Table
from transformers import AutoProcessor, Qwen3ASRForTokenClassification, Qwen3ASRProcessor

from demo.clips import DEMO, fresh_clips
from demo.network import SEGMENT_MS
from demo.words import LANGUAGE

POSITION_STEP_S = 3.0  # width of a bar in the picture
FRESH_SEED = 1000

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Scored:
    """Predicted and true boundaries of one clip: start and end of each word in turn, in milliseconds.

    Attributes:
        name: what to call the clip.
        predicted_ms, true_ms: (2 * words,) float64.
    """

    name: str
    predicted_ms: np.ndarray
    true_ms: np.ndarray

    @property
    def errors_ms(self) -> np.ndarray:
        """(2 * words,) absolute error of each boundary."""
        return np.abs(self.predicted_ms - self.true_ms)

    @property
    def errors_in_bins(self) -> np.ndarray:
        """(2 * words,) error in 80 ms steps, from the step nearest to the true time."""
        return np.abs(np.round(self.predicted_ms / SEGMENT_MS) - np.round(self.true_ms / SEGMENT_MS))


class Aligner:
    """The saved model and its processor, as any user of `transformers` loads them."""

    def __init__(self, folder: Path) -> None:
        self.processor: Qwen3ASRProcessor = AutoProcessor.from_pretrained(folder)
        self.model = Qwen3ASRForTokenClassification.from_pretrained(folder, dtype=torch.float32).eval()

    @torch.inference_mode()
    def align(self, audio: np.ndarray, transcript: str) -> np.ndarray:
        """Boundaries of (samples,) 16 kHz audio in milliseconds: (2 * words,), repaired to be monotonic."""
        inputs, words = self.processor.prepare_forced_aligner_inputs(audio, transcript, LANGUAGE)
        logits = self.model(**inputs).logits
        token = self.model.config.timestamp_token_id
        aligned = self.processor.decode_forced_alignment(logits, inputs["input_ids"], words, token)[0]
        return 1000 * np.array([[word["start_time"], word["end_time"]] for word in aligned]).reshape(-1)


def score_ten(aligner: Aligner, folder: Path = DEMO / "clips") -> list[Scored]:
    """The clips of a manifest, scored."""
    scored = []
    for sample in json.loads((folder / "manifest.json").read_text())["samples"]:
        audio, _ = soundfile.read(folder / sample["audio"], dtype="float32")
        true_times_ms = [time for word in sample["alignments"] for time in (word["start_time_ms"], word["end_time_ms"])]
        scored.append(Scored(sample["audio"], aligner.align(audio, sample["transcript"]), np.array(true_times_ms)))
    return scored


def score_fresh(aligner: Aligner, count: int, seed: int) -> list[Scored]:
    """`count` newly made clips, scored."""
    return [
        Scored(
            f"fresh {number}: {clip.voice.name}, {len(clip.words)} words, {clip.duration_s:.1f} s",
            aligner.align(clip.audio, clip.transcript),
            1000 * np.stack([clip.starts_s, clip.ends_s], axis=1).reshape(-1),
        )
        for number, clip in enumerate(fresh_clips(count, seed))
    ]


def figures(scored: list[Scored]) -> dict[str, float]:
    """The figures of a set of clips, over all boundaries; a word has two.

    `aas_ms` is the mean absolute error against the true times. A boundary is bin-exact where the prediction is
    the 80 ms step nearest to the true time, and within one bin where it is at most one step from that.
    """
    errors = np.concatenate([clip.errors_ms for clip in scored])
    steps = np.concatenate([clip.errors_in_bins for clip in scored])
    return {
        "clips": len(scored),
        "boundaries": len(errors),
        "aas_ms": float(errors.mean()),
        "median_ms": float(np.median(errors)),
        "bin_exact_percent": 100 * float(np.mean(steps == 0)),
        "within_one_bin_percent": 100 * float(np.mean(steps <= 1)),
        "within_80ms_percent": 100 * float(np.mean(errors <= SEGMENT_MS)),
        "beyond_two_bins_percent": 100 * float(np.mean(steps > 2)),
        "worst_clip_aas_ms": max(float(clip.errors_ms.mean()) for clip in scored),
        "clips_above_100ms": sum(float(clip.errors_ms.mean()) > 100 for clip in scored),
    }


def by_position(scored: list[Scored]) -> list[tuple[float, int, float, float]]:
    """(from second, boundaries, mean error in ms, percent within one bin) for each stretch of 3 s."""
    true_ms = np.concatenate([clip.true_ms for clip in scored])
    errors = np.concatenate([clip.errors_ms for clip in scored])
    steps = np.concatenate([clip.errors_in_bins for clip in scored])
    stretch = (true_ms / 1000 // POSITION_STEP_S).astype(int)
    return [
        (
            index * POSITION_STEP_S,
            int(np.sum(stretch == index)),
            float(errors[stretch == index].mean()),
            100 * float(np.mean(steps[stretch == index] <= 1)),
        )
        for index in np.unique(stretch)
    ]


def draw(path: Path, sets: dict[str, list[Scored]]) -> None:
    """Bars of the mean error by position in the clip, one panel for each set of clips."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(sets), figsize=(5.2 * len(sets), 3.4), squeeze=False)
    for axis, (title, scored) in zip(axes[0], sets.items(), strict=True):
        rows = by_position(scored)
        lefts, counts, means, _ = zip(*rows, strict=True)
        bars = axis.bar(lefts, means, width=0.92 * POSITION_STEP_S, align="edge", color="#4c78a8")
        axis.bar_label(bars, [f"n={count}" for count in counts], fontsize=7, padding=1)
        axis.axhline(SEGMENT_MS / 4, color="black", linestyle="--", linewidth=1, label="what the 80 ms grid costs")
        axis.set_ylim(top=1.25 * max(*means, SEGMENT_MS / 2))
        axis.legend(loc="upper left", fontsize=8, frameon=False)
        axis.set_title(title, fontsize=10)
        axis.set_ylabel("mean error (ms)")
        axis.set_xlabel("true time of the boundary in the clip (s)")
    figure.tight_layout()
    figure.savefig(path, dpi=130)


@app.command()
def main(
    model: Annotated[Path, typer.Option(help="The model folder.")] = DEMO / "model",
    fresh: Annotated[int, typer.Option(help="How many fresh clips to make and score too.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the fresh clips.")] = FRESH_SEED,
    picture: Annotated[Path | None, typer.Option(help="Draw the error by position to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Print the figures of the ten clips, and of fresh ones."""
    aligner = Aligner(model)
    sets = {"the ten clips": score_ten(aligner)}
    if fresh:
        sets[f"{fresh} fresh clips, seed {seed}"] = score_fresh(aligner, fresh, seed)
    if picture:
        draw(picture, sets)
    if as_json:
        print(json.dumps({name: figures(scored) for name, scored in sets.items()}, indent=1))
        return
    _print_tables(sets)


def _print_tables(sets: dict[str, list[Scored]]) -> None:
    """The figures of each set, each of the ten clips, and the error by position."""
    console = Console()
    table = Table("figure", *sets, title="Figures against the true times")
    columns = [figures(scored) for scored in sets.values()]
    for name in columns[0]:
        table.add_row(name, *(f"{column[name]:.1f}".removesuffix(".0") for column in columns))
    console.print(table)
    table = Table("clip", "boundaries", "AAS (ms)", "worst boundary (ms)", title="Worst clips")
    for clip in sorted(chain(*sets.values()), key=lambda clip: -clip.errors_ms.mean())[:20]:
        table.add_row(clip.name, str(len(clip.true_ms)), f"{clip.errors_ms.mean():.1f}", f"{clip.errors_ms.max():.0f}")
    console.print(table)
    table = Table("set", "from (s)", "boundaries", "AAS (ms)", "within one bin (%)", title="By position in the clip")
    for name, scored in sets.items():
        for begin, count, mean, within in by_position(scored):
            table.add_row(name, f"{begin:g}", str(count), f"{mean:.1f}", f"{within:.1f}")
    console.print(table)


if __name__ == "__main__":
    app()
