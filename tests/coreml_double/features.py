"""The values that go in and out: what a package declares of them, and what Core ML makes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from coremltools.proto import FeatureTypes_pb2
from numpy.typing import NDArray

from .errors import core_ml_error, not_convertible
from .lifetime import owner

_ARRAY = FeatureTypes_pb2.ArrayFeatureType
# By the declared type. Float16 is float32 on both sides: coremltools/models/model.py
# (`_update_float16_multiarray_input_to_float32`) and coremlpython/CoreMLPythonUtils.mm (`convertArrayValueToPython`).
NUMPY_TYPES: dict[int, type[np.generic]] = {
    _ARRAY.FLOAT32: np.float32,
    _ARRAY.FLOAT16: np.float32,
    _ARRAY.DOUBLE: np.float64,
    _ARRAY.INT32: np.int32,
    _ARRAY.INT8: np.int8,
}
# Those that Core ML has a type for: coremlpython/CoreMLPythonArray.mm, `dataTypeOf`.
CONVERTIBLE = frozenset(np.dtype(kind) for kind in (np.int8, np.int32, np.float32, np.float64))
ROW_ALIGNMENT = 16  # elements; 5,000 float32 scores have a stride of 5,008 in Swift


def check_inputs(declared: Any, inputs: dict[str, Any]) -> None:
    """Refuse what Core ML refuses, and what it takes silently though it is a mistake.

    Raises:
        RuntimeError: an input is missing or unknown, or its value is not one that `check_input` takes.
    """
    features = {feature.name: feature for feature in declared}
    for name, value in inputs.items():
        if name not in features:
            raise core_ml_error(f"the input {name} is unknown; the model has {sorted(features)}")
        check_input(features[name], value)
    for name in features.keys() - inputs.keys():
        raise core_ml_error(f"Feature {name} is required but not specified.")


def check_input(feature: Any, value: Any) -> None:
    """Refuse a value that is not an array of the declared type and shape which Core ML can read in place.

    Raises:
        RuntimeError: it is not.
    """
    name, declared = feature.name, feature.type.multiArrayType
    if not isinstance(value, np.ndarray):
        raise not_convertible(f"the input {name} is a {type(value).__name__}, not a numpy array")
    if value.ndim == 0:
        raise not_convertible(f"the input {name} has no shape")
    if value.dtype not in CONVERTIBLE:
        raise not_convertible(f"Core ML has no type for the {value.dtype} of the input {name}")
    if not value.flags.writeable:
        raise not_convertible(f"the input {name} is read-only, and pybind11's mutable_data() wants to write")
    expected = np.dtype(NUMPY_TYPES[declared.dataType])
    if value.dtype != expected:
        raise core_ml_error(f"the input {name} is {value.dtype}, and the model declares {expected}")
    if not value.flags.c_contiguous:
        raise core_ml_error(f"the input {name} is not C-contiguous: its strides are {value.strides} bytes")
    memory = owner(value)
    if not isinstance(memory, np.ndarray) or not memory.flags.owndata:
        raise core_ml_error(f"numpy does not own the memory of the input {name}: it is of a {type(memory).__name__}")
    _check_shape(name, declared, value.shape)


def _check_shape(name: str, declared: Any, shape: tuple[int, ...]) -> None:
    kind = declared.WhichOneof("ShapeFlexibility")
    if kind == "enumeratedShapes":
        fits = shape in {tuple(item.shape) for item in declared.enumeratedShapes.shapes}
    elif kind == "shapeRange":
        ranges = declared.shapeRange.sizeRanges  # an upper bound of -1 is none
        fits = len(shape) == len(ranges) and all(
            item.lowerBound <= size and (item.upperBound < 0 or size <= item.upperBound)
            for size, item in zip(shape, ranges, strict=True)
        )
    else:
        fits = shape == tuple(declared.shape)
    if not fits:
        found, expected = (" x ".join(map(str, sizes)) for sizes in (shape, declared.shape))
        raise core_ml_error(
            f"For input feature '{name}', the provided shape is not compatible: MultiArray shape ({found}) does not "
            f"match the shape ({expected}) specified in the model description"
        )


def output(feature: Any, value: NDArray[Any]) -> NDArray[Any]:
    """An output of the declared type, whose rows lie apart; what lies between them is no number."""
    dtype = np.dtype(NUMPY_TYPES[feature.type.multiArrayType.dataType])
    filler = np.nan if dtype.kind == "f" else np.iinfo(dtype).min
    if not value.ndim:
        return value.astype(dtype)
    width = value.shape[-1]
    memory = np.full((*value.shape[:-1], (width // ROW_ALIGNMENT + 1) * ROW_ALIGNMENT), filler, dtype)
    memory[..., :width] = value
    return memory[..., :width]
