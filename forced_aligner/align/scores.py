"""What the head says of the time classes at the `<timestamp>` rows of a prompt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scores:
    """The class of each of n rows, and the probabilities that are known.

    Attributes:
        classes: (n,) the class with the highest score; the lowest one of those that tie.
        first: (n,) the class that the first column of `probabilities` is of. It may be -1, with a probability of 0.
        probabilities: (n, known) of the classes `first`, `first` + 1, and so on.
    """

    classes: NDArray[np.int64]
    first: NDArray[np.int64]
    probabilities: NDArray[np.float32]

    @classmethod
    def of_logits(cls, logits: NDArray[np.float32]) -> Scores:
        """From (n, classes) scores: the probability of every class is known."""
        exponentials = np.exp(logits - logits.max(-1, keepdims=True))
        probabilities = exponentials / exponentials.sum(-1, keepdims=True)
        return cls(logits.argmax(-1), np.zeros(len(logits), np.int64), probabilities)

    def near(self, bins: NDArray[np.int64]) -> list[float]:
        """(n,) bins -> the probability of each bin and its two neighbours, as far as it is known."""
        return [
            float(known[max(0, time_bin - 1 - first) : max(0, time_bin + 2 - first)].sum())
            for known, first, time_bin in zip(self.probabilities, self.first, bins, strict=True)
        ]
