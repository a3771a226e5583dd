"""The weight file of a saved package, mapped into memory: nothing is copied until an op reads it.

Layout (MILBlob's StorageFormat.hpp, from the sources of coremltools): a header of 64 bytes, then for each blob a
record of 64 bytes and its data. A MIL constant refers to the offset of its record.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forced_aligner.base.errors import UserError
from forced_aligner.package.proto import MIL_pb2
from forced_aligner.package.spec import tensor_type

BLOB_RECORD = struct.Struct("<IIQQQ")  # sentinel, storage type, data bytes, data offset, padding bits
BLOB_SENTINEL = 0xDEADBEEF
_WHOLE_BYTES: dict[int, type[np.generic]] = {
    MIL_pb2.BOOL: np.bool_,
    MIL_pb2.FLOAT16: np.float16,
    MIL_pb2.FLOAT32: np.float32,
    MIL_pb2.INT8: np.int8,
    MIL_pb2.INT16: np.int16,
    MIL_pb2.INT32: np.int32,
    MIL_pb2.INT64: np.int64,
    MIL_pb2.UINT8: np.uint8,
    MIL_pb2.UINT16: np.uint16,
    MIL_pb2.UINT32: np.uint32,
}
_SUB_BYTE: dict[int, tuple[int, bool]] = {  # bits, signed
    MIL_pb2.UINT1: (1, False),
    MIL_pb2.UINT2: (2, False),
    MIL_pb2.UINT3: (3, False),
    MIL_pb2.UINT4: (4, False),
    MIL_pb2.UINT6: (6, False),
    MIL_pb2.INT4: (4, True),
}


class WeightFile:
    """A read-only mapping of `weight.bin`; a package whose constants are all small has no such file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            has_bytes = path.is_file() and path.stat().st_size > 0
            self._bytes = np.memmap(path, dtype=np.uint8, mode="r") if has_bytes else np.empty(0, np.uint8)
        except OSError as error:
            raise UserError(f"cannot read {path} ({error.strerror}): make it readable") from None
        # By all that tells two constants apart: types or shapes may share the bytes at one offset.
        self._unpacked: dict[tuple[int, int, tuple[int, ...]], NDArray[Any]] = {}

    def raw(self, record_offset: int, name: str) -> NDArray[np.uint8]:
        """The bytes of the blob whose record is at `record_offset`; `name` is the constant's, for the error.

        Raises:
            UserError: the file is too short or there is no record at this place.
        """
        end = record_offset + BLOB_RECORD.size
        if end <= self._bytes.size:
            sentinel, _, size_bytes, offset, _ = BLOB_RECORD.unpack(self._bytes[record_offset:end].tobytes())
            if sentinel == BLOB_SENTINEL and offset + size_bytes <= self._bytes.size:
                return self._bytes[offset : offset + size_bytes]
        raise UserError(
            f"the weights of {name} are missing from {self.path} (damaged or cut off at {self._bytes.size} bytes): "
            "convert the model again"
        )

    def read(self, value: MIL_pb2.Value, name: str) -> NDArray[Any]:
        """The array of a constant that is stored in this file; a view wherever its type is of whole bytes.

        Sub-byte types are unpacked once, to a byte an element, and kept for all functions that share them.

        Raises:
            UserError: missing or cut off, or of another size than its shape says.
        """
        dtype, shape = tensor_type(value.type)
        offset = value.blobFileValue.offset
        key = (offset, dtype, shape)
        if key in self._unpacked:
            return self._unpacked[key]
        array = decode(self.raw(offset, name), dtype, shape, name)
        if dtype in _SUB_BYTE:
            self._unpacked[key] = array
        return array


def decode(data: NDArray[np.uint8], dtype: int, shape: tuple[int, ...], name: str) -> NDArray[Any]:
    """Bytes as an array of MIL type `dtype`; sub-byte types are unpacked to one byte an element.

    Raises:
        UserError: the type is unknown, or the bytes are not as many as the shape needs.
    """
    if dtype not in _SUB_BYTE and dtype not in _WHOLE_BYTES:
        raise UserError(f"the weights of {name} are of the MIL type {dtype}, which is not read")
    count = math.prod(shape)
    bits = _SUB_BYTE[dtype][0] if dtype in _SUB_BYTE else np.dtype(_WHOLE_BYTES[dtype]).itemsize * 8
    if data.size != -(-count * bits // 8):
        raise UserError(
            f"the weights of {name} hold {data.size} bytes, but its shape {list(shape)} needs {bits} bits each"
        )
    if dtype in _SUB_BYTE:
        return _unpacked(data, bits, count, is_signed=_SUB_BYTE[dtype][1]).reshape(shape)
    return data.view(_WHOLE_BYTES[dtype]).reshape(shape)


def _unpacked(data: NDArray[np.uint8], bits: int, count: int, *, is_signed: bool) -> NDArray[Any]:
    """The first (count,) elements of `bits` bits each, a byte an element. The lowest bit of each comes first."""
    each = np.unpackbits(data, count=count * bits, bitorder="little").reshape(count, bits)
    elements = np.packbits(each, axis=1, bitorder="little")[:, 0]
    if not is_signed:
        return elements
    sign = 1 << (bits - 1)
    return ((elements ^ sign).astype(np.int8)) - np.int8(sign)
