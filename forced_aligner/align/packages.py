"""The packages of a folder as the stages of the chain call them: every output is checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forced_aligner.base.errors import UserError
from forced_aligner.package.bundle import CONVERT_HINT, Bundle
from forced_aligner.package.contract import MAIN
from forced_aligner.runtime.protocol import Arrays, Backend

Shape = tuple[int, ...]


class Packages:
    """The packages of `bundle`, executed by `backend`."""

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        self.bundle, self.backend = bundle, backend
        self.dimensions, self.token_ids = bundle.metadata.dimensions, bundle.metadata.token_ids

    def by_size(self, component: str) -> dict[int, str]:
        """A component's functions by size: tokens of a decoder, or frames of an audio transformer."""
        return {size: name for name, size in self.bundle.record(component).functions.items() if size is not None}

    def load(self, component: str, function: str = MAIN) -> None:
        """Load a function, if it is not loaded yet."""
        self.backend.load(component, function)

    def predict(
        self,
        component: str,
        function: str,
        inputs: Arrays,
        outputs: Mapping[str, Shape],
        real: int | None = None,
    ) -> list[NDArray[Any]]:
        """Run a component, and return its outputs without their padding.

        Args:
            component: its key.
            function: of its package.
            inputs: arrays by name.
            outputs: the shapes that it must give, by name: (1, rows, ...).
            real: rows to return; the others are padding.

        Raises:
            UserError: an output is missing or has another shape, or a real row is not finite.
        """
        given = self.backend.predict(component, function, inputs)
        if {name: array.shape for name, array in given.items()} != dict(outputs):
            found = _shapes(array.shape for array in given.values())
            expected = _shapes(outputs.values())
            names = "" if given.keys() == outputs.keys() else f" as {', '.join(outputs)}"
            raise UserError(f"{component} (function {function}) gave {found}, not {expected}{names}: {CONVERT_HINT}")
        rows = [given[name][:, :real] for name in outputs]
        if not all(np.isfinite(array).all() for array in rows):
            raise UserError(
                f"{component} (function {function}) gave numbers that are not finite, as where FP16 overflows: "
                "convert the model with --precision float32, or with --calibrate"
            )
        return rows


def _shapes(shapes: Iterable[Shape]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes) or "nothing"
