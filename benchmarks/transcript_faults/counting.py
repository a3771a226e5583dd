"""A backend that counts calls."""

from collections import Counter
from typing import Any

from numpy.typing import NDArray

from forced_aligner.runtime.protocol import Arrays, Backend
from forced_aligner.runtime.wrapped import WrappedBackend


class CountingBackend(WrappedBackend):
    """Counts the calls of each component, in `calls`."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self.calls: Counter[str] = Counter()

    def predict(self, component: str, function: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """As the backend within."""
        self.calls[component] += 1
        return super().predict(component, function, inputs)
