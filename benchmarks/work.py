"""The multiply-adds that the chosen shapes execute, relative to those that the unpadded input needs. They are exact.

    uv run benchmarks/work.py

Both are counted from the saved packages, so the full-size model is converted first. A clip needs its real rows in every
linear op and convolution, and in attention the pairs that may attend to each other: the pairs within a window of the
audio transformer, and each row with itself and the rows before it in the decoder. The ops as saved are executed.

The clips are 200 quantiles of a log-normal distribution whose mean and limits are those of LibriSpeech test-clean: 5.4
hours in 2620 utterances (Panayotov et al., 2015, table 1), none shorter than 1.3 s or longer than 35 s, with 52 576
words (the count in Kaldi's published scores). Its spread (sigma 0.63) is an assumption. So are two text tokens per
word, beside the two `<timestamp>`. Neither the data nor the tokenizer was available where this was written.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Any

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import FULL_SIZE, measured, random_checkpoint, write_results
from forced_aligner.align.positions import frames_per_call
from forced_aligner.align.prompt import PROMPT_MARKS
from forced_aligner.base.console import run_app
from forced_aligner.runtime.mil.work import Macs, count

MEAN_S = 5.4 * 3600 / 2620
SIGMA = 0.63
LIMITS_S = (1.3, 35.0)
WORDS_PER_S = 52_576 / (5.4 * 3600)
TOKENS_PER_WORD = 4
QUANTILES = 200

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Shape:
    """The sizes of a clip that determine its work."""

    duration_s: float
    audio_tokens: int
    words: int
    prompt: int  # tokens


class Work:
    """The multiply-adds of a converted model per row and per pair of rows, counted from its packages."""

    def __init__(self, bundle: Any) -> None:
        """Count the functions of an opened folder."""
        from forced_aligner.runtime.mil.program import Program

        self.dimensions = bundle.metadata.dimensions
        self.counted: dict[tuple[str, int | None], Macs] = {}
        for key, record in bundle.metadata.components.items():
            functions = Program(bundle.package(key)).spec.mlProgram.functions
            self.counted.update(((key, size), count(functions[name])) for name, size in record.functions.items())
        frames, length = bundle.metadata.audio_frames[-1], bundle.metadata.decoder_lengths[-1]
        encoder, decoder = self.counted["audio_transformer", frames], self.counted["decoder_prefill", length]
        self._encoder_row, self._encoder_pair = encoder.linear / frames, encoder.attention / frames**2
        self._decoder_row, self._decoder_pair = decoder.linear / length, decoder.attention / executed_pairs(length)
        self._chunk = self.counted["audio_conv", None].total
        self._head_row = self.counted["lm_head", None].total

    def encoder(self, frames: float, pairs: float) -> float:
        """The multiply-adds of the audio transformer on `frames` frames and `pairs` pairs of frames."""
        return frames * self._encoder_row + pairs * self._encoder_pair

    def decoder(self, rows: float, pairs: float) -> float:
        """The multiply-adds of the decoder on `rows` rows and `pairs` pairs of rows."""
        return rows * self._decoder_row + pairs * self._decoder_pair

    def executed(
        self, clip: Shape, frames: Sequence[int], lengths: Sequence[int], head_rows: int | None = None
    ) -> float:
        """The multiply-adds of a clip on functions of these sizes."""
        head = (head_rows or 2 * clip.words) * self._head_row
        return self.executed_encoder(clip, frames) + self.executed_decoder(clip, lengths) + head

    def executed_encoder(self, clip: Shape, frames: Sequence[int]) -> float:
        """The executed multiply-adds of the convolutions and the audio transformer."""
        step = frames_per_call(max(frames), self.dimensions.window_tokens)
        calls = [min(size for size in frames if size >= group) for group in _parts(clip.audio_tokens, step)]
        chunks = -(-clip.audio_tokens // self.dimensions.chunk_tokens)
        return chunks * self._chunk + sum(self.encoder(call, call**2) for call in calls)

    def executed_decoder(self, clip: Shape, lengths: Sequence[int]) -> float:
        """The executed multiply-adds of the decoder."""
        length = min(size for size in lengths if size >= clip.prompt)
        return self.decoder(length, executed_pairs(length))

    def needed(self, clip: Shape) -> float:
        """The multiply-adds of a clip's real rows, and of the pairs of rows that may attend to each other."""
        return self.needed_encoder(clip) + self.needed_decoder(clip) + 2 * clip.words * self._head_row

    def needed_encoder(self, clip: Shape) -> float:
        """The needed multiply-adds of the convolutions and the audio transformer."""
        windows = _parts(clip.audio_tokens, self.dimensions.window_tokens)
        return clip.audio_tokens / self.dimensions.chunk_tokens * self._chunk + self.encoder(
            clip.audio_tokens, sum(window**2 for window in windows)
        )

    def needed_decoder(self, clip: Shape) -> float:
        """The needed multiply-adds of the decoder."""
        return self.decoder(clip.prompt, clip.prompt * (clip.prompt + 1) / 2)

    def overhead(
        self, clips: Sequence[Shape], frames: Sequence[int], lengths: Sequence[int], head_rows: int | None = None
    ) -> float:
        """Executed over needed multiply-adds, summed over all clips."""
        executed = sum(self.executed(clip, frames, lengths, head_rows) for clip in clips)
        return executed / sum(self.needed(clip) for clip in clips)


def executed_pairs(length: int) -> float:
    """Pairs of rows that the decoder's attention computes: each block of rows with all rows up to the block's end."""
    from individual_components import query_block

    block = query_block(length)
    blocks = length // block
    return block**2 * blocks * (blocks + 1) / 2


def _parts(whole: int, part: int) -> list[int]:
    return [min(part, whole - start) for start in range(0, whole, part)]


def librispeech_like() -> list[Shape]:
    """The clips of the distribution; see the top of this file."""
    normal = NormalDist(np.log(MEAN_S) - SIGMA**2 / 2, SIGMA)
    shapes = []
    for index in range(QUANTILES):
        duration_s = float(np.clip(np.exp(normal.inv_cdf((index + 0.5) / QUANTILES)), *LIMITS_S))
        # 13 tokens a full second; of the last part, one for each 80 ms that has begun
        tokens = 13 * int(duration_s) + int(np.ceil((duration_s % 1) / 0.08))
        words = max(1, round(duration_s * WORDS_PER_S))
        shapes.append(Shape(duration_s, tokens, words, tokens + PROMPT_MARKS + words * TOKENS_PER_WORD))
    return shapes


def best_sizes(cost: Mapping[int, float], needed: Sequence[int], count: int) -> tuple[int, ...]:
    """The `count` sizes that run all of `needed` at the least cost, if each takes the smallest size that fits.

    Exact, by dynamic programming over the sizes in ascending order.
    """
    sizes = sorted(cost)
    below = np.searchsorted(np.sort(needed), sizes, side="right")  # how many fit in each size
    best: dict[tuple[int, int], tuple[float, tuple[int, ...]]] = {}
    for index, size in enumerate(sizes):
        best[index, 1] = (below[index] * cost[size], (size,))
        for used in range(2, count + 1):
            options = [
                (
                    best[before, used - 1][0] + (below[index] - below[before]) * cost[size],
                    (*best[before, used - 1][1], size),
                )
                for before in range(index)
                if (before, used - 1) in best
            ]
            if options:
                best[index, used] = min(options)
    return best[len(sizes) - 1, count][1]


@app.command()
def main(
    folder: Annotated[Path, typer.Option(help="Where the checkpoint is.")] = FULL_SIZE,
) -> None:
    """Convert, count, and print the executed multiply-adds of each choice of sizes."""
    from rich.console import Console
    from rich.table import Table

    from forced_aligner.convert.defaults import DEFAULT_FRAMES, DEFAULT_LENGTHS
    from forced_aligner.package.bundle import Bundle
    from forced_aligner.package.contract import LENGTH_STEP

    target = folder / "work"
    measured(
        "convert-coreml.py", "--model-id", random_checkpoint(folder), "--output-dir", target, "--precision", "float16",
        "--decoder-lengths", "2048", "--audio-frames", "208", "--force",
    )  # fmt: skip
    work, clips = Work(Bundle.open(target)), librispeech_like()
    lengths, frames = DEFAULT_LENGTHS["iOS18"], DEFAULT_FRAMES["iOS18"]
    choices: dict[str, tuple[Sequence[int], Sequence[int], int | None]] = {
        "default": (frames, lengths, None),
        "the unoptimised baseline, all rows through the head": ((256,), (1024,), 1024),
        "four decoder lengths, one of frames": ((256,), (256, 512, 1024, 2048), None),
    }
    decoder_cost = {n: work.decoder(n, executed_pairs(n)) for n in range(LENGTH_STEP, 1025, LENGTH_STEP)}
    encoder_cost = {n: work.encoder(n, n**2) for n in range(13, 209, 13)}
    groups = [group for clip in clips for group in _parts(clip.audio_tokens, 208)]
    for number in range(1, 9):
        best_lengths = best_sizes(decoder_cost, [clip.prompt for clip in clips], number)
        choices[f"best {number} decoder lengths"] = (frames, best_lengths, None)
    for number in range(1, 6):
        choices[f"best {number} of frames"] = (best_sizes(encoder_cost, groups, number), lengths, None)
    results = []
    table = Table("sizes", "audio frames", "decoder lengths", "executed / needed")
    for name, (some_frames, some_lengths, head_rows) in choices.items():
        ratio = work.overhead(clips, some_frames, some_lengths, head_rows)
        table.add_row(name, ",".join(map(str, some_frames)), ",".join(map(str, some_lengths)), f"{ratio:.3f}")
        results.append({"sizes": name, "frames": some_frames, "lengths": some_lengths, "executed_over_needed": ratio})
    Console(width=120).print(table)
    write_results("work", results)


if __name__ == "__main__":
    run_app(app)
