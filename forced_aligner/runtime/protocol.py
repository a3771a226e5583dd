"""The interface of every runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


class Backend(Protocol):
    """Executes the packages of a converted folder, one function at a time.

    Attributes:
        name: as in `--backend`.
    """

    name: str

    def load(self, component: str, function: str) -> None:
        """Load `function` of `component`, if it is not loaded yet."""
        ...

    def predict(self, component: str, function: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run `function` of `component`: arrays by input name -> arrays by output name."""
        ...
