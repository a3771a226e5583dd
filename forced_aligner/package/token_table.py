"""The vectors of all tokens as one raw file, which is mapped into memory: no package is called for them.

A row a token, without a header; all numbers are little-endian. `token_table.f16` has the vector in FP16.
`token_table.i8` has a scale in FP16 and then the vector in int8: scale times number, rounded to FP16, is the value.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forced_aligner.base.errors import UserError
from forced_aligner.package.metadata import Dimensions, TableEncoding

FILES: dict[TableEncoding, str] = {"float16": "token_table.f16", "int8": "token_table.i8"}


def row_type(encoding: TableEncoding, hidden: int) -> np.dtype[Any]:
    """The bytes of one row, as numpy describes them."""
    if encoding == "float16":
        return np.dtype([("values", "<f2", (hidden,))])
    return np.dtype([("scale", "<f2", (1,)), ("values", "i1", (hidden,))])


class TokenTable:
    """An opened table."""

    def __init__(self, path: Path, encoding: TableEncoding, dimensions: Dimensions) -> None:
        """Map the file.

        Raises:
            UserError: it is not of the size of so many rows.
        """
        row, rows = row_type(encoding, dimensions.hidden), dimensions.vocab_size
        if path.stat().st_size != rows * row.itemsize:
            raise UserError(
                f"{path} has {path.stat().st_size} bytes, not the {rows * row.itemsize} of {rows} tokens: convert the "
                "model again"
            )
        self._rows = np.memmap(path, row, "r", shape=(rows,))
        self._is_scaled = encoding == "int8"

    def vectors(self, ids: NDArray[np.int32]) -> NDArray[np.float32]:
        """(n,) token ids -> (n, hidden).

        Raises:
            UserError: a token is not in the table.
        """
        if ids.size and not 0 <= ids.min() <= ids.max() < len(self._rows):
            raise UserError(f"token {int(ids.max())} is outside of the {len(self._rows)} tokens of the table")
        rows = self._rows[ids]
        values = rows["values"].astype(np.float16) * rows["scale"] if self._is_scaled else rows["values"]
        return np.asarray(values, np.float32)
