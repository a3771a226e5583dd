"""What every runtime offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


class Backend(Protocol):
    """Runs one function of one component."""

    name: str

    def load(self, component: str, function: str) -> None:
        """Make `function` of `component` ready, if it is not."""
        ...

    def predict(self, component: str, function: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Arrays by input name -> arrays by output name."""
        ...
