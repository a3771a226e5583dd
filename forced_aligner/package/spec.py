"""The program of a saved package: where its files lie, how it is read, and what it says of its constants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from forced_aligner.base.errors import UserError
from forced_aligner.base.reading import read_bytes
from forced_aligner.package.contract import MAIN, SPEC_FILE
from forced_aligner.package.proto import FeatureTypes_pb2, MIL_pb2, Model_pb2

MAX_SPEC_BYTES = 512 << 20  # that of the 0.6B decoder has about 10 MB; its weights lie in another file


def read_spec(package: Path) -> Model_pb2.Model:
    """The spec of a saved package.

    Raises:
        UserError: it is not an ML program package, or its spec is damaged.
    """
    try:
        spec = Model_pb2.Model.FromString(read_bytes(package / SPEC_FILE, MAX_SPEC_BYTES, "a spec"))
    except (UserError, DecodeError) as error:
        raise UserError(f"{package} is not a usable Core ML package ({error}): convert the model again") from None
    if spec.WhichOneof("Type") != "mlProgram":
        raise UserError(f"{package} holds no ML program: convert it with convert-coreml.py")
    return spec


def input_types(spec: Model_pb2.Model, function: str) -> dict[str, np.dtype[Any]]:
    """NumPy's type for each input of a function, as a caller of Core ML hands it over.

    coremltools casts an FP16 array to a new FP32 array that nobody keeps, so FP16 inputs are handed over as FP32.

    Raises:
        UserError: the function is not there.
    """
    named = {description.name: description.input for description in spec.description.functions}
    if function not in (named or (MAIN,)):
        raise UserError(f"there is no function {function}, only {', '.join(named)}: convert the model again")
    array_types = FeatureTypes_pb2.ArrayFeatureType
    known: dict[Any, np.dtype[Any]] = {
        array_types.INT32: np.dtype(np.int32),
        array_types.FLOAT16: np.dtype(np.float32),
        array_types.FLOAT32: np.dtype(np.float32),
        array_types.DOUBLE: np.dtype(np.float64),
    }
    inputs = named.get(function, spec.description.input)
    return {tensor.name: known[tensor.type.multiArrayType.dataType] for tensor in inputs}


def tensor_type(value_type: MIL_pb2.ValueType) -> tuple[int, tuple[int, ...]]:
    """MIL data type and shape of a tensor type whose sizes are known."""
    tensor = value_type.tensorType
    return tensor.dataType, tuple(dimension.constant.size for dimension in tensor.dimensions)


def file_values(function: MIL_pb2.Function) -> Iterator[tuple[str, MIL_pb2.Value]]:
    """Every constant of a function that lies in the weight file, with the name of its op's output."""
    for block in function.block_specializations.values():
        for operation in block.operations:
            bound = [binding.value for argument in operation.inputs.values() for binding in argument.arguments]
            for value in [*operation.attributes.values(), *bound]:
                if value.WhichOneof("value") == "blobFileValue":
                    yield operation.outputs[0].name, value
