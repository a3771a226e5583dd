"""The test double of Core ML refuses what it promises to refuse, and computes what the MIL runtime computes."""

import shutil

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.models import CompiledMLModel, compute_device
from coremltools.models.compute_plan import MLComputePlan, MLModelStructure
from coremltools.models.utils import compile_model
from coremltools.proto import FeatureTypes_pb2

from forced_aligner.package.contract import MAIN, WEIGHTS_FILE
from forced_aligner.runtime.mil.program import Program
from tests.coreml_double import compute_plan
from tests.coreml_double.double import Load
from tests.coreml_double.features import check_input, output
from tests.coreml_double.install import installed
from tests.coreml_double.lifetime import LINGER_S

HEAD, DECODER, CONV = "lm_head", "decoder_prefill", "audio_conv"
CONV_FILE, DECODER_FILE = "forced_aligner_audio_conv.mlpackage", "forced_aligner_decoder_prefill.mlpackage"


@pytest.fixture
def compiled(core_ml, demo_bundle, tmp_path):
    """Component -> its compiled package, made by coremltools' own `compile_model`."""

    def compile_component(component):
        destination = tmp_path / f"{component}.mlmodelc"
        if not destination.exists():
            compile_model(str(demo_bundle.package(component)), str(destination))
        return destination

    return compile_component


def load(path, function=None, units="ALL"):
    return CompiledMLModel(str(path), compute_units=ct.ComputeUnit[units], function_name=function)


def mel():
    """A new input of the convolutions."""
    return np.random.default_rng(0).standard_normal((1, 128, 100), np.float32)


KEPT = mel()  # inputs outlive their test: Core ML still holds them for a while
KEPT_ROWS = {rows: np.zeros((1, rows), np.int32) for rows in (0, 1, 1024, 1025)}


@pytest.mark.parametrize(
    ("component", "function", "shapes"),
    [
        (CONV, None, {"mel_input": (1, 128, 100)}),
        (HEAD, None, {"hidden_states": (1, 3, 128)}),
        (
            DECODER,
            "length_256",
            {"hidden_states": (1, 256, 128), "position_cos": (1, 256, 32), "position_sin": (1, 256, 32)},
        ),
    ],
)
def test_its_values_are_those_of_the_mil_runtime(core_ml, demo_bundle, compiled, component, function, shapes):
    generator = np.random.default_rng(0)
    inputs = {name: generator.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    outputs = load(compiled(component), function).predict(inputs)
    core_ml.let_time_pass(LINGER_S)
    expected = Program(demo_bundle.package(component)).function(function or MAIN)(inputs)
    assert outputs.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(outputs[name], array)


def test_what_was_asked_of_it_is_counted(core_ml, demo_bundle, compiled):
    conv, decoder = compiled(CONV), compiled(DECODER)
    assert core_ml.compiles == {CONV_FILE: 1, DECODER_FILE: 1}
    models = [load(decoder, "length_256", "CPU_ONLY"), load(decoder, "length_640", "CPU_AND_NE"), load(conv)]
    loads = [
        Load(DECODER_FILE, "length_256", "CPU_ONLY"),
        Load(DECODER_FILE, "length_640", "CPU_AND_NE"),
        Load(CONV_FILE, "", "ALL"),
    ]
    assert core_ml.loads == loads
    assert core_ml.alive() == set(loads)
    del models[:2]
    assert core_ml.alive() == {loads[2]}
    assert core_ml.most_alive == 3
    models[0].predict({"mel_input": KEPT})
    assert core_ml.predictions == {loads[2]: 1}
    assert core_ml.left_behind == []
    compile_model(str(demo_bundle.package(CONV)))  # without a destination it stays in the temporary folder
    assert [path.name for path in core_ml.left_behind] == ["forced_aligner_audio_conv.mlmodelc"]


# Compiling and loading


def test_only_a_whole_package_can_be_compiled(core_ml, demo_bundle, tmp_path):
    folder = tmp_path / "folder.mlpackage"
    folder.mkdir()
    with pytest.raises(RuntimeError, match="A valid manifest does not exist"):
        compile_model(str(folder))
    with pytest.raises(RuntimeError, match="is not a model package"):
        compile_model(str(tmp_path / "missing.mlpackage"))
    with pytest.raises(ValueError, match="Invalid model file path"):  # coremltools itself
        compile_model(str(tmp_path))
    package = shutil.copytree(demo_bundle.package(CONV), tmp_path / "damaged.mlpackage")
    (package / "Data/com.apple.CoreML/model.mlmodel").write_bytes(b"\xff" * 100)
    with pytest.raises(RuntimeError, match="unable to deserialize"):
        compile_model(str(package))


def test_a_package_needs_a_system_that_knows_its_specification(core_ml, demo_bundle):
    core_ml.macos = (14, 6)
    with pytest.raises(RuntimeError, match=r"specification version 9 is newer than macOS 14\.6"):
        compile_model(str(demo_bundle.package(CONV)))


def test_an_error_has_core_mls_form(core_ml, demo_bundle, compiled):
    core_ml.refuse_compile("the compiler is ill")
    with pytest.raises(RuntimeError) as caught:
        compile_model(str(demo_bundle.package(CONV)))
    assert str(caught.value) == '{\n    NSLocalizedDescription = "the compiler is ill";\n}'


def test_one_package_or_one_compute_unit_can_be_refused(core_ml, demo_bundle, compiled):
    core_ml.refuse_compile("not this one", DECODER_FILE)
    conv = compiled(CONV)
    with pytest.raises(RuntimeError, match="not this one"):
        compile_model(str(demo_bundle.package(DECODER)))
    core_ml.refuse_units("CPU_AND_NE", "no Neural Engine")
    with pytest.raises(RuntimeError, match="no Neural Engine"):
        load(conv, units="CPU_AND_NE")
    assert core_ml.alive() == set()
    load(conv, units="CPU_AND_GPU")


def test_a_package_that_is_not_compiled_cannot_be_loaded(core_ml, demo_bundle, tmp_path):
    (tmp_path / "empty.mlmodelc").mkdir()
    for path in (demo_bundle.package(CONV), tmp_path / "empty.mlmodelc", tmp_path / "missing.mlmodelc"):
        with pytest.raises(RuntimeError, match="Compile the model with Xcode"):
            load(path)


def test_damaged_weights_are_found_though_programs_are_kept(compiled):
    conv = compiled(CONV)
    load(conv)
    (conv / WEIGHTS_FILE).write_bytes(b"")
    with pytest.raises(RuntimeError, match="weights of"):
        load(conv)


@pytest.mark.parametrize(
    ("component", "function", "reason"),
    [
        (DECODER, None, "several functions and none was named"),
        (DECODER, "length_512", "no function length_512"),
        (DECODER, MAIN, "no function main"),
        (CONV, MAIN, "one function, which takes no name"),
    ],
)
def test_a_function_is_named_exactly_where_there_are_several(compiled, component, function, reason):
    with pytest.raises(RuntimeError, match=reason):
        load(compiled(component), function)


def test_function_names_need_macos_15(core_ml, compiled):
    decoder = compiled(DECODER)
    core_ml.macos = (14, 6)
    with pytest.raises(RuntimeError, match="can only be set on macOS >= 15"):
        load(decoder, "length_256")


def test_coremltools_own_checks_run(compiled):
    conv = compiled(CONV)
    with pytest.raises(TypeError, match="must be of type"):
        CompiledMLModel(conv)
    with pytest.raises(TypeError, match="must be either a dict"):
        load(conv).predict([("mel_input", mel())].__iter__())
    with pytest.raises(TypeError, match="must be of type"):
        CompiledMLModel(str(conv), compute_units="ALL")


# Inputs


def read_only(array):
    array.flags.writeable = False
    return array


def memory_of_torch(array):
    return torch.from_numpy(array).clone().numpy()


WRONG_INPUTS = {
    "read-only": (read_only, "read-only"),
    "not contiguous": (lambda array: np.repeat(array, 2, axis=2)[..., ::2], "not C-contiguous"),
    "in Fortran's order": (lambda array: np.asfortranarray(np.repeat(array, 2, axis=0))[:1], "not C-contiguous"),
    "float64": (lambda array: array.astype(np.float64), "is float64, and the model declares float32"),
    "int32": (lambda array: array.astype(np.int32), "is int32, and the model declares float32"),
    "int64": (lambda array: array.astype(np.int64), "no type for the int64"),
    "bool": (lambda array: array > 0, "no type for the bool"),
    "a list": (lambda array: array.tolist(), "is a list, not a numpy array"),
    "a tensor": (torch.from_numpy, "is a Tensor, not a numpy array"),
    "a number": (lambda array: 1.0, "is a float, not a numpy array"),
    "without a shape": (lambda array: np.array(1, np.float32), "has no shape"),
    "memory of others": (memory_of_torch, "numpy does not own the memory"),
    "of another size": (lambda array: np.zeros((1, 128, 99), np.float32), r"\(1 x 128 x 99\) does not match"),
    "of another rank": (lambda array: np.zeros((128, 100), np.float32), r"\(128 x 100\) does not match"),
}


@pytest.mark.parametrize(("change", "reason"), WRONG_INPUTS.values(), ids=list(WRONG_INPUTS))
def test_an_input_that_core_ml_cannot_read_in_place_is_refused(core_ml, compiled, change, reason):
    model = load(compiled(CONV))
    with pytest.raises(RuntimeError, match=reason):
        model.predict({"mel_input": change(mel())})
    assert not core_ml.predictions


def test_every_declared_input_is_there_and_no_other(compiled):
    model, batch = load(compiled(CONV)), KEPT
    with pytest.raises(RuntimeError, match="Feature mel_input is required but not specified"):
        model.predict({})
    with pytest.raises(RuntimeError, match="the input mask is unknown"):
        model.predict({"mel_input": batch, "mask": batch})


@pytest.mark.parametrize(("rows", "fits"), [(1, True), (1024, True), (0, False), (1025, False)])
def test_a_flexible_size_has_limits(compiled, rows, fits):
    model = load(compiled("embedding"))
    inputs = {"input_ids": KEPT_ROWS[rows]}
    if fits:
        assert model.predict(inputs)["embeddings"].shape == (1, rows, 128)
    else:
        with pytest.raises(RuntimeError, match="does not match the shape"):
            model.predict(inputs)


def test_of_enumerated_shapes_one_is_needed():
    feature = FeatureTypes_pb2.FeatureType()
    feature.multiArrayType.dataType = FeatureTypes_pb2.ArrayFeatureType.INT32
    for size in (2, 4):
        feature.multiArrayType.enumeratedShapes.shapes.add().shape.append(size)

    class Declared:
        name, type = "sizes", feature

    check_input(Declared, np.zeros(2, np.int32))
    check_input(Declared, np.zeros(4, np.int32))
    with pytest.raises(RuntimeError, match="does not match the shape"):
        check_input(Declared, np.zeros(3, np.int32))


# How long inputs live


def test_an_input_that_lives_on_is_no_fault(core_ml, compiled):
    model = load(compiled(CONV))
    for value in range(3):
        KEPT[0, 0, 0] = value  # the call is synchronous, so its memory may be used again
        model.predict({"mel_input": KEPT})
    core_ml.check_inputs_alive()


def dies_at_once(model):
    model.predict({"mel_input": mel()})


def dies_at_the_next_call(model):
    for _ in range(2):
        batch = mel()
        model.predict({"mel_input": batch})
    assert batch is not None


def is_a_new_view_of_kept_memory(model):
    model.predict({"mel_input": KEPT[:]})


def is_coremltools_copy_of_a_float16_array(model):
    model.predict({"mel_input": KEPT.astype(np.float16)})


def dies_in_a_cycle(model):
    cycle = [mel()]
    cycle.append(cycle)
    model.predict({"mel_input": cycle[0]})


@pytest.mark.parametrize(
    "mistake",
    [
        dies_at_once,
        dies_at_the_next_call,
        is_a_new_view_of_kept_memory,
        is_coremltools_copy_of_a_float16_array,
        dies_in_a_cycle,
    ],
)
def test_an_input_that_dies_while_core_ml_may_hold_it_is_a_fault(core_ml, compiled, mistake):
    mistake(load(compiled(CONV)))
    with pytest.raises(AssertionError, match=f"the input mel_input of {CONV_FILE} .its predict 1. died"):
        core_ml.check_inputs_alive()
    core_ml.check_inputs_alive()  # what was told once is not told again


def test_unloading_the_function_does_not_end_the_wait(core_ml, compiled):
    model, batch = load(compiled(CONV)), mel()
    model.predict({"mel_input": batch})
    del model
    assert core_ml.alive() == set()
    del batch
    with pytest.raises(AssertionError, match="died"):
        core_ml.check_inputs_alive()


def test_a_little_later_an_input_may_die(core_ml, compiled):
    model, batch = load(compiled(CONV)), mel()
    model.predict({"mel_input": batch})
    core_ml.let_time_pass(LINGER_S)
    del batch
    core_ml.check_inputs_alive()


def test_memory_cannot_move_under_a_living_input(core_ml, compiled):
    memory = np.zeros(12_800, np.float32)
    batch = memory.reshape(1, 128, 100)
    load(compiled(CONV)).predict({"mel_input": batch})
    with pytest.raises(ValueError, match="cannot resize"):
        memory.resize(1 << 20, refcheck=False)  # without the watch numpy would do it, and `batch` would dangle
    core_ml.let_time_pass(LINGER_S)


def test_the_fixture_looks_at_the_end_of_the_test(monkeypatch, tmp_path):
    with pytest.raises(AssertionError, match="the input x died"), installed(monkeypatch, tmp_path) as double:
        double.inputs.watch(np.zeros(3), "the input x")


# Outputs


def test_rows_of_outputs_lie_apart_with_no_number_between_them(compiled):
    array = load(compiled(CONV)).predict({"mel_input": KEPT})["conv_features"]
    assert array.dtype == np.float32
    assert array.shape == (1, 13, 128)
    assert array.strides[1] == 144 * 4
    assert np.isfinite(array).all()
    assert np.isnan(array.base[..., 128:]).all()


@pytest.mark.parametrize(
    ("kind", "dtype", "stride"), [("FLOAT32", np.float32, 5008 * 4), ("INT32", np.int32, 5008 * 4)]
)
def test_an_output_has_its_declared_type_and_5000_scores_a_stride_of_5008(kind, dtype, stride):
    feature = FeatureTypes_pb2.FeatureType()
    feature.multiArrayType.dataType = FeatureTypes_pb2.ArrayFeatureType.ArrayDataType.Value(kind)

    class Declared:
        type = feature

    array = output(Declared, np.ones((2, 5000)))
    assert array.dtype == dtype
    assert array.strides[0] == stride
    assert (array == 1).all()
    assert (array.base[:, 5000:] != 1).all()


def test_an_output_is_its_callers_own(compiled):
    model = load(compiled(CONV))
    first = model.predict({"mel_input": KEPT})["conv_features"]
    before = first.copy()
    KEPT[:] += 1
    second = model.predict({"mel_input": KEPT})["conv_features"]
    np.testing.assert_array_equal(first, before)
    assert not np.array_equal(first, second)


# Compute plans


def plan_of(path, units="ALL"):
    return MLComputePlan.load_from_path(path=str(path), compute_units=ct.ComputeUnit[units])


DEVICES = {
    "ALL": compute_device.MLNeuralEngineComputeDevice,
    "CPU_AND_NE": compute_device.MLNeuralEngineComputeDevice,
    "CPU_AND_GPU": compute_device.MLGPUComputeDevice,
    "CPU_ONLY": compute_device.MLCPUComputeDevice,
}


@pytest.mark.parametrize(("units", "best"), DEVICES.items())
def test_a_plan_has_a_device_and_a_cost_for_each_op_of_the_default_function(core_ml, compiled, units, best):
    plan = plan_of(compiled(DECODER), units)
    assert core_ml.plans == [(DECODER_FILE, units)]
    costs = []
    for name, function in plan.model_structure.program.functions.items():
        for op in function.block.operations:
            usage = plan.get_compute_device_usage_for_mlprogram_operation(op)
            cost = plan.get_estimated_cost_for_mlprogram_operation(op)
            kind = op.operator_name.removeprefix("ios18.")
            if name != "length_256" or kind in compute_plan.NOT_PLANNED:
                assert usage is None
                assert cost is None
                continue
            assert op.operator_name.startswith("ios18.")
            assert usage.preferred_compute_device is usage.supported_compute_devices[0]
            on_best = kind != compute_plan.NOT_ON_THE_NEURAL_ENGINE or "NeuralEngine" not in best.__name__
            assert isinstance(usage.preferred_compute_device, best) == on_best
            costs.append(cost.weight)
    assert sum(costs) == pytest.approx(1)
    assert min(costs) > 0


def test_a_structure_names_the_values_that_go_in_and_out(demo_bundle, compiled):
    structure = MLModelStructure.load_from_path(str(compiled(DECODER)))
    assert structure.program.functions.keys() == set(demo_bundle.metadata.components[DECODER].functions)
    function = structure.program.functions["length_640"]
    assert {value.name for value in function.inputs} == {"hidden_states", "position_cos", "position_sin"}
    assert function.block.output_names == ["output_hidden"]
    made = {value.name for value in function.inputs}
    for op in function.block.operations:
        used = {binding.name for argument in op.inputs.values() for binding in argument.bindings if binding.name}
        assert used <= made
        made |= {value.name for value in op.outputs}


def test_plans_need_macos_14_4_and_a_compiled_folder(core_ml, demo_bundle, compiled):
    conv = compiled(CONV)
    with pytest.raises(pytest.fail.Exception, match="here Core ML ends the process"):
        plan_of(demo_bundle.package(CONV))
    core_ml.macos = (14, 3)
    with pytest.raises(RuntimeError, match=r"only available on macOS >= 14\.4"):
        plan_of(conv)


def test_an_op_of_nowhere_has_no_plan(compiled):
    plan = plan_of(compiled(CONV))
    with pytest.raises(AttributeError):
        plan.get_estimated_cost_for_mlprogram_operation("linear")


def test_the_devices_are_made_up(core_ml):
    devices = compute_device.MLComputeDevice.get_all_compute_devices()
    assert [type(device) for device in devices] == [DEVICES[name] for name in ("ALL", "CPU_AND_GPU", "CPU_ONLY")]
    assert devices[0].total_core_count == compute_plan.NEURAL_ENGINE_CORES


def test_without_the_fixture_there_is_no_double(monkeypatch, tmp_path):
    before = compute_device._MLModelProxy
    with monkeypatch.context() as patched, installed(patched, tmp_path):
        assert compute_device._MLModelProxy is not before
    assert compute_device._MLModelProxy is before
