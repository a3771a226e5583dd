"""The interface of every runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


class Backend(Protocol):
    """Executes the packages of a converted folder, one function at a time.

    Each step does the one before it, where that is not done yet: prepare a package, load a function, predict.

    Attributes:
        name: as in `--backend`.
        computes_on: what computes: the device of the MIL runtime, or the compute units of Core ML.
    """

    name: str
    computes_on: str

    @property
    def most_threads(self) -> int | None:
        """The most of PyTorch's threads that a call was given so far; `None` where PyTorch does not compute."""
        ...

    def prepare(self, component: str) -> None:
        """Make the package of `component` ready to load functions from, if that is not done yet."""
        ...

    def load(self, component: str, function: str) -> None:
        """Load `function` of `component`, if it is not loaded yet."""
        ...

    def unload(self, component: str, function: str) -> None:
        """Let go of `function` of `component`, if it is loaded; its package stays prepared."""
        ...

    def predict(self, component: str, function: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run `function` of `component`: arrays by input name -> arrays by output name."""
        ...
