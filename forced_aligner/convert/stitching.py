"""Stitching: joins instances of templates into a function, and functions into a package with one weight file.

coremltools converts a whole model at once: each of 28 equal layers goes through every pass, and each function of a
multifunction package holds all weights in memory. Here a template is converted once. Its operations are copied for each
instance, with the instance's names and weights. A weight that several instances or functions use is written once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from forced_aligner.convert.compression import compressible
from forced_aligner.convert.template import Instance, digest, parameter_bytes
from forced_aligner.convert.weight_store import WeightStore
from forced_aligner.package.contract import MAIN
from forced_aligner.package.coremltools_internals import create_scalar_value
from forced_aligner.package.proto import MIL_pb2, Model_pb2
from forced_aligner.package.spec import file_values, tensor_type
from forced_aligner.package.weight_file import decode

_CAST_NAMES = {MIL_pb2.FLOAT16: "fp16", MIL_pb2.FLOAT32: "fp32"}


def stitch(instances: Sequence[Instance], outputs: Sequence[str], store: WeightStore) -> Model_pb2.Model:
    """A spec with one function, which runs `instances` in order. Their weights are written to `store`.

    The state is the list of values that the next instance takes. It starts as the function's inputs, which are those of
    the first instance. The outputs of an instance replace as many values at the start of the state. The outputs of the
    last instance are the function's, under the names `outputs`. If a value of the state has another type than the next
    instance expects, it is cast once.
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
        part = MIL_pb2.Function()  # the instance's copy of its template
        part.CopyFrom(instance.template.function)
        _separate_outputs_from_inputs(part)
        _store_weights(part, instance, store)
        for index, value in enumerate(part.inputs):
            if types[state[index]] != value.type.tensorType.dataType:
                state[index] = _add_cast(block, state[index], value, f"{instance.name}_{value.name}")
                types[state[index]] = value.type.tensorType.dataType
        names = dict(zip((value.name for value in part.inputs), state, strict=False))
        if instance is instances[-1]:
            names.update(zip(_block(part).outputs, outputs, strict=True))
        _rename(part, names, f"{instance.name}_")
        new_values = list(_block(part).outputs)
        state = new_values + state[len(new_values) :]
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


def _add_cast(block: MIL_pb2.Block, name: str, target: MIL_pb2.NamedValueType, prefix: str) -> str:
    """Cast the value `name` to the type of `target`, and return the new value's name.

    When a template returns an input unchanged, coremltools does not cast it to the declared type of the output.
    """
    cast_name, dtype = f"{prefix}_cast", create_scalar_value(_CAST_NAMES[target.type.tensorType.dataType])
    constant = block.operations.add(type="const")
    constant.attributes["name"].CopyFrom(create_scalar_value(f"{cast_name}_dtype"))
    constant.attributes["val"].CopyFrom(dtype)
    constant.outputs.add(name=f"{cast_name}_dtype", type=dtype.type)
    cast = block.operations.add(type="cast")
    cast.attributes["name"].CopyFrom(create_scalar_value(cast_name))
    cast.inputs["x"].arguments.add(name=name)
    cast.inputs["dtype"].arguments.add(name=f"{cast_name}_dtype")
    cast.outputs.add(name=cast_name, type=target.type)
    return cast_name


def _separate_outputs_from_inputs(function: MIL_pb2.Function) -> None:
    """Insert an `identity` where an output is also an input, so that the two can have different names."""
    block = _block(function)
    for index, name in enumerate(block.outputs):
        for value in function.inputs:
            if value.name == name:
                copy = block.operations.add(type="identity")
                copy.attributes["name"].CopyFrom(create_scalar_value(f"{name}_copy"))
                copy.inputs["x"].arguments.add(name=name)
                copy.outputs.add(name=f"{name}_copy", type=value.type)
                block.outputs[index] = f"{name}_copy"


def _store_weights(function: MIL_pb2.Function, instance: Instance, store: WeightStore) -> None:
    """Write every weight of an instance to the store: a parameter of the instance, or else the template's weight."""
    template, block = instance.template, _block(function)
    constants = {operation.outputs[0].name: operation for operation in block.operations if operation.type == "const"}
    compressed = compressible(block) if store.preset != "none" and instance.is_compressible else set()
    for constant, value in list(file_values(function)):
        offset, (dtype, shape) = value.blobFileValue.offset, tensor_type(value.type)
        key: Hashable
        read_bytes: Callable[[], NDArray[np.uint8]]
        if name := template.parameter_names.get((offset, dtype)):
            key, read_bytes = (instance.name, name, dtype), partial(_read_parameter, instance.parameters, name, dtype)
        else:
            data = template.weights.raw(offset, constant)
            key, read_bytes = (dtype, digest(data)), partial(np.ascontiguousarray, data)
        if constant in compressed:
            store.compress((key, shape), constants[constant], partial(_read_array, read_bytes, dtype, shape, constant))
        else:
            value.blobFileValue.offset = store.put(key, dtype, read_bytes)


def _read_array(
    read_bytes: Callable[[], NDArray[np.uint8]], dtype: int, shape: tuple[int, ...], name: str
) -> NDArray[Any]:
    return decode(read_bytes(), dtype, shape, name)


def _read_parameter(parameters: Mapping[str, Tensor], name: str, dtype: int) -> NDArray[np.uint8]:
    return parameter_bytes(parameters[name], dtype)


def _rename(function: MIL_pb2.Function, names: dict[str, str], prefix: str) -> None:
    """Make every name of an instance unique with `prefix`; `names` maps the values that have a given name to it."""
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
    """One spec with all `functions` (specs with one function each, by name), which share one weight file."""
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
