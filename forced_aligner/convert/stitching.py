"""Converted templates, put together: equal layers from one template, several functions over one weight file.

coremltools converts a model as a whole: each of 28 equal layers goes through every pass, and each function of a
multifunction package holds all weights in memory. Here a template is converted once, and its operations are copied with
other names and other weights; a weight is written once, whatever layer or function refers to it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from coremltools.proto import MIL_pb2, Model_pb2
from numpy.typing import NDArray
from torch import Tensor

from forced_aligner.convert.compression import compressible
from forced_aligner.convert.template import Instance, digest, parameter_bytes
from forced_aligner.convert.weight_store import WeightStore
from forced_aligner.package.contract import MAIN
from forced_aligner.package.coremltools_internals import create_scalar_value
from forced_aligner.package.spec import file_values, tensor_type
from forced_aligner.package.weight_file import decode

_CAST_NAMES = {MIL_pb2.FLOAT16: "fp16", MIL_pb2.FLOAT32: "fp32"}


def stitch(instances: Sequence[Instance], outputs: Sequence[str], store: WeightStore) -> Model_pb2.Model:
    """One single-function spec that runs `instances` one after another.

    The first instance's inputs are the function's. Each output of an instance takes the place of the input at its
    position in the state; the rest of the state stays. The last instance's outputs are the function's, and are named
    `outputs`. A value of the state that has another type than the next instance takes is cast, once.
    """
    first, last = instances[0].template, instances[-1].template
    joined = Model_pb2.Model()
    joined.CopyFrom(first.spec)
    function = joined.mlProgram.functions[MAIN]
    block = _block(function)
    del block.operations[:]
    state = [value.name for value in function.inputs]
    types = {value.name: value.type.tensorType.dataType for value in function.inputs}
    for instance in instances:
        part = MIL_pb2.Function()
        part.CopyFrom(instance.template.function)
        _copy_passed_inputs(part)
        _place_weights(part, instance, store)
        for index, value in enumerate(part.inputs):
            if types[state[index]] != value.type.tensorType.dataType:
                state[index] = _add_cast(block, state[index], value, f"{instance.name}_{value.name}")
                types[state[index]] = value.type.tensorType.dataType
        names = dict(zip((value.name for value in part.inputs), state, strict=False))
        if instance is instances[-1]:
            names.update(zip(_block(part).outputs, outputs, strict=True))
        _rename(part, names, f"{instance.name}_")
        renewed = list(_block(part).outputs)
        state = renewed + state[len(renewed) :]
        block.operations.extend(_block(part).operations)
        types.update((v.name, v.type.tensorType.dataType) for op in _block(part).operations for v in op.outputs)
    block.outputs[:] = outputs
    del joined.description.output[:]
    joined.description.output.extend(last.spec.description.output)
    for feature, name in zip(joined.description.output, outputs, strict=True):
        feature.name = name
    return joined


def _block(function: MIL_pb2.Function) -> MIL_pb2.Block:
    return function.block_specializations[function.opset]


def _add_cast(block: MIL_pb2.Block, name: str, wanted: MIL_pb2.NamedValueType, prefix: str) -> str:
    """Cast the value `name` to the type of `wanted`; returns the new value's name.

    coremltools does not cast an input that a template hands on as it is, whatever type its output was declared with.
    """
    made, dtype = f"{prefix}_cast", create_scalar_value(_CAST_NAMES[wanted.type.tensorType.dataType])
    constant = block.operations.add(type="const")
    constant.attributes["name"].CopyFrom(create_scalar_value(f"{made}_dtype"))
    constant.attributes["val"].CopyFrom(dtype)
    constant.outputs.add(name=f"{made}_dtype", type=dtype.type)
    cast = block.operations.add(type="cast")
    cast.attributes["name"].CopyFrom(create_scalar_value(made))
    cast.inputs["x"].arguments.add(name=name)
    cast.inputs["dtype"].arguments.add(name=f"{made}_dtype")
    cast.outputs.add(name=made, type=wanted.type)
    return made


def _copy_passed_inputs(function: MIL_pb2.Function) -> None:
    """Where an output is an input itself, put an `identity` between, so that the two can have different names."""
    block = _block(function)
    for index, name in enumerate(block.outputs):
        for value in function.inputs:
            if value.name == name:
                copy = block.operations.add(type="identity")
                copy.attributes["name"].CopyFrom(create_scalar_value(f"{name}_copy"))
                copy.inputs["x"].arguments.add(name=name)
                copy.outputs.add(name=f"{name}_copy", type=value.type)
                block.outputs[index] = f"{name}_copy"


def _place_weights(function: MIL_pb2.Function, instance: Instance, store: WeightStore) -> None:
    """Point every weight of a copied template at a blob of the store, its own or that of the instance's parameter."""
    template, block = instance.template, _block(function)
    constants = {operation.outputs[0].name: operation for operation in block.operations if operation.type == "const"}
    compressed = compressible(block) if store.preset != "none" else set()
    for constant, value in list(file_values(function)):
        offset, (dtype, shape) = value.blobFileValue.offset, tensor_type(value.type)
        key: Hashable
        make: Callable[[], NDArray[np.uint8]]
        if name := template.names.get(offset):
            key, make = (instance.name, name, dtype), partial(_read_parameter, instance.parameters, name, dtype)
        else:
            data = template.weights.raw(offset, constant)
            key, make = (dtype, digest(data)), partial(np.ascontiguousarray, data)
        if constant in compressed:
            store.compress(key, constants[constant], partial(_array, make, dtype, shape, constant))
        else:
            value.blobFileValue.offset = store.put(key, dtype, make)


def _array(make: Callable[[], NDArray[np.uint8]], dtype: int, shape: tuple[int, ...], name: str) -> NDArray[Any]:
    return decode(make(), dtype, shape, name)


def _read_parameter(parameters: Mapping[str, Tensor], name: str, dtype: int) -> NDArray[np.uint8]:
    return parameter_bytes(parameters[name], dtype)


def _rename(function: MIL_pb2.Function, names: dict[str, str], prefix: str) -> None:
    """Give every value of a copied template a name of its own; `names` has those that are given."""
    block = _block(function)
    for operation in block.operations:
        for value in operation.outputs:
            value.name = names.setdefault(value.name, prefix + value.name)
        for argument in operation.inputs.values():
            for binding in argument.arguments:
                if binding.WhichOneof("binding") == "name":
                    binding.name = names[binding.name]
        label = operation.attributes["name"].immediateValue.tensor.strings
        label.values[0] = prefix + label.values[0]
    block.outputs[:] = [names[name] for name in block.outputs]


def multifunction(functions: Mapping[str, Model_pb2.Model]) -> Model_pb2.Model:
    """One spec whose functions are the single functions of `functions`, over one weight file."""
    joined = Model_pb2.Model()
    joined.specificationVersion = max(spec.specificationVersion for spec in functions.values())
    first = next(iter(functions.values()))
    joined.mlProgram.version = first.mlProgram.version
    for key, value in first.mlProgram.attributes.items():
        joined.mlProgram.attributes[key].CopyFrom(value)
    joined.description.metadata.CopyFrom(first.description.metadata)
    for name, spec in functions.items():
        joined.mlProgram.functions[name].CopyFrom(spec.mlProgram.functions[MAIN])
        description = joined.description.functions.add(name=name)
        description.input.extend(spec.description.input)
        description.output.extend(spec.description.output)
    joined.description.defaultFunctionName = next(iter(functions))
    return joined
