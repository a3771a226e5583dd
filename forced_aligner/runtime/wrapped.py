"""A backend over another one, for what watches its calls."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from forced_aligner.runtime.protocol import Arrays, Backend


class WrappedBackend:
    """Does what the backend within does; subclasses watch some of it."""

    def __init__(self, backend: Backend) -> None:
        self.name, self.computes_on = backend.name, backend.computes_on
        self._backend = backend

    @property
    def most_threads(self) -> int | None:
        """As the backend within."""
        return self._backend.most_threads

    def prepare(self, component: str) -> None:
        """As the backend within."""
        self._backend.prepare(component)

    def load(self, component: str, function: str) -> None:
        """As the backend within."""
        self._backend.load(component, function)

    def unload(self, component: str, function: str) -> None:
        """As the backend within."""
        self._backend.unload(component, function)

    def predict(self, component: str, function: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """As the backend within."""
        return self._backend.predict(component, function, inputs)
