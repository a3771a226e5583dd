"""Elements of less than a byte are unpacked as coremltools unpacks them."""

import numpy as np
import pytest
from coremltools.optimize._utils import restore_elements_from_packed_bits

from forced_aligner.package.proto import MIL_pb2
from forced_aligner.package.weight_file import decode

SUB_BYTE = {"UINT1": (1, False), "UINT2": (2, False), "UINT3": (3, False), "UINT4": (4, False), "UINT6": (6, False)}


@pytest.mark.parametrize("name", [*SUB_BYTE, "INT4"])
@pytest.mark.parametrize("count", [1, 7, 8, 1001])
def test_packed_elements(name, count):
    bits, is_signed = SUB_BYTE.get(name, (4, True))
    data = np.random.default_rng(0).integers(0, 256, -(-count * bits // 8), dtype=np.uint8)
    found = decode(data, MIL_pb2.DataType.Value(name), (count,), "weight")
    expected = restore_elements_from_packed_bits(data, bits, count, is_signed)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
