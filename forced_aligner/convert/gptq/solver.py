"""Chooses the codes of one weight from what its inputs look like (GPTQ: Frantar et al., 2022, arXiv 2210.17323).

The inputs are those of the model whose earlier weights are compressed already. So the weight is first moved to where it
gives the outputs of the float model best in spite of that, by least squares; GPTQ then rounds the moved weight. The
idea is of GPTAQ (Li et al., 2025, arXiv 2504.02692), which mixes both steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from forced_aligner.convert.gptq.grids import Grid

DAMPING = 0.01  # of the mean square of the inputs, added to each; the value in the paper
MOVE_DAMPING = 0.05  # the same for least squares, whose result should not fit the clips alone
COLUMN_BLOCK = 128  # columns whose errors reach the later ones together


@dataclass
class Moments:
    """Second moments of a weight's inputs over the clips, in float64.

    Attributes:
        gram: (columns, columns), the sum of x xᵀ over the inputs x in the compressed model.
        cross: (columns, columns), the sum of (y - x) xᵀ, where y is the same input in the float model.
        rows: how many inputs.
    """

    columns: int
    gram: Tensor = field(init=False)
    cross: Tensor = field(init=False)
    rows: int = 0

    def __post_init__(self) -> None:
        self.gram = torch.zeros(self.columns, self.columns, dtype=torch.float64)
        self.cross = torch.zeros_like(self.gram)

    def add(self, inputs: Tensor, exact: Tensor) -> None:
        """Add (rows, columns) inputs in the compressed model, and in the float model."""
        self.gram += inputs.T @ inputs
        if exact is not inputs:
            self.cross += (exact - inputs).T @ inputs
        self.rows += len(inputs)

    def damped(self, share: float) -> Tensor:
        """`gram` with a share of its mean diagonal added to the diagonal; an input that is always 0 gets 1."""
        diagonal = self.gram.diagonal()
        added = share * diagonal.mean() + (diagonal == 0).double()
        return self.gram + torch.diag(added)

    def error(self, weight: Tensor, rounded: Tensor) -> float:
        """The relative error (root mean square) of the outputs of `rounded` against those of `weight` in float."""
        # The output's error is W y - R x = (W - R) x + W (y - x); the last term's square is not known, nor needed.
        difference = (weight - rounded).double()
        size = ((weight.double() @ self.gram) * weight).sum()
        return float((((difference @ self.gram) * difference).sum() / size).sqrt()) if size > 0 else 0.0


def moved(weight: Tensor, moments: Moments) -> Tensor:
    """The (rows, columns) weight that gives the float model's outputs best from the compressed model's inputs."""
    if not moments.cross.any():
        return weight
    factor = torch.linalg.cholesky(moments.damped(MOVE_DAMPING))
    return weight + torch.cholesky_solve((weight.double() @ moments.cross).T, factor).T.float()


def gptq(weight: Tensor, moments: Moments, grid: Grid) -> Tensor:
    """The codes of a (rows, columns) weight: (rows, columns).

    Columns are rounded one after the other, those with the largest inputs first. The error of each is spread over the
    columns that are still to come, so that the outputs change least.
    """
    gram = moments.damped(DAMPING)
    order = torch.argsort(gram.diagonal(), descending=True, stable=True)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram[order][:, order]))
    spread = torch.linalg.cholesky(inverse, upper=True).float()
    del gram, inverse
    rest = weight.T[order].contiguous()  # (columns, rows): a column is contiguous
    codes = torch.empty(weight.shape[1], len(weight))
    for start in range(0, len(rest), COLUMN_BLOCK):
        stop = min(start + COLUMN_BLOCK, len(rest))
        errors = torch.empty(stop - start, len(weight))
        for index in range(start, stop):
            column = int(order[index])
            codes[column] = grid.codes(column, rest[index])
            error = (rest[index] - grid.values(column, codes[column])) / spread[index, index]
            rest[index:stop] -= torch.outer(spread[index, index:stop], error)
            errors[index - start] = error
        rest[stop:] -= spread[start:stop, stop:].T @ errors
    return codes.T
