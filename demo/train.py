"""Train the demo aligner: `python -m demo.train` makes the data, trains, and writes `demo/model`.

A work folder holds the corpus, the log and a checkpoint from which the same command resumes. A run can be extended with
a larger `--steps`, as long as the decay of its learning rate has not begun.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import nn
from transformers import Qwen3ASRForTokenClassification

from demo.batches import BatchMaker
from demo.corpus import PHONEME_CLASSES, load_corpus, make_corpus
from demo.network import LONGEST_CLIP_S, Dimensions, make_config, save_model
from demo.objective import Weights, losses
from demo.optimizer import Average, Muon, split_parameters

DEMO = Path(__file__).parent
SHORTEST_S = 0.5
LONGEST_S = ((0, 3.0), (800, 4.0), (1600, 9.0), (2400, LONGEST_CLIP_S))  # (step, seconds): short clips first
WARMUP_STEPS = 100
MATRIX_LR, OTHER_LR = 0.02, 3e-3
CLIP_NORM = 1.0
PARTS = 4  # into which a batch is split
ALL_CLASSES_EVERY = 8  # steps
AVERAGE_DECAY = 0.998
CHECKPOINT_EVERY, LOG_EVERY = 250, 25  # steps

app = typer.Typer(add_completion=False)


@dataclass
class State:
    """Everything that a checkpoint contains."""

    model: Qwen3ASRForTokenClassification
    phoneme_layer: nn.Linear
    optimizers: list[torch.optim.Optimizer]
    average: Average
    step: int = 0

    def save(self, path: Path) -> None:
        """Write a checkpoint; an interrupted write leaves the old one."""
        part = path.with_suffix(".part")
        torch.save(
            {
                "model": self.model.state_dict(),
                "phoneme_layer": self.phoneme_layer.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "average": self.average.shadow,
                "step": self.step,
            },
            part,
        )
        part.replace(path)

    def load(self, path: Path, device: torch.device) -> None:
        """Read a checkpoint."""
        saved = torch.load(path, map_location=device, weights_only=True)
        self.model.load_state_dict(saved["model"])
        self.phoneme_layer.load_state_dict(saved["phoneme_layer"])
        for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.average.shadow = saved["average"]
        self.step = saved["step"]

    def export(self, folder: Path) -> None:
        """Write the averaged weights as a model folder."""
        model = Qwen3ASRForTokenClassification(self.model.config)
        self.average.copy_to(model)
        save_model(model, folder)


def new_state(seed: int, device: torch.device) -> State:
    """A fresh model and its optimizers."""
    torch.manual_seed(seed)
    sizes = Dimensions()
    model = Qwen3ASRForTokenClassification(make_config(sizes)).to(device)
    model.to(memory_format=torch.channels_last)
    phoneme_layer = nn.Linear(sizes.d_model, PHONEME_CLASSES).to(device)
    matrices, rest = split_parameters(model)
    optimizers = [
        Muon(matrices, lr=MATRIX_LR),
        torch.optim.AdamW(
            [*rest, *phoneme_layer.parameters()], lr=OTHER_LR, betas=(0.9, 0.98), weight_decay=0.0, fused=True
        ),
    ]
    return State(model, phoneme_layer, optimizers, Average(model, AVERAGE_DECAY))


def learning_rate_factor(step: int, steps: int, decay_steps: int) -> float:
    """Warm up, hold, then fall linearly to zero over the last `decay_steps` of `steps`."""
    return min(1.0, (step + 1) / WARMUP_STEPS, (steps - step) / max(1, decay_steps))


class Trainer:
    """Runs training steps. The parts of a step run in parallel, one thread each.

    This uses CPU cores better than two threads inside each small operation, and it is less affected when another
    program takes one of the cores.
    """

    def __init__(self, state: State, maker: BatchMaker, batch_s: float, device: torch.device) -> None:
        self.state, self.maker, self.device = state, maker, device
        self.part_s = batch_s / PARTS
        self.params = [*state.model.parameters(), *state.phoneme_layer.parameters()]
        workers = 1 if device.type == "cuda" else min(PARTS, os.cpu_count() or 1)
        torch.set_num_threads(1)
        self.pool = ThreadPoolExecutor(workers)

    def step(self, factor: float) -> dict[str, float]:
        """One step with the learning rates times `factor`; returns the losses by name."""
        state = self.state
        results = list(self.pool.map(self._part, range(PARTS)))
        for index, param in enumerate(self.params):
            param.grad = torch.stack([grads[index] for grads, _ in results]).mean(dim=0)
        torch.nn.utils.clip_grad_norm_(self.params, CLIP_NORM)
        for optimizer, peak in zip(state.optimizers, (MATRIX_LR, OTHER_LR), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * factor
            optimizer.step()
        state.step += 1
        state.average.update(state.model, state.step)
        return {name: float(np.mean([float(parts[name]) for _, parts in results])) for name in results[0][1]}

    def _part(self, part: int) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
        """Gradients and losses of one part of the current step; each part has its own clip length."""
        step = self.state.step
        longest_s = float(np.interp(step, *np.array(LONGEST_S).T))
        batch = self.maker.batch(step * PARTS + part, SHORTEST_S, longest_s, self.part_s).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False):
            all_classes = step % ALL_CLASSES_EVERY == 0
            total, parts = losses(self.state.model, self.state.phoneme_layer, batch, Weights(), all_classes)
        return torch.autograd.grad(total, self.params), {name: loss.detach() for name, loss in parts.items()}


@app.command()
def main(
    work: Annotated[Path, typer.Option(help="Folder for the corpus, the log and checkpoints.")] = Path("build/demo"),
    out: Annotated[Path, typer.Option(help="Where the finished model goes.")] = DEMO / "model",
    seed: Annotated[int, typer.Option(help="Seed of data, weights and batches.")] = 0,
    utterances: Annotated[int, typer.Option(help="Utterances to synthesise; 40,000 are 36 hours.")] = 40_000,
    steps: Annotated[int, typer.Option(help="Training steps in all.")] = 5_000,
    decay_steps: Annotated[int, typer.Option(help="Last steps, in which the learning rate falls to zero.")] = 1_500,
    batch_s: Annotated[float, typer.Option(help="Seconds of audio in a batch.")] = 128.0,
    export_only: Annotated[bool, typer.Option(help="Write the checkpoint's averaged weights and stop.")] = False,
) -> None:
    """Make the data where it is missing, train from the last checkpoint if there is one, write the model."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    state, checkpoint = new_state(seed, device), work / "checkpoint.pt"
    if checkpoint.exists():
        state.load(checkpoint, device)
        print(f"train: going on from step {state.step}", file=sys.stderr)
    if export_only:
        state.export(out)
        return
    if not (work / "corpus" / "audio.i16").exists():
        make_corpus(work / "corpus", utterances, seed)
    trainer = Trainer(state, BatchMaker(load_corpus(work / "corpus"), seed), batch_s, device)
    started, recent = time.monotonic(), []
    while state.step < steps:
        factor = learning_rate_factor(state.step, steps, decay_steps)
        recent.append(trainer.step(factor))
        if state.step % LOG_EVERY == 0:
            means = {name: round(float(np.mean([parts[name] for parts in recent])), 4) for name in recent[0]}
            seconds = round(time.monotonic() - started, 1)
            line = json.dumps({"step": state.step, "seconds": seconds, "lr": round(factor, 4), **means})
            print(line, file=sys.stderr, flush=True)
            with (work / "log.jsonl").open("a") as log:
                log.write(line + "\n")
            recent = []
        if state.step % CHECKPOINT_EVERY == 0 or state.step == steps:
            state.save(checkpoint)
    state.export(out)


if __name__ == "__main__":
    app()
