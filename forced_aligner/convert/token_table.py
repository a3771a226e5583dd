"""Writes the token table of a checkpoint; `package.token_table` reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forced_aligner.base.errors import UserError
from forced_aligner.base.files import file_digest
from forced_aligner.checkpoint.lazy_weights import LazyModel
from forced_aligner.convert.compression import compress
from forced_aligner.convert.fp16 import FP16_MAX
from forced_aligner.package.metadata import Compression, TableEncoding, TokenTableRecord
from forced_aligner.package.token_table import FILES, row_type

_ROWS = 4096  # written at once


def convert_token_table(model: LazyModel, preset: Compression, folder: Path) -> TokenTableRecord:
    """Write the token embedding of `model` into `folder`: in FP16, or in int8 if `preset` is.

    Raises:
        UserError: FP16 cannot hold a value.
    """
    weight = model.read(model.module.get_input_embeddings().weight).numpy()  # (vocab, hidden)
    if (largest := float(max(weight.max(), -weight.min()))) > FP16_MAX:
        raise UserError(
            f"the token embedding reaches {largest:g}, more than the FP16 of a token table holds: give --layout five "
            "with --precision float32"
        )
    encoding: TableEncoding = "float16" if preset == "none" else "int8"
    path = folder / FILES[encoding]
    with path.open("wb") as file:
        for start in range(0, len(weight), _ROWS):
            file.write(_encoded(weight[start : start + _ROWS].astype(np.float16), encoding).tobytes())
    return TokenTableRecord(file=path.name, encoding=encoding, size_bytes=path.stat().st_size, sha256=file_digest(path))


def _encoded(vectors: NDArray[np.float16], encoding: TableEncoding) -> NDArray[np.void]:
    """(rows, hidden) -> (rows,) of `row_type`."""
    rows = np.zeros(len(vectors), row_type(encoding, vectors.shape[1]))
    if encoding == "float16":
        rows["values"] = vectors
        return rows
    parameters = compress(vectors, "int8").parameters
    rows["scale"], rows["values"] = parameters["scale"].array, parameters["data"].array
    return rows
