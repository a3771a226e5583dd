"""How many threads PyTorch computes with on the CPU; no heavy imports.

The threads wait for each other after every product. `benchmarks/threads.py`, PyTorch 2.7.0, two cores of an AMD EPYC:

- With nothing else on the cores, two threads are as fast as one up to 0.3 million multiply-adds an op. With two, the
  demo's functions of 0.4 to 7 million take 0.6 to 0.97 of the time; those of the 0.6B checkpoint's sizes, which have 10
  million and more, take 0.53 to 0.7 of it.
- With another program on the cores, the wait takes as long as that program has the core: the demo's decoders took
  three to five times as long with two threads as with one.

So a function gets more than one thread where they save much, and one where they save some milliseconds at best.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from forced_aligner.base.machine import cores

if TYPE_CHECKING:
    from torch import nn

ENOUGH_WORK = 8_000_000  # multiply-adds of an average op
_MODEL_ROWS = 256  # of a prompt of half a minute
_MODEL_OPS = 6  # of a layer in PyTorch, for each product with a weight


def available_threads() -> int:
    """The threads that PyTorch uses now, `OMP_NUM_THREADS` included, but no more than the process may have cores."""
    import torch

    return min(torch.get_num_threads(), cores())


def limit_threads(most: int | None) -> None:
    """From now on, PyTorch takes at most so many threads in this process, unless it is told another number."""
    import torch

    if most is not None:
        torch.set_num_threads(min(most, torch.get_num_threads()))


def threads_for(work: float) -> int:
    """The threads for a function of so many multiply-adds an op."""
    return available_threads() if work >= ENOUGH_WORK else 1


def threads_for_model(model: nn.Module) -> int:
    """The threads for a model of PyTorch, by the mean size of its matrices."""
    from torch import nn

    sizes = [layer.weight.numel() for layer in model.modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]
    return threads_for(_MODEL_ROWS / _MODEL_OPS * sum(sizes) / max(1, len(sizes)))


@contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Within the block, PyTorch computes with so many threads. A change takes less than 1 us."""
    import torch

    before = torch.get_num_threads()
    if threads != before:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if threads != before:
            torch.set_num_threads(before)
