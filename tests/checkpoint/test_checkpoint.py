"""Which checkpoint is used, and that both layouts give the same model."""

import copy
import json
import re
import shutil
import socket
import threading
import time

import pytest
import torch
from safetensors.torch import save_file

from forced_aligner.base.errors import UserError
from forced_aligner.base.model_ids import FULL_MODEL_ID
from forced_aligner.checkpoint.files import weight_files
from forced_aligner.checkpoint.find import announce_fallback, find_checkpoint
from forced_aligner.checkpoint.layouts import load_config
from forced_aligner.checkpoint.lazy_weights import LazyModel
from forced_aligner.checkpoint.processor import load_processor
from forced_aligner.checkpoint.weights import load_model
from forced_aligner.convert.metadata import read_dimensions


def legacy_config(config):
    """The config that the qwen-asr package writes: nested, with other names."""
    text = config.text_config.to_dict()
    audio = config.audio_config.to_dict()
    text["rope_theta"] = text.pop("rope_parameters")["rope_theta"]
    text["rope_scaling"] = {"mrope_interleaved": True, "mrope_section": [24, 20, 20], "rope_type": "default"}
    audio["model_type"] = "qwen3_asr_audio_encoder"
    audio.update(conv_chunksize=500, max_source_positions=1500)
    return {
        "architectures": ["Qwen3ASRForConditionalGeneration"],
        "model_type": "qwen3_asr",
        "thinker_config": {
            "model_type": "qwen3_forced_aligner",
            "audio_config": audio,
            "text_config": {key: value for key, value in text.items() if key != "model_type"},
            "audio_token_id": config.audio_token_id,
            "classify_num": config.num_labels,
        },
        "timestamp_token_id": config.timestamp_token_id,
        "timestamp_segment_time": 80,
    }


LEGACY_NAMES = [
    ("model.multi_modal_projector.linear_1.", "thinker.audio_tower.proj1."),
    ("model.multi_modal_projector.linear_2.", "thinker.audio_tower.proj2."),
    ("model.audio_tower.", "thinker.audio_tower."),
    ("model.language_model.", "thinker.model."),
    ("score.", "thinker.lm_head."),
]


def legacy_key(key):
    for native, legacy in LEGACY_NAMES:
        if key.startswith(native):
            return legacy + key.removeprefix(native)
    raise AssertionError(key)


@pytest.fixture
def layouts(random_model, tmp_path):
    """The random model, saved in the native layout and in the legacy one."""
    native, legacy = tmp_path / "native", tmp_path / "legacy"
    random_model.save_pretrained(native)
    legacy.mkdir()
    weights = {legacy_key(key): value.contiguous() for key, value in random_model.state_dict().items()}
    save_file(weights, legacy / "model.safetensors")
    (legacy / "config.json").write_text(json.dumps(legacy_config(random_model.config)))
    return {"native": native, "legacy": legacy}


def forward(model):
    mel, mask = torch.zeros(1, 128, 900), torch.ones(1, 900, dtype=torch.long)
    mel += torch.linspace(-1, 1, 900)
    ids = torch.tensor([[257, *[259] * 117, 258, 7, 260, 260, 8, 9, 260, 260]])
    with torch.inference_mode():
        return model(input_ids=ids, input_features=mel, input_features_mask=mask).logits


def test_both_layouts_give_identical_logits(random_model, layouts):
    expected = forward(random_model)
    for folder in layouts.values():
        assert torch.equal(forward(load_model(find_checkpoint(str(folder)))), expected)


def test_both_layouts_give_identical_weights_one_at_a_time(random_model, layouts):
    expected = dict(random_model.named_parameters())
    for folder in layouts.values():
        lazy = LazyModel(find_checkpoint(str(folder)))
        parameters = lazy.parameters(lazy.module)
        assert parameters.keys() == expected.keys()
        assert all(torch.equal(parameters[name], parameter) for name, parameter in expected.items())


def test_weights_are_in_memory_only_within_the_block(random_model, layouts):
    lazy = LazyModel(find_checkpoint(str(layouts["native"])))
    head, other = lazy.module.score, lazy.module.get_input_embeddings()
    with lazy.loaded(head):
        assert torch.equal(head.weight, random_model.score.weight)
        assert other.weight.is_meta
    assert head.weight.is_meta
    assert torch.equal(lazy.parameters(head)["weight"], random_model.score.weight)  # and it can be read again
    positions = lazy.module.model.audio_tower.positional_embedding.positional_embedding
    assert torch.equal(positions, random_model.model.audio_tower.positional_embedding.positional_embedding)


def test_weights_may_lie_in_several_files_and_in_bfloat16(random_model, tmp_path):
    """Like `from_pretrained`, only the files that the index names are read."""
    copy.deepcopy(random_model).to(torch.bfloat16).save_pretrained(tmp_path, max_shard_size="50KB")
    state = random_model.state_dict()
    save_file({key: torch.ones(1) for key in state}, tmp_path / "optimizer.safetensors")
    checkpoint = find_checkpoint(str(tmp_path))
    assert 1 < len(weight_files(checkpoint.folder)) < len(list(tmp_path.glob("*.safetensors")))
    lazy, loaded = LazyModel(checkpoint), load_model(checkpoint).state_dict()
    parameters = lazy.parameters(lazy.module)
    assert all(torch.equal(parameters[name], loaded[name]) for name in parameters)
    assert all(torch.equal(parameters[name], state[name].to(torch.bfloat16).float()) for name in parameters)


def test_both_layouts_have_the_same_dimensions(layouts):
    sizes = [read_dimensions(load_config(find_checkpoint(str(f)))) for f in layouts.values()]
    assert sizes[0] == sizes[1]
    assert sizes[0].inverse_frequencies[1] == pytest.approx(1_000_000.0 ** (-2 / 16))


def slow_tokenizer(source, target):
    """Write the tokenizer files of legacy checkpoints: vocabulary, merges, and a config with the added tokens."""
    saved = json.loads((source / "tokenizer.json").read_text())
    added = {str(token["id"]): token for token in saved["added_tokens"]}
    plain = {text: number for text, number in saved["model"]["vocab"].items() if str(number) not in added}
    config = {
        "tokenizer_class": "Qwen2Tokenizer",
        "added_tokens_decoder": {
            number: {k: v for k, v in token.items() if k != "id"} for number, token in added.items()
        },
        **{f"{kind}_token": added["256"]["content"] for kind in ("pad", "eos")},
    }
    (target / "vocab.json").write_text(json.dumps(plain))
    (target / "merges.txt").write_text("#version: 0.2\n")
    (target / "tokenizer_config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("kind", ["tokenizer.json", "vocabulary and merges"])
def test_a_legacy_processor_is_built_from_its_tokenizer(layouts, demo_checkpoint, demo_processor, kind):
    """Legacy folders have a tokenizer and no aligner processor: the prompt is the same, without a chat prefix."""
    if kind == "tokenizer.json":
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(demo_checkpoint.folder / name, layouts["legacy"])
    else:
        slow_tokenizer(demo_checkpoint.folder, layouts["legacy"])
    processor = load_processor(layouts["legacy"])
    audio = torch.zeros(16_000).numpy()
    inputs, expected = (
        each.prepare_forced_aligner_inputs(audio, "one two", "English")[0] for each in (processor, demo_processor)
    )
    assert torch.equal(inputs["input_ids"], expected["input_ids"])
    assert torch.equal(inputs["input_features"], expected["input_features"])


def test_weights_load_in_the_precision_asked_for(layouts):
    model = load_model(find_checkpoint(str(layouts["native"])), torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_the_fingerprint_changes_with_one_weight(layouts):
    checkpoint = find_checkpoint(str(layouts["native"]))
    before = checkpoint.fingerprint()
    path = layouts["native"] / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert checkpoint.fingerprint() != before
    assert re.fullmatch(r"[0-9a-f]{64}", before)


@pytest.mark.parametrize(
    ("model_id", "message"),
    [
        ("./absent", "no checkpoint './absent': expected a folder, a hub id"),
        ("/absent/folder", "no checkpoint '/absent/folder'"),
        ("word", "no checkpoint 'word'"),
        ("Qwen/a b", "neither a folder nor a hub id"),
        ("Qwen/Qwen3-ForcedAligner-0.6B-hf", "cannot download Qwen/Qwen3-ForcedAligner-0.6B-hf"),
    ],
)
def test_a_named_checkpoint_never_falls_back(model_id, message, empty_hub):
    with pytest.raises(UserError, match=message) as caught:
        find_checkpoint(model_id)
    assert "\n" not in str(caught.value)


def test_without_a_name_and_a_hub_the_demo_is_used(empty_hub, capsys):
    checkpoint = find_checkpoint(None)
    assert checkpoint.model_id == "demo"
    assert checkpoint.is_fallback
    announce_fallback(checkpoint)
    message = capsys.readouterr().err
    assert "bundled demo" in message
    assert f"--model-id {FULL_MODEL_ID}" in message


def test_a_demo_that_was_asked_for_is_not_announced(capsys):
    announce_fallback(find_checkpoint("demo"))
    assert capsys.readouterr().err == ""


def test_a_hub_that_never_answers_costs_less_than_ten_seconds(empty_hub, monkeypatch):
    """The server accepts the connection and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr("forced_aligner.checkpoint.find.HUB_TIMEOUT_S", 1.0)
        started = time.monotonic()
        assert find_checkpoint(None).is_fallback
        assert time.monotonic() - started < 8.0
    assert threading.active_count() < 10


def test_a_cached_full_model_is_used_without_a_hub(layouts, empty_hub):
    repo = empty_hub / ("models--" + FULL_MODEL_ID.replace("/", "--"))
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("a" * 40)
    snapshot = repo / "snapshots" / ("a" * 40)
    shutil.copytree(layouts["native"], snapshot)
    assert find_checkpoint(None).is_fallback  # an interrupted download without the tokenizer
    (snapshot / "tokenizer_config.json").write_text("{}")
    checkpoint = find_checkpoint(None)
    assert (checkpoint.model_id, checkpoint.is_fallback) == (FULL_MODEL_ID, False)
    assert checkpoint.folder.is_relative_to(repo)


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), r"config.json not found there"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors not found there"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not JSON"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'), "is not a Qwen3 forced aligner"),
        (lambda folder: (folder / "config.json").write_text("[]"), "is not a Qwen3 forced aligner"),
        (lambda folder: edit_config(folder, thinker_config=None), "cannot be used"),
        (lambda folder: edit_config(folder, thinker_config={"classify_num": 5}), "cannot be used .KeyError: 'text_con"),
        (lambda folder: edit_config(folder, audio_token_id="many"), "cannot be used .*audio_token_id"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 100), "cannot load the weights"),
        (lambda folder: save_file({"a": torch.zeros(1)}, folder / "model.safetensors"), "missing_keys"),
    ],
)
def test_a_broken_checkpoint_is_one_clear_sentence(layouts, change, message):
    change(layouts["native"])
    with pytest.raises(UserError, match=message) as caught:
        load_model(find_checkpoint(str(layouts["native"])))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 100), "cannot load the weights"),
        (lambda folder: save_file({"a": torch.zeros(1)}, folder / "model.safetensors"), r"k_proj.weight is missing"),
        (lambda folder: edit_config(folder, num_labels=71), r"score.weight is \[70, 48\], not \[71, 48\]"),
    ],
)
def test_weights_that_do_not_fit_are_not_converted(layouts, change, message):
    change(layouts["native"])
    with pytest.raises(UserError, match=message) as caught:
        LazyModel(find_checkpoint(str(layouts["native"])))
    assert "\n" not in str(caught.value)
