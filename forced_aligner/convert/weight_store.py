"""Writes the weight file of a package."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forced_aligner.convert.compression import compress
from forced_aligner.convert.gptq.store import QuantizedWeights
from forced_aligner.package.contract import WEIGHTS_FILE
from forced_aligner.package.coremltools_internals import BlobStorageWriter, create_file_value_tensor
from forced_aligner.package.metadata import Compression
from forced_aligner.package.proto import MIL_pb2

_WRITERS: dict[int, Callable[[Any, NDArray[np.uint8]], int]] = {
    MIL_pb2.FLOAT16: lambda writer, data: writer.write_fp16_data(data.view(np.uint16)),
    MIL_pb2.FLOAT32: lambda writer, data: writer.write_float_data(data.view(np.float32)),
    MIL_pb2.INT32: lambda writer, data: writer.write_int32_data(data.view(np.int32)),
    MIL_pb2.INT8: lambda writer, data: writer.write_int8_data(data.view(np.int8)),
    MIL_pb2.INT4: lambda writer, data: writer.write_int4_data(data.view(np.int8)),
    MIL_pb2.UINT4: lambda writer, data: writer.write_uint4_data(data),
    MIL_pb2.UINT6: lambda writer, data: writer.write_uint6_data(data),
}


class WeightStore:
    """A weight file that is being written. Each weight has a key, and is written and compressed only once.

    Args:
        folder: created for the file.
        preset: how compressible weights are written.
        calibrated: the compressible weights, where they were compressed already.
    """

    def __init__(self, folder: Path, preset: Compression = "none", calibrated: QuantizedWeights | None = None) -> None:
        folder.mkdir()
        self.folder = folder
        self.preset = preset
        self._calibrated = calibrated
        self._writer: Any = BlobStorageWriter(str(folder / WEIGHTS_FILE.name))
        self._offsets: dict[Hashable, int] = {}
        self._constexprs: dict[Hashable, MIL_pb2.Operation] = {}

    def close(self) -> None:
        """Complete the file: the writer updates the count of blobs in the header when it is destroyed."""
        self._writer = None

    def put(self, key: Hashable, dtype: int, data: Callable[[], NDArray[np.uint8]]) -> int:
        """The offset of the blob `key`, of MIL type `dtype`. If the key is new, `data` is called for its (bytes,)."""
        if key not in self._offsets:
            self._offsets[key] = _WRITERS[dtype](self._writer, data())
        return self._offsets[key]

    def compress(self, key: Hashable, constant: MIL_pb2.Operation, weight: Callable[[], NDArray[Any]]) -> None:
        """Turn the op `constant` into a constexpr op. If `key` is new, `weight` is called for the array to compress."""
        if key not in self._constexprs:
            constexpr = self._calibrated.constexpr(weight()) if self._calibrated else compress(weight(), self.preset)
            file_name = constant.attributes["val"].blobFileValue.fileName
            op = MIL_pb2.Operation(type=constexpr.op)
            for name, parameter in constexpr.parameters.items():
                data = np.ascontiguousarray(parameter.array).reshape(-1).view(np.uint8)
                offset = self.put((key, name), parameter.dtype, partial(np.asarray, data))
                value = create_file_value_tensor(file_name, offset, parameter.array.shape, parameter.dtype)
                op.inputs[name].arguments.add(value=value)
            self._constexprs[key] = op
        del constant.attributes["val"]
        constant.MergeFrom(self._constexprs[key])
