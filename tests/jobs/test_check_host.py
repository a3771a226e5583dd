"""`check-host`: a right host passes, and each known mistake, made on purpose, is named at its stage."""

import json
import os
import warnings
from itertools import product
from types import SimpleNamespace

import librosa
import numpy as np
import pytest
from safetensors.numpy import save_file

from forced_aligner.base.errors import UserError
from forced_aligner.base.records import read_json, to_json
from forced_aligner.jobs.check_host import check_host
from forced_aligner.jobs.golden import GOLDEN_CLIPS
from forced_aligner.jobs.host_kit import write_kit
from forced_aligner.package.host_kit.config import HostConfig
from forced_aligner.package.host_kit.golden import Golden
from forced_aligner.package.host_kit.host import Host, repair
from forced_aligner.package.host_kit.stages import STAGES
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.score.host_check import HostReport, verdict
from forced_aligner.score.host_times import is_of_ties, moved

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
    """Where the host gives what the packages gave, but not its mask, on a processor that rounds otherwise."""
    stages = run_host(kind, demo_kit, goldens[CLIP], predict)
    random = np.random.default_rng(0)
    for name in ("conv_features", "audio_embeddings"):
        noise = random.normal(1, 1e-3, stages[name].shape)
        stages[name] = (stages[name] * noise).astype(np.float16)
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


def gaps_of(golden):
    """The classes of each row, best first, and the gap between the best two, as a part of the row's range."""
    logits = golden.expected("logits").astype(np.float32)
    order = np.argsort(-logits, axis=-1, kind="stable")
    scores = np.take_along_axis(logits, order, -1)
    return order, (scores[:, 0] - scores[:, 1]) / (scores[:, 0] - scores[:, -1])


def exchanged(golden, row):
    """The classes of a host that takes the second best in one row, and their times."""
    order, classes = gaps_of(golden)[0], golden.expected("classes").copy()
    classes[row] = order[row, int(order[row, 0] == classes[row])]
    raw = classes * 80.0
    return {"classes": classes, "raw_times_ms": raw, "times_ms": np.array(repair(raw.tolist(), 2))}


@pytest.mark.parametrize(
    "names", [("classes",), ("classes", "raw_times_ms", "times_ms"), ("classes", "times_ms"), ("raw_times_ms",)]
)
def test_classes_may_differ_where_scores_tie_alone(check, goldens, names):
    golden = goldens[CLIP]
    gaps = gaps_of(golden)[1]
    assert gaps.min() < 0.02 < gaps.max()
    for row, passes in ((int(gaps.argmin()), True), (int(gaps.argmax()), False)):
        stages = exchanged(golden, row)
        report = check(**{CLIP: {name: stages[name] for name in names}})
        assert report.passed == passes
        assert [result.stage for result in report.results if result.departs] == ([] if passes else [names[0]])


def test_times_alone_may_be_those_of_any_classes_that_tie(check, goldens):
    """Also where the repair moves other times, and where a mistake gives the same."""
    changed = 0
    for clip, golden in goldens.items():
        ties = np.flatnonzero(gaps_of(golden)[1] < 0.02)
        for row in ties:
            times = exchanged(golden, row)["times_ms"]
            changed += (times != golden.expected("times_ms")).any()
            report = check(**{clip: {"times_ms": times}})
            assert report.passed, verdict(report)
    assert changed > 10
    times = goldens[CLIP].expected("times_ms").copy()
    times[gaps_of(goldens[CLIP])[1].argmax()] += 80
    assert not check(**{CLIP: {"times_ms": times}}).passed


def possible_times(allowed, segment_ms):
    choices = product(*(np.flatnonzero(row) * segment_ms for row in allowed))
    return {tuple(repair([float(time) for time in choice], 2)) for choice in choices}


def test_times_of_ties_are_those_of_some_choice(goldens):
    """Against every choice of classes, for few words."""
    random = np.random.default_rng(0)
    for count in (2, 4, 6, 8) * 8:
        classes = np.where(random.random(count) < 0.3, random.integers(0, 8, count), np.arange(count))
        allowed = np.zeros((count, 10), bool)
        allowed[np.arange(count), classes] = allowed[np.arange(count), classes + random.integers(0, 3, count)] = True
        golden = SimpleNamespace(config=goldens[CLIP].config, as_good_as_best=lambda allowed=allowed: allowed)
        possible = possible_times(allowed, 80.0)
        for times in possible:
            assert is_of_ties(np.array(times), golden)
            other = np.array(times)
            other[random.integers(count)] += random.choice([-80, 40, 80, 160])
            assert is_of_ties(other, golden) == (tuple(other.tolist()) in possible)


def test_the_golden_vectors_know_no_mistake_by_a_tie(goldens):
    known = 0
    for golden in goldens.values():
        for name, classes in golden.tensors.items():
            if name.startswith("mistake") and name.endswith(".classes"):
                assert moved(classes, golden).any(), name
                known += 1
            assert not (name.endswith(".times_ms") and name.replace("times_ms", "classes") not in golden.tensors)
    assert "mistake.no_windows.times_ms" not in goldens[CLIP].tensors  # its one other class is a tie
    assert known >= len(goldens)


def test_times_follow_from_the_hosts_own_classes(check, right, goldens):
    """Where it gives no raw times, and wherever axes of 1 stand."""
    stages = exchanged(goldens[CLIP], int(gaps_of(goldens[CLIP])[1].argmin()))
    own = {name: stages[name][None] for name in ("classes", "times_ms")}
    assert check(**{CLIP: own}).passed
    golden_times = {"classes": stages["classes"], "times_ms": goldens[CLIP].expected("times_ms")}
    assert [result.departs for result in check(**{CLIP: golden_times}).results] == [False, True]
    raw = {"raw_times_ms": stages["raw_times_ms"][None], "times_ms": stages["times_ms"][None, None]}
    assert check(**{CLIP: raw}).passed


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
        (np.where(np.arange(times.size) == 3, times + 160, times), f"1 of {times.size} times are others, by +4 ms"),
    ):
        write_times(path, golden.words, wrong.tolist())
        stage, how = first(check_host(demo_kit, tmp_path))
        assert stage == "times_ms"
        assert sentence in how
    short = goldens["short"].tensors["mistake.padding_attended.times_ms"]
    write_times(tmp_path / "short.json", goldens["short"].words, short.tolist())
    assert "attends to the padding" in first(check_host(demo_kit, tmp_path))[1]
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


def test_rows_of_padding_may_have_any_mask(check, right, goldens):
    mask = right[CLIP]["mask.0"].copy()
    real, size = len(goldens[CLIP].expected("audio_embeddings")), len(mask)
    mask[real:] = 0
    assert check(**{CLIP: {"mask.0": mask}}).passed
    assert check(**{CLIP: {"mask.0": mask == 0}}).passed  # True where a row attends
    for row, column, sentence in (
        (0, real, "the audio attends to the padding"),
        (0, real - 1, "the audio attends across windows"),
    ):
        wrong = mask.copy()
        wrong[row, column] = 0
        assert sentence in first(check(**{CLIP: {"mask.0": wrong}}))[1]
        assert sentence in first(check(**{CLIP: {"mask.0": wrong == 0}}))[1]
    report = check(**{CLIP: {"mask.0": mask[:-1]}})
    assert report.first.how == f"its shape is {[size - 1, size]}, and not {[size, size]}"


def test_a_mask_has_the_size_of_any_function(check, right, goldens):
    """A host may call a larger one than it must."""
    mask = right["in-a-chunk"]["mask.0"]
    real = len(goldens["in-a-chunk"].expected("audio_embeddings"))
    larger = np.full((256, 256), -1e4)
    larger[:real, :real] = mask[:real, :real]
    assert len(mask) < 256
    assert check(**{"in-a-chunk": {"mask.0": larger}}).passed
    larger[:real, 255] = 0
    assert "attends to the padding" in first(check(**{"in-a-chunk": {"mask.0": larger}}))[1]
    report = check(**{"in-a-chunk": {"mask.0": larger[:100, :100]}})  # no function has this size
    assert report.first.how == f"its shape is [100, 100], and not {list(mask.shape)}"


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        ("samples", "it has NaN"),
        ("mel", "it has NaN"),
        ("chunks", "it has NaN"),
        ("cos", "it has NaN"),
        ("conv_features", "it has NaN: FP16 ends at 65,504"),
        ("audio_embeddings", "it has NaN: a mask of -inf makes NaN"),
        ("classes", "it has NaN"),
        ("raw_times_ms", "it has NaN"),
        ("times_ms", "it has NaN"),
    ],
)
def test_nan_is_blamed_on_a_mask_only_after_it(check, right, stage, sentence):
    wrong = right["short"][stage].astype(np.float64)
    wrong[-1] = np.nan
    found, how = first(check(short={stage: wrong}))
    assert found == stage
    assert how == sentence or (how.startswith(sentence) and "mask" in sentence)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint64, ">f4"])
def test_times_of_any_type_are_numbers(check, right, dtype):
    """None of which wraps."""
    for name in ("raw_times_ms", "times_ms"):
        report = check(short={name: np.array([100, 120]).astype(dtype)})
        assert report.first.how == "2 of 2 times are others, by -290 ms on average"


@pytest.mark.parametrize("stage", ["samples", "mel", "chunks", "mask.0", "token_ids", "cos", "logits", "times_ms"])
def test_arrays_of_any_shape_are_no_traceback(check, right, stage):
    for shape in ((), (1,), (2, 3), (1, 1, 2, 3), (128, 3), (3, 128)):
        assert not check(short={stage: np.ones(shape)}).passed


@pytest.mark.parametrize(
    ("stage", "array", "sentence"),
    [
        ("raw_times_ms", np.array([1e308, 0]), "raw_times_ms of short has 1e\\+308; expected numbers of at most 9.01e"),
        ("times_ms", np.array([2**64 - 1, 0], np.uint64), "times_ms of short has 1.84467e"),
        ("logits", np.full((2, 5000), -1e300), "logits of short has -1e\\+300; expected numbers of at most 3.4e"),
        ("chunks", np.zeros((3, 0, 100)), r"chunks of short is empty: its shape is \[3, 0, 100\]; expected \(chunks"),
        ("token_ids", np.array([True]), "token_ids of short is of type bool; expected numbers"),
        ("cos", np.array([1j]), "cos of short is of type complex128; expected numbers"),
    ],
)
def test_what_no_stage_can_hold_is_one_sentence(demo_kit, tmp_path, stage, array, sentence):
    (tmp_path / "short").mkdir()
    np.save(tmp_path / f"short/{stage}.npy", array)
    with pytest.raises(UserError, match=sentence):
        check_host(demo_kit, tmp_path)


@pytest.mark.parametrize(
    "shape", ["(100000000000000,)", "(10**14,)", f"({10**30},)", "(-1,)", "(4", "(4294967296,) * 2"]
)
def test_a_header_that_claims_more_than_the_file_is_one_sentence(demo_kit, tmp_path, shape):
    (tmp_path / "short").mkdir()
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    path = tmp_path / "short/mel.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(96))
    with pytest.raises(UserError, match=r"cannot read .*mel\.npy \(.*\); expected one array of numbers"):
        check_host(demo_kit, tmp_path)


def test_values_of_no_size_are_one_sentence(demo_kit, tmp_path):
    """However many the header claims: a file of any size has them all."""
    (tmp_path / "short").mkdir()
    header = "{'descr': '|V0', 'fortran_order': False, 'shape': (100000000000000,), }".ljust(117) + "\n"
    path = tmp_path / "short/mel.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(96))
    with pytest.raises(UserError, match="expected numbers, such as float32"):
        check_host(demo_kit, tmp_path)


def test_files_that_are_not_read_are_told(demo_kit, right, tmp_path, capsys):
    (tmp_path / "short").mkdir()
    np.save(tmp_path / "short/mel.npy", right["short"]["mel"])
    np.savez(tmp_path / "short.npz", mel=right["short"]["mel"])
    (tmp_path / "short.txt").touch()
    (tmp_path / "short/logits.f32").touch()
    os.mkfifo(tmp_path / "short/cos.npy")
    assert check_host(demo_kit, tmp_path).passed
    told = capsys.readouterr().err.splitlines()
    assert [line.split()[2].rstrip(",;") for line in told] == [
        "short.npz",
        "short.txt",
        "short/cos.npy",
        "short/logits.f32",
    ]


def test_an_unknown_mel_brings_no_warning(check, right):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = check(short={"mel": right["short"]["mel"][::-1]})
    assert report.first.stage == "mel"


def test_a_mistake_that_no_decoder_takes_is_left_out(demo_checkpoint, demo_bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("forced_aligner.jobs.host_kit.GOLDEN_CLIPS", GOLDEN_CLIPS[:1])
    monkeypatch.setattr("forced_aligner.jobs.golden.CHAT_PREFIX", "user " * 300)
    write_kit(demo_checkpoint, demo_bundle, tmp_path / "kit")
    config = read_json(HostConfig, tmp_path / "kit/config.json", "")
    names = Golden.read(config, tmp_path / "kit/golden/short.safetensors").tensors
    assert not [name for name in names if "chat_prefix" in name]
    assert "mistake.padding_attended.audio_embeddings" in names
    assert "left out of the golden vectors: chat_prefix of short, whose" in capsys.readouterr().err
