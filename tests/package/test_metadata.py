"""`metadata.json` is what the conversion wrote, or it is refused."""

import copy
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forced_aligner.base.errors import UserError
from forced_aligner.base.paths import METADATA_FILE
from forced_aligner.base.records import read_json, write_json
from forced_aligner.package.metadata import BundleMetadata, ComponentRecord

SHA256 = "0" * 64
LENGTHS, FRAMES = [256, 1024], [104, 208]


def component(name, functions):
    package = f"forced_aligner_{name}.mlpackage"
    return {"package": package, "precision": "float32", "functions": functions, "size_bytes": 9, "sha256": SHA256}


def a_metadata():
    return BundleMetadata(
        model_id="demo",
        checkpoint_fingerprint=SHA256,
        dimensions={
            "mel_bins": 128,
            "chunk_frames": 100,
            "window_frames": 800,
            "audio_hidden": 32,
            "hidden": 48,
            "head_dim": 8,
            "inverse_frequencies": [1.0, 0.1, 0.01, 0.001],
            "vocab_size": 300,
            "num_classes": 5000,
        },
        token_ids={"audio_start": 257, "audio_end": 258, "audio_pad": 259, "timestamp": 260},
        timestamp_segment_ms=80,
        longest_clip_s=30.0,
        audio_frames=FRAMES,
        decoder_lengths=LENGTHS,
        precision="mixed",
        deployment_target="iOS18",
        compute_units="ALL",
        optimized=True,
        components={},
        processor_files={"tokenizer.json": SHA256},
        tool_versions={"torch": "2.7.0"},
    )


@pytest.fixture(scope="module")
def written():
    """A sealed metadata, as its JSON value."""
    functions = {
        "audio_transformer": {f"frames_{size}": size for size in FRAMES},
        "decoder_prefill": {f"length_{size}": size for size in LENGTHS},
        "lm_head": {"main": None},
    }
    records = {key: ComponentRecord(**component(key, each)) for key, each in functions.items()}
    return json.loads(a_metadata().model_copy(update={"components": records}).sealed().model_dump_json())


def read(content, folder):
    path = folder / METADATA_FILE
    path.write_text(json.dumps(content))
    return read_json(BundleMetadata, path, "convert the model again")


def what_times_depend_on(record):
    names = ("dimensions", "token_ids", "timestamp_segment_ms", "audio_frames", "decoder_lengths", "package_sha256")
    functions = {key: (each.package, each.precision, each.functions) for key, each in record.components.items()}
    return [getattr(record, name) for name in names], functions


def places(value, path=()):
    """The paths of all values in a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


NUMBERS = st.one_of(
    st.sampled_from([0, -1, 1, 2, 1 << 31, 1 << 64, 10**400, -0.0, 1e-320, 1e308, math.inf, -math.inf, math.nan]),
    st.integers(-300, 6000),
    st.floats(allow_nan=True),
)
TEXT = st.text(st.sampled_from("ab09./\\`|-\n\x00é\ud800"), max_size=9)
JUNK = st.recursive(
    st.one_of(NUMBERS, st.none(), st.booleans(), TEXT),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=4,
)


@given(data=st.data())
def test_a_changed_value_is_refused_or_changes_no_time(written, tmp_path_factory, data):
    content = copy.deepcopy(written)
    *path, last = data.draw(st.sampled_from([path for path in places(written) if path]))
    parent = content
    for key in path:
        parent = parent[key]
    if data.draw(st.integers(0, 5)) == 0:
        del parent[last]
    else:
        parent[last] = data.draw(JUNK)
    before = read(written, tmp_path_factory.getbasetemp())
    try:
        record = read(content, tmp_path_factory.getbasetemp())
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert what_times_depend_on(record) == what_times_depend_on(before)


@given(junk=JUNK)
def test_any_other_value_is_refused(junk, tmp_path_factory):
    with pytest.raises(UserError):
        read(junk, tmp_path_factory.getbasetemp())


def change(content, path, value):
    changed = copy.deepcopy(content)
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return changed


DIMENSIONS, DECODER = ("dimensions",), ("components", "decoder_prefill")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((*DIMENSIONS, "hidden"), 0, "dimensions.hidden: .*greater than or equal to 1"),
        ((*DIMENSIONS, "chunk_frames"), 10**12, "dimensions.chunk_frames: .*less than or equal to 65536"),
        ((*DIMENSIONS, "head_dim"), 10, "head_dim 10 has 4 inverse_frequencies, not half as many"),
        ((*DIMENSIONS, "inverse_frequencies", 0), 0.9, "do not fall from 1"),
        ((*DIMENSIONS, "inverse_frequencies", 2), 0.5, "do not fall from 1"),
        ((*DIMENSIONS, "inverse_frequencies", 2), 0.011, "it was changed after the conversion"),
        ((*DIMENSIONS, "window_frames"), 99, "window_frames 99 is less than chunk_frames 100"),
        ((*DIMENSIONS, "window_frames"), 1600, "it was changed after the conversion"),
        (("token_ids", "timestamp"), 259, "two tokens have one number"),
        (("token_ids", "timestamp"), 300, "token_ids go beyond the vocabulary of 300"),
        (("token_ids", "timestamp"), 261, "it was changed after the conversion"),
        (("timestamp_segment_ms",), 40, "it was changed after the conversion"),
        (("timestamp_segment_ms",), 0, "timestamp_segment_ms: .*greater than or equal to 1"),
        (("decoder_lengths",), [1024, 256], "decoder_lengths does not rise"),
        (("decoder_lengths",), [256, 1 << 20], "decoder_lengths.1: .*less than or equal to 16384"),
        (("decoder_lengths",), [256], "functions of decoder_prefill are not of the sizes .256."),
        (("audio_frames",), [], "audio_frames: .*at least 1 item"),
        ((*DECODER, "functions", "length_256"), None, "functions of decoder_prefill are not of the sizes"),
        ((*DECODER, "functions"), {"a": 256, "b": 1024}, "it was changed after the conversion"),
        ((*DECODER, "precision"), "float16", "it was changed after the conversion"),
        ((*DECODER, "sha256"), "1" * 64, "it was changed after the conversion"),
        ((*DECODER, "package"), "other.mlpackage", "it was changed after the conversion"),
        ((*DECODER, "package"), "a|b`.mlpackage", "should match pattern"),
        ((*DECODER, "package"), "forced_aligner_lm_head.mlpackage", "two components have one package"),
        (("components", "encoder"), component("encoder", {"main": None}), "no component 'encoder' is known"),
        (("digest",), "", "it was changed after the conversion"),
        (("deployment_target",), "iOS12", "deployment_target: "),
        (("compress",), "`](javascript:alert)", "should match pattern"),
    ],
)
def test_a_value_that_no_conversion_writes_is_named(written, tmp_path, path, value, message):
    with pytest.raises(UserError, match=message) as caught:
        read(change(written, path, value), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000])
def test_numbers_that_are_not_finite_are_refused(written, tmp_path, number):
    text = json.dumps(change(written, ("timestamp_segment_ms",), 12345)).replace("12345", number)
    (tmp_path / METADATA_FILE).write_text(text)
    with pytest.raises(UserError):
        read_json(BundleMetadata, tmp_path / METADATA_FILE, "convert the model again")


def test_a_sealed_metadata_is_read_back_as_it_was(written, tmp_path):
    record = read(written, tmp_path)
    write_json(record, tmp_path / "again.json")
    assert read_json(BundleMetadata, tmp_path / "again.json", "") == record == record.sealed()
    assert len(record.digest) == 64
    free = record.model_copy(update={"model_id": "./a folder", "tool_versions": {}})
    assert free.sealed().digest == record.digest  # no time depends on them
