"""From a prompt and its audio tokens to scores: one class for each way to split the work among packages."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.clock import Clock
from forced_aligner.align.packages import Packages
from forced_aligner.align.positions import rotary_embedding
from forced_aligner.align.scores import Scores
from forced_aligner.package.contract import MAIN


class Decoder(Protocol):
    """Scores of one prompt.

    Attributes:
        lengths: prompt lengths of the functions, in tokens, shortest first.
    """

    lengths: list[int]

    def load(self, length: int) -> None:
        """Load what a prompt of that length needs."""
        ...

    def embed(self, input_ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """(n,) token ids -> (1, n, hidden), an array of its own."""
        ...

    def score(
        self, hidden: NDArray[np.float32], timestamp_rows: NDArray[np.int64], length: int, clock: Clock
    ) -> Scores:
        """Scores at some rows of (1, n, hidden), by the function for `length`."""
        ...


class SplitDecoder:
    """`embedding`, `decoder_prefill`, and `lm_head` on the `<timestamp>` rows alone."""

    def __init__(self, packages: Packages) -> None:
        self._packages = packages
        self._functions = packages.by_size("decoder_prefill")
        self.lengths = sorted(self._functions)

    def load(self, length: int) -> None:
        """The embedding, the head, and the decoder of that length."""
        for component in ("embedding", "lm_head"):
            self._packages.load(component)
        self._packages.load("decoder_prefill", self._functions[length])

    def embed(self, input_ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """(n,) token ids -> (1, n, hidden)."""
        shapes = {"embeddings": (1, input_ids.size, self._packages.dimensions.hidden)}
        (hidden,) = self._packages.predict("embedding", MAIN, {"input_ids": input_ids[None]}, shapes)
        return hidden

    def score(
        self, hidden: NDArray[np.float32], timestamp_rows: NDArray[np.int64], length: int, clock: Clock
    ) -> Scores:
        """Scores at some rows of (1, n, hidden), by the function for `length`."""
        dimensions, function = self._packages.dimensions, self._functions[length]
        inputs = decoder_inputs(self._packages, hidden, length)
        shapes = {"output_hidden": (1, length, dimensions.hidden)}
        (decoded,) = self._packages.predict("decoder_prefill", function, inputs, shapes, hidden.shape[1])
        clock.lap("decoder")
        rows = {"hidden_states": decoded[:, timestamp_rows]}
        shapes = {"logits": (1, timestamp_rows.size, dimensions.num_classes)}
        (logits,) = self._packages.predict("lm_head", MAIN, rows, shapes)
        return Scores.of_logits(logits[0])


class JointDecoder:
    """The token table, and `text`."""

    def __init__(self, packages: Packages) -> None:
        self._packages = packages
        self._functions, self._table = packages.by_size("text"), packages.bundle.token_table()
        self.lengths = sorted(self._functions)

    def load(self, length: int) -> None:
        """The only package's function of that length."""
        self._packages.load("text", self._functions[length])

    def embed(self, input_ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """(n,) token ids -> (1, n, hidden)."""
        return self._table.vectors(input_ids)[None]

    def score(
        self, hidden: NDArray[np.float32], timestamp_rows: NDArray[np.int64], length: int, clock: Clock
    ) -> Scores:
        """Scores at some rows of (1, n, hidden), by the function for `length`."""
        inputs = decoder_inputs(self._packages, hidden, length)
        shapes = {"time_class": (1, length), "probabilities": (1, length, 3)}
        classes, probabilities = self._packages.predict(
            "text", self._functions[length], inputs, shapes, hidden.shape[1]
        )
        clock.lap("decoder")
        marked = classes[0, timestamp_rows].astype(np.int64)
        return Scores(marked, marked - 1, probabilities[0, timestamp_rows])


def decoder_inputs(packages: Packages, hidden: NDArray[np.float32], length: int) -> dict[str, NDArray[np.float32]]:
    """The inputs of a decoder of `length` from (1, n, hidden), zero-padded on the right.

    The decoder is causal, so the padding cannot change a real position.
    """
    cos, sin = rotary_embedding(length, packages.dimensions.inverse_frequencies)
    padded = np.pad(hidden, ((0, 0), (0, length - hidden.shape[1]), (0, 0)))
    return {"hidden_states": padded, "position_cos": cos, "position_sin": sin}
