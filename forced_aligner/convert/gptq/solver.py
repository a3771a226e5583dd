"""Chooses the codes of weights from what their inputs look like (GPTQ: Frantar et al., 2022, arXiv 2210.17323).

The inputs are those of the model whose earlier weights are compressed already. So a weight is first moved to where it
gives the outputs of the float model best in spite of that, by least squares; GPTQ then rounds the moved weight. The
idea is of GPTAQ (Li et al., 2025, arXiv 2504.02692), which mixes both steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from forced_aligner.convert.gptq.grids import Grid

DAMPING = 0.01  # of the mean square of the inputs, added to each; the value in the paper
MOVE_DAMPING = 0.05  # the same for least squares, whose result should not fit the clips alone
COLUMN_BLOCK = 128  # columns whose errors reach the later ones together
ROWS_AT_ONCE = 4096  # whose products are added in float64


class Moments:
    """Second moments of a weight's inputs over the clips, summed in float64.

    Attributes:
        gram: (columns, columns), the sum of x xᵀ over the inputs x in the compressed model.
        cross: (columns, columns), the sum of (y - x) xᵀ, where y is the same input in the float model.
    """

    def __init__(self, columns: int) -> None:
        self.gram = torch.zeros(columns, columns, dtype=torch.float64)
        self.cross = torch.zeros_like(self.gram)
        self._waiting: list[tuple[Tensor, Tensor]] = []

    def add(self, inputs: Tensor, exact: Tensor) -> None:
        """Add (rows, columns) inputs in the compressed model, and the same in the float model."""
        self._waiting.append((inputs, exact))
        if sum(len(rows) for rows, _ in self._waiting) >= ROWS_AT_ONCE:
            self.finish()

    def finish(self) -> None:
        """Add what waits to the sums."""
        if self._waiting:
            inputs, exact = (torch.cat(rows) for rows in zip(*self._waiting, strict=True))
            self._waiting.clear()
            self.gram += inputs.T @ inputs
            self.cross += exact.sub_(inputs).T @ inputs


class Solver:
    """Compresses the weights that share some inputs.

    Attributes:
        importance: (columns,) sums of squares of the inputs.
    """

    def __init__(self, moments: Moments) -> None:
        """Solve what is the same for all weights, and let go of `moments`' matrices, which are large."""
        moments.finish()
        gram, cross = moments.gram, moments.cross
        del moments.gram, moments.cross
        self.importance = gram.diagonal().float()
        self._correction: Tensor | None = None
        if cross.any():
            factor = torch.linalg.cholesky(_damped(gram, MOVE_DAMPING))
            self._correction = torch.cholesky_solve(cross.T, factor).T.float()
            del factor
        del cross
        self._order = torch.argsort(self.importance, descending=True, stable=True)
        gram = _damped(gram, DAMPING)[self._order][:, self._order]
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
        del gram
        self._spread = torch.linalg.cholesky(inverse, upper=True).float()

    def moved(self, weight: Tensor) -> Tensor:
        """The (rows, columns) weight that gives the float model's outputs best from the compressed model's inputs."""
        return weight if self._correction is None else weight + weight @ self._correction

    def codes(self, weight: Tensor, grid: Grid) -> Tensor:
        """The codes of a (rows, columns) weight on a grid, by GPTQ: (rows, columns).

        Columns are rounded one after the other, those with the largest inputs first. The error of each is spread over
        the columns that are still to come, so that the outputs change least.
        """
        rest = weight.T[self._order].contiguous()  # (columns, rows): a column is contiguous
        codes = torch.empty(weight.shape[1], len(weight))
        for start in range(0, len(rest), COLUMN_BLOCK):
            stop = min(start + COLUMN_BLOCK, len(rest))
            errors = torch.empty(stop - start, len(weight))
            for index in range(start, stop):
                column = int(self._order[index])
                codes[column] = grid.codes(column, rest[index])
                error = (rest[index] - grid.values(column, codes[column])) / self._spread[index, index]
                rest[index:stop] -= torch.outer(self._spread[index, index:stop], error)
                errors[index - start] = error
            rest[stop:] -= self._spread[start:stop, stop:].T @ errors
        return codes.T


def _damped(gram: Tensor, share: float) -> Tensor:
    """`gram` with a share of its mean diagonal added to the diagonal; an input that is always 0 gets 1."""
    damped, diagonal = gram.clone(), gram.diagonal()
    damped.diagonal().add_(share * diagonal.mean() + (diagonal == 0).double())
    return damped
