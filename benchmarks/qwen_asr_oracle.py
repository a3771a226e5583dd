"""A second opinion: qwen-asr, the implementation of the model's authors, beside PyTorch and the packages here.

    uv run benchmarks/qwen_asr_oracle.py

qwen-asr needs another transformers, so `qwen_asr_side.py` runs it in an environment of its own, which uv makes. There
the demo aligner's weights go into qwen-asr's own classes, are saved by its own `save_pretrained`, and align fresh
clips. Then the folder that it saved, a legacy checkpoint that this project did not write, is converted in float32.
All word times are compared with those of this project's PyTorch reference on `demo/model`.

Clips of up to 8 s have one window of audio attention. In longer ones qwen-asr attends across the windows on a CPU
(QwenLM/Qwen3-ASR issue 213), so there it is run once more with its own mask of the windows, which it never uses.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import soundfile
import typer
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import ROOT, write_results
from forced_aligner.base.console import log, run_app
from forced_aligner.base.errors import UserError
from forced_aligner.base.paths import MANIFEST_FILE
from forced_aligner.base.records import Record, read_json, write_json
from forced_aligner.data.records import Clip, ClipManifest, WordTime
from forced_aligner.score.boundaries import boundary_errors_ms, score_errors

if TYPE_CHECKING:
    from forced_aligner.checkpoint.find import Checkpoint

SEED = 4000
WINDOW_S = 8.0  # of audio attention: 800 mel frames
QWEN_ASR, PYTHON, TORCH = "qwen-asr==0.0.6", "3.11", "torch==2.7.0"  # torch as in pyproject.toml
AS_IT_IS = "qwen-asr, as it is"
WITH_ITS_MASK = "qwen-asr, with its mask of the windows"
PACKAGES = "float32 packages of the folder that it saved"

app = typer.Typer(add_completion=False)


class SideTimes(Record):
    """What `qwen_asr_side.py` writes: its versions, and the words of each clip, in order."""

    versions: dict[str, str]
    attention: str
    as_it_is: list[list[WordTime]]
    with_its_mask: list[list[WordTime]]


class Row(Record):
    """The scores of one way on some of the clips, against the PyTorch reference."""

    way: str
    clips: str
    files: int
    boundaries: int
    moved: int
    beyond_80ms: int
    beyond_160ms: int
    bin_exact_percent: float
    aas_ms: float
    max_error_ms: float


class Result(Record):
    """`qwen_asr_oracle.json`: the rows, and what they were measured with."""

    seed: int
    attention: str
    qwen_asr_side: dict[str, str]
    this_side: dict[str, str]
    rows: list[Row]


def side_command() -> list[str]:
    """The start of a command that runs Python in the environment of qwen-asr. uv makes it, and keeps it in its cache.

    Raises:
        UserError: uv is missing, or cannot make the environment.
    """
    uv = shutil.which("uv")
    if uv is None:
        raise UserError(f"{QWEN_ASR} runs in an environment that uv makes, and uv is not here: pip install uv")
    command = [uv, "run", "--no-project", "--isolated", "--python", PYTHON, "--with", QWEN_ASR, "--with", TORCH]
    log(f"making the environment of {QWEN_ASR}; the first time this downloads several GB")
    made = subprocess.run([*command, "python", "-c", "import qwen_asr"], capture_output=True, text=True, check=False)
    if made.returncode:
        raise UserError(f"no environment with {QWEN_ASR}, which needs a package index: {reason_of(made.stderr)}")
    return [*command, "python"]


def reason_of(stderr: str) -> str:
    """What uv says first after `error:`, with the first cause, or the last line of a traceback; on one line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [index for index, line in enumerate(lines) if line.startswith("error:")]
    told = lines[errors[0] :][:2] if errors else lines[-1:]
    return ": ".join(line.removeprefix("error: ").removeprefix("cause: ") for line in told)[:300] or "uv gave no reason"


def rows_of(
    way: str, words: list[list[WordTime]], expected: list[list[WordTime]], durations_s: list[float]
) -> list[Row]:
    """The scores of one way: on the clips of one window, on the longer ones, and on all.

    Raises:
        UserError: a clip does not have the same words on both sides.
    """
    errors_ms = [boundary_errors_ms(*pair) for pair in zip(words, expected, strict=True)]
    is_short = [duration_s <= WINDOW_S for duration_s in durations_s]
    sets = {
        "up to 8 s": is_short,
        "beyond 8 s": [not short for short in is_short],
        "all": [True] * len(is_short),
    }
    return [
        _row(way, clips, [errors for errors, use in zip(errors_ms, chosen, strict=True) if use])
        for clips, chosen in sets.items()
        if any(chosen)
    ]


def _row(way: str, clips: str, errors_ms: list[NDArray[np.float64]]) -> Row:
    scores = score_errors(np.concatenate(errors_ms))
    return Row(way=way, clips=clips, files=len(errors_ms), **scores.model_dump(include=set(Row.model_fields)))


def _write_clips(folder: Path, count: int) -> list[Clip]:
    """Make the clips, and write them to `folder` with a manifest for the other side."""
    from demo.clips import fresh_clips
    from demo.speech import SAMPLE_RATE_HZ
    from demo.words import LANGUAGE

    clips = []
    for number, made in enumerate(fresh_clips(count, SEED)):
        path = folder / f"{number:03}.flac"
        soundfile.write(path, (made.audio * 32768).astype(np.int16), SAMPLE_RATE_HZ)  # whole 16-bit steps already
        clips.append(Clip(audio=str(path), transcript=made.transcript, language=LANGUAGE))
    write_json(ClipManifest(samples=clips), folder / MANIFEST_FILE)
    return clips


def _package_words(checkpoint: "Checkpoint", clips: list[Clip], folder: Path) -> list[list[WordTime]]:
    """The words of the clips by the float32 packages of `checkpoint`, which are converted to `folder`."""
    from forced_aligner.align.audio import load_clip
    from forced_aligner.align.chain import Aligner
    from forced_aligner.convert.options import Options
    from forced_aligner.jobs.convert import convert
    from forced_aligner.package.bundle import Bundle
    from forced_aligner.package.contract import DEFAULT_COMPONENTS
    from forced_aligner.runtime.mil.backend import MilBackend

    convert(checkpoint, folder, Options(DEFAULT_COMPONENTS, precision="float32"))
    bundle = Bundle.open(folder)
    aligner = Aligner(bundle, MilBackend(bundle))
    return [aligner.align(load_clip(clip), clip.transcript, clip.language).words for clip in clips]


@app.command()
def main(clips: Annotated[int, typer.Option(min=1, help="Fresh clips to align.")] = 120) -> None:
    """Measure, print a table and write JSON."""
    from forced_aligner.base.paths import REFERENCE_FILE
    from forced_aligner.checkpoint.find import find_checkpoint
    from forced_aligner.jobs.reference import make_reference
    from forced_aligner.package.provenance import tool_versions

    command = side_command()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "clips").mkdir()
        recordings = _write_clips(folder / "clips", clips)
        demo = find_checkpoint("demo")
        side = [ROOT / "benchmarks/qwen_asr_side.py", demo.folder, folder / "clips" / MANIFEST_FILE, folder]
        if subprocess.run([*command, *map(str, side)], check=False).returncode:
            raise UserError(f"{QWEN_ASR} failed; its own words are above")
        times = read_json(SideTimes, folder / "times.json", "run the benchmark again")
        reference = make_reference(demo, recordings, folder / REFERENCE_FILE)
        package_words = _package_words(find_checkpoint(str(folder / "checkpoint")), recordings, folder / "packages")
    ways = {AS_IT_IS: times.as_it_is, WITH_ITS_MASK: times.with_its_mask, PACKAGES: package_words}
    expected = [sample.alignments for sample in reference.samples]
    durations_s = [sample.duration_s for sample in reference.samples]
    result = Result(
        seed=SEED,
        attention=times.attention,
        qwen_asr_side=times.versions,
        this_side=tool_versions(),
        rows=[row for way, words in ways.items() for row in rows_of(way, words, expected, durations_s)],
    )
    _print(result.rows)
    write_results("qwen_asr_oracle", result.model_dump())


def _print(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("way", "clips", "moved", "bin-exact", "beyond 80 ms", "beyond 160 ms", "max")
    for row in rows:
        table.add_row(
            row.way,
            f"{row.files} {row.clips}",
            f"{row.moved:,} of {row.boundaries:,}",
            f"{row.bin_exact_percent:.2f} %",
            str(row.beyond_80ms),
            str(row.beyond_160ms),
            f"{row.max_error_ms:.0f} ms",
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    run_app(app)
