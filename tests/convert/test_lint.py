"""The lint of saved packages: valid packages pass, and each kind of planted fault is an error that names the op."""

import shutil

import numpy as np
import pytest
from coremltools.proto import MIL_pb2

from forced_aligner.convert.fp16 import FP16_MAX
from forced_aligner.convert.lint import ANE_COMPONENTS, FLOATS, IOS17_OPSET, lint_package
from forced_aligner.convert.options import Options
from forced_aligner.jobs.convert import convert
from forced_aligner.package.contract import DEFAULT_COMPONENTS, SPEC_FILE, WEIGHTS_FILE
from forced_aligner.package.spec import file_values
from forced_aligner.package.weight_file import BLOB_RECORD
from forced_aligner.runtime.mil.program import Program


@pytest.fixture
def edit(float16_bundle, tmp_path):
    """Copies a package of the float16 demo, changes its spec, and lints it."""

    def edit_and_check(key, change):
        record = float16_bundle.record(key)
        shutil.copytree(float16_bundle.package(key), tmp_path / record.package)
        spec = Program(tmp_path / record.package).spec
        function = next(iter(spec.mlProgram.functions.values()))
        change(function, function.block_specializations[function.opset].operations)
        (tmp_path / record.package / SPEC_FILE).write_bytes(spec.SerializeToString())
        return lint_package(tmp_path, key, record)

    return edit_and_check


def last(operations, kind):
    return [operation for operation in operations if operation.type == kind][-1]


def as_float32(number):
    """Changes the first scalar constant, an epsilon or a scale, to an FP32 number."""

    def change(_, operations):
        constant = next(
            operation
            for operation in operations
            if operation.type == "const" and operation.outputs[0].type.tensorType.dataType in FLOATS
            and operation.outputs[0].type.tensorType.rank == 0
        )  # fmt: skip
        value = constant.attributes["val"]
        value.type.tensorType.dataType = MIL_pb2.FLOAT32
        value.immediateValue.tensor.floats.values[:] = [number]

    return change


def of_type(dtype):
    def change(_, operations):
        last(operations, "linear").outputs[0].type.tensorType.dataType = dtype

    return change


def of_rank(rank):
    def change(_, operations):
        tensor = last(operations, "linear").outputs[0].type.tensorType
        while len(tensor.dimensions) < rank:
            tensor.dimensions.add().constant.size = 1
        tensor.rank = rank

    return change


def flexible(_, operations):
    last(operations, "linear").outputs[0].type.tensorType.dimensions[0].unknown.variadic = False


def int4_for_ios17(function, operations):
    last(operations, "linear").outputs[0].type.tensorType.dataType = MIL_pb2.INT4
    function.block_specializations[IOS17_OPSET].CopyFrom(function.block_specializations[function.opset])
    function.opset = IOS17_OPSET


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("lm_head", as_float32(np.inf), r"op main: \w+ \(const\) holds a constant that is not finite"),
        ("lm_head", as_float32(np.nan), r"op main: \w+ \(const\) holds a constant that is not finite"),
        ("lm_head", as_float32(1e6), r"op main: \w+ \(const\) holds a constant of magnitude 1e\+06, beyond FP16's"),
        ("lm_head", of_type(MIL_pb2.INT64), r"\(linear\) has the type int64, which CoreML8 does not take"),
        ("lm_head", of_type(MIL_pb2.FLOAT64), r"\(linear\) has the type float64"),
        ("lm_head", int4_for_ios17, r"\(linear\) has the type int4, which CoreML7 does not take"),
        ("lm_head", of_rank(6), r"\(linear\) makes a tensor of rank 6, more than 5"),
        ("decoder_prefill", of_rank(5), r"op length_\d+: \w+ \(linear\) makes a tensor of rank 5, more than 4"),
        ("audio_transformer", of_rank(5), r"\(linear\) makes a tensor of rank 5, more than 4"),
        ("audio_conv", flexible, r"\(linear\) has a flexible shape"),
    ],
)
def test_a_planted_fault_is_an_error_that_names_the_op(edit, key, change, message):
    with pytest.raises(RuntimeError, match=message):
        edit(key, change)


@pytest.mark.parametrize(
    ("key", "change"), [("lm_head", flexible), ("lm_head", of_rank(5)), ("lm_head", as_float32(6e4))]
)
def test_what_a_component_allows_is_no_fault(edit, key, change):
    assert edit(key, change).ops > 0


def test_a_weight_that_is_not_finite_is_found_in_the_file(float16_bundle, tmp_path):
    record = float16_bundle.record("audio_transformer")
    package = tmp_path / record.package
    shutil.copytree(float16_bundle.package("audio_transformer"), package)
    function = Program(package).spec.mlProgram.functions["frames_78"]
    name, value = list(file_values(function))[5]
    data = bytearray((package / WEIGHTS_FILE).read_bytes())
    start = BLOB_RECORD.unpack_from(data, value.blobFileValue.offset)[3]
    data[start : start + 2] = np.float16(np.inf).tobytes()
    (package / WEIGHTS_FILE).write_bytes(data)
    with pytest.raises(RuntimeError, match=rf"op frames_\d+: {name} \(const\) holds a constant that is not finite"):
        lint_package(tmp_path, "audio_transformer", record)


@pytest.mark.parametrize("key", DEFAULT_COMPONENTS)
def test_the_report_of_every_conversion_is_in_its_metadata(float16_bundle, demo_bundle, key):
    report = float16_bundle.record(key).lint
    assert report.fp16_ops_percent > 90
    assert report.max_rank <= (4 if key in ANE_COMPONENTS else 5)
    assert 0 < report.largest_constant < FP16_MAX
    assert report.ops > 3
    if demo_bundle.record(key).precision == "float32":
        assert demo_bundle.record(key).lint.fp16_ops_percent == 0


def test_a_fault_leaves_no_folder(demo_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("forced_aligner.convert.lint.FP16_MAX", 1e-3)
    options = Options(("lm_head",), precision="float16")
    with pytest.raises(RuntimeError, match=r"forced_aligner_lm_head.mlpackage is not sound: op main"):
        convert(demo_checkpoint, tmp_path / "m", options)
    assert list(tmp_path.iterdir()) == []
