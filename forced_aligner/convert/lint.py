"""A lint of saved packages: each is read back from its files and checked before the converted folder is complete.

Each rule covers a fault that Core ML reports late and without its cause, or never: constants that are not finite,
constants that FP16 cannot hold, and shapes and types that keep a program off the Neural Engine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forced_aligner.convert.fp16 import FP16_MAX
from forced_aligner.package.contract import WEIGHTS_FILE
from forced_aligner.package.metadata import ComponentRecord, LintReport
from forced_aligner.package.proto import MIL_pb2
from forced_aligner.package.spec import read_spec, tensor_type
from forced_aligner.package.weight_file import WeightFile, decode

MAX_RANK = 5  # Core ML's limit
ANE_RANK = 4  # the Neural Engine's limit
ANE_COMPONENTS = ("audio_transformer", "decoder_prefill", "audio", "text")
FLEXIBLE_COMPONENTS = ("embedding", "lm_head")
FLOATS = (MIL_pb2.FLOAT16, MIL_pb2.FLOAT32)
UNSUPPORTED = (MIL_pb2.FLOAT64, MIL_pb2.INT64, MIL_pb2.UINT64)  # on every target
IOS18_ONLY = (MIL_pb2.INT4, MIL_pb2.UINT1, MIL_pb2.UINT2, MIL_pb2.UINT3, MIL_pb2.UINT4, MIL_pb2.UINT6)
IOS17_OPSET = "CoreML7"
_CHUNK_ELEMENTS = 1 << 22  # of a constant, checked at once


def lint_package(folder: Path, key: str, record: ComponentRecord) -> LintReport:
    """Lint one saved package.

    Raises:
        RuntimeError: a fault, with the package, the op and the rule. It is a bug of the conversion, not the user's.
    """
    package = folder / record.package
    lint = _Lint(key, record, WeightFile(package / WEIGHTS_FILE))
    for name, function in read_spec(package).mlProgram.functions.items():
        lint.function(name, function)
    return lint.report()


class _Lint:
    """Applies the rules to all functions of one package, and counts ops and constants."""

    def __init__(self, key: str, record: ComponentRecord, weights: WeightFile) -> None:
        self.key = key
        self.record = record
        self.weights = weights
        self.ops = self.constants = self.float_ops = self.fp16_ops = self.max_rank = 0
        self.largest = 0.0
        self._checked: dict[tuple[int, int, tuple[int, ...]], float] = {}  # offset, type, shape -> largest magnitude
        # The constants of ops that calibration keeps in FP32 may exceed FP16's range.
        self._has_kept_float32 = record.calibration is not None and bool(record.calibration.kept_float32)

    def fault(self, op: str, fault: str) -> RuntimeError:
        """The error to raise for a fault of `op`."""
        return RuntimeError(f"{self.record.package} is not sound: op {op} {fault}")

    def function(self, name: str, function: MIL_pb2.Function) -> None:
        """Check one function."""
        block = function.block_specializations[function.opset]
        for value in function.inputs:
            self._check_value(f"{name}: input {value.name}", value.type, function.opset)
        for operation in block.operations:
            label = f"{name}: {operation.outputs[0].name} ({operation.type})"
            for output in operation.outputs:
                self._check_value(label, output.type, function.opset)
            bound = [binding.value for argument in operation.inputs.values() for binding in argument.arguments]
            for constant in [*(v for k, v in operation.attributes.items() if k != "name"), *bound]:
                if constant.HasField("type"):
                    self._check_constant(label, constant, function.opset)
            self._count(operation)

    def _check_value(self, label: str, value_type: MIL_pb2.ValueType, opset: str) -> None:
        tensor = value_type.tensorType
        self._check_type(label, tensor.dataType, opset)
        limit = ANE_RANK if self.key in ANE_COMPONENTS else MAX_RANK
        if tensor.rank > limit:
            raise self.fault(label, f"makes a tensor of rank {tensor.rank}, more than {limit}")
        self.max_rank = max(self.max_rank, tensor.rank)
        is_static = all(dimension.WhichOneof("dimension") == "constant" for dimension in tensor.dimensions)
        if not is_static and self.key not in FLEXIBLE_COMPONENTS:
            raise self.fault(label, "has a flexible shape, which keeps it off the Neural Engine")

    def _check_type(self, label: str, dtype: int, opset: str) -> None:
        if dtype in UNSUPPORTED or (dtype in IOS18_ONLY and opset == IOS17_OPSET):
            raise self.fault(label, f"has the type {MIL_pb2.DataType.Name(dtype).lower()}, which {opset} does not take")

    def _check_constant(self, label: str, value: MIL_pb2.Value, opset: str) -> None:
        self._check_type(label, value.type.tensorType.dataType, opset)
        dtype, shape = tensor_type(value.type)
        self.constants += 1
        if dtype not in FLOATS:
            return
        largest = self._largest_magnitude(label, value, dtype, shape)
        if not np.isfinite(largest):
            raise self.fault(label, "holds a constant that is not finite")
        if self.record.precision == "float16" and largest > FP16_MAX and not self._has_kept_float32:
            raise self.fault(label, f"holds a constant of magnitude {largest:g}, beyond FP16's {FP16_MAX:.0f}")
        self.largest = max(self.largest, largest)

    def _largest_magnitude(self, label: str, value: MIL_pb2.Value, dtype: int, shape: tuple[int, ...]) -> float:
        if value.WhichOneof("value") == "blobFileValue":
            key = (value.blobFileValue.offset, dtype, shape)
            if key not in self._checked:
                self._checked[key] = _magnitude(self.weights.read(value, label))
            return self._checked[key]
        tensor = value.immediateValue.tensor
        kind = tensor.WhichOneof("value")
        if kind == "bytes":
            return _magnitude(decode(np.frombuffer(tensor.bytes.values, np.uint8), dtype, shape, label))
        return _magnitude(np.array(getattr(tensor, kind).values)) if kind else 0.0

    def _count(self, operation: MIL_pb2.Operation) -> None:
        if operation.type == "const" or operation.type.startswith("constexpr_"):
            return
        self.ops += 1
        types = {output.type.tensorType.dataType for output in operation.outputs}
        if operation.type != "cast" and types & set(FLOATS):
            self.float_ops += 1
            self.fp16_ops += MIL_pb2.FLOAT16 in types

    def report(self) -> LintReport:
        """The counts over all functions that were checked."""
        return LintReport(
            ops=self.ops,
            constants=self.constants,
            fp16_ops_percent=round(100 * self.fp16_ops / max(1, self.float_ops), 2),
            max_rank=self.max_rank,
            largest_constant=self.largest,
        )


def _magnitude(values: NDArray[Any]) -> float:
    """The largest magnitude, or inf if a value is not finite; it works in chunks, so that no weight is copied whole."""
    flat, largest = values.reshape(-1), 0.0
    for start in range(0, flat.size, _CHUNK_ELEMENTS):
        chunk_largest = float(np.abs(flat[start : start + _CHUNK_ELEMENTS].astype(np.float32)).max())
        largest = max(largest, chunk_largest if np.isfinite(chunk_largest) else np.inf)
    return largest
