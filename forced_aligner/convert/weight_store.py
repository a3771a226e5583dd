"""The weight file of a package in the making."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from coremltools.proto import MIL_pb2
from numpy.typing import NDArray

from forced_aligner.convert.compression import compress
from forced_aligner.package.coremltools_internals import BlobStorageWriter, create_file_value_tensor
from forced_aligner.package.metadata import Compression
from forced_aligner.package.spec import WEIGHTS_FILE

_WRITERS: dict[int, Callable[[Any, NDArray[np.uint8]], int]] = {
    MIL_pb2.FLOAT16: lambda writer, data: writer.write_fp16_data(data.view(np.uint16)),
    MIL_pb2.FLOAT32: lambda writer, data: writer.write_float_data(data.view(np.float32)),
    MIL_pb2.INT32: lambda writer, data: writer.write_int32_data(data.view(np.int32)),
    MIL_pb2.INT8: lambda writer, data: writer.write_int8_data(data.view(np.int8)),
    MIL_pb2.INT4: lambda writer, data: writer.write_int4_data(data.view(np.int8)),
    MIL_pb2.UINT6: lambda writer, data: writer.write_uint6_data(data),
}


class WeightStore:
    """What was written under a key is not written, nor compressed, again.

    Args:
        folder: made for the file.
        preset: how the weights that may be compressed are written.
    """

    def __init__(self, folder: Path, preset: Compression = "none") -> None:
        folder.mkdir()
        self.folder = folder
        self.preset = preset
        self._writer: Any = BlobStorageWriter(str(folder / WEIGHTS_FILE.name))
        self._offsets: dict[Hashable, int] = {}
        self._constexprs: dict[Hashable, MIL_pb2.Operation] = {}

    def close(self) -> None:
        """Complete the file: the count of blobs in its header is written when the writer goes."""
        self._writer = None

    def put(self, key: Hashable, dtype: int, data: Callable[[], NDArray[np.uint8]]) -> int:
        """The offset of the blob `key`; `data` gives its bytes, and is called if it is new."""
        if key not in self._offsets:
            self._offsets[key] = _WRITERS[dtype](self._writer, data())
        return self._offsets[key]

    def compress(self, key: Hashable, constant: MIL_pb2.Operation, weight: Callable[[], NDArray[Any]]) -> None:
        """Turn the op `constant` into the constexpr op that makes `weight`, which is called if `key` is new."""
        if key not in self._constexprs:
            made = compress(weight(), self.preset)
            file_name = constant.attributes["val"].blobFileValue.fileName
            op = MIL_pb2.Operation(type=made.op)
            for name, parameter in made.parameters.items():
                data = np.ascontiguousarray(parameter.array).reshape(-1).view(np.uint8)
                offset = self.put((key, name), parameter.dtype, partial(np.asarray, data))
                value = create_file_value_tensor(file_name, offset, parameter.array.shape, parameter.dtype)
                op.inputs[name].arguments.add(value=value)
            self._constexprs[key] = op
        del constant.attributes["val"]
        constant.MergeFrom(self._constexprs[key])
