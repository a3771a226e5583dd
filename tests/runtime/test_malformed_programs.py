"""A package that this project did not make may hold anything: what cannot be run is one sentence that names the op."""

import shutil

import numpy as np
import pytest
from coremltools.proto import MIL_pb2, Model_pb2
from hypothesis import given
from hypothesis import strategies as st

from forced_aligner.base.errors import UserError
from forced_aligner.package.contract import SPEC_FILE, WEIGHTS_FILE
from forced_aligner.package.spec import file_values, read_spec
from forced_aligner.package.weight_file import WeightFile
from forced_aligner.runtime.mil.program import Program


@pytest.fixture
def package(demo_bundle, tmp_path):
    """A copy of the head's package, to be changed."""
    return shutil.copytree(demo_bundle.package("lm_head"), tmp_path / "head.mlpackage")


def block_of(spec):
    function = spec.mlProgram.functions["main"]
    return function.block_specializations[function.opset]


def first(block, kind):
    return next(operation for operation in block.operations if operation.type == kind)


def change_spec(package, change):
    spec = read_spec(package)
    change(spec, block_of(spec))
    (package / SPEC_FILE).write_bytes(spec.SerializeToString())


def run(package):
    function = Program(package).function()
    return function({"hidden_states": np.zeros((1, 4, 128), np.float32)})


def rename(argument, name):
    argument.arguments[0].name = name


def resize(value_type, *sizes):
    del value_type.tensorType.dimensions[:]
    for size in sizes:
        value_type.tensorType.dimensions.add().constant.size = size


def drop(message, field):
    message.ClearField(field)


def swap(block, one, other):
    saved = MIL_pb2.Operation()
    saved.CopyFrom(block.operations[one])
    block.operations[one].CopyFrom(block.operations[other])
    block.operations[other].CopyFrom(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda spec, block: rename(first(block, "linear").inputs["x"], "nowhere"), "no earlier op makes nowhere"),
        (lambda spec, block: rename(first(block, "abs").inputs["x"], block.outputs[0]), "no earlier op makes logits"),
        (lambda spec, block: block.outputs.append("nowhere"), "no op makes the output nowhere"),
        (lambda spec, block: block.operations.extend([first(block, "abs")]), "is made twice"),
        (lambda spec, block: swap(block, -1, -3), "no earlier op makes|is made twice"),
        (lambda spec, block: drop(first(block, "linear"), "attributes"), r"op linear \(logits\) cannot be run"),
        (lambda spec, block: drop(first(block, "const"), "attributes"), r"op const \(\w+\) cannot be run"),
        (lambda spec, block: drop(first(block, "linear"), "outputs"), r"op linear \(\) cannot be run"),
        (lambda spec, block: drop(first(block, "linear"), "inputs"), "runs op linear .* with other arguments"),
        (lambda spec, block: drop(first(block, "linear").inputs["x"], "arguments"), "op linear .* cannot be run"),
        (lambda spec, block: setattr(first(block, "abs"), "type", "absent"), "has no op absent"),
        (
            lambda spec, block: setattr(first(block, "abs").outputs[0].type.tensorType, "dataType", 999),
            r"op abs \(\w+\) cannot be run",
        ),
        (
            lambda spec, block: resize(first(block, "abs").outputs[0].type, 1 << 40, 4),
            "has the sizes .1099511627776, 4., more than 2147483648 elements",
        ),
        (
            lambda spec, block: resize(spec.mlProgram.functions["main"].inputs[0].type, 1 << 33),
            "more than 2147483648 elements",
        ),
        (
            lambda spec, block: resize(first(block, "const").attributes["val"].type, (1 << 64) - 1),
            r"op const|weights of \w+ hold|expected",
        ),
        (
            lambda spec, block: setattr(spec.mlProgram.functions["main"], "opset", "X"),
            "there is no block for its opset",
        ),
        (lambda spec, block: drop(spec.mlProgram.functions["main"], "inputs"), "no earlier op makes hidden_states"),
    ],
)
def test_what_cannot_be_planned_names_the_op(package, change, message):
    change_spec(package, change)
    with pytest.raises(UserError, match=message) as caught:
        run(package)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_run_names_function_and_op_and_keeps_its_cause(package):
    """The weight is declared with its two sizes exchanged: PyTorch refuses the product."""

    def transpose(spec, block):
        for _, value in file_values(spec.mlProgram.functions["main"]):
            dimensions = value.type.tensorType.dimensions
            if len(dimensions) == 2:
                resize(value.type, dimensions[1].constant.size, dimensions[0].constant.size)

    change_spec(package, transpose)
    with pytest.raises(UserError, match=r"function main: op linear \(\w+\) cannot be run \(RuntimeError") as caught:
        run(package)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_two_types_and_shapes_that_share_bytes_are_told_apart(demo_bundle):
    """Constants were once kept by their offset alone."""
    package = demo_bundle.package("lm_head")
    name, value = next(file_values(read_spec(package).mlProgram.functions["main"]))
    as_bits = MIL_pb2.Value()
    as_bits.CopyFrom(value)
    as_bits.type.tensorType.dataType = MIL_pb2.UINT4
    weights = WeightFile(package / WEIGHTS_FILE)
    floats = weights.read(value, name)
    resize(as_bits.type, floats.size * 8)
    flat = weights.read(as_bits, name)
    resize(as_bits.type, 2, floats.size * 4)
    assert [flat.shape, weights.read(as_bits, name).shape] == [(floats.size * 8,), (2, floats.size * 4)]
    assert weights.read(value, name).dtype == floats.dtype

    other = MIL_pb2.Value()
    other.CopyFrom(value)
    other.type.tensorType.dataType = MIL_pb2.INT32
    constants = Program(package, device="meta")._constants
    assert [constants.value(each, name).dtype.itemsize for each in (value, other)] == [4, 4]
    assert constants.value(value, name).dtype != constants.value(other, name).dtype


@given(data=st.data())
def test_a_mutated_spec_is_a_sentence_or_runs(demo_bundle, tmp_path_factory, data):
    """One byte after another is changed; what protobuf still reads is planned and run."""
    source = demo_bundle.package("lm_head")
    content = bytearray((source / SPEC_FILE).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    package = tmp_path_factory.mktemp("mutated") / "head.mlpackage"
    (package / SPEC_FILE).parent.mkdir(parents=True)
    (package / SPEC_FILE).write_bytes(bytes(content))
    (package / WEIGHTS_FILE).parent.mkdir()
    (package / WEIGHTS_FILE).symlink_to(source / WEIGHTS_FILE)
    try:
        run(package)
    except UserError as error:
        assert "\n" not in str(error)


def test_a_spec_of_another_kind_is_refused(package):
    (package / SPEC_FILE).write_bytes(Model_pb2.Model(specificationVersion=9).SerializeToString())
    with pytest.raises(UserError, match="holds no ML program"):
        Program(package)
