"""The Core ML backend, over a strict double of Core ML: it predicts on macOS only. See `tests/coreml_double`."""

import gc
import os
import re
import shutil
import sys

import numpy as np
import pytest

from forced_aligner.base.errors import UserError
from forced_aligner.package.bundle import Bundle, package_digest
from forced_aligner.package.contract import MAIN
from forced_aligner.package.metadata import CompiledRecord
from forced_aligner.runtime import coreml
from forced_aligner.runtime.choice import make_backend
from forced_aligner.runtime.compiled import CompiledPackages, remove_oldest
from forced_aligner.runtime.coreml import CoreMLBackend
from forced_aligner.runtime.input_buffers import InputBuffers
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.runtime.options import RuntimeOptions

FLOAT32 = np.dtype(np.float32)


def inputs_of(bundle, component, function, rows=4):
    """Seeded inputs for a function, as wrong as a host may hand them over: read-only, strided, of wide types."""
    sizes, generator = bundle.metadata.dimensions, np.random.default_rng(0)
    length = bundle.record(component).functions[function] or rows

    def values(*shape):
        array = np.asfortranarray(generator.standard_normal(shape))
        array.flags.writeable = False
        return array

    return {
        "audio_conv": lambda: {"mel_input": values(1, sizes.mel_bins, sizes.chunk_frames)},
        "audio_encoder": lambda: {"mel_input": values(1, sizes.mel_bins, sizes.chunk_frames)},
        "audio_transformer": lambda: {
            "features": values(1, length, sizes.audio_hidden),
            "attention_mask": values(1, 1, length, length),
        },
        "embedding": lambda: {"input_ids": np.arange(length, dtype=np.int64)[None]},
        "decoder_prefill": lambda: {
            "hidden_states": values(1, length, sizes.hidden),
            "position_cos": values(1, length, sizes.head_dim),
            "position_sin": values(1, length, sizes.head_dim),
        },
        "lm_head": lambda: {"hidden_states": values(1, length, sizes.hidden)},
    }[component]()


def functions_of(bundle):
    return [(key, function) for key, record in bundle.metadata.components.items() for function in record.functions]


def package_name(bundle, component):
    return bundle.record(component).package


def test_every_function_gives_what_the_mil_runtime_gives(demo_bundle, core_ml):
    """Inputs that Core ML would refuse or lose are converted and kept, and its padded rows are taken apart."""
    ours, theirs = CoreMLBackend(demo_bundle), MilBackend(demo_bundle)
    for component, record in demo_bundle.metadata.components.items():
        function = next(iter(record.functions))
        inputs = inputs_of(demo_bundle, component, function)
        expected = theirs.predict(
            component,
            function,
            {name: array.astype("f4") if array.dtype == "f8" else array for name, array in inputs.items()},
        )
        found = ours.predict(component, function, inputs)
        assert found.keys() == expected.keys()
        for name, array in found.items():
            np.testing.assert_array_equal(array, expected[name])
            assert array.flags.c_contiguous and array.flags.owndata


def test_every_function_is_loaded_by_its_name_and_main_by_none(demo_bundle, core_ml):
    """A package of one function has no names in Core ML; without a name, one of several would be the default one."""
    backend = CoreMLBackend(demo_bundle)
    for component, function in functions_of(demo_bundle):
        backend.load(component, function)
        name = "" if function == MAIN else function
        assert core_ml.loads[-1][:2] == (package_name(demo_bundle, component), name)


def test_a_function_that_is_loaded_is_not_loaded_again(demo_bundle, core_ml):
    backend = CoreMLBackend(demo_bundle)
    for function in ("length_256", "length_640", "length_256"):
        backend.load("decoder_prefill", function)
    assert [load.function for load in core_ml.loads] == ["length_256", "length_640"]


@pytest.mark.parametrize("name", ["ALL", "CPU_AND_GPU"])
def test_the_compute_units_are_those_of_the_metadata(demo_bundle, core_ml, name):
    metadata = demo_bundle.metadata.model_copy(update={"compute_units": name})
    backend = CoreMLBackend(Bundle(demo_bundle.folder, metadata))
    backend.load("lm_head", MAIN)
    assert core_ml.loads[-1].units == backend.computes_on == name


@pytest.mark.parametrize(
    ("name", "units"),
    [("all", "ALL"), ("cpu", "CPU_ONLY"), ("cpu-and-gpu", "CPU_AND_GPU"), ("cpu-and-ne", "CPU_AND_NE")],
)
def test_the_compute_units_are_those_that_are_asked_for(demo_bundle, core_ml, name, units):
    backend = make_backend(RuntimeOptions(compute_units=name), demo_bundle)
    backend.load("lm_head", MAIN)
    assert core_ml.loads[-1].units == backend.computes_on == units


def test_a_few_functions_are_loaded_at_a_time_and_the_one_used_longest_ago_goes(demo_bundle, core_ml, monkeypatch):
    monkeypatch.setattr(coreml, "MAX_LOADED", 3)
    backend = CoreMLBackend(demo_bundle)
    used = ["length_256", "length_640", "length_1024"]
    for function in used:
        backend.load("decoder_prefill", function)
    backend.predict("decoder_prefill", "length_256", inputs_of(demo_bundle, "decoder_prefill", "length_256"))
    backend.load("lm_head", MAIN)
    assert {load.function for load in core_ml.alive()} == {"length_256", "length_1024", ""}
    for component, function in functions_of(demo_bundle):
        backend.load(component, function)
    assert core_ml.most_alive == 3


def test_an_unloaded_function_is_gone_while_its_inputs_live_on(demo_bundle, core_ml):
    backend = CoreMLBackend(demo_bundle)
    backend.predict("lm_head", MAIN, inputs_of(demo_bundle, "lm_head", MAIN))
    backend.unload("lm_head", MAIN)
    backend.unload("lm_head", MAIN)  # of what is not loaded: nothing
    assert not core_ml.alive()
    core_ml.check_inputs_alive()


def test_the_inputs_outlive_the_backend(demo_bundle, core_ml):
    backend = CoreMLBackend(demo_bundle)
    for rows in (2, 7, 3):  # flexible shapes
        backend.predict("embedding", MAIN, inputs_of(demo_bundle, "embedding", MAIN, rows))
    del backend
    core_ml.check_inputs_alive()


def test_a_package_is_compiled_once_for_all_functions_and_runs(demo_bundle, core_ml):
    for backend in (CoreMLBackend(demo_bundle), CoreMLBackend(demo_bundle)):
        for component, function in functions_of(demo_bundle):
            backend.load(component, function)
    assert core_ml.compiles == {record.package: 1 for record in demo_bundle.metadata.components.values()}
    assert not core_ml.left_behind


def test_without_the_cache_a_package_is_compiled_anew_and_nothing_is_left(demo_bundle, core_ml, user_cache):
    for _ in range(2):
        backend = CoreMLBackend(demo_bundle, compiled=CompiledPackages(demo_bundle, use_cache=False))
        backend.load("lm_head", MAIN)
        compiled = backend.compiled_path("lm_head")
        assert compiled.is_dir()
        del backend
        gc.collect()
        assert not compiled.exists()
    assert core_ml.compiles == {package_name(demo_bundle, "lm_head"): 2}
    assert not list(user_cache.iterdir())
    assert not core_ml.left_behind


def test_another_system_version_compiles_anew(demo_bundle, core_ml, monkeypatch):
    for version in ("macOS 15.1", "macOS 15.2", "macOS 15.1"):
        monkeypatch.setattr("forced_aligner.runtime.compiled.system_name", lambda version=version: version)
        CoreMLBackend(demo_bundle).prepare("lm_head")
    assert core_ml.compiles.total() == 2


def test_a_kept_package_that_has_lost_a_part_is_compiled_again(demo_bundle, core_ml):
    path = CoreMLBackend(demo_bundle).compiled_path("lm_head")
    for file in [path for path in path.rglob("*") if path.is_file()]:
        file.unlink()
    CoreMLBackend(demo_bundle).load("lm_head", MAIN)
    assert core_ml.compiles.total() == 2


def test_a_kept_package_that_another_run_has_removed_is_compiled_again(demo_bundle, core_ml):
    backend = CoreMLBackend(demo_bundle)
    shutil.rmtree(backend.compiled_path("lm_head").parent)
    with pytest.raises(UserError):  # in the run that made it
        backend.load("lm_head", MAIN)
    later = CoreMLBackend(demo_bundle)
    later.prepare("lm_head")
    found = CoreMLBackend(demo_bundle)
    shutil.rmtree(found.compiled_path("lm_head").parent)
    found.load("lm_head", MAIN)
    assert core_ml.compiles.total() == 3


def test_what_another_run_compiles_now_stays_and_what_a_killed_one_left_goes(tmp_path):
    now, killed = tmp_path / "macOS-15/unfinished-now", tmp_path / "macOS-15/unfinished-killed"
    for folder in (now, killed):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(bytes(100))
    os.utime(killed, (0, 0))
    remove_oldest(tmp_path, 10, keep=[])
    assert [path.name for path in now.parent.iterdir()] == [now.name]


def test_a_published_compiled_package_that_does_not_load_can_be_passed_over(demo_bundle, core_ml, tmp_path):
    bundle = Bundle.open(published(demo_bundle, tmp_path / "hub", core_ml))
    shutil.rmtree(bundle.folder / "head.mlmodelc")
    with pytest.raises(UserError, match=r"Core ML cannot load .* or --no-cache"):
        CoreMLBackend(bundle).load("lm_head", MAIN)
    make_backend(RuntimeOptions(use_cache=False), bundle).load("lm_head", MAIN)
    assert core_ml.compiles.total() == 1


def test_what_the_compiler_prints_is_not_among_the_results(demo_bundle, core_ml, monkeypatch, capfd):
    from coremltools.models import utils

    compile_model = utils.compile_model

    def talks(*arguments):
        os.write(1, b"compiling ...")
        return compile_model(*arguments)

    monkeypatch.setattr(utils, "compile_model", talks)
    CoreMLBackend(demo_bundle).prepare("lm_head")
    said = capfd.readouterr()
    assert (said.out, "compiling ..." in said.err) == ("", True)


def test_a_coremltools_without_its_core_ml_part_is_one_sentence(demo_bundle):
    if sys.platform == "darwin":
        pytest.skip("coremltools has it here")
    with pytest.raises(UserError, match="coremltools cannot drive Core ML here"):
        CoreMLBackend(demo_bundle)


def test_a_cache_that_cannot_be_written_costs_a_compile_and_a_warning(
    demo_bundle, core_ml, read_only, monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: read_only / name)
    somebody_elses = tmp_path / "work/folder/file"
    somebody_elses.parent.mkdir(parents=True)
    somebody_elses.write_bytes(bytes(10))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # the package is compiled there
    monkeypatch.setattr("forced_aligner.runtime.compiled.MAX_CACHE_BYTES", 1)
    CoreMLBackend(demo_bundle).load("lm_head", MAIN)
    assert "cannot be written (Read-only file system)" in capsys.readouterr().err
    assert somebody_elses.exists()  # once, the temporary folder was cleaned as if it were the cache


def test_a_compile_that_fails_leaves_nothing_in_the_cache(demo_bundle, core_ml, user_cache):
    core_ml.refuse_compile("no")
    with pytest.raises(UserError):
        CoreMLBackend(demo_bundle).prepare("lm_head")
    assert not [path for path in user_cache.rglob("*") if path.is_file()]


def test_the_cache_is_bounded_and_what_was_used_longest_ago_goes(demo_bundle, core_ml, monkeypatch):
    backend = CoreMLBackend(demo_bundle)
    first = backend.compiled_path("audio_conv").parent
    CoreMLBackend(demo_bundle).prepare("embedding")
    os.utime(first, (0, 0))
    monkeypatch.setattr("forced_aligner.runtime.compiled.MAX_CACHE_BYTES", 1)
    other = CoreMLBackend(demo_bundle)
    head, decoder = (other.compiled_path(component).parent for component in ("lm_head", "decoder_prefill"))
    assert sorted(first.parent.iterdir()) == sorted([head, decoder])  # those of this run stay


def published(bundle, folder, core_ml):
    """A copy of a bundle with one compiled package beside it."""
    shutil.copytree(bundle.folder, folder)
    record = bundle.record("lm_head")
    shutil.copytree(CoreMLBackend(bundle).compiled_path("lm_head"), folder / "head.mlmodelc")
    compiled = CompiledRecord(name="head.mlmodelc", sha256=package_digest(folder / "head.mlmodelc"))
    components = bundle.metadata.components | {"lm_head": record.model_copy(update={"compiled": compiled})}
    metadata = bundle.metadata.model_copy(update={"components": components}).sealed()
    (folder / "metadata.json").write_text(metadata.model_dump_json())
    core_ml.compiles.clear()
    return folder


def test_a_published_compiled_package_is_used_as_it_is(demo_bundle, core_ml, tmp_path):
    bundle = Bundle.open(published(demo_bundle, tmp_path / "hub", core_ml))
    backend = CoreMLBackend(bundle)
    backend.load("lm_head", MAIN)
    assert backend.compiled_path("lm_head") == bundle.folder / "head.mlmodelc"
    assert not core_ml.compiles


def test_a_damaged_published_compiled_package_is_refused(demo_bundle, core_ml, tmp_path):
    folder = published(demo_bundle, tmp_path / "hub", core_ml)
    next(path for path in (folder / "head.mlmodelc").rglob("*") if path.is_file()).write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"head\.mlmodelc is missing or damaged: download it again"):
        Bundle.open(folder)
    shutil.rmtree(folder / "head.mlmodelc")
    with pytest.raises(UserError, match=r"head\.mlmodelc is missing or damaged"):
        Bundle.open(folder)


def test_the_digest_of_the_metadata_is_over_compiled_packages_too(demo_bundle, core_ml, tmp_path):
    metadata = published(demo_bundle, tmp_path / "hub", core_ml) / "metadata.json"
    text = metadata.read_text()
    sha256 = re.search(r'"name":"head.mlmodelc","sha256":"(\w+)"', text)[1]
    metadata.write_text(text.replace(sha256, "0" * 64))
    with pytest.raises(UserError, match="it was changed after the conversion"):
        Bundle.open(metadata.parent)


def test_a_refused_compile_is_one_sentence_with_the_reason_and_what_to_try(demo_bundle, core_ml):
    core_ml.refuse_compile("compiler error:  Encountered an error\nwhile compiling a neural network model")
    with pytest.raises(UserError) as refused:
        CoreMLBackend(demo_bundle).load("lm_head", MAIN)
    assert str(refused.value) == (
        "Core ML cannot compile forced_aligner_lm_head.mlpackage (compiler error: Encountered an error while compiling "
        "a neural network model): packages for iOS18 need macOS 15 or newer; convert with another --deployment-target, "
        "or use --backend mil"
    )


def test_a_refused_compute_unit_is_one_sentence(demo_bundle, core_ml):
    core_ml.refuse_units("CPU_AND_NE", "Failed to build the model execution plan")
    with pytest.raises(UserError, match=r"^Core ML cannot load .* on CPU_AND_NE .*execution plan.*--backend mil"):
        CoreMLBackend(demo_bundle, "cpu-and-ne").load("lm_head", MAIN)
    with pytest.raises(UserError):
        CoreMLBackend(demo_bundle, "cpu-and-ne").load("lm_head", MAIN)
    CoreMLBackend(demo_bundle, "cpu").load("lm_head", MAIN)
    assert core_ml.compiles.total() == 1  # what is kept is whole, so it is not to blame


def test_a_macos_that_is_too_old_is_one_sentence(demo_bundle, core_ml):
    core_ml.macos = (14, 7)
    with pytest.raises(UserError, match=r"packages for iOS18 need macOS 15 or newer"):
        CoreMLBackend(demo_bundle).load("decoder_prefill", "length_256")


def test_inputs_of_other_shapes_are_core_mls_to_refuse(demo_bundle, core_ml):
    inputs = inputs_of(demo_bundle, "decoder_prefill", "length_256")
    with pytest.raises(UserError, match=r"Core ML cannot run .*not compatible"):
        CoreMLBackend(demo_bundle).predict("decoder_prefill", "length_640", inputs)


def test_other_inputs_than_a_package_takes_are_refused(demo_bundle, core_ml):
    with pytest.raises(UserError, match=r"takes the inputs \['input_ids'\], not \['ids'\]"):
        CoreMLBackend(demo_bundle).predict("embedding", MAIN, {"ids": np.zeros((1, 4), np.int32)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "coreml"}, "--backend coreml needs macOS; use --backend mil"),
        ({"compute_units": "cpu"}, "--compute-units cpu needs Core ML, but the MIL runtime runs: leave it out"),
    ],
)
def test_without_core_ml_what_needs_it_is_refused(monkeypatch, options, message):
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(UserError, match=message):
        RuntimeOptions(**options)


def test_what_fits_no_runtime_is_refused(core_ml):
    with pytest.raises(UserError, match="--device cuda is for the MIL runtime; Core ML takes --compute-units"):
        RuntimeOptions("coreml", "cuda")
    for backend in ("coreml", "auto"):
        with pytest.raises(UserError, match="--threads 2 is for the MIL runtime; Core ML chooses its own"):
            RuntimeOptions(backend, threads=2)
    with pytest.raises(UserError, match="--threads 0 is less than one thread"):
        RuntimeOptions("mil", threads=0)
    with pytest.raises(UserError, match="--compute-units all needs Core ML"):
        RuntimeOptions("mil", compute_units="all")


def test_auto_is_core_ml_where_it_is(demo_bundle, core_ml, monkeypatch):
    assert make_backend(RuntimeOptions(), demo_bundle).name == "coreml"
    monkeypatch.undo()
    monkeypatch.setattr("sys.platform", "linux")
    assert make_backend(RuntimeOptions(), demo_bundle).name == "mil"


def test_the_arrays_of_an_input_share_one_memory():
    buffers = InputBuffers()
    long, short = (buffers.hold("x", np.ones((1, rows, 3)), FLOAT32) for rows in (8, 5))
    assert np.shares_memory(long, short)
    assert buffers.hold("x", np.ones((1, 8, 3)), FLOAT32) is long
    longer = buffers.hold("x", np.ones((1, 9, 3)), FLOAT32)
    assert not np.shares_memory(long, longer) and long.shape == (1, 8, 3)


def test_an_array_that_was_handed_over_is_never_freed():
    """Core ML lets go of it without the interpreter's lock, when the buffers may be gone."""
    buffers = InputBuffers()
    held = buffers.hold("x", np.ones(4), FLOAT32)
    assert sys.getrefcount(held) > 16
