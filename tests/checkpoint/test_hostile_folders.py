"""A checkpoint's folder may come from anybody: what is wrong with it is one sentence, and no code of it runs."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from forced_aligner.base.errors import UserError
from forced_aligner.checkpoint.files import weight_files
from forced_aligner.checkpoint.find import find_checkpoint
from forced_aligner.checkpoint.lazy_weights import LazyModel
from forced_aligner.checkpoint.processor import ALIGNER_CHAT_TEMPLATE, load_processor
from forced_aligner.checkpoint.weights import load_model
from forced_aligner.convert.options import Options
from forced_aligner.jobs.convert import convert

INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(demo_checkpoint, tmp_path):
    """A copy of the demo's folder."""
    return shutil.copytree(demo_checkpoint.folder, tmp_path / "checkpoint")


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def one_sentence(caught):
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"weight_map": {"a": "../x.safetensors"}}', r"'\.\./x\.safetensors' is no name of a safetensors file beside"),
        ('{"weight_map": {"a": "/etc/x.safetensors"}}', "is no name of a safetensors file beside it"),
        ('{"weight_map": {"a": "a/x.safetensors"}}', "is no name of a safetensors file beside it"),
        ('{"weight_map": {"a": "x.bin"}}', "'x.bin' is no name of a safetensors file"),
        ('{"weight_map": {"a": 5}}', "5 is no name"),
        ('{"weight_map": {"a": ["x.safetensors"]}}', "is no name"),
        ('{"weight_map": {}}', "weight_map is missing or empty"),
        ('{"weight_map": []}', "weight_map is missing or empty"),
        ("{}", "weight_map is missing or empty"),
        ("7", "weight_map is missing or empty"),
        ("[" * 200_000, "nested too deep"),
        ('{"weight_map": ' + "9" * 5000 + "}", "a number of 5000 digits"),
        ('{"weight_map": {"a": "x.safetensors"}}' + " " * (17 << 20), "more than 16777216 bytes"),
        ('{"weight_map": {"a": "x.safetensors", "b": "y.safetensors"}}', "x.safetensors and y.safetensors not found"),
    ],
)
def test_an_index_that_is_not_one_is_a_sentence(folder, content, message):
    (folder / "model.safetensors").unlink()
    (folder / INDEX).write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        find_checkpoint(str(folder))
    one_sentence(caught)


def test_shards_beside_an_index_are_found(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    (folder / INDEX).write_text('{"weight_map": {"a": "model-00001-of-00001.safetensors"}}')
    assert weight_files(folder) == [folder / "model-00001-of-00001.safetensors"]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_in_place_of_a_file_is_a_sentence(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(UserError, match=f"{name} not found there") as caught:
        find_checkpoint(str(folder))
    one_sentence(caught)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_that_may_not_be_read_is_a_sentence(folder, name, monkeypatch):
    """Root may read everything, so the refusal is planted where the file is opened."""
    checkpoint, opened = find_checkpoint(str(folder)), type(folder).open

    def refuse(path, *arguments, **options):
        if path.name == name:
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(type(folder), "open", refuse)
    with pytest.raises(UserError, match=rf"cannot read .*{name} \(Permission denied\)") as caught:
        checkpoint.fingerprint()
    one_sentence(caught)


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "a/" + "b" * 300])
def test_a_name_that_nothing_can_have_is_a_sentence(name, empty_hub):
    with pytest.raises(UserError) as caught:
        find_checkpoint(name)
    one_sentence(caught)


def test_a_folders_name_reaches_no_terminal_raw(demo_checkpoint, tmp_path):
    named = shutil.copytree(demo_checkpoint.folder, tmp_path / "a\x1b[31m\n---\nb")
    assert find_checkpoint(str(named)).model_id == "./a\\x1b[31m\\n---\\nb"


# --- weights that are not finite ---------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
@pytest.mark.parametrize("load", [load_model, lambda checkpoint: read_all(LazyModel(checkpoint))])
def test_a_weight_that_is_not_finite_is_named(folder, value, load):
    weights = load_file(folder / "model.safetensors")
    weights["score.weight"][3, 5] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"damaged: score\.weight is not finite") as caught:
        load(find_checkpoint(str(folder)))
    one_sentence(caught)


def read_all(model):
    for parameter in model.module.parameters():
        model.read(parameter)


def test_finite_weights_that_sum_beyond_float32_are_taken(folder):
    weights = load_file(folder / "model.safetensors")
    weights["score.weight"] = torch.full_like(weights["score.weight"], 3e38)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert load_model(find_checkpoint(str(folder))).score.weight.max() > 1e38


def test_the_fingerprint_changes_with_the_config(folder):
    before = find_checkpoint(str(folder)).fingerprint()
    edit(folder / "config.json", timestamp_token_id=259)
    assert find_checkpoint(str(folder)).fingerprint() != before


@pytest.mark.parametrize(
    "change",
    [
        {"num_labels": 10**9},
        {"longest_clip_s": -1.0},
        {"longest_clip_s": "long"},
        {"timestamp_token_id": 10**6},
    ],
)
def test_a_config_that_no_aligner_has_is_a_sentence(folder, tmp_path, change):
    edit(folder / "config.json", id2label=None, label2id=None, **change)
    with pytest.raises(UserError, match=r"config\.json (cannot be used|259 and 1000000)") as caught:
        convert(find_checkpoint(str(folder)), tmp_path / "m", Options(("lm_head",)))
    one_sentence(caught)
    assert not (tmp_path / "m").exists()


# --- code, classes and templates ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["config.json", "processor_config.json", "tokenizer_config.json"])
def test_code_that_a_folder_brings_along_is_never_asked_for(folder, name, monkeypatch):
    (folder / "foreign.py").write_text("raise SystemExit('foreign code ran')")
    edit(folder / name, auto_map={"AutoProcessor": "foreign.Processor", "AutoTokenizer": ["foreign.T", None]})
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked whether to run it"))
    with pytest.raises(UserError, match=rf"{name} names code that the checkpoint brings along") as caught:
        load_model(find_checkpoint(str(folder)))
        load_processor(folder)
    one_sentence(caught)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("processor_config.json", {"processor_class": "Qwen2AudioProcessor"}, "its class is 'Qwen2AudioProcessor'"),
        ("processor_config.json", {"feature_extractor": {"feature_extractor_type": "W"}}, "its class is 'W'"),
        ("processor_config.json", {"feature_extractor": {"hop_length": 320}}, "hop_length is 320, not 160"),
        ("processor_config.json", {"feature_extractor": {"feature_size": 0}}, "feature_size is 0"),
        ("processor_config.json", {"feature_extractor": [1]}, "its feature_extractor holds no settings"),
        ("processor_config.json", {"timestamp_segment_time": 0}, "timestamp_segment_time is 0"),
        ("processor_config.json", {"timestamp_segment_time": "80"}, "timestamp_segment_time is '80'"),
        ("tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer"}, "its class is 'LlamaTokenizer'"),
        ("tokenizer_config.json", {"audio_token": "<|audio_end|>"}, "it lacks some of"),
        ("tokenizer_config.json", {"extra_special_tokens": 7}, "no usable processor"),
    ],
)
def test_another_class_or_setting_is_named(folder, name, changes, message):
    edit(folder / name, **changes)
    with pytest.raises(UserError, match=message) as caught:
        load_processor(folder)
    one_sentence(caught)


@pytest.mark.parametrize("name", ["processor_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", "7", "null", "[" * 200_000, '{"a": ' + "9" * 5000 + "}", "\xff"])
def test_settings_that_are_none_are_a_sentence(folder, name, content):
    (folder / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError) as caught:
        load_processor(folder)
    one_sentence(caught)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: "",
        lambda content: "{}",
        lambda content: content[:-200],
        lambda content: "[" * 200_000,
        lambda content: content.replace("<timestamp>", "<timestomp>"),
        lambda content: content.replace('"BPE"', '"None"'),
        lambda content: content.replace('"<timestamp>": 260', '"<timestamp>": -1'),
        lambda content: content.replace('"<timestamp>": 260', '"<timestamp>": 99999999999999999999'),
        lambda content: content.replace('"merges": []', '"merges": [["x", "y"]]'),
        lambda content: content.replace('"vocab": {', '"vocab": ['),
        lambda content: content.replace('"ByteLevel"', '"Nothing"'),
    ],
)
def test_a_damaged_tokenizer_is_a_sentence(folder, change):
    path = folder / "tokenizer.json"
    before = path.read_text()
    path.write_text(change(before))
    assert path.read_text() != before
    with pytest.raises(UserError, match=r"no usable (processor|tokenizer)") as caught:
        load_processor(folder)
    one_sentence(caught)


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(10**9) %}{% for j in range(10**9) %}x{% endfor %}{% endfor %}",
        "{% for",
        "{{ messages.__class__.__mro__ }}",
        "{{ raise_exception('no') }}",
        "<|im_start|>user{{ messages }}",
    ],
)
def test_a_foreign_template_is_not_run(folder, template, capsys):
    """The prompt is the aligner's in any case, and a note says that the folder has another template."""
    (folder / "chat_template.jinja").write_text(template)
    processor = load_processor(folder)
    assert processor.chat_template == processor.tokenizer.chat_template == ALIGNER_CHAT_TEMPLATE
    inputs, _ = processor.prepare_forced_aligner_inputs(torch.zeros(8000).numpy(), "a b", "English")
    assert inputs["input_ids"][0, -2:].tolist() == [260, 260]
    assert "is not run: the prompt is that of Qwen's forced aligner" in capsys.readouterr().err


def test_the_demos_own_template_is_the_aligners(demo_checkpoint, capsys):
    assert (demo_checkpoint.folder / "chat_template.jinja").read_text() == ALIGNER_CHAT_TEMPLATE
    load_processor(demo_checkpoint.folder)
    assert capsys.readouterr().err == ""
