"""Weights that share bytes are told apart by their types and shapes when a package is put together."""

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil import Builder as mb
from coremltools.proto import MIL_pb2

from forced_aligner.convert.stitching import stitch
from forced_aligner.convert.template import Instance, Template
from forced_aligner.convert.weight_store import WeightStore
from forced_aligner.package.coremltools_internals import create_scalar_value
from forced_aligner.package.spec import file_values, tensor_type
from forced_aligner.package.weight_file import WeightFile

SQUARE = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
WIDE = SQUARE.reshape(32, 128)


@pytest.fixture
def package(tmp_path):
    """Two products with the same 4096 numbers, as a square matrix and as a wide one."""

    @mb.program(
        input_specs=[mb.TensorSpec(shape=(1, 64)), mb.TensorSpec(shape=(1, 128))], opset_version=ct.target.iOS18
    )
    def program(x, y):
        return mb.linear(x=x, weight=SQUARE, name="a"), mb.linear(x=y, weight=WIDE, name="b")

    model = ct.convert(
        program,
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
    )
    model.save(str(tmp_path / "template.mlpackage"))
    return tmp_path / "template.mlpackage"


def test_two_shapes_of_the_same_bytes_are_compressed_each_for_itself(package, tmp_path):
    store = WeightStore(tmp_path / "weights", "int8")
    joined = stitch([Instance("whole", Template(package))], ["a", "b"], store)
    store.close()
    function = joined.mlProgram.functions["main"]
    operations = function.block_specializations[function.opset].operations
    shapes = [
        tensor_type(operation.inputs["data"].arguments[0].value.type)[1]
        for operation in operations
        if operation.type == "constexpr_blockwise_shift_scale"
    ]
    assert sorted(shapes) == [(32, 128), (64, 64)]


def test_a_constant_of_another_type_at_a_parameters_offset_is_not_the_parameter(package, tmp_path):
    template = Template(package, {"weight": torch.from_numpy(SQUARE)})
    block = template.function.block_specializations[template.function.opset]
    _, value = next(file_values(template.function))
    before = template.weights.read(value, "weight").copy()
    constant = block.operations.add(type="const")
    constant.attributes["name"].CopyFrom(create_scalar_value("bits"))
    constant.attributes["val"].CopyFrom(value)
    constant.attributes["val"].type.tensorType.dataType = MIL_pb2.INT32
    constant.outputs.add(name="bits", type=constant.attributes["val"].type)

    store = WeightStore(tmp_path / "weights")
    instance = Instance("whole", template, {"weight": torch.zeros(64, 64)})
    joined = stitch([instance], ["a", "b"], store)
    store.close()
    weights = WeightFile(tmp_path / "weights" / "weight.bin")
    read = {name: weights.read(value, name) for name, value in file_values(joined.mlProgram.functions["main"])}
    bits = read.pop("whole_bits")
    assert bits.dtype == np.int32
    np.testing.assert_array_equal(bits.view(np.float32), before)
    assert all(not array.any() for array in read.values())
