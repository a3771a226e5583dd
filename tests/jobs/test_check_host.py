"""`check-host`: a right host passes, and each known mistake, made on purpose, is named at its stage."""

import json

import librosa
import numpy as np
import pytest
from safetensors.numpy import save_file

from forced_aligner.base.errors import UserError
from forced_aligner.base.records import read_json, to_json
from forced_aligner.jobs.check_host import check_host
from forced_aligner.package.host_kit.config import HostConfig
from forced_aligner.package.host_kit.golden import Golden
from forced_aligner.package.host_kit.host import Host
from forced_aligner.package.host_kit.stages import STAGES
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.score.host_check import HostReport, verdict

CLIP = "two-windows"


@pytest.fixture(scope="module")
def goldens(demo_kit):
    config = read_json(HostConfig, demo_kit / "config.json", "")
    return {path.stem: Golden.read(config, path) for path in (demo_kit / "golden").iterdir()}


@pytest.fixture(scope="module")
def predict(demo_bundle):
    return MilBackend(demo_bundle).predict


@pytest.fixture(scope="module")
def right(demo_kit, goldens, predict):
    """The stages of a right host, by clip."""
    return {name: run_host(Host, demo_kit, golden, predict) for name, golden in goldens.items()}


def run_host(kind, kit, golden, predict):
    host = kind(kit, predict)
    host.align(golden.expected("samples"), golden.words)
    return dict(host.stages)


@pytest.fixture
def check(demo_kit, tmp_path):
    """Writes the stages of some clips as a host would, and checks them."""

    def write_and_check(**clips):
        for name, stages in clips.items():
            arrays = {stage: np.ascontiguousarray(array) for stage, array in stages.items()}
            save_file(arrays, tmp_path / f"{name.replace('_', '-')}.safetensors")
        return check_host(demo_kit, tmp_path)

    return write_and_check


def first(report):
    assert not report.passed
    assert report.first.is_known, report.first.how
    return report.first.stage, report.first.how


def test_a_right_host_passes_at_every_stage(check, right):
    report = check(**right)
    assert report.passed, verdict(report)
    assert report.not_given == []
    assert verdict(report).startswith(f"passed: {len(report.results)} results of 4 clips are within their tolerances")


def test_a_processor_with_other_rounding_passes(check, right):
    """Every result of the packages in FP16."""
    names = ("conv_features", "audio_embeddings", "hidden_states", "decoder_states", "logits")
    report = check(
        **{clip: stages | {name: stages[name].astype(np.float16) for name in names} for clip, stages in right.items()}
    )
    assert report.passed, verdict(report)


def other_mel(**changes):
    """A host with librosa's spectrogram, which is not what the check computes."""

    def log_mel(self, samples):
        options = {"center": True, "pad_mode": "reflect", "htk": False, "norm": "slaney"} | changes
        options = {name: value for name, value in options.items() if name not in ("log", "scaled")}
        samples = np.pad(samples, (0, max(0, 8000 - samples.size)))
        power = librosa.feature.melspectrogram(
            y=samples, sr=16000, n_fft=400, hop_length=160, n_mels=128, fmin=0, fmax=8000, **options
        )
        x = changes.get("log", np.log10)(np.maximum(power[:, : samples.size // 160], 1e-10))
        x = np.maximum(x, x.max() - (80 if changes.get("log") is decibels else 8))
        x = (x + 4) / 4 if changes.get("scaled", True) else x
        self.stages["mel"] = x.astype(np.float32)
        return self.stages["mel"]

    return log_mel


def decibels(power):
    return 10 * np.log10(power)


def changed_mel(change):
    def log_mel(self, samples):
        self.stages["mel"] = np.ascontiguousarray(change(Host.log_mel(self, samples)))
        return self.stages["mel"]

    return log_mel


def in_16_bits(self, samples):
    return Host.log_mel(self, samples * np.float32(32768))


MELS = {
    "frame late": (changed_mel(lambda mel: np.pad(mel, ((0, 0), (1, 0)))[:, :-1]), "shifted by 1 frame: frame 0 is in"),
    "frame early": (changed_mel(lambda mel: mel[:, 1:]), "shifted by 1 frame: frame 1 is in place 0"),
    "two frames": (changed_mel(lambda mel: np.pad(mel, ((0, 0), (2, 0)))), "shifted by 2 frames"),
    "last kept": (changed_mel(lambda mel: np.pad(mel, ((0, 0), (0, 1)))), "the last frame of the STFT is dropped"),
    "natural log": (other_mel(log=np.log), "natural logarithm"),
    "natural log alone": (other_mel(log=np.log, scaled=False), "natural logarithm: it is log10; and no (x + 4) / 4"),
    "no scaling": (other_mel(scaled=False), "no (x + 4) / 4 after the logarithm"),
    "dB": (other_mel(log=decibels), "dB: it is log10"),
    "dB alone": (other_mel(log=decibels, scaled=False), "dB: it is log10, without the factor 10; and no (x + 4) / 4"),
    "HTK": (other_mel(htk=True), "HTK filters"),
    "HTK without norm": (other_mel(htk=True, norm=None), "HTK filters: the mel scale is Slaney's; and filters without"),
    "no norm": (other_mel(norm=None), "filters without Slaney's norm"),
    "no centring": (other_mel(center=False), "no centring"),
    "zeros": (other_mel(pad_mode="constant"), "padded with zeros, and not with reflected samples"),
    "magnitude": (other_mel(power=1.0), "the magnitude of the spectrum"),
    "16 bits": (in_16_bits, "samples of 16 bits"),
}


# A clip that is padded to 0.5 s has zeros at its end anyway.
CLIPS = [(clip, mistake) for mistake in MELS for clip in ("short", CLIP) if (clip, mistake) != ("short", "zeros")]


@pytest.mark.parametrize(("clip", "mistake"), CLIPS)
def test_a_wrong_mel_is_named(check, demo_kit, goldens, clip, mistake):
    wrong, sentence = MELS[mistake]
    host = Host(demo_kit, None)
    golden = goldens[clip]
    wrong(host, golden.expected("samples"))
    stage, how = first(check(**{clip: {"mel": host.stages["mel"]}}))
    assert stage == "mel"
    assert sentence in how


def test_a_transposed_mel_is_named(check, right):
    mel = right[CLIP]["mel"]
    assert first(check(**{CLIP: {"mel": mel.T}})) == ("mel", "it is transposed")
    memory = np.ascontiguousarray(mel.T).reshape(mel.shape)
    assert "its memory is transposed" in first(check(**{CLIP: {"mel": memory}}))[1]


class PrefixHost(Host):
    def prompt(self, words, audio_tokens):
        self.stages["token_ids"] = np.array([1, 2, 3, *super().prompt(words, audio_tokens)], np.int32)
        return self.stages["token_ids"]


class SpaceHost(Host):
    def prompt(self, words, audio_tokens):
        return super().prompt([words[0], *(f" {word}" for word in words[1:])], audio_tokens)


class OneMarkHost(Host):
    def prompt(self, words, audio_tokens):
        ids = super().prompt(words, audio_tokens)
        twice = (ids[1:] == 260) & (ids[:-1] == 260)
        self.stages["token_ids"] = ids[np.append(~twice, True)]
        return self.stages["token_ids"]


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (PrefixHost, "3 tokens stand before the audio (1, 2, 3): there is no prefix"),
        (SpaceHost, "it differs first at token"),
        (OneMarkHost, "it has timestamp 20 times and not 40 times"),
    ],
)
def test_a_wrong_prompt_is_named(check, demo_kit, goldens, kind, sentence):
    host, golden = kind(demo_kit, None), goldens[CLIP]
    host.prompt(golden.words, len(golden.expected("audio_embeddings")))
    stage, how = first(check(**{CLIP: {"token_ids": host.stages["token_ids"]}}))
    assert stage == "token_ids"
    assert how.startswith(sentence)
    assert kind is not SpaceHost or f"in the word {golden.words[1]!r}" in how


class PaddingHost(Host):
    def window_mask(self, real, size):
        return super().window_mask(size, size)


class WindowlessHost(Host):
    def window_mask(self, real, size):
        return np.where(np.arange(size)[None].repeat(size, 0) < real, 0, -1e4).astype(np.float32)


class InfiniteHost(Host):
    def window_mask(self, real, size):
        return np.where(super().window_mask(real, size) < 0, -np.inf, 0).astype(np.float32)


class LowestHost(Host):
    def window_mask(self, real, size):
        return np.where(super().window_mask(real, size) < 0, np.finfo(np.float32).min, 0).astype(np.float32)


MASKS = {
    PaddingHost: "the audio attends to the padding",
    WindowlessHost: "the audio attends across windows",
    InfiniteHost: "-inf mask",
    LowestHost: "beyond FP16",
}


@pytest.mark.parametrize("kind", MASKS)
def test_a_wrong_mask_is_named(check, demo_kit, goldens, predict, kind):
    stages = run_host(kind, demo_kit, goldens[CLIP], predict)
    stage, how = first(check(**{CLIP: stages}))
    assert stage == "mask.0"
    assert MASKS[kind] in how


@pytest.mark.parametrize("kind", [PaddingHost, WindowlessHost, InfiniteHost])
def test_a_wrong_mask_is_named_by_what_it_does(check, demo_kit, goldens, predict, kind):
    """Where the host gives what the packages gave, but not its mask."""
    stages = run_host(kind, demo_kit, goldens[CLIP], predict)
    if kind is InfiniteHost:  # a runtime may give NaN for the rows that are masked throughout
        stages["audio_embeddings"] = np.full_like(stages["audio_embeddings"], np.nan)
    stage, how = first(check(**{CLIP: {name: stages[name] for name in ("conv_features", "audio_embeddings")}}))
    assert stage == "audio_embeddings"
    assert (MASKS[kind] if kind is not InfiniteHost else "it has NaN: a mask of -inf") in how


@pytest.mark.parametrize(("stage", "stride"), [("logits", 5008), ("conv_features", 192), ("decoder_states", 136)])
def test_a_stride_that_was_copied_by_count_is_named(check, right, stage, stride):
    rows = right[CLIP][stage]
    buffer = np.zeros((len(rows), stride), np.float32)
    buffer[:, : rows.shape[1]] = rows
    wrong = buffer.reshape(-1)[: rows.size].reshape(rows.shape)
    found, how = first(check(**{CLIP: right[CLIP] | {stage: wrong}}))
    assert found == stage
    assert f"the stride was copied by count: rows of {rows.shape[1]} values lie {stride} apart" in how


@pytest.mark.parametrize(
    ("stage", "change", "sentence"),
    [
        ("chunks", lambda chunks: chunks.swapaxes(1, 2), "each chunk is transposed"),
        ("chunks", lambda chunks: np.where(chunks == 0, -1.5, chunks), "the last chunk is padded with zeros"),
        ("chunks", lambda chunks: chunks * 4 - 4, "no (x + 4) / 4"),
        ("conv_features", lambda rows: np.pad(rows, ((0, 10), (0, 0))), "10 rows too many at its end: padded rows"),
        ("conv_features", lambda rows: rows[:-2], "its last 2 rows are missing"),
        ("audio_embeddings", lambda rows: rows.T, "it is transposed"),
        ("audio_embeddings", lambda rows: rows * 2, "it is 2 times as large"),
        ("hidden_states", lambda rows: np.roll(rows, 1, 0), "it is shifted by 1: row 0 is in place 1"),
        ("cos", lambda rows: np.roll(rows, -1, 0), "it is shifted by 1: row 1 is in place 0"),
        ("cos", lambda rows: rows[:, : rows.shape[1] // 2].repeat(2, -1), "each angle is written twice in a row"),
        ("cos", lambda rows: rows[:, : rows.shape[1] // 2], "it has one half"),
        ("logits", lambda rows: np.where(rows > 0, np.nan, rows), "it has NaN"),
        ("raw_times_ms", lambda times: times / 1000, "it is in seconds"),
    ],
)
def test_numbers_in_the_wrong_place_are_named(check, right, stage, change, sentence):
    found, how = first(check(**{CLIP: right[CLIP] | {stage: change(right[CLIP][stage])}}))
    assert found == stage
    assert sentence in how


def test_exchanged_cos_and_sin_are_named(check, right):
    stages = right[CLIP]
    report = check(**{CLIP: stages | {"cos": stages["sin"], "sin": stages["cos"]}})
    assert first(report) == ("cos", "it is the sin: cos and sin are exchanged")


def test_audio_that_was_not_put_in_is_named(check, right, goldens):
    stages = right[CLIP]
    is_pad = goldens[CLIP].expected("token_ids") == goldens[CLIP].config.prompt.token_ids.audio_pad
    hidden = stages["hidden_states"].copy()
    hidden[is_pad] = 0.25
    stage, how = first(check(**{CLIP: {"hidden_states": hidden}}))
    assert (stage, how) == ("hidden_states", "the audio embeddings were not put in place of audio_pad")


def test_the_first_stage_is_the_earliest_one_of_all_clips(check, right):
    """And an unknown mistake is told by its size alone."""
    late, early = dict(right["short"]), dict(right[CLIP])
    late["logits"] = late["logits"][::-1] * 0.5
    early["conv_features"] = early["conv_features"] + np.random.default_rng(0).normal(size=(1, 128)) * 30
    report = check(**{"short": late, CLIP: early})
    assert (report.first.clip, report.first.stage, report.first.is_known) == (CLIP, "conv_features", False)
    assert report.first.distance > report.first.tolerance
    assert "FAILED: the first stage that departs is conv_features, in two-windows, by" in verdict(report)
    assert verdict(report).endswith("no known mistake: compare it value by value")


def test_classes_may_differ_where_scores_tie_alone(check, right, goldens):
    stages = right[CLIP]
    logits = goldens[CLIP].expected("logits").astype(np.float32)
    order = np.argsort(-logits, axis=-1)
    scores = np.take_along_axis(logits, order, -1)
    gaps = (scores[:, 0] - scores[:, 1]) / (scores[:, 0] - scores[:, -1])
    for row, passes in ((int(gaps.argmin()), gaps.min() < 0.02), (int(gaps.argmax()), False)):
        classes = stages["classes"].copy()
        classes[row] = order[row, 1]
        assert check(**{CLIP: {"classes": classes}}).passed == passes
    assert gaps.max() > 0.02


def write_times(path, words, times):
    pairs = zip(words, times[::2], times[1::2], strict=True)
    words = [{"text": word, "start_time_ms": start, "end_time_ms": end} for word, start, end in pairs]
    path.write_text(json.dumps(words))


def test_times_alone_are_enough(demo_kit, goldens, right, tmp_path):
    golden, times = goldens[CLIP], right[CLIP]["times_ms"]
    path = tmp_path / f"{CLIP}.json"
    write_times(path, golden.words, times.tolist())
    assert check_host(demo_kit, tmp_path).passed
    for wrong, sentence in (
        (times / 1000, "it is in seconds"),
        (times + 80, "every time is +80 ms off"),
        (golden.tensors["mistake.chat_prefix.times_ms"], "chat tokens before the audio"),
        (golden.tensors["mistake.padding_attended.times_ms"], "attends to the padding"),
        (np.where(np.arange(times.size) == 3, times + 160, times), f"1 of {times.size} times are others, by +4 ms"),
    ):
        write_times(path, golden.words, wrong.tolist())
        stage, how = first(check_host(demo_kit, tmp_path))
        assert stage == "times_ms"
        assert sentence in how
    write_times(path, ["Other", *golden.words[1:]], times.tolist())
    with pytest.raises(UserError, match=r"has other words than the clip \(word 0 is 'Other', not 'Tungsten'\)"):
        check_host(demo_kit, tmp_path)


def test_times_that_were_not_repaired_are_named(check, right):
    """A class of the host's goes back in time, and its times follow."""
    stages = {name: right[CLIP][name].copy() for name in ("classes", "raw_times_ms", "times_ms")}
    stages["classes"][5] = 0
    stages["raw_times_ms"] = stages["times_ms"] = stages["classes"] * 80.0
    results = check(**{CLIP: stages}).results
    assert [result.departs for result in results] == [True, False, True]
    assert results[-1].how.startswith("the times were not repaired")


def test_files_of_numpy_are_read_too(demo_kit, right, tmp_path):
    (tmp_path / CLIP).mkdir()
    for name in ("mel", "mask.0", "logits"):
        np.save(tmp_path / CLIP / f"{name}.npy", right[CLIP][name][None])
    report = check_host(demo_kit, tmp_path)
    assert report.passed
    assert [result.stage for result in report.results] == ["mel", "mask.0", "logits"]
    assert report.not_given == [name for name in STAGES if name not in ("mel", "mask", "logits")]
    assert HostReport.model_validate_json(to_json(report)) == report


def test_what_cannot_be_read_is_one_sentence(demo_kit, tmp_path, capsys):
    with pytest.raises(UserError, match="holds nothing of the clips short, in-a-chunk"):
        check_host(demo_kit, tmp_path)
    with pytest.raises(UserError, match="no folder at"):
        check_host(demo_kit, tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"make it with convert-coreml\.py --host-kit"):
        check_host(tmp_path, tmp_path)
    (tmp_path / "other.safetensors").touch()
    (tmp_path / "short.json").write_text('[{"text": 1}]')
    with pytest.raises(UserError, match=r"is not as it must be: 0\.text; expected a list of"):
        check_host(demo_kit, tmp_path)
    assert "left out: other.safetensors, which is none of the kit's clips" in capsys.readouterr().err
    (tmp_path / "short.json").unlink()
    (tmp_path / "short.safetensors").write_bytes(b"{")
    with pytest.raises(UserError, match=r"cannot read .*short\.safetensors"):
        check_host(demo_kit, tmp_path)
    (tmp_path / "short.safetensors").unlink()
    (tmp_path / "short").mkdir()
    (tmp_path / "short/mel.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(UserError, match=r"cannot read .*mel\.npy"):
        check_host(demo_kit, tmp_path)
    np.save(tmp_path / "short/mel.npy", np.array(["text"]))
    with pytest.raises(UserError, match="expected numbers, such as float32"):
        check_host(demo_kit, tmp_path)


def test_a_changed_kit_is_refused(demo_kit, tmp_path):
    kit = tmp_path / "kit"
    (kit / "golden").mkdir(parents=True)
    (kit / "config.json").write_bytes((demo_kit / "config.json").read_bytes())
    for path in (demo_kit / "golden").iterdir():
        (kit / "golden" / path.name).write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="is missing or damaged: make it with"):
        check_host(kit, tmp_path)


@pytest.mark.parametrize("clip", ["short", CLIP])
def test_the_chunks_are_cut_out_of_the_golden_mel(goldens, right, clip):
    golden = goldens[clip]
    np.testing.assert_allclose(golden.expected("chunks"), right[clip]["chunks"], atol=2e-3)
    np.testing.assert_array_equal(golden.expected("chunks")[[0, -1]], golden.tensors["reference.chunks"])


def test_every_chunk_counts(check, right):
    chunks = right[CLIP]["chunks"]
    assert len(chunks) == 10
    wrong = chunks.copy()
    wrong[4] = 0
    report = check(**{CLIP: {"chunks": wrong}})
    assert (report.first.stage, report.first.is_known) == ("chunks", False)
    for given in (chunks[[0, -1]], chunks[:-1], np.concatenate([chunks, 0 * chunks[:1]])):
        sentence = f"it has {len(given)} chunks and not 10"
        assert first(check(**{CLIP: {"chunks": given}})) == ("chunks", sentence)
    report = check(**{CLIP: {"chunks": chunks[:, :80]}})
    assert report.first.how == "its shape is [10, 80, 100], and not [10, 128, 100]"
