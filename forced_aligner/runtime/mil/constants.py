"""The constants of a package, as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from forced_aligner.package.proto import MIL_pb2
from forced_aligner.package.spec import tensor_type
from forced_aligner.package.weight_file import WeightFile, decode

TORCH_TYPES = {
    MIL_pb2.BOOL: torch.bool,
    MIL_pb2.FLOAT16: torch.float16,
    MIL_pb2.FLOAT32: torch.float32,
    MIL_pb2.INT8: torch.int8,
    MIL_pb2.INT16: torch.int16,
    MIL_pb2.INT32: torch.int32,
    MIL_pb2.INT64: torch.int64,
    MIL_pb2.UINT8: torch.uint8,
    MIL_pb2.UINT16: torch.uint16,
    MIL_pb2.UINT32: torch.uint32,
}


class Constants:
    """The constants of a package, on one device. A weight that several functions share is in memory once."""

    def __init__(self, weights: WeightFile, device: torch.device) -> None:
        self._weights = weights
        self.device = device
        # By all that tells two constants apart: types or shapes may share the bytes at one offset.
        self._copied: dict[tuple[int, int, tuple[int, ...]], torch.Tensor] = {}

    def value(self, value: MIL_pb2.Value, name: str) -> Any:
        """The constant as a Python scalar or string where its rank is 0, else as a tensor; errors show its `name`."""
        if value.WhichOneof("value") == "blobFileValue":
            return self._weight(value, name)
        dtype, shape = tensor_type(value.type)
        immediate = value.immediateValue.tensor
        kind = immediate.WhichOneof("value")
        items: Any = getattr(immediate, kind).values if kind else []
        if kind == "strings":
            return items[0]
        if kind == "bytes":
            array = decode(np.frombuffer(items, np.uint8), dtype, shape, name)
        else:
            array = np.array(items).reshape(shape)
        return array.item() if not shape else _tensor(array).to(TORCH_TYPES[dtype])

    def to_device(self, argument: Any) -> Any:
        """An argument, or a list of them, with all tensors moved to the device."""
        if isinstance(argument, list):
            return [self.to_device(item) for item in argument]
        return argument.to(self.device) if isinstance(argument, torch.Tensor) else argument

    def _weight(self, value: MIL_pb2.Value, name: str) -> torch.Tensor:
        if self.device.type == "cpu":
            return _tensor(self._weights.read(value, name))
        key = (value.blobFileValue.offset, *tensor_type(value.type))
        if key not in self._copied:
            self._copied[key] = _tensor(self._weights.read(value, name)).to(self.device)
        return self._copied[key]


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    """A tensor that shares the array's memory, which may be read-only: no op writes into its inputs."""
    return torch.from_numpy(array) if array.flags.writeable else _read_only(array)


def _read_only(array: NDArray[Any]) -> torch.Tensor:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that it cannot mark the tensor read-only
        return torch.from_numpy(array)
