"""A host kit: complete, true to the checkpoint, and enough for a host that has nothing else."""

import importlib.util
import json
import re
import shutil
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from safetensors import safe_open

from forced_aligner.align.audio import load_audio
from forced_aligner.align.chain import Aligner
from forced_aligner.align.clock import Clock
from forced_aligner.base.errors import UserError
from forced_aligner.base.paths import ROOT
from forced_aligner.base.records import read_json
from forced_aligner.data.clips import load_clips
from forced_aligner.jobs.golden import GOLDEN_CLIPS
from forced_aligner.jobs.host_kit import write_kit
from forced_aligner.jobs.places import check_hub_folder, check_kit
from forced_aligner.jobs.publish import lay_out
from forced_aligner.jobs.reference import align_with_pytorch
from forced_aligner.package.bundle import Bundle
from forced_aligner.package.contract import DEFAULT_COMPONENTS
from forced_aligner.package.host_kit.config import HostConfig
from forced_aligner.package.host_kit.golden import Golden
from forced_aligner.package.host_kit.stages import STAGES, in_order, stage_of
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.score.host_mistakes import distance


@pytest.fixture(scope="module")
def config(demo_kit):
    return read_json(HostConfig, demo_kit / "config.json", "")


@pytest.fixture(scope="module")
def goldens(demo_kit, config):
    folder = demo_kit / config.golden_vectors.folder
    return {Path(file.name).stem: Golden.read(config, folder / file.name) for file in config.golden_vectors.clips}


@pytest.fixture(scope="module")
def host_module(demo_kit):
    """The kit's own `host.py`."""
    spec = importlib.util.spec_from_file_location("kit_host", demo_kit / "host.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_host_gives_the_words_and_times_of_the_chain_on_every_clip(demo_kit, demo_bundle, demo_clips, host_module):
    backend = MilBackend(demo_bundle)
    aligner, host = Aligner(demo_bundle, backend), host_module.Host(demo_kit, backend.predict)
    for clip in demo_clips:
        samples = load_audio(Path(clip.audio))
        found = host.align(samples, host_module.split_words(clip.transcript))
        expected = aligner.align(samples, clip.transcript, clip.language).words
        assert found == [(word.text, word.start_time_ms, word.end_time_ms) for word in expected], clip.audio


def test_the_example_of_the_docs_runs_and_gives_what_they_say(demo_kit, demo_bundle, capsys, monkeypatch):
    code = (ROOT / "docs/host.md").read_text().split("```python\n")[1].split("```")[0]
    for place, folder in (("build/host", demo_kit), ("build/demo/forced-aligner", demo_bundle.folder)):
        assert place in code
        code = code.replace(place, str(folder))
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.path", [*sys.path])
    exec(code, {})
    assert capsys.readouterr().out.startswith(code.splitlines()[-1].removeprefix("# "))


def test_the_vectors_are_what_the_chain_computes(demo_bundle, goldens):
    aligner = Aligner(demo_bundle, MilBackend(demo_bundle))
    for golden in goldens.values():
        samples = golden.expected("samples")
        audio, scores = aligner.encode(samples, Clock()), aligner.timestamp_scores(samples, golden.words)
        assert distance(STAGES["audio_embeddings"], audio, golden.expected("audio_embeddings")) < 2e-3
        powers = np.exp(golden.expected("logits").astype(np.float32))
        np.testing.assert_allclose(scores.probabilities, powers / powers.sum(-1, keepdims=True), atol=5e-3)
        assert (scores.classes == golden.expected("classes")).all()


def test_the_times_of_pytorch_are_those_of_its_own_processor(demo_model, demo_processor, goldens):
    for golden in goldens.values():
        words = align_with_pytorch(
            demo_model, demo_processor, golden.expected("samples"), " ".join(golden.words), "English"
        )
        times = [time for word in words for time in (word.start_time_ms, word.end_time_ms)]
        assert golden.tensors["reference.times_ms"].tolist() == times


def test_pytorch_and_the_packages_agree_at_every_stage(goldens):
    for golden in goldens.values():
        both = [name for name in STAGES if f"packages.{name}" in golden.tensors and name != "mask"]
        assert {"conv_features", "audio_embeddings", "decoder_states", "logits", "classes", "times_ms"} <= set(both)
        for name in both:
            apart = (
                distance(STAGES[name], golden.expected(name), golden.tensors[f"reference.{name}"])
                if (name != "hidden_states")
                else distance(STAGES[name], golden.with_audio("packages"), golden.with_audio("reference"))
            )
            assert apart <= STAGES[name].tolerance / 4, name


def test_there_is_a_vector_of_every_stage_and_a_clip_of_every_kind(goldens, config):
    for golden in goldens.values():
        names = {name.split(".", 1)[1] for name in golden.tensors if not name.startswith("mistake")}
        assert {stage_of(name).name for name in in_order(names)} == set(STAGES)
        assert len(in_order(names)) == len(names)
        assert len(golden.word_pieces) == len(golden.words)
    seconds = {name: golden.expected("samples").size / 16_000 for name, golden in goldens.items()}
    assert seconds["short"] < 0.5
    assert seconds["in-a-chunk"] % 1 > 0.1
    assert 8 < seconds["two-windows"] < 16
    assert "packages.mask.1" in goldens["two-groups"].tensors
    assert {clip.name.removesuffix(".safetensors") for clip in config.golden_vectors.clips} == set(goldens)


def test_the_vectors_of_the_full_model_stay_below_20_mb(demo_kit):
    """Its widths in the demo's shapes; its tokenizer gives fewer tokens than the demo's, which has bytes."""
    wider = {"conv_features": 8, "audio_embeddings": 8, "hidden_states": 8, "decoder_states": 8, "cos": 4, "sin": 4}
    total = 0
    for path in (demo_kit / "golden").iterdir():
        with safe_open(path, "np") as file:
            total += sum(file.get_tensor(name).nbytes * wider.get(name.split(".")[-1], 1) for name in file.keys())  # noqa: SIM118
    assert total < 20e6


def test_files_are_the_checkpoints(demo_kit, config, demo_model, demo_processor, demo_bundle):
    """Against the checkpoint's own feature extractor, PyTorch's window, the weights, and the converted folder."""
    extractor, sizes = demo_processor.feature_extractor, config.sizes
    filters = np.fromfile(demo_kit / "mel_filters.f32", "<f4").reshape(128, 201)
    assert np.abs(filters - extractor.mel_filters.T).max() < 1e-6
    assert np.abs(np.fromfile(demo_kit / "window.f32", "<f4") - torch.hann_window(400).numpy()).max() < 1e-6
    table = np.memmap(demo_kit / "token_table.f16", "<f2", "r", shape=(sizes.vocabulary, sizes.hidden))
    assert (table == demo_model.get_input_embeddings().weight.detach().half().numpy()).all()
    assert (config.mel.n_fft, config.mel.hop_samples, config.mel.min_samples, config.mel.sample_rate_hz) == (
        extractor.n_fft,
        extractor.hop_length,
        extractor.min_length,
        extractor.sampling_rate,
    )
    tower = demo_model.config.audio_config
    assert config.audio.chunk_frames == 2 * tower.n_window
    assert config.audio.tokens_per_call % config.audio.window_tokens == 0
    frequencies = demo_model.model.language_model.rotary_emb.inv_freq.tolist()
    assert config.rotary.inverse_frequencies == frequencies
    for name in demo_bundle.metadata.processor_files:
        assert (demo_kit / "tokenizer" / name).read_bytes() == (demo_bundle.folder / name).read_bytes()


def test_the_config_fits_its_schema_and_names_every_function(demo_kit, config, demo_bundle):
    content = json.loads((demo_kit / "config.json").read_text())
    schema = json.loads((demo_kit / "config.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(content, schema)
    for key, component in config.components.items():
        record = demo_bundle.metadata.components[key]
        assert {function.name: function.size for function in component.functions} == record.functions
        sizes = [function.size or 0 for function in component.functions]
        assert sizes == sorted(sizes)
        assert (component.package, component.sha256) == (record.package, record.sha256)


def test_a_kit_replaces_a_kit_and_nothing_else(demo_kit, demo_bundle, demo_checkpoint, tmp_path, monkeypatch):
    kit = shutil.copytree(demo_kit, tmp_path / "kit")
    monkeypatch.setattr("forced_aligner.jobs.host_kit.GOLDEN_CLIPS", GOLDEN_CLIPS[:1])
    write_kit(demo_checkpoint, demo_bundle, kit)
    assert [path.name for path in (kit / "golden").iterdir()] == ["short.safetensors"]
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="is not a"):
        write_kit(demo_checkpoint, demo_bundle, tmp_path / "other")
    for place in (tmp_path, tmp_path / "host", tmp_path.parent):
        with pytest.raises(UserError, match="are the same or one in the other"):
            check_kit(place, DEFAULT_COMPONENTS, tmp_path / "elsewhere", tmp_path)
    with pytest.raises(UserError, match="needs lm_head too"):
        check_kit(tmp_path / "new", DEFAULT_COMPONENTS[:-1], tmp_path)


@pytest.mark.parametrize("name", ["Host.swift", "golden/mine.safetensors", "tokenizer/x", "host.py", "window.f32"])
def test_a_kit_with_work_in_it_is_not_replaced(demo_kit, demo_bundle, tmp_path, name):
    kit = shutil.copytree(demo_kit, tmp_path / "kit")
    check_kit(kit, DEFAULT_COMPONENTS, demo_bundle.folder)
    with (kit / name).open("a") as file:
        file.write("mine")
    with pytest.raises(UserError, match=rf"holds {re.escape(name)}, which no host kit was written with"):
        check_kit(kit, DEFAULT_COMPONENTS, demo_bundle.folder)


def test_a_host_keeps_the_stages_of_the_last_clip_alone(demo_kit, demo_bundle, goldens, host_module):
    host = host_module.Host(demo_kit, MilBackend(demo_bundle).predict)
    for name in ("two-groups", "short"):
        host.align(goldens[name].expected("samples"), goldens[name].words)
    assert "mask.0" in host.stages
    assert "mask.1" not in host.stages


def test_a_host_refuses_what_it_cannot_align(demo_kit, host_module):
    host = host_module.Host(demo_kit, lambda *_: {})
    for samples, words in ((np.zeros((2, 16_000)), ["a"]), (np.zeros(500 * 16_000), ["a"]), (np.zeros(16_000), [])):
        with pytest.raises(ValueError, match=r"expected mono samples, at most 400 s, and words"):
            host.align(samples, words)


def test_a_kit_is_written_whole_or_not_at_all(demo_bundle, demo_checkpoint, tmp_path, monkeypatch):
    def fail(*_):
        raise UserError("the third clip fails")

    monkeypatch.setattr("forced_aligner.jobs.host_kit.golden_file", fail)
    with pytest.raises(UserError, match="the third clip fails"):
        write_kit(demo_checkpoint, demo_bundle, tmp_path / "kit")
    assert [path for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_packages_of_another_checkpoint_are_refused(demo_bundle, demo_checkpoint, tmp_path):
    metadata = demo_bundle.metadata.model_copy(update={"checkpoint_fingerprint": "0" * 64})
    with pytest.raises(UserError, match="are not of demo"):
        write_kit(demo_checkpoint, Bundle(demo_bundle.folder, metadata), tmp_path / "kit")


def test_a_published_folder_has_the_kit(demo_bundle, demo_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("forced_aligner.jobs.host_kit.GOLDEN_CLIPS", GOLDEN_CLIPS[:1])
    folder = tmp_path / "hub"
    for _ in range(2):  # the second time it replaces what it made
        lay_out(demo_bundle.folder, folder, checkpoint=demo_checkpoint)
    check_hub_folder(folder, demo_bundle.folder, DEFAULT_COMPONENTS, "demo", None)
    assert (folder / "host/golden/short.safetensors").is_file()
    assert "`host/` has all of this for a host" in (folder / "README.md").read_text()
    clip = load_clips("demo", None, is_demo_model=True, language=None)[0]
    opened = Bundle.open(folder)
    assert Aligner(opened, MilBackend(opened)).align(load_audio(Path(clip.audio)), clip.transcript).words
    (folder / "host/Host.swift").touch()
    with pytest.raises(UserError, match=r"holds Host\.swift, .* choose another folder for --package"):
        lay_out(demo_bundle.folder, folder, checkpoint=demo_checkpoint)


def test_packages_that_overflow_give_no_kit(demo_bundle, demo_checkpoint, tmp_path, monkeypatch):
    predict = MilBackend.predict

    def overflowing(self, component, function, inputs):
        return {name: array * np.float32(np.inf) for name, array in predict(self, component, function, inputs).items()}

    monkeypatch.setattr(MilBackend, "predict", overflowing)
    with pytest.raises(UserError, match="give conv_features that are not finite"):
        write_kit(demo_checkpoint, demo_bundle, tmp_path / "kit")


def test_clips_that_the_packages_do_not_take_are_left_out(demo_checkpoint, demo_bundle, tmp_path, capsys):
    record = demo_bundle.metadata.components["decoder_prefill"]
    short = record.model_copy(update={"functions": {"length_256": 256}})
    components = {**demo_bundle.metadata.components, "decoder_prefill": short}
    metadata = demo_bundle.metadata.model_copy(update={"components": components, "decoder_lengths": [256]})
    write_kit(demo_checkpoint, Bundle(demo_bundle.folder, metadata), tmp_path / "kit")
    names = {path.stem for path in (tmp_path / "kit/golden").iterdir()}
    assert names == {"short", "in-a-chunk"}
    assert "left out of the golden vectors: two-groups" in capsys.readouterr().err
