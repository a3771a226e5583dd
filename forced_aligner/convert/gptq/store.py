"""The compressed weights of a conversion, in a folder beside it: a file for each block of modules that is done.

So a run that was killed goes on where it was, and only one block's weights are in memory.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from forced_aligner.base.errors import UserError
from forced_aligner.base.files import identity, is_file, is_folder, is_leftover, is_there, write_whole
from forced_aligner.base.records import Record
from forced_aligner.convert.compression import ConstexprOp, ConstexprParameter
from forced_aligner.convert.template import digest, parameter_bytes
from forced_aligner.package.proto import MIL_pb2

FOLDER_NAME = ".{}.calibration"
SUFFIX = ".safetensors"
HEADER = "fitted weights of qwen3-forcedaligner-coreml"  # key in a file's own metadata, by which it is known as ours
_FLOATS = (MIL_pb2.FLOAT16, MIL_pb2.FLOAT32)


class StoredWeight(Record):
    """A weight in a file: its constexpr op, the MIL types of the parameters, and what it stands for (`_key`)."""

    op: str
    types: dict[str, int]
    stands_for: list[str]


class StoredBlock(Record):
    """What a file says of itself: the run that made it, and its weights by name."""

    run: str
    weights: dict[str, StoredWeight]


class QuantizedWeights:
    """Weights as constexpr ops, found by the float weights that they stand for.

    Args:
        folder: made if it is not there; see `store_folder`.
        run: the digest of all that the weights depend on. Files of another run are removed.

    Raises:
        UserError: there is something else in the folder.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self.folder = folder
        self._run = run
        self._places: dict[str, tuple[Path, str]] = {}  # what a weight stands for -> its file and name
        for path in _own_files(folder):
            header = _header(path)
            if header is None or header.run != run:
                path.unlink()
            else:
                self._add(path, header)

    def _add(self, path: Path, header: StoredBlock) -> None:
        for name, weight in header.weights.items():
            self._places.update((key, (path, name)) for key in weight.stands_for)

    def path(self, block: str) -> Path:
        """The file of a block of modules."""
        return self.folder / (block + SUFFIX)

    def block(self, block: str) -> dict[str, ConstexprOp] | None:
        """The weights of a block of modules by name; None if it is not done."""
        path = self.path(block)
        header = _header(path) if is_file(path) else None
        return None if header is None else {name: _read(path, name) for name in header.weights}

    def put(self, block: str, weights: Mapping[str, tuple[Tensor, ConstexprOp]]) -> None:
        """Keep the weights of a block by name, each with the float weight that it stands for.

        Raises:
            UserError: the folder cannot be written.
        """
        tensors: dict[str, NDArray[Any]] = {}
        described: dict[str, StoredWeight] = {}
        for name, (weight, op) in weights.items():
            tensors.update((f"{name}/{key}", np.ascontiguousarray(p.array)) for key, p in op.parameters.items())
            described[name] = StoredWeight(
                op=op.op,
                types={key: parameter.dtype for key, parameter in op.parameters.items()},
                stands_for=[_key(tuple(weight.shape), parameter_bytes(weight, dtype)) for dtype in _FLOATS],
            )
        header, path = StoredBlock(run=self._run, weights=described), self.path(block)
        write_whole(path, save(tensors, {HEADER: header.model_dump_json()}))
        self._add(path, header)

    def has(self, weight: NDArray[Any]) -> bool:
        """Whether there is an op for a float weight, FP16 or FP32."""
        return _key(weight.shape, weight.reshape(-1).view(np.uint8)) in self._places

    def constexpr(self, weight: NDArray[Any]) -> ConstexprOp:
        """The op for a float weight, FP16 or FP32, as it stands in the checkpoint.

        Raises:
            RuntimeError: there is none: the conversion has changed the weight, or a block is not done.
        """
        if not self.has(weight):
            raise RuntimeError(f"a weight of the shape {weight.shape} was not fitted")
        op = _read(*self._places[_key(weight.shape, weight.reshape(-1).view(np.uint8))])
        dtype = MIL_pb2.FLOAT16 if weight.dtype == np.float16 else MIL_pb2.FLOAT32
        floats = {
            key: ConstexprParameter(dtype, parameter.array.astype(weight.dtype))
            for key, parameter in op.parameters.items()
            if parameter.dtype in _FLOATS
        }
        return ConstexprOp(op.op, {**op.parameters, **floats})


def store_folder(output_dir: Path) -> Path:
    """Where the weights of a conversion to `output_dir` are kept until it is complete: a hidden folder beside it."""
    place = Path(identity(output_dir))
    return place.with_name(FOLDER_NAME.format(place.name))


def discard_store(output_dir: Path) -> None:
    """Remove what `store_folder` holds of this project, and the folder if nothing else is in it."""
    folder = store_folder(output_dir)
    with contextlib.suppress(UserError, OSError):  # what is not ours stays
        for path in _own_files(folder):
            path.unlink()
        folder.rmdir()


def _own_files(folder: Path) -> list[Path]:
    """The files in a store's folder.

    Raises:
        UserError: it is no folder, or holds anything that this project did not write.
    """
    if not is_there(folder):
        return []
    if not is_folder(folder):
        raise UserError(f"{folder} is a file: move it away")
    paths = sorted(folder.iterdir())
    for path in paths:
        if not is_file(path) or path.is_symlink() or not (is_leftover(path.name) or _is_ours(path)):
            raise UserError(f"{folder} holds {path.name}, which this project did not write: move it away")
    return paths


def _is_ours(path: Path) -> bool:
    """Whether a file carries `HEADER`, which is at its start, so that one that was cut off has it too."""
    with path.open("rb") as file:
        return HEADER.encode() in file.read(256)


def _header(path: Path) -> StoredBlock | None:
    """What a file says of its weights; None where it is damaged."""
    try:
        with safe_open(path, "np") as file:
            return StoredBlock.model_validate_json((file.metadata() or {})[HEADER])
    except (SafetensorError, OSError, KeyError, ValidationError):
        return None


def _read(path: Path, name: str) -> ConstexprOp:
    header = _header(path)
    if header is None:
        raise RuntimeError(f"{path} was changed while it was used")
    weight = header.weights[name]
    with safe_open(path, "np") as file:
        parameters = {
            key: ConstexprParameter(dtype, file.get_tensor(f"{name}/{key}")) for key, dtype in weight.types.items()
        }
    return ConstexprOp(weight.op, parameters)


def _key(shape: tuple[int, ...], data: NDArray[np.uint8]) -> str:
    """What tells a float weight from others: its shape, and the SHA-256 (hex) of its bytes."""
    return json.dumps([*shape, digest(data)])
