"""Compressed weights have coremltools' values and file format, and keep most of the demo's boundaries."""

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil.frontend.milproto.load import load as load_milproto
from coremltools.converters.mil.mil.ops.defs.iOS18.compression import (
    constexpr_blockwise_shift_scale,
    constexpr_lut_to_dense,
)
from coremltools.libmilstoragepython import _BlobStorageReader
from coremltools.optimize.coreml._quantization_passes import palettize_weights
from coremltools.proto import MIL_pb2

from forced_aligner.align.chain import Aligner
from forced_aligner.base.errors import UserError
from forced_aligner.base.records import read_json
from forced_aligner.convert.compression import compress, kmeans
from forced_aligner.convert.options import Options
from forced_aligner.convert.presets import parse_compress
from forced_aligner.jobs.compare import compare
from forced_aligner.jobs.convert import convert
from forced_aligner.package.bundle import Bundle, package_size
from forced_aligner.package.contract import DEFAULT_COMPONENTS, WEIGHTS_FILE
from forced_aligner.package.spec import file_values, tensor_type
from forced_aligner.package.weight_file import WeightFile
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.runtime.mil.program import Program
from forced_aligner.runtime.mil.registry import lookup
from forced_aligner.score.gate import Gate
from forced_aligner.score.records import Reference

PRESETS = ("int8", "int6", "int4")
RNG = np.random.default_rng(0)


def run(name, **arguments):
    """The result of one op in the MIL runtime."""
    return lookup(name, "out", arguments)(**{key: torch.from_numpy(value) for key, value in arguments.items()}).numpy()


@pytest.fixture(scope="module")
def compressed(demo_checkpoint, tmp_path_factory):
    """The demo in every preset."""
    bundles = {}
    for preset in PRESETS:
        folder = tmp_path_factory.mktemp("compressed") / preset
        convert(
            demo_checkpoint,
            folder,
            Options(DEFAULT_COMPONENTS, (256, 768), (104,), precision="float16", compress=preset),
        )
        bundles[preset] = Bundle.open(folder)
    return bundles


# --- ops against coremltools' own decompression ---------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(
    ("shape", "scales"),
    [((6, 8), (6, 1)), ((6, 64), (6, 2)), ((6, 8), (1, 1)), ((4, 8, 3, 3), (4, 1, 1, 1)), ((4, 8, 3, 3), (4, 2, 1, 1))],
)
@pytest.mark.parametrize("with_offset", [False, True])
def test_shift_scale_equals_coremltools(dtype, shape, scales, with_offset):
    data = RNG.integers(-128, 128, shape).astype(np.int8)
    scale = RNG.uniform(0.01, 1, scales).astype(dtype)
    offset = RNG.integers(-8, 8, scales).astype(np.int8) if with_offset else None
    expected = constexpr_blockwise_shift_scale.decompress(data, scale, offset)
    weight = run(
        "constexpr_blockwise_shift_scale", data=data, scale=scale, **({"offset": offset} if with_offset else {})
    )
    assert weight.dtype == dtype
    np.testing.assert_array_equal(weight, expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(
    ("shape", "groups"),
    [((6, 8), (1, 1)), ((6, 8), (3, 1)), ((6, 8), (1, 2)), ((6, 8), (2, 4)), ((4, 2, 3, 3), (1, 1, 1, 1))],
)
def test_palette_equals_coremltools(dtype, shape, groups, monkeypatch):
    monkeypatch.setattr(
        "forced_aligner.runtime.mil.ops.compressed_weights.ROWS_ELEMENTS", 10
    )  # so that the look-up takes several chunks
    indices = RNG.integers(0, 64, shape).astype(np.uint8)
    lut = RNG.standard_normal((*groups, 64, 1)).astype(dtype)
    expected = constexpr_lut_to_dense.decompress(indices, lut, None)
    weight = run("constexpr_lut_to_dense", indices=indices, lut=lut)
    assert weight.dtype == dtype
    np.testing.assert_array_equal(weight, expected)


def test_a_palette_of_vectors_is_an_error_not_a_wrong_result():
    with pytest.raises(UserError, match="no palette of vectors"):
        run("constexpr_lut_to_dense", indices=np.zeros((2, 2), np.uint8), lut=np.zeros((1, 1, 4, 2), np.float32))


# --- what is saved --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("key", DEFAULT_COMPONENTS)
def test_coremltools_reads_a_compressed_package_back_with_the_same_weights(compressed, preset, key):
    """coremltools' reader infers every type again, and decompresses each weight as the MIL runtime does."""
    package, record = compressed[preset].package(key), compressed[preset].record(key)
    spec = ct.utils.load_spec(str(package))
    theirs = load_milproto(spec, spec.specificationVersion, str((package / WEIGHTS_FILE).parent))
    name = next(iter(record.functions))
    expected = {
        op.outputs[0].name: op.materialized_val_inference()
        for op in theirs.functions[name].operations
        if op.op_type.startswith("constexpr_")
    }
    weights = {
        step.outputs[0][0]: step.op(**step.arguments).numpy()
        for step in Program(package).function(name).steps
        if step.kind.startswith("constexpr_")
    }
    assert weights.keys() == expected.keys()
    assert bool(weights) == (record.compression != "none")
    for weight, values in weights.items():
        np.testing.assert_array_equal(values, expected[weight])


@pytest.mark.parametrize(("preset", "dtype", "reader"), [("int4", "INT4", "int4"), ("int6", "UINT6", "uint6")])
def test_sub_byte_weights_equal_coremltools_reader(compressed, preset, dtype, reader):
    package = compressed[preset].package("audio_transformer")
    path = package / WEIGHTS_FILE
    theirs, ours, checked = _BlobStorageReader(str(path)), WeightFile(path), 0
    for name, value in file_values(Program(package).spec.mlProgram.functions["frames_104"]):
        if tensor_type(value.type)[0] == getattr(MIL_pb2, dtype):
            expected = np.asarray(getattr(theirs, f"read_{reader}_data")(value.blobFileValue.offset))
            np.testing.assert_array_equal(ours.read(value, name).reshape(-1), expected)
            checked += 1
    assert checked >= 18


def weights_bytes(bundle, key):
    return (bundle.package(key) / WEIGHTS_FILE).stat().st_size


@pytest.mark.parametrize(("preset", "low", "high"), [("int8", 0.5, 0.56), ("int6", 0.37, 0.45), ("int4", 0.25, 0.35)])
def test_weights_shrink_to_what_their_bits_cost(compressed, float16_bundle, preset, low, high):
    """The rest are scales or palettes, and the norms and biases, which are not compressed."""
    for key in ("audio_transformer", "decoder_prefill"):
        share = weights_bytes(compressed[preset], key) / weights_bytes(float16_bundle, key)
        assert low < share < high, key


def test_functions_share_their_compressed_weights(compressed):
    program = Program(compressed["int6"].package("decoder_prefill"))
    offsets = [
        {value.blobFileValue.offset for _, value in file_values(f) if np.prod(tensor_type(value.type)[1]) > 2048}
        for f in program.spec.mlProgram.functions.values()
    ]
    assert len(offsets) == 2
    assert offsets[0] == offsets[1] != set()


def test_head_first_convolution_norms_and_biases_are_not_compressed(compressed):
    assert compressed["int4"].record("lm_head").compression == "none"
    steps = Program(compressed["int4"].package("audio_conv")).function().steps
    compressed_weights = {step.outputs[0][0] for step in steps if step.kind.startswith("constexpr_")}
    convolutions = [step for step in steps if step.kind == "conv"]
    assert isinstance(convolutions[0].arguments["weight"], torch.Tensor)
    assert convolutions[1].arguments["weight"].name in compressed_weights
    layers = Program(compressed["int4"].package("audio_transformer")).function("frames_104").steps
    for step in layers:
        for key in ("gamma", "beta", "bias"):
            assert isinstance(step.arguments.get(key, torch.zeros(1)), torch.Tensor)


def test_one_component_can_have_a_preset_of_its_own():
    chosen = parse_compress("int8,decoder_prefill=int4,lm_head=int8", DEFAULT_COMPONENTS)
    assert chosen == {
        "audio_conv": "int8",
        "audio_transformer": "int8",
        "embedding": "int8",
        "decoder_prefill": "int4",
        "lm_head": "int8",
    }
    assert parse_compress("int8", DEFAULT_COMPONENTS)["lm_head"] == "none"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compress": "int5"}, "--compress takes none, int8, int6, int4"),
        ({"compress": "int8,decoder=int4"}, "--compress names 'decoder'"),
        (
            {"compress": "int8", "deployment_target": "iOS17", "decoder_lengths": (256,), "audio_frames": (208,)},
            "constexpr ops of iOS 18",
        ),
    ],
)
def test_what_cannot_be_compressed_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        Options(DEFAULT_COMPONENTS, **options).validate()


# --- what it costs --------------------------------------------------------------------------------------------


def test_the_palette_is_as_good_as_coremltools_own_k_means():
    weight = RNG.standard_normal((48, 64)).astype(np.float16)
    theirs = palettize_weights.blockwise_compress(weight, "KMEANS", 6, [0, 0])
    lut, indices = kmeans(weight)

    def error(palette, index):
        return float(((palette.astype(np.float64).reshape(-1)[index.reshape(-1)] - weight.reshape(-1)) ** 2).mean())

    assert len(lut) == 64
    assert 0 < error(lut, indices) <= 1.02 * error(theirs.lut, theirs.indices)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("preset", ["int8", "int4"])
def test_a_row_of_zeros_stays_zero(preset):
    """coremltools divides the row by its scale, zero, and casts the NaN to an integer."""
    weight = RNG.standard_normal((4, 64)).astype(np.float16)
    weight[1] = 0
    parameters = compress(weight, preset).parameters
    assert not parameters["data"].array[1].any()
    assert parameters["data"].array[0].any()


def test_a_weight_of_few_values_is_kept_exactly():
    weight = RNG.choice(np.float16([-1, -0.25, 0, 0.5, 2]), (64, 64))
    lut, indices = kmeans(weight)
    np.testing.assert_array_equal(lut[indices].reshape(weight.shape), weight)


@pytest.mark.parametrize(("preset", "floor"), [("int8", 99.0), ("int6", 95.0), ("int4", 85.0)])
def test_the_demo_keeps_its_boundaries(compressed, demo_reference_path, preset, floor):
    reference = read_json(Reference, demo_reference_path, "")
    aligner = Aligner(compressed[preset], MilBackend(compressed[preset]))
    report, _ = compare(aligner, reference, demo_reference_path.parent, Gate())
    assert report.bin_exact_percent >= floor


def test_a_compressed_folder_is_smaller_than_a_float16_one(compressed, float16_bundle):
    def size(bundle):
        return sum(package_size(bundle.package(key)) for key in DEFAULT_COMPONENTS)

    sizes = [size(float16_bundle), *(size(compressed[preset]) for preset in PRESETS)]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 4
