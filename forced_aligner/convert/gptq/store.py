"""The compressed weights of a conversion, in a folder beside it: a file for each block of modules that is done.

So a run that was killed goes on where it was, and only one block's weights are in memory.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from coremltools.proto import MIL_pb2
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from forced_aligner.base.errors import UserError
from forced_aligner.base.files import is_folder, is_leftover, is_there, write_whole
from forced_aligner.convert.compression import ConstexprOp, ConstexprParameter
from forced_aligner.convert.template import digest, parameter_bytes

FOLDER_NAME = ".{}.calibration"  # beside the converted folder
SUFFIX = ".safetensors"
_FLOATS = (MIL_pb2.FLOAT16, MIL_pb2.FLOAT32)


class QuantizedWeights:
    """Weights as constexpr ops, found by the bytes of the float weights that they stand for.

    Args:
        folder: made if it is not there; it is this project's own, `FOLDER_NAME` beside the converted folder.
        run: the digest of all that the weights depend on. Files of another run are removed.

    Raises:
        UserError: there is something else in the folder.
    """

    def __init__(self, folder: Path, run: str) -> None:
        self.folder = folder
        self._run = run
        self._places: dict[str, tuple[Path, str]] = {}  # digest of a weight's bytes -> its file and name
        if is_there(folder) and not is_folder(folder):
            raise UserError(f"{folder} is a file: move it away")
        for path in sorted(folder.iterdir()) if is_there(folder) else []:
            if not is_leftover(path.name) and path.suffix != SUFFIX:
                raise UserError(f"{folder} holds {path.name}, which this run did not make: move it away")
            if is_leftover(path.name) or not self._add(path):
                path.unlink()

    def _add(self, path: Path) -> bool:
        """Learn the weights of a file; whether it is whole and of this run."""
        header = _header(path)
        if header is None or header["run"] != self._run:
            return False
        for name, weight in header["weights"].items():
            self._places.update((found, (path, name)) for found in weight["digests"])
        return True

    def path(self, block: str) -> Path:
        """The file of a block of modules."""
        return self.folder / (block + SUFFIX)

    def block(self, block: str) -> dict[str, ConstexprOp] | None:
        """The weights of a block of modules by name; None if it is not done."""
        path = self.path(block)
        header = _header(path) if is_there(path) else None
        return None if header is None else {name: _read(path, name) for name in header["weights"]}

    def put(self, block: str, weights: Mapping[str, tuple[Tensor, ConstexprOp]]) -> None:
        """Keep the weights of a block by name, each with the float weight that it stands for.

        Raises:
            UserError: the folder cannot be written.
        """
        tensors: dict[str, NDArray[Any]] = {}
        described = {}
        for name, (weight, op) in weights.items():
            tensors.update((f"{name}/{key}", np.ascontiguousarray(p.array)) for key, p in op.parameters.items())
            described[name] = {
                "op": op.op,
                "types": {key: parameter.dtype for key, parameter in op.parameters.items()},
                "digests": [digest(parameter_bytes(weight, dtype)) for dtype in _FLOATS],
            }
        header = {"run": self._run, "weights": described}
        path = self.path(block)
        write_whole(path, save(tensors, {"header": json.dumps(header)}))
        self._add(path)

    def has(self, weight: NDArray[Any]) -> bool:
        """Whether there is an op for a float weight, FP16 or FP32."""
        return digest(weight.reshape(-1).view(np.uint8)) in self._places

    def constexpr(self, weight: NDArray[Any]) -> ConstexprOp:
        """The op for a float weight, FP16 or FP32, as it stands in the checkpoint.

        Raises:
            RuntimeError: there is none: the conversion has changed the weight, or a block is not done.
        """
        place = self._places.get(digest(weight.reshape(-1).view(np.uint8)))
        if place is None:
            raise RuntimeError(f"a weight of the shape {weight.shape} was not calibrated")
        op = _read(*place)
        dtype = MIL_pb2.FLOAT16 if weight.dtype == np.float16 else MIL_pb2.FLOAT32
        parameters = {
            key: ConstexprParameter(dtype, parameter.array.astype(weight.dtype))
            if parameter.dtype in _FLOATS
            else parameter
            for key, parameter in op.parameters.items()
        }
        return ConstexprOp(op.op, parameters)

    def remove(self) -> None:
        """Remove the folder, once the packages are written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _header(path: Path) -> Any:
    """What a file says of its weights; None where it is damaged."""
    try:
        with safe_open(path, "np") as file:
            return json.loads((file.metadata() or {})["header"])
    except (SafetensorError, OSError, KeyError, ValueError):
        return None


def _read(path: Path, name: str) -> ConstexprOp:
    description = _header(path)["weights"][name]
    with safe_open(path, "np") as file:
        parameters = {
            key: ConstexprParameter(dtype, file.get_tensor(f"{name}/{key}"))
            for key, dtype in description["types"].items()
        }
    return ConstexprOp(description["op"], parameters)
