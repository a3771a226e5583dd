"""`--compress` with `--calibrate`: better than rounding, resumable, and never scored on its own clips."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from forced_aligner.align.audio import load_clip
from forced_aligner.align.chain import Aligner
from forced_aligner.align.prompt import Prompt
from forced_aligner.align.words import split_words
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import file_digest
from forced_aligner.base.records import read_json
from forced_aligner.checkpoint.lazy_weights import LazyModel
from forced_aligner.convert.gptq import quantize
from forced_aligner.convert.gptq.quantize import Presets, Quantizer
from forced_aligner.convert.gptq.store import QuantizedWeights, discard_store, store_folder
from forced_aligner.convert.metadata import expected_metadata
from forced_aligner.convert.options import Options
from forced_aligner.data.clips import load_calibration_clips
from forced_aligner.jobs.calibrate import calibration_inputs
from forced_aligner.jobs.calibration_clips import calibration_clips, calibration_digest
from forced_aligner.jobs.compare import compare
from forced_aligner.jobs.convert import convert
from forced_aligner.jobs.golden import reference_stages
from forced_aligner.jobs.reference import make_reference
from forced_aligner.package.bundle import Bundle
from forced_aligner.package.contract import DEFAULT_COMPONENTS, DEFAULTS_OF
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.runtime.mil.program import Program
from forced_aligner.score.gate import Gate
from forced_aligner.score.records import Reference

CLIPS = 6
SIZES = {"decoder_lengths": (768,), "audio_frames": (208,)}
INT4 = {"compress": "int4", "precision": "float16"}


def options(**changes):
    return Options(DEFAULT_COMPONENTS, **(SIZES | INT4 | {"calibrate": CLIPS} | changes))


def clip_path(clip):
    return Path(clip.audio)


@pytest.fixture(scope="module")
def calibrated(demo_checkpoint, tmp_path_factory):
    """The demo in int4, fitted to some clips."""
    folder = tmp_path_factory.mktemp("calibrated") / "m"
    convert(demo_checkpoint, folder, options())
    return Bundle.open(folder)


@pytest.fixture(scope="module")
def clips(demo_checkpoint):
    return calibration_clips(demo_checkpoint, options())


def moved(bundle, reference_path):
    report, _ = compare(
        Aligner(bundle, MilBackend(bundle)), read_json(Reference, reference_path, ""), reference_path.parent, Gate()
    )
    return report.moved


# --- the packages -----------------------------------------------------------------------------------------------


def test_fewer_boundaries_move_than_by_rounding(calibrated, demo_checkpoint, demo_reference_path, tmp_path):
    convert(demo_checkpoint, tmp_path / "m", options(calibrate=0))
    assert moved(calibrated, demo_reference_path) < moved(Bundle.open(tmp_path / "m"), demo_reference_path)


def unpacked_with(bundle, key):
    """The linear ops and convolutions of a component, each with the parameters of the op that unpacks its weight."""
    program = Program(bundle.package(key))
    steps = program.function(program.function_names[0]).steps
    unpacked = {step.outputs[0][0]: set(step.arguments) for step in steps if step.kind.startswith("constexpr_")}
    users = [step for step in steps if step.kind in ("linear", "conv")]
    return [unpacked.get(getattr(step.arguments["weight"], "name", None)) for step in users]


def test_every_weight_is_fitted_and_no_other(calibrated):
    """Only fitted weights of four bits have offsets. The first convolution and the head are as they were."""
    fitted = {"data", "scale", "offset"}
    assert unpacked_with(calibrated, "audio_transformer") == [fitted] * (3 * 6 + 2)
    assert unpacked_with(calibrated, "decoder_prefill") == [fitted] * (4 * 7)
    assert unpacked_with(calibrated, "audio_conv") == [
        None,
        {"data", "scale"},
        {"data", "scale"},
        fitted,
    ]  # 16 channels
    assert unpacked_with(calibrated, "lm_head") == [None]
    (embedding,) = [s for s in Program(calibrated.package("embedding")).function().steps if "constexpr" in s.kind]
    assert "offset" not in embedding.arguments


def test_the_metadata_tells_the_clips(calibrated, clips):
    assert calibrated.metadata.calibration_audio == sorted(file_digest(clip_path(clip)) for clip in clips)
    assert calibrated.metadata.calibration_clips == CLIPS


def test_the_compact_layout_is_fitted_as_well(demo_checkpoint, tmp_path):
    chosen = Options(
        DEFAULTS_OF["compact"], (64,), (104,), precision="float16", compress="int4", calibrate=1, layout="compact"
    )
    convert(demo_checkpoint, tmp_path / "m", chosen)
    fitted = {"data", "scale", "offset"}
    bundle = Bundle.open(tmp_path / "m")
    assert unpacked_with(bundle, "text") == [*[fitted] * (4 * 7), None]
    assert unpacked_with(bundle, "audio").count(fitted) == 1 + 3 * 6 + 2


def test_the_head_is_fitted_if_it_is_named_in_float32_too(demo_checkpoint, tmp_path):
    metadata = convert(
        demo_checkpoint,
        tmp_path / "m",
        Options(("lm_head",), precision="float32", compress="lm_head=int4", calibrate=1),
    )
    assert metadata.components["lm_head"].calibration is None
    assert unpacked_with(Bundle.open(tmp_path / "m"), "lm_head") == [{"data", "scale", "offset"}]


# --- the way of the clips ---------------------------------------------------------------------------------------


def test_the_clips_go_the_way_that_transformers_goes(demo_checkpoint, demo_model, demo_processor, clips, tmp_path):
    metadata = expected_metadata(demo_checkpoint, demo_processor, options())
    prompt = Prompt.of_processor(demo_processor, metadata.token_ids)
    inputs = [calibration_inputs(prompt, metadata, clip) for clip in clips]
    quantizer = Quantizer(LazyModel(demo_checkpoint), Presets(), inputs, QuantizedWeights(tmp_path / "store", "run"))
    audio = quantizer.audio()
    decoder = quantizer.decoder(audio)
    for clip, (embeddings,), (states,) in zip(clips, audio.exact, decoder.exact, strict=True):
        words = split_words(clip.transcript, clip.language)
        expected = reference_stages(demo_model, demo_processor, load_clip(clip), words)
        ids = expected["token_ids"] == demo_model.config.timestamp_token_id
        np.testing.assert_allclose(embeddings[0], expected["audio_embeddings"], atol=2e-4)
        np.testing.assert_allclose(states[0, : len(ids)][ids], expected["decoder_states"], rtol=1e-3, atol=2e-3)
    torch.testing.assert_close(decoder.exact, decoder.compressed, rtol=0, atol=0)


# --- going on, and again ----------------------------------------------------------------------------------------


def test_a_run_that_was_stopped_goes_on(demo_checkpoint, calibrated, tmp_path, monkeypatch, capsys):
    """Its packages are those of a run that was not stopped, byte by byte."""
    whole = quantize.Quantizer._block

    def stops(self, name, *arguments):
        if name == "decoder_01":
            raise KeyboardInterrupt
        return whole(self, name, *arguments)

    monkeypatch.setattr(quantize.Quantizer, "_block", stops)
    with pytest.raises(KeyboardInterrupt):
        convert(demo_checkpoint, tmp_path / "m", options())
    assert sorted(path.name for path in tmp_path.iterdir()) == [".m.calibration"]
    monkeypatch.undo()
    capsys.readouterr()
    metadata = convert(demo_checkpoint, tmp_path / "m", options())
    messages = capsys.readouterr().err
    assert re.search(r"decoder_00: 7 weights, output off by .* %, from an earlier run", messages)
    assert re.search(r"decoder_01: 7 weights, output off by .* %, \d", messages)
    assert metadata.package_sha256 == calibrated.metadata.package_sha256
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]


def test_a_store_of_another_run_is_not_used(tmp_path):
    weight = torch.randn(4, 8)
    op = quantize.compress(weight.numpy(), "int8")
    QuantizedWeights(tmp_path / "store", "one").put("conv", {"w": (weight, op)})
    assert QuantizedWeights(tmp_path / "store", "one").block("conv").keys() == {"w"}
    assert QuantizedWeights(tmp_path / "store", "other").block("conv") is None
    assert list((tmp_path / "store").iterdir()) == []


def test_a_damaged_file_of_the_store_is_made_anew(tmp_path):
    weight = torch.randn(4, 8)
    store = QuantizedWeights(tmp_path / "store", "one")
    store.put("conv", {"w": (weight, quantize.compress(weight.numpy(), "int8"))})
    path = store.path("conv")
    path.write_bytes(path.read_bytes()[:-3])
    assert QuantizedWeights(tmp_path / "store", "one").block("conv") is None


@pytest.mark.parametrize("name", ["notes.txt", "weights.safetensors", "folder.safetensors/"])
def test_something_else_in_the_stores_folder_is_left_alone(demo_checkpoint, tmp_path, name):
    """And nothing beside it is removed either."""
    store, weight = tmp_path / ".m.calibration", torch.randn(4, 8)
    QuantizedWeights(store, "one").put("conv", {"w": (weight, quantize.compress(weight.numpy(), "int8"))})
    theirs = store / name
    if name.endswith("/"):
        theirs.mkdir()
    else:
        theirs.write_bytes(save({"w": weight.numpy()}) if theirs.suffix == ".safetensors" else b"mine")
    before = sorted(path.name for path in store.iterdir())
    with pytest.raises(UserError, match=rf"holds {theirs.name}, which this project did not write"):
        convert(demo_checkpoint, tmp_path / "m", options())
    discard_store(tmp_path / "m")
    assert sorted(path.name for path in store.iterdir()) == before
    assert not (tmp_path / "m").exists()


def test_what_another_run_has_left_is_removed_when_the_folder_is_complete(demo_checkpoint, tmp_path):
    weight = torch.randn(4, 8)
    store = QuantizedWeights(store_folder(tmp_path / "m"), "one")
    store.put("conv", {"w": (weight, quantize.compress(weight.numpy(), "int8"))})
    convert(demo_checkpoint, tmp_path / "m", Options(("lm_head",)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]


def test_weights_are_told_apart_by_their_shape(tmp_path):
    """Two weights of zeros have the same bytes."""
    store = QuantizedWeights(tmp_path / "store", "one")
    for name, shape in (("a", (4, 8)), ("b", (2, 16))):
        store.put(name, {"w": (torch.zeros(shape), quantize.compress(np.zeros(shape, np.float32), "int8"))})
    assert store.constexpr(np.zeros((4, 8), np.float16)).parameters["data"].array.shape == (4, 8)
    assert store.constexpr(np.zeros((2, 16), np.float16)).parameters["scale"].array.dtype == np.float16


def test_a_weight_that_was_not_fitted_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match=r"a weight of the shape \(4, 8\) was not fitted"):
        QuantizedWeights(tmp_path / "store", "one").constexpr(np.zeros((4, 8), np.float16))


# --- what is refused --------------------------------------------------------------------------------------------


def test_the_clips_are_not_scored(calibrated, demo_checkpoint, clips, tmp_path):
    reference = make_reference(demo_checkpoint, clips[:2], tmp_path / "reference.json")
    with pytest.raises(UserError, match="weights were fitted to 2 of the 2 recordings, such as "):
        compare(Aligner(calibrated, MilBackend(calibrated)), reference, tmp_path, Gate())


def test_magnitudes_alone_forbid_no_clips(demo_checkpoint, demo_processor):
    for changes in ({"compress": "none"}, {"compress": "embedding=int8"}):
        assert not options(**changes).fits
    assert options().fits


def test_another_transcript_or_recording_is_another_conversion(demo_checkpoint, clips, tmp_path):
    other = [clips[0].model_copy(update={"transcript": "Other words."}), *clips[1:]]
    digests = {
        calibration_digest(some, [file_digest(clip_path(clip)) for clip in some]) for some in (clips, clips[1:], other)
    }
    assert len(digests) == 3


def test_sets_to_calibrate_with(demo_clips, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("forced_aligner.data.librispeech.SEARCH_FOLDERS", (tmp_path,))
    assert len(load_calibration_clips("auto", is_demo_model=True)) == 64
    assert "synthetic" not in capsys.readouterr().err
    assert len(load_calibration_clips("auto", is_demo_model=False)) == 64
    assert "it is synthetic English" in capsys.readouterr().err
    assert load_calibration_clips("demo", is_demo_model=False) == demo_clips
    with pytest.raises(UserError, match="no calibration set 'nothing'; expected auto, demo, demo-120"):
        load_calibration_clips("nothing", is_demo_model=True)
    with pytest.raises(UserError, match="no LibriSpeech dev-other in"):
        load_calibration_clips("dev-other", is_demo_model=True)


def test_librispeech_is_calibrated_on_what_is_not_scored(tmp_path, monkeypatch):
    for subset in ("test-clean", "dev-other"):
        chapter = tmp_path / "LibriSpeech" / subset / "1" / "2"
        chapter.mkdir(parents=True)
        (chapter / "1-2.trans.txt").write_text(f"1-2-0000 {subset.upper()}\n")
    monkeypatch.chdir(tmp_path)
    assert [clip.transcript for clip in load_calibration_clips("auto", is_demo_model=False)] == ["DEV-OTHER"]


def test_a_folder_and_a_manifest_can_be_calibrated_with(demo_clips, tmp_path):
    audio = clip_path(demo_clips[0])
    (tmp_path / "talk.flac").write_bytes(audio.read_bytes())
    (tmp_path / "talk.txt").write_text("Hello.")
    (tmp_path / "list.jsonl").write_text('{"audio": "talk.flac", "text": "Hello."}\n')
    for source in (tmp_path, tmp_path / "list.jsonl"):
        (clip,) = load_calibration_clips(str(source), is_demo_model=True)
        assert clip.transcript == "Hello."


def test_more_clips_than_there_are_are_refused(demo_checkpoint, tmp_path):
    with pytest.raises(UserError, match="--calibrate 65 asks for more than the 64 clips of the set"):
        convert(demo_checkpoint, tmp_path / "m", options(calibrate=65))
    assert not list(tmp_path.iterdir())


MONOLITHIC = ("audio_encoder", "embedding", "decoder_prefill", "lm_head")


@pytest.mark.parametrize(
    ("components", "changes", "message"),
    [
        (MONOLITHIC, {}, "which audio_encoder has not: give audio_encoder=none in --compress, or leave it out"),
        (("decoder_prefill",), {}, "so it needs all of them: leave out --components"),
        (DEFAULT_COMPONENTS, {"precision": "float32", "compress": "none"}, "nothing is in FP16 or compressed"),
        (
            DEFAULT_COMPONENTS,
            {"calibrate": 0, "calibration_dataset": "demo"},
            "which clips --calibrate runs: give both",
        ),
    ],
)
def test_calibrations_without_a_sense_are_refused(components, changes, message):
    with pytest.raises(UserError, match=message):
        Options(components, **(INT4 | {"calibrate": 1} | changes)).validate()


def test_a_monolithic_encoder_that_is_not_compressed_is_no_hindrance():
    Options(MONOLITHIC, precision="float16", compress="decoder_prefill=int4", calibrate=1).validate()
