"""The MIL runtime runs what was saved: every package, all functions, from the files alone."""

import shutil
from pathlib import Path

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.frontend.milproto.load import load as load_milproto
from coremltools.libmilstoragepython import _BlobStorageReader

from forced_aligner.align.audio import load_audio
from forced_aligner.align.chain import Aligner
from forced_aligner.base.errors import UserError
from forced_aligner.jobs.reference import make_reference
from forced_aligner.package.bundle import Bundle
from forced_aligner.package.contract import DEFAULT_COMPONENTS, WEIGHTS_FILE
from forced_aligner.package.spec import file_values, tensor_type
from forced_aligner.package.weight_file import WeightFile
from forced_aligner.runtime.choice import make_backend
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.runtime.mil.program import Program
from forced_aligner.runtime.options import RuntimeOptions
from individual_components import COMPONENTS, Sizes
from tests.runtime.other_device import DEVICE, other_device

RNG = np.random.default_rng(0)


def wrapper_inputs(component, sizes, seed=0):
    """Random inputs of a component, like those of a host."""
    generator = torch.Generator().manual_seed(seed)
    inputs = []
    for spec in component.inputs:
        shape = [size or 9 for size in sizes.resolve(spec)]
        if spec.dtype == torch.int32:
            inputs.append(torch.randint(0, 200, shape, generator=generator, dtype=torch.int32))
        elif spec.name == "attention_mask":
            inputs.append(torch.zeros(shape))
        else:
            inputs.append(torch.randn(shape, generator=generator))
            if spec.name == "position_cos":
                inputs[-1][:, 0] = 1.0
    return inputs


def saved(program, folder, precision=ct.precision.FLOAT32):
    model = ct.convert(
        program, minimum_deployment_target=ct.target.iOS18, compute_precision=precision, skip_model_load=True
    )
    package = folder / "saved.mlpackage"
    model.save(str(package))
    return package


@pytest.mark.parametrize("key", COMPONENTS)
def test_every_function_of_every_package_equals_pytorch(bundle_of, demo_model, key):
    """Float32 packages within 1e-4; the FP16 package of the mixed preset within FP16 rounding."""
    bundle, component = bundle_of(key), COMPONENTS[key]
    program = Program(bundle.package(key))
    record = bundle.record(key)
    assert program.function_names == sorted(record.functions)
    for name, size in record.functions.items():
        sizes = Sizes(bundle.metadata.dimensions, frames=size or 1, length=size or 1)
        inputs = wrapper_inputs(component, sizes)
        with torch.inference_mode():
            outputs = component.wrapper(demo_model)(*inputs)
        expected = outputs if isinstance(outputs, tuple) else (outputs,)
        arrays = {spec.name: value.numpy() for spec, value in zip(component.inputs, inputs, strict=True)}
        actual = program.function(name)(arrays)
        assert list(actual) == [output.name for output in component.outputs]
        for array, tensor in zip(actual.values(), expected, strict=True):
            atol = 1e-4 if record.precision == "float32" else 5e-3 * tensor.abs().max().item()
            np.testing.assert_allclose(array, tensor.numpy(), atol=atol, rtol=0)


def read_back(bundle, key):
    package = bundle.package(key)
    spec = ct.utils.load_spec(str(package))
    return load_milproto(spec, spec.specificationVersion, str((package / WEIGHTS_FILE).parent))


@pytest.mark.parametrize("key", COMPONENTS)
def test_coremltools_reads_every_package_back(bundle_of, key):
    """coremltools infers every type anew and compares it with the declared one: the stitched specs are sound."""
    bundle = bundle_of(key)
    assert sorted(read_back(bundle, key).functions) == sorted(bundle.record(key).functions)


@pytest.mark.parametrize("key", DEFAULT_COMPONENTS)
def test_coremltools_reads_every_float16_package_back(float16_bundle, key):
    """Between an FP32 input and an FP16 layer there must be a cast; without it, the types do not match."""
    assert sorted(read_back(float16_bundle, key).functions) == sorted(float16_bundle.record(key).functions)


def test_fp16_rounds_after_each_op_and_overflow_is_inf(tmp_path):
    @mb.program(input_specs=[mb.TensorSpec(shape=(3,))], opset_version=ct.target.iOS18)
    def program(x):
        return mb.sub(x=mb.add(x=mb.mul(x=x, y=x), y=1.0), y=1.0, name="out")

    run = Program(saved(program, tmp_path, ct.precision.FLOAT16)).function()
    values = np.array([0.03, 3.0, 300.0], np.float32)
    half = values.astype(np.float16)
    with np.errstate(over="ignore"):
        expected = (half * half + np.float16(1)) - np.float16(1)
    actual = run({"x": half})["out"]
    np.testing.assert_array_equal(actual, expected)
    assert np.isinf(actual[2])
    assert actual[0] != np.float32(0.03) ** 2


def test_weights_equal_coremltools_reader(demo_bundle):
    """The memory mapping gives the values that coremltools' own reader gives, in a package in FP16 and one in FP32."""
    for key in ("embedding", "lm_head"):
        package = demo_bundle.package(key)
        program, path = Program(package), package / WEIGHTS_FILE
        reader, weight_file = _BlobStorageReader(str(path)), WeightFile(path)
        checked = 0
        for name, value in file_values(program.spec.mlProgram.functions["main"]):
            read = {10: reader.read_fp16_data, 11: reader.read_float_data}[tensor_type(value.type)[0]]
            expected = np.asarray(read(value.blobFileValue.offset))
            actual = weight_file.read(value, name)
            np.testing.assert_array_equal(actual.reshape(-1).view(expected.dtype), expected)
            checked += 1
        assert checked == {"embedding": 1, "lm_head": 3}[key]


@pytest.mark.parametrize("key", COMPONENTS)
def test_the_weight_files_header_counts_every_blob(bundle_of, key):
    """coremltools writes the final count when its writer is destroyed; in a file copied before, it is too small."""
    package = bundle_of(key).package(key)
    functions = Program(package).spec.mlProgram.functions.values()
    offsets = {value.blobFileValue.offset for function in functions for _, value in file_values(function)}
    count, version = np.frombuffer((package / WEIGHTS_FILE).read_bytes()[:8], np.uint32)
    assert (count, version) == (len(offsets), 2)


def test_functions_share_their_weights(demo_bundle):
    """Three decoder lengths take the space of one: no layer's weight is in the file twice."""
    program = Program(demo_bundle.package("decoder_prefill"))
    offsets = [
        {value.blobFileValue.offset for _, value in file_values(function) if np.prod(tensor_type(value.type)[1]) > 4096}
        for function in program.spec.mlProgram.functions.values()
    ]
    assert len(offsets) == 3
    assert offsets[0] == offsets[1] == offsets[2] != set()


def test_no_causal_mask_is_stored(demo_bundle):
    """A stored mask would cost L^2 values a function."""
    function = Program(demo_bundle.package("decoder_prefill")).spec.mlProgram.functions["length_1024"]
    largest = max(np.prod(tensor_type(value.type)[1]) for _, value in file_values(function))
    dimensions = demo_bundle.metadata.dimensions
    assert largest < 1024 * 512
    assert largest <= dimensions.hidden * 4 * dimensions.hidden


def test_intermediates_are_freed_after_their_last_use(demo_bundle):
    function = Program(demo_bundle.package("decoder_prefill")).function("length_256")
    alive, most_alive, computed = set(function.inputs), 0, 0
    for step in function.steps:
        alive |= {name for name, _ in step.outputs}
        most_alive, computed = max(most_alive, len(alive)), computed + len(step.outputs)
        assert alive >= set(step.frees)
        alive -= set(step.frees)
    assert alive == set(function.outputs)
    assert most_alive < 20 < computed


def test_weights_are_mapped_not_copied(demo_bundle):
    program = Program(demo_bundle.package("decoder_prefill"))
    function = program.function("length_256")
    weights = [step.arguments["weight"] for step in function.steps if "weight" in step.arguments]
    mapping = program._constants._weights._bytes
    start = mapping.ctypes.data
    assert weights
    assert isinstance(mapping, np.memmap)
    assert all(start <= weight.data_ptr() < start + mapping.size for weight in weights)


def assert_computes_on_another_device(bundle, key):
    """The same comes out there as on the CPU, and no op gets a tensor of both; see `other_device`.

    A larger function is run if it has an op that no smaller one has.
    """
    package, functions = bundle.package(key), bundle.record(key).functions
    on_cpu, there, seen = Program(package), Program(package, device=DEVICE.type), set()
    for name in sorted(functions, key=lambda name: functions[name] or 0):
        function = on_cpu.function(name)
        kinds = {step.kind for step in function.steps}
        if kinds <= seen:
            continue
        seen |= kinds
        inputs = {
            each: RNG.integers(0, 200, [size or 2 for size in shape]).astype(str(dtype).removeprefix("torch."))
            for each, (dtype, shape) in function.inputs.items()
        }
        with other_device():
            outputs = there.function(name)(inputs)
        for output, expected in function(inputs).items():
            np.testing.assert_array_equal(outputs[output], expected)


@pytest.mark.parametrize("key", COMPONENTS)
def test_every_op_computes_on_the_programs_device(bundle_of, key):
    assert_computes_on_another_device(bundle_of(key), key)


@pytest.mark.parametrize("key", DEFAULT_COMPONENTS)
def test_every_op_of_a_float16_package_computes_on_the_programs_device(float16_bundle, key):
    assert_computes_on_another_device(float16_bundle, key)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="--device cuda needs an NVIDIA GPU")
def test_a_gpu_gives_the_same_words(demo_bundle, demo_clips):
    aligners = [Aligner(demo_bundle, MilBackend(demo_bundle, device=device)) for device in ("cpu", "cuda")]
    for clip in demo_clips:
        samples = load_audio(Path(clip.audio))
        on_cpu, on_gpu = (aligner.align(samples, clip.transcript, clip.language).words for aligner in aligners)
        assert on_cpu == on_gpu


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is an NVIDIA GPU")
def test_an_absent_device_is_refused(demo_bundle, demo_checkpoint, demo_clips, tmp_path):
    with pytest.raises(UserError, match="needs an NVIDIA GPU"):
        make_backend(RuntimeOptions("mil", "cuda"), demo_bundle)
    with pytest.raises(UserError, match="needs an NVIDIA GPU"):
        make_reference(demo_checkpoint, demo_clips, tmp_path / "reference.json", "cuda")


@pytest.fixture
def broken(demo_bundle, tmp_path):
    """A copy of the head's package, to be damaged."""
    package = tmp_path / "broken.mlpackage"
    shutil.copytree(demo_bundle.package("lm_head"), package)
    return package


def test_an_op_that_is_not_in_the_table_is_an_error_that_names_it(tmp_path):
    @mb.program(input_specs=[mb.TensorSpec(shape=(3,))], opset_version=ct.target.iOS18)
    def program(x):
        return mb.atanh(x=x, name="out")

    with pytest.raises(UserError, match=r"no op atanh .*out"):
        Program(saved(program, tmp_path)).function()


def test_missing_weights_are_an_error_that_names_them(broken):
    (broken / WEIGHTS_FILE).unlink()
    with pytest.raises(UserError, match=r"weights of \S+ are missing"):
        Program(broken).function()


def test_cut_off_weights_are_an_error_that_names_them(broken):
    path = broken / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:-4096])
    with pytest.raises(UserError, match=r"weights of \S+ are missing from .*damaged or cut off"):
        Program(broken).function()


def test_a_damaged_record_is_an_error_that_names_the_weight(broken):
    path = broken / WEIGHTS_FILE
    data = bytearray(path.read_bytes())
    data[64:68] = b"\0\0\0\0"  # the sentinel of the first record
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"weights of \S+ are missing"):
        Program(broken).function()


def test_a_damaged_spec_is_an_error(broken):
    spec = broken / "Data/com.apple.CoreML/model.mlmodel"
    spec.write_bytes(spec.read_bytes()[:100])
    with pytest.raises(UserError, match="not a usable Core ML package"):
        Program(broken)


def test_an_absent_package_is_an_error(tmp_path):
    with pytest.raises(UserError, match="not a usable Core ML package"):
        Program(tmp_path / "absent.mlpackage")


def test_an_unknown_function_is_an_error_with_the_list(demo_bundle: Bundle):
    with pytest.raises(UserError, match="no function length_99; it has length_1024, length_256, length_640"):
        Program(demo_bundle.package("decoder_prefill")).function("length_99")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "takes the inputs"),
        ({"hidden_states": np.zeros((1, 4, 7), np.float32)}, "must have the shape"),
        ({"hidden_states": np.zeros((4, 7), np.float32)}, "must have the shape"),
    ],
)
def test_wrong_inputs_are_an_error(demo_bundle: Bundle, inputs, message):
    with pytest.raises(UserError, match=message):
        Program(Path(demo_bundle.package("lm_head"))).function()(inputs)
