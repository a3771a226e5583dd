"""Whether a long recording with a right transcript is aligned as well at its end as at its start.

A synthetic recording with true word times is aligned through the MIL runtime. For comparison the same speech is aligned
in two other ways: each utterance by itself, and groups of whole utterances up to the model's longest clip, each with
exactly its words. Such groups are the pieces that cuts by the true times would give.

uv run benchmarks/long_recording.py --minutes 30
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import peak_bytes
from forced_aligner.base.console import log_progress, run_app

app = typer.Typer(add_completion=False)
SEED = 3000
STRETCH_S = 180.0
FAR_OFF_MS, LOST_MS = 160.0, 1000.0
LONGEST_PAUSES_S = 4.0  # room for the pauses between the clips of a group
RESULTS = Path(__file__).parent / "results/long_recording.json"


@app.command()
def main(
    minutes: Annotated[float, typer.Option(min=1, help="Length of the recording.")] = 30.0,
    piece_s: Annotated[float | None, typer.Option(help="As infer takes it. (default: what the model takes)")] = None,
    report: Annotated[Path, typer.Option(help="Where the figures go.")] = RESULTS,
) -> None:
    """Measure, print tables and write JSON."""
    from demo.recordings import long_recording
    from forced_aligner.align.chain import Aligner
    from forced_aligner.align.long_recording import align_recording
    from forced_aligner.checkpoint.find import find_checkpoint
    from forced_aligner.convert.options import Options
    from forced_aligner.jobs.convert import convert
    from forced_aligner.package.bundle import Bundle
    from forced_aligner.package.contract import DEFAULT_COMPONENTS
    from forced_aligner.runtime.mil.backend import MilBackend

    recording = long_recording(minutes * 60, SEED)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "m"
        convert(find_checkpoint("demo"), folder, Options(DEFAULT_COMPONENTS))
        bundle = Bundle.open(folder)
        aligner = Aligner(bundle, MilBackend(bundle))
        aligner.align(recording.audio[:16_000], "warm up", "English")
        before_mb, started = peak_bytes() / 1e6, time.perf_counter()
        alignment = align_recording(
            aligner, recording.audio, recording.transcript, "English", piece_s, progress=log_progress
        )
        seconds, peak_mb = time.perf_counter() - started, peak_bytes() / 1e6
        longest_s = piece_s or bundle.metadata.longest_clip_s or bundle.metadata.head_end_s
        controls = {
            "each_utterance_by_itself": [[clip] for clip in recording.clips],
            "cut_by_the_truth": _groups(recording.clips, longest_s),
        }
        control_errors = {name: _control(aligner, groups) for name, groups in controls.items()}
    errors_ms = np.abs(_times_ms(alignment.words) - recording.times_ms)
    results: dict[str, Any] = {
        "duration_s": round(alignment.duration_s, 1),
        "words": len(recording.words),
        "words_not_found": len(alignment.not_found),
        "untranscribed_s": alignment.untranscribed_s,
        "lost_or_doubled_words": sum(a != b.text for a, b in zip(recording.words, alignment.words, strict=True)),
        "out_of_order_boundaries": int((np.diff(_times_ms(alignment.words).reshape(-1)) < 0).sum()),
        "seconds": round(seconds, 1),
        "peak_memory_mb": round(peak_mb),
        "peak_memory_before_mb": round(before_mb),
        **_errors(errors_ms, recording.times_ms[:, 0] / 1000),
        "first_words_among_those_beyond_160ms_percent": _first_words(recording.clips, errors_ms),
        **control_errors,
    }
    _print(results)
    report.parent.mkdir(exist_ok=True)
    report.write_text(json.dumps(results, indent=2) + "\n")


def _groups(clips: list[Any], longest_s: float) -> list[list[Any]]:
    """Groups of consecutive clips, each at most `longest_s` long with its pauses."""
    groups: list[list[Any]] = [[]]
    for clip in clips:
        if (
            groups[-1]
            and sum(member.duration_s for member in groups[-1]) + clip.duration_s > longest_s - LONGEST_PAUSES_S
        ):
            groups.append([])
        groups[-1].append(clip)
    return groups


def _control(aligner: Any, groups: list[list[Any]]) -> dict[str, Any]:
    """Errors where each group of clips is aligned by itself."""
    from demo.recordings import join, pauses

    errors_ms = []
    for group in groups:
        rng = np.random.default_rng(SEED)
        joined = join(group, pauses(len(group), rng), rng)
        errors_ms.append(np.abs(_times_ms(aligner.align(joined.audio, joined.transcript).words) - joined.times_ms))
    return _figures(np.concatenate(errors_ms))


def _times_ms(words: list[Any]) -> np.ndarray:
    return np.array([(word.start_time_ms, word.end_time_ms) for word in words])


def _errors(errors_ms: np.ndarray, starts_s: np.ndarray) -> dict[str, Any]:
    """Figures of (words, 2) errors: all, and by stretches of the recording."""
    last = max(1, round(starts_s[-1] / STRETCH_S)) - 1  # an incomplete last stretch is added to the one before it
    stretch = np.minimum(starts_s // STRETCH_S, last).astype(int)
    return {
        "all": _figures(errors_ms),
        "stretches": [
            {"from_s": index * STRETCH_S, **_figures(errors_ms[stretch == index])} for index in np.unique(stretch)
        ],
    }


def _first_words(clips: list[Any], errors_ms: np.ndarray) -> float:
    """The percentage of first words of an utterance among the words that are far off."""
    is_first = np.concatenate([np.arange(len(clip.words)) == 0 for clip in clips])
    far_off = (errors_ms > FAR_OFF_MS).any(axis=1)
    return round(100 * float(is_first[far_off].mean()), 1) if far_off.any() else 0.0


def _figures(errors_ms: np.ndarray) -> dict[str, Any]:
    return {
        "boundaries": errors_ms.size,
        "mean_error_ms": round(float(errors_ms.mean()), 1),
        "median_error_ms": round(float(np.median(errors_ms)), 1),
        "beyond_160ms_percent": round(100 * float((errors_ms > FAR_OFF_MS).mean()), 2),
        "beyond_1s_percent": round(100 * float((errors_ms > LOST_MS).mean()), 2),
        "max_error_ms": round(float(errors_ms.max())),
    }


def _print(results: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("words", "boundaries", "mean ms", "median ms", "beyond 160 ms %", "beyond 1 s %", "max ms")
    rows = {"all": results["all"]} | {
        name.replace("_", " "): row for name, row in results.items() if isinstance(row, dict) and name != "all"
    }
    rows |= {f"from {row['from_s'] / 60:.0f} min": row for row in results["stretches"]}
    for name, row in rows.items():
        table.add_row(name, *(str(value) for key, value in row.items() if key != "from_s"))
    output = Console(width=100)
    output.print(table)
    output.print({key: value for key, value in results.items() if not isinstance(value, dict | list)})


if __name__ == "__main__":
    run_app(app)
