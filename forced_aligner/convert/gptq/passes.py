"""The inputs that the weights of a block of modules get from the calibration clips."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from forced_aligner.convert.compression import is_compressible_shape

CONV_ROWS = 256  # of the patches that a convolution reads in one state, as many are taken, evenly spread
State = tuple[Tensor, ...]


@dataclass(frozen=True)
class Sides:
    """The states of the clips in the float model and in the compressed model; one list while they are the same.

    A block of modules takes a state and returns a new first tensor; the others stay.
    """

    exact: list[State]
    compressed: list[State]

    def both(self, change: Callable[[list[State]], list[State]]) -> Sides:
        """Both sides after a change of all states."""
        with torch.inference_mode():
            exact = change(self.exact)
            return Sides(exact, exact if self.compressed is self.exact else change(self.compressed))

    def difference(self) -> float:
        """The root mean square difference of the states' first tensors, relative to the float model's."""
        pairs = list(zip(self.exact, self.compressed, strict=True))
        error = sum(float((exact[0] - compressed[0]).square().sum()) for exact, compressed in pairs)
        size = sum(float(exact[0].square().sum()) for exact, _ in pairs)
        return (error / size) ** 0.5 if size else 0.0


def run(block: nn.Module, states: list[State]) -> list[State]:
    """The states after a block of modules."""
    with torch.inference_mode():
        return [(block(*state), *state[1:]) for state in states]


class _Reached(Exception):  # noqa: N818 - no error: it ends a forward pass
    pass


def compressible_modules(block: nn.Module) -> dict[str, nn.Module]:
    """The modules of a block whose weight is compressed, by name."""
    kinds = {nn.Linear: "linear", nn.Conv2d: "conv"}
    return {
        name: module
        for name, module in block.named_modules()
        if type(module) in kinds and is_compressible_shape(kinds[type(module)], tuple(module.weight.shape))
    }


def input_groups(block: nn.Module, state: State) -> list[list[str]]:
    """The names of `compressible_modules` in the order of their calls; those that read one tensor are together."""
    groups: list[tuple[Tensor, list[str]]] = []

    def see(name: str, value: Tensor) -> None:
        names = next((names for known, names in groups if known is value), None)
        if names is None:
            groups.append((value, [name]))
        else:
            names.append(name)

    with _watched(compressible_modules(block), see), torch.inference_mode():
        block(*state)
    return [names for _, names in groups]


def inputs_of(block: nn.Module, name: str, state: State) -> Tensor:
    """(rows, columns) inputs of the weight of the module `name` in a block: its outputs are `inputs @ weight.T`."""
    seen: list[Tensor] = []

    def see(_: str, value: Tensor) -> None:
        seen.append(value)
        raise _Reached

    module = block.get_submodule(name)
    with _watched({name: module}, see), torch.inference_mode(), suppress(_Reached):
        block(*state)
    return _rows(module, seen[0])


def all_inputs(block: nn.Module, names: Collection[str], state: State) -> tuple[dict[str, Tensor], State]:
    """What `inputs_of` gives for several modules, by name, and the state after the block; in one pass."""
    modules, inputs = {name: block.get_submodule(name) for name in names}, dict[str, Tensor]()

    def see(name: str, value: Tensor) -> None:
        inputs[name] = _rows(modules[name], value)

    with _watched(modules, see):
        (after,) = run(block, [state])
    return inputs, after


def _rows(module: nn.Module, value: Tensor) -> Tensor:
    """The input of a linear module as (rows, columns); of a convolution, the patches that its weight multiplies."""
    if not isinstance(module, nn.Conv2d):
        return value.flatten(0, -2)
    patches = F.unfold(value, module.kernel_size, module.dilation, int(module.padding[0]), module.stride)
    patches = patches.transpose(1, 2).flatten(0, 1)  # (chunks * height * width, in * kernel height * kernel width)
    return patches[torch.linspace(0, len(patches) - 1, min(CONV_ROWS, len(patches))).round().long()]


@contextmanager
def _watched(modules: Mapping[str, nn.Module], see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Within the block, `see` gets the name and the input of each of `modules` that is called."""

    def hook(name: str) -> Any:
        return lambda _, arguments: see(name, arguments[0])

    handles = [module.register_forward_pre_hook(hook(name)) for name, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
