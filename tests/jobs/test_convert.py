"""What a conversion leaves behind: described packages, a whole folder or none, and options that do what they say."""

import json
import os
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path

import coremltools as ct
import numpy as np
import pytest
from typer.testing import CliRunner

from forced_aligner.base.errors import UserError
from forced_aligner.base.paths import METADATA_FILE
from forced_aligner.base.records import write_json
from forced_aligner.base.version import PROJECT, version_string
from forced_aligner.checkpoint.find import Checkpoint
from forced_aligner.checkpoint.processor import ALIGNER_CHAT_TEMPLATE
from forced_aligner.convert.defaults import DEFAULT_FRAMES, DEFAULT_LENGTHS
from forced_aligner.convert.options import Options
from forced_aligner.jobs.convert import convert
from forced_aligner.package.bundle import Bundle
from forced_aligner.package.contract import COMPONENTS_OF, SPEC_FILE
from forced_aligner.package.folder import write_folder
from forced_aligner.package.provenance import tool_versions
from forced_aligner.runtime.mil.program import Program
from individual_components import COMPONENTS

QUICK = ("embedding", "lm_head")  # what converts in a second


@pytest.mark.parametrize("key", COMPONENTS)
def test_every_package_describes_itself(bundle_of, key):
    bundle = bundle_of(key)
    spec = ct.utils.load_spec(str(bundle.package(key)))
    text = spec.description.metadata
    assert text.author
    assert text.license == "Apache-2.0"
    assert text.versionString == version_string()
    assert text.shortDescription == COMPONENTS[key].description
    assert text.userDefined["source_checkpoint"] == "demo"
    assert text.userDefined["checkpoint_fingerprint"] == bundle.metadata.checkpoint_fingerprint
    assert text.userDefined["coremltools_version"] == ct.__version__
    functions = spec.description.functions or [spec.description]
    for function in functions:
        names = [feature.name for feature in (*function.input, *function.output)]
        assert names == [feature.name for feature in (*COMPONENTS[key].inputs, *COMPONENTS[key].outputs)]
        assert all(feature.shortDescription for feature in (*function.input, *function.output))


def test_shapes_and_types_are_those_of_the_table(demo_bundle):
    """FP32 at every seam, so that a host needs one type; int32 token ids."""
    description = ct.utils.load_spec(str(demo_bundle.package("audio_conv"))).description
    assert list(description.input[0].type.multiArrayType.shape) == [1, 128, 100]
    float32 = ct.proto.FeatureTypes_pb2.ArrayFeatureType.FLOAT32
    assert description.input[0].type.multiArrayType.dataType == float32
    assert description.output[0].type.multiArrayType.dataType == float32


def test_the_encoders_output_has_rank_three(demo_bundle):
    """A trap of hosts in other languages: [1, frames, hidden], not [frames, hidden]."""
    program = Program(demo_bundle.package("audio_conv")).function()
    assert program({"mel_input": np.zeros((1, 128, 100), np.float32)})["conv_features"].ndim == 3


def test_the_folder_is_self_contained(demo_bundle):
    names = {path.name for path in demo_bundle.folder.iterdir()}
    packages = {COMPONENTS[key].package for key in COMPONENTS_OF["five"]}
    assert names == packages | {
        METADATA_FILE,
        "chat_template.jinja",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def convert_demo(demo_checkpoint, folder, components=QUICK, **options):
    return convert(demo_checkpoint, folder, Options(tuple(components), **options))


def op_count(folder, key):
    program = Program(folder / COMPONENTS[key].package)
    (function,) = program.spec.mlProgram.functions.values()
    (block,) = function.block_specializations.values()
    return sum(operation.type != "const" for operation in block.operations)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_no_optimize_skips_the_passes_of_every_component(demo_checkpoint, tmp_path, precision):
    """Regression: the earlier system accepted --no-optimize and ignored it."""
    options = {"components": COMPONENTS_OF["five"], "decoder_lengths": (64,), "precision": precision}
    options.update(deployment_target="iOS17", audio_frames=(208,))
    convert_demo(demo_checkpoint, tmp_path / "plain", optimize=False, **options)
    convert_demo(demo_checkpoint, tmp_path / "optimized", **options)
    for key in COMPONENTS_OF["five"]:
        plain, optimized = (op_count(tmp_path / name, key) for name in ("plain", "optimized"))
        if key == "embedding":  # one gather: the passes add a guard against negative ids
            assert plain < optimized
        else:
            assert plain > optimized, key
    assert Bundle.open(tmp_path / "plain").metadata.optimized is False


def test_ios17_gives_one_decoder_length_and_one_function(demo_checkpoint, tmp_path):
    convert_demo(
        demo_checkpoint,
        tmp_path / "m",
        ("decoder_prefill",),
        deployment_target="iOS17",
        decoder_lengths=DEFAULT_LENGTHS["iOS17"],
        audio_frames=DEFAULT_FRAMES["iOS17"],
    )
    record = Bundle.open(tmp_path / "m").record("decoder_prefill")
    assert record.functions == {"main": 1024}
    spec = ct.utils.load_spec(str(tmp_path / "m" / record.package))
    assert spec.specificationVersion == ct.target.iOS17
    assert not spec.description.functions


def test_a_subset_converts_only_what_was_named(demo_checkpoint, tmp_path):
    metadata = convert_demo(demo_checkpoint, tmp_path / "m", ("embedding",))
    assert list(metadata.components) == ["embedding"]
    assert not (tmp_path / "m" / COMPONENTS["lm_head"].package).exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"components": ("embeding",)}, "no component 'embeding'; expected some of audio_conv, audio_transformer"),
        ({"components": ()}, "no component to convert"),
        ({"decoder_lengths": (100,)}, "decoder length 100 is not a multiple of 64"),
        ({"decoder_lengths": (0,)}, "--decoder-lengths takes numbers above 0, not 0"),
        ({"audio_frames": ()}, "--audio-frames takes numbers above 0"),
        ({"deployment_target": "iOS17"}, "iOS17 has no multifunction packages"),
        ({"audio_frames": (52, 103)}, "less than one window of 104"),
        ({"decoder_lengths": (1 << 20,)}, "--decoder-lengths takes at most 16384, which holds 400 s of speech"),
        ({"decoder_lengths": (10**12,)}, "--decoder-lengths takes at most 16384"),
        ({"decoder_lengths": (16384,)}, "--decoder-lengths 16384 is more than the 8192 positions"),
        ({"decoder_lengths": tuple(range(64, 64 * 34, 64))}, "--decoder-lengths takes at most 32 sizes, not 33"),
        ({"audio_frames": (10**12,)}, "--audio-frames takes at most 5200"),
        ({"compress": "int8,int4"}, r"--compress gives all components two presets \(int8,int4\)"),
        ({"compress": "lm_head=int8,lm_head=int8"}, "--compress gives lm_head two presets"),
        ({"compress": ""}, "--compress takes none, int8, int6, int4, or component=preset, not ''"),
    ],
)
def test_options_that_do_not_fit_are_refused_and_leave_nothing(demo_checkpoint, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        convert(demo_checkpoint, tmp_path / "m", Options(**{"components": QUICK, **options}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--components", ""], "no component ''; expected some of audio_conv"),
        (["--components", ","], "no component ''"),
        (["--decoder-lengths", ""], "--decoder-lengths takes comma-separated whole numbers such as 256,512, not ''"),
        (["--decoder-lengths", "9" * 5000], "--decoder-lengths takes comma-separated whole numbers"),
        (["--audio-frames", "9" * 5000], "--audio-frames takes comma-separated whole numbers"),
        (["--components", "x" * 5000], "no component 'xxx"),
        (["--compress", "x" * 5000], "--compress takes none"),
        (["--compress", "x" * 5000 + "=int8"], "--compress names 'xxx"),
    ],
)
def test_options_that_are_empty_or_endless_are_a_short_sentence(tmp_path, options, message):
    """`--components ''` once converted all."""
    command = runpy.run_path("convert-coreml.py")["app"]
    arguments = ["--model-id", "demo", "--output-dir", str(tmp_path / "m"), *options]
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, UserError)
    assert message in str(result.exception)
    assert len(str(result.exception)) < 400
    assert list(tmp_path.iterdir()) == []


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_conversions_are_the_same_byte_by_byte(demo_checkpoint, tmp_path):
    for name in ("one", "other"):
        convert_demo(demo_checkpoint, tmp_path / name)
    one = contents(tmp_path / "one")
    assert one == contents(tmp_path / "other")
    assert sum(path.name == "Manifest.json" for path in one) == len(QUICK)
    for key in QUICK:  # coremltools finds the spec by the manifest
        package = tmp_path / "one" / COMPONENTS[key].package
        spec = ct.utils.load_spec(str(package))
        assert spec.WhichOneof("Type") == "mlProgram"
        # Its maps are in order: left alone, each process has another.
        assert (package / SPEC_FILE).read_bytes() == spec.SerializeToString(deterministic=True)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_converted_folder_may_be_read_as_the_umask_says(demo_checkpoint, tmp_path, umask, mode):
    """coremltools writes the spec for its owner alone."""
    before = os.umask(umask)
    try:
        convert_demo(demo_checkpoint, tmp_path / "m", ("lm_head",))
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "m").rglob("*") if path.is_file()]
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {oct(mode)}
    assert len(files) > 5


def test_a_conversion_that_fails_leaves_what_was_there(demo_checkpoint, tmp_path, monkeypatch):
    folder = tmp_path / "m"
    before = convert_demo(demo_checkpoint, folder)

    def fail(*_):
        raise RuntimeError("planted")

    monkeypatch.setattr("forced_aligner.convert.component.describe", fail)
    with pytest.raises(RuntimeError, match="planted"):
        convert_demo(demo_checkpoint, folder, force=True)
    assert Bundle.open(folder).metadata == before
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_killed_conversion_is_never_taken_for_a_model(tmp_path):
    """Killed while it writes: the folder is not there, and the next conversion is not in its way."""
    folder = tmp_path / "m"
    command = [sys.executable, "convert-coreml.py", "--model-id", "demo", "--output-dir", str(folder)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)
    while process.poll() is None and not any(tmp_path.glob(".m.being-written/*.mlpackage")):
        time.sleep(0.05)
    assert process.poll() is None, "it ended before it could be killed"
    with pytest.raises(UserError, match=r"another run is writing .*/m: wait for it"), write_folder(folder):
        pass
    process.kill()
    process.wait()
    assert not folder.exists()
    with pytest.raises(UserError, match="no converted model at"):
        Bundle.open(folder)
    with write_folder(folder) as new:
        (new / "file").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_what_lies_in_a_converted_folder_is_not_lost(demo_checkpoint, converted):
    """Notes, a thesis, something made inside a package, another file that is called parity.json: --force stays off."""
    package = COMPONENTS["lm_head"].package
    for name in ("thesis.txt", "drafts/one.txt", f"{package}/notes.txt", "parity.json"):
        path = converted / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("years of work")
        shown = "drafts" if name.startswith("drafts") else name
        with pytest.raises(UserError, match=rf"also holds {shown}, which is not of the conversion: choose another"):
            convert_demo(demo_checkpoint, converted, force=True)
        assert path.read_text() == "years of work"
        path.unlink()
        if shown == "drafts":
            path.parent.rmdir()
    for name in (".DS_Store", "parity.json.journal", ".0123456789ab.lock", ".0123456789abcdef.partial"):
        (converted / name).touch()  # of a file manager, and of a comparison that was killed
    convert_demo(demo_checkpoint, converted, force=True)


@pytest.mark.parametrize("changed", ["tokenizer.json", "chat_template.jinja", "project"])
def test_a_conversion_is_not_done_already_after_what_it_depends_on_has_changed(
    demo_checkpoint, converted, tmp_path, monkeypatch, changed
):
    checkpoint = Checkpoint("demo", shutil.copytree(demo_checkpoint.folder, tmp_path / "checkpoint"))
    assert convert_demo(checkpoint, converted)
    if changed == "project":
        versions = tool_versions() | {PROJECT: "0.0.1"}
        monkeypatch.setattr("forced_aligner.convert.metadata.tool_versions", lambda: versions)
    elif changed == "tokenizer.json":
        tokenizer = json.loads((checkpoint.folder / changed).read_text())
        tokenizer["truncation"] = None if tokenizer.get("truncation") else {
            "direction": "Right", "max_length": 9999, "strategy": "LongestFirst", "stride": 0
        }  # fmt: skip
        (checkpoint.folder / changed).write_text(json.dumps(tokenizer))
    else:
        template = ALIGNER_CHAT_TEMPLATE + "{# a remark #}"  # the checkpoint's own is never run
        monkeypatch.setattr("forced_aligner.checkpoint.processor.ALIGNER_CHAT_TEMPLATE", template)
    field = "tool_versions" if changed == "project" else "processor_files"
    with pytest.raises(UserError, match=rf"with another conversion \(other {field}\): give --force to replace it"):
        convert_demo(checkpoint, converted)


def test_a_damaged_folder_is_not_taken_for_done(demo_checkpoint, converted):
    damage(converted, "truncated")
    with pytest.raises(UserError, match=r"is damaged: .* convert the model with convert-coreml.py, with --force"):
        convert_demo(demo_checkpoint, converted)
    convert_demo(demo_checkpoint, converted, force=True)
    Bundle.open(converted)


def test_a_folder_of_an_older_version_can_be_replaced(demo_checkpoint, converted):
    metadata = json.loads((converted / METADATA_FILE).read_text())
    metadata = {key: metadata[key] for key in ("components", "processor_files")} | {"schema_version": 1}
    (converted / METADATA_FILE).write_text(json.dumps(metadata))
    with pytest.raises(UserError, match=r"is of version 1, .* with --force"):
        convert_demo(demo_checkpoint, converted)
    convert_demo(demo_checkpoint, converted, force=True)
    Bundle.open(converted)


def test_the_same_conversion_is_not_done_twice(demo_checkpoint, tmp_path, capsys):
    folder = tmp_path / "m"
    first = convert_demo(demo_checkpoint, folder)
    stamp = (folder / METADATA_FILE).stat().st_mtime_ns
    assert convert_demo(demo_checkpoint, folder) == first
    assert (folder / METADATA_FILE).stat().st_mtime_ns == stamp
    assert "holds this conversion already" in capsys.readouterr().err
    convert_demo(demo_checkpoint, folder, force=True)
    assert (folder / METADATA_FILE).stat().st_mtime_ns > stamp


def test_another_conversion_is_not_overwritten_without_force(demo_checkpoint, tmp_path):
    convert_demo(demo_checkpoint, tmp_path / "m")
    with pytest.raises(UserError, match=r"is there already, with another conversion \(other precision\): give --force"):
        convert_demo(demo_checkpoint, tmp_path / "m", precision="float16")


def test_a_folder_that_is_no_model_is_never_replaced(demo_checkpoint, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="is not a converted model"):
        convert_demo(demo_checkpoint, tmp_path / "m", force=True)
    assert (tmp_path / "m" / "thesis.txt").read_text() == "years of work"


def test_a_folder_that_cannot_be_written_is_one_sentence(demo_checkpoint, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        convert_demo(demo_checkpoint, tmp_path / "file" / "m")


def test_a_place_that_is_read_only_is_one_sentence(demo_checkpoint, read_only):
    with pytest.raises(UserError, match=r"cannot write .*Read-only file system.*choose a place that"):
        convert_demo(demo_checkpoint, read_only / "m")


def test_a_full_disk_is_one_sentence_and_leaves_nothing(demo_checkpoint, small_disk):
    with pytest.raises(UserError, match=r"cannot write .*: free some space"):
        convert_demo(demo_checkpoint, small_disk / "m", ("lm_head",))
    assert list(small_disk.iterdir()) == []


@pytest.fixture
def converted(demo_checkpoint, tmp_path):
    convert_demo(demo_checkpoint, tmp_path / "m")
    return tmp_path / "m"


def damage(converted, kind):
    package = converted / COMPONENTS["lm_head"].package
    weights = package / "Data/com.apple.CoreML/weights/weight.bin"
    metadata = converted / METADATA_FILE
    if kind == "flipped byte":
        data = bytearray(weights.read_bytes())
        data[-5] ^= 1
        weights.write_bytes(data)
    elif kind == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif kind == "missing package":
        package.rename(converted / "elsewhere")
    elif kind == "tokenizer":
        tokenizer = converted / "tokenizer.json"
        tokenizer.write_text(tokenizer.read_text().replace("<timestamp>", "<timestomp>"))
    elif kind == "no metadata":
        metadata.unlink()
    elif kind == "newer metadata":
        metadata.write_text(metadata.read_text().replace('"schema_version": 2', '"schema_version": 3'))
    elif kind == "not JSON":
        metadata.write_text("{")


def test_a_package_of_another_conversion_is_refused(demo_checkpoint, converted, tmp_path):
    convert_demo(demo_checkpoint, tmp_path / "other", precision="float16")
    package = COMPONENTS["lm_head"].package
    shutil.rmtree(converted / package)
    shutil.move(tmp_path / "other" / package, converted)
    with pytest.raises(UserError, match=r"lm_head\.mlpackage is damaged: its SHA-256 is not that of metadata\.json"):
        Bundle.open(converted)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("flipped byte", "is damaged: its SHA-256"),
        ("truncated", "is damaged: its SHA-256"),
        ("missing package", "lacks forced_aligner_lm_head.mlpackage"),
        ("tokenizer", "tokenizer.json is missing or damaged"),
        ("no metadata", "no metadata.json at"),
        ("newer metadata", "metadata.json is of version 3, which this version of the program does not read"),
        ("not JSON", r"metadata\.json is not JSON"),
    ],
)
def test_a_damaged_folder_is_refused(converted, kind, message):
    damage(converted, kind)
    with pytest.raises(UserError, match=message) as caught:
        Bundle.open(converted)
    assert "\n" not in str(caught.value)
    assert "convert-coreml.py" in str(caught.value)


@pytest.mark.parametrize("name", ["../x", "../../x", "/etc/x", "a/x", "a\\x", ".x", "..", "", "a\0x"])
def test_metadata_that_names_a_file_elsewhere_is_refused(demo_bundle, tmp_path, name):
    metadata = demo_bundle.metadata
    record = metadata.components["lm_head"].model_copy(update={"package": name})
    for changed in ({"components": {"lm_head": record}}, {"processor_files": {name: "0"}}):
        write_json(metadata.model_copy(update=changed), tmp_path / METADATA_FILE)
        with pytest.raises(UserError, match=r"metadata\.json is not as it must be: .*should match pattern"):
            Bundle.open(tmp_path)
