"""The chain against `Qwen3ASRForTokenClassification` and its processor, end to end, through the saved packages."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.common import attend_all
from forced_aligner.align.audio import SAMPLE_RATE_HZ, load_audio
from forced_aligner.align.chain import Aligner
from forced_aligner.align.mel import HOP_SAMPLES
from forced_aligner.align.positions import choose_length
from forced_aligner.base.errors import UserError
from forced_aligner.convert.options import Options
from forced_aligner.jobs.convert import convert
from forced_aligner.jobs.reference import align_with_pytorch
from forced_aligner.package.bundle import Bundle
from forced_aligner.package.contract import DEFAULT_COMPONENTS
from forced_aligner.runtime.coreml import CoreMLBackend
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.runtime.mil.program import Function


@pytest.fixture(scope="module")
def aligner(demo_bundle):
    return Aligner(demo_bundle, MilBackend(demo_bundle))


@pytest.fixture(scope="module")
def long_clip(demo_clips):
    """The longest demo clip: more than two windows and more than one audio-transformer call."""
    clip = max(demo_clips, key=lambda clip: clip.duration_s)
    return load_audio(Path(clip.audio)), clip.transcript


def align_both(aligner, demo_model, demo_processor, samples, transcript):
    ours = aligner.align(samples, transcript, "English").words
    theirs = align_with_pytorch(demo_model, demo_processor, samples, transcript, "English")
    return ours, theirs


def test_every_demo_clip_is_bin_exact(aligner, demo_model, demo_processor, demo_clips):
    for clip in demo_clips:
        samples = load_audio(Path(clip.audio))
        ours, theirs = align_both(aligner, demo_model, demo_processor, samples, clip.transcript)
        assert ours == theirs, clip.audio


# Half a window (52 frames, 4 s), one window, two (208 frames, 16 s: all that one audio-transformer call takes), the 256
# frames of its input (19.7 s), and three calls; ends at the start, inside and at the end of a chunk; under 0.5 s.
DURATIONS_S = [
    0.01,
    0.2,
    0.99,
    1.0,
    1.01,
    4.0,
    4.05,
    7.96,
    8.0,
    8.04,
    8.37,
    15.99,
    16.0,
    16.05,
    19.7,
    19.75,
    24.61,
    33.3,
]


@pytest.mark.parametrize("duration_s", DURATIONS_S)
def test_bin_exact_wherever_the_audio_ends(aligner, demo_model, demo_processor, long_clip, duration_s):
    samples, transcript = long_clip
    cut = np.concatenate([samples, samples])[: round(duration_s * SAMPLE_RATE_HZ)]
    words = " ".join(transcript.split()[: max(1, int(duration_s * 1.5))])
    ours, theirs = align_both(aligner, demo_model, demo_processor, cut, words)
    assert ours == theirs


def test_the_prompt_is_the_processors(aligner, demo_processor, long_clip):
    samples, transcript = long_clip
    words = demo_processor.split_words_for_alignment(transcript, "English")
    inputs, _ = demo_processor.prepare_forced_aligner_inputs(samples, transcript, "English")
    tokens = aligner.metadata.dimensions.audio_tokens(samples.size // HOP_SAMPLES)
    assert aligner.prompt.ids(words, tokens).tolist() == inputs["input_ids"][0].tolist()


class GarbagePadding(MilBackend):
    """Fills the padded rows, which the host sets to zero, with garbage."""

    def predict(self, component, function, inputs):
        inputs = {name: array.copy() for name, array in inputs.items()}
        for name in {"features", "hidden_states"} & set(inputs):
            padded = ~inputs[name].any(-1)
            assert component == "lm_head" or padded.any()
            inputs[name][padded] = 1e3
        return super().predict(component, function, inputs)


def test_padded_positions_never_reach_a_real_one(aligner, demo_bundle, long_clip):
    """A trap of hosts in other languages. Whatever the values of the padding, the words are the same."""
    samples, transcript = long_clip
    expected = aligner.align(samples, transcript).words
    assert Aligner(demo_bundle, GarbagePadding(demo_bundle)).align(samples, transcript).words == expected


class Changed:
    """Changes the output of one component; all else is done by `backend`, which has planned its functions already."""

    def __init__(self, backend, component, change):
        self.backend, self.component, self.change = backend, component, change
        self.name, self.load = backend.name, backend.load

    def predict(self, component, function, inputs):
        outputs = self.backend.predict(component, function, inputs)
        return {k: self.change(v) for k, v in outputs.items()} if component == self.component else outputs


def with_row(row, value):
    def change(array):
        array[0, row] = value
        return array

    return change


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("component", "function"),
    [
        ("audio_conv", "main"),
        ("audio_transformer", "frames_52"),
        ("embedding", "main"),
        ("decoder_prefill", "length_256"),
        ("lm_head", "main"),
    ],
)
def test_scores_that_are_not_finite_are_an_error_that_names_it(aligner, demo_bundle, component, function, value):
    """All-NaN scores once gave the time 0, without a word."""
    broken = Aligner(demo_bundle, Changed(aligner.backend, component, with_row(0, value)))
    with pytest.raises(UserError, match=rf"{component} \(function {function}\) gave numbers that are not finite"):
        broken.align(np.zeros(16_000, np.float32), "one two")


@pytest.mark.parametrize("component", ["audio_conv", "audio_transformer", "decoder_prefill"])
def test_padded_rows_may_hold_anything(aligner, demo_bundle, component):
    """Half a second is one chunk with padded rows, in an audio transformer and a decoder with more of them."""
    samples = np.sin(np.arange(8_000, dtype=np.float32))
    expected = aligner.align(samples, "one two").words
    broken = Aligner(demo_bundle, Changed(aligner.backend, component, with_row(-1, np.nan)))
    assert broken.align(samples, "one two").words == expected


def test_an_output_of_another_shape_is_an_error_that_names_the_function(aligner, demo_bundle):
    longer = Aligner(demo_bundle, Changed(aligner.backend, "embedding", lambda array: np.repeat(array, 2, 1)))
    with pytest.raises(UserError, match=r"embedding \(function main\) gave \[1, \d+, 128\], not \[1, \d+, 128\]"):
        longer.align(np.zeros(16_000, np.float32), "one two")


def test_a_tokenizer_that_is_not_of_the_metadata_is_refused(demo_bundle):
    metadata = demo_bundle.metadata
    token_ids = metadata.token_ids.model_copy(update={"timestamp": 256})
    other = Bundle(demo_bundle.folder, metadata.model_copy(update={"token_ids": token_ids}))
    with pytest.raises(UserError, match=r"are not those of metadata\.json"):
        Aligner(other, MilBackend(other))


def test_attended_padding_moves_boundaries(demo_bundle, demo_clips, aligner):
    """The window mask is needed for that exactness: a mask that hides nothing, as in an earlier system, moves words."""
    without_mask = Aligner(demo_bundle, MilBackend(demo_bundle), mask=attend_all)
    moved = 0
    for clip in demo_clips[:7]:
        samples = load_audio(Path(clip.audio))
        words = aligner.align(samples, clip.transcript).words
        moved += words != without_mask.align(samples, clip.transcript).words
    assert moved > 0


def test_the_split_encoder_is_picked_where_both_are_there(aligner, demo_bundle, demo_checkpoint, tmp_path):
    assert not aligner.monolithic
    components = ("audio_encoder", "embedding", "decoder_prefill", "lm_head")
    convert(demo_checkpoint, tmp_path / "m", Options(components, (256,)))
    bundle = Bundle.open(tmp_path / "m")
    monolithic = Aligner(bundle, MilBackend(bundle))
    assert monolithic.monolithic
    assert [word.text for word in monolithic.align(np.zeros(16_000, np.float32), "one two").words] == ["one", "two"]


@pytest.mark.parametrize("missing", [*DEFAULT_COMPONENTS])
def test_a_missing_component_is_named(demo_bundle, missing):
    records = dict(demo_bundle.metadata.components)
    del records[missing], records["audio_encoder"]
    part = Bundle(demo_bundle.folder, demo_bundle.metadata.model_copy(update={"components": records}))
    with pytest.raises(UserError, match=f"has no {missing}, only"):
        Aligner(part, MilBackend(part))


def test_a_prompt_longer_than_every_decoder_is_refused_with_the_option_to_use(aligner):
    with pytest.raises(UserError, match=r"longest converted decoder takes 1024; .*--decoder-lengths 256,640,1024,2048"):
        aligner.align(np.zeros(16_000, np.float32), "word " * 200)


def test_a_prompt_longer_than_every_possible_decoder_is_refused_without_that_option():
    with pytest.raises(UserError, match=r"20000 tokens, more than the 16384 of the longest .*: cut the recording"):
        choose_length(20_000, [256])
    with pytest.raises(UserError, match="--decoder-lengths 256,16384"):
        choose_length(16_001, [256])


def test_the_shortest_decoder_that_fits_is_chosen():
    assert [choose_length(n, [256, 640, 1024]) for n in (1, 256, 257, 1024)] == [256, 256, 640, 1024]


def test_many_files_load_and_plan_each_function_once(demo_bundle, demo_clips, monkeypatch):
    planned = []
    plan = Function.__init__

    def counted(self, name, *arguments):
        planned.append(name)
        plan(self, name, *arguments)

    monkeypatch.setattr(Function, "__init__", counted)
    aligner = Aligner(demo_bundle, MilBackend(demo_bundle))
    counts = []
    for clip in demo_clips[:4] * 2:
        aligner.align(load_audio(Path(clip.audio)), clip.transcript, clip.language)
        counts.append(len(planned))
    assert counts[0] == 5
    assert counts[3:] == [counts[3]] * 5


def test_audio_beyond_the_heads_end_is_refused(aligner, demo_model, demo_processor):
    samples = np.zeros(400 * 16_000 + 1, np.float32)
    for align in (aligner.align, lambda *clip: align_with_pytorch(demo_model, demo_processor, *clip)):
        with pytest.raises(UserError, match=r"lasts 400\.0 s, but the model's times end at 400 s"):
            align(samples, "one", "English")


@pytest.mark.parametrize("transcript", ["", "  ", "?!, ..."])
def test_a_transcript_without_words_is_refused(aligner, transcript):
    with pytest.raises(UserError, match="has no words to align"):
        aligner.align(np.zeros(16_000, np.float32), transcript)


def test_a_language_that_is_not_served_is_refused_with_the_list(aligner):
    with pytest.raises(UserError, match=r"'Klingon' is not served; expected one of Cantonese \(yue\), Chinese \(zh\)"):
        aligner.align(np.zeros(16_000, np.float32), "one", "Klingon")


@pytest.mark.parametrize("language", ["English", "english", "en", "EN", None])
def test_languages_go_by_name_or_code(aligner, language):
    assert len(aligner.align(np.zeros(16_000, np.float32), "one two", language).words) == 2


def test_stages_are_timed(aligner):
    alignment = aligner.align(np.zeros(16_000, np.float32), "one")
    assert list(alignment.stage_ms) == ["mel", "load", "audio_encoder", "embedding", "decoder", "head"]
    assert alignment.latency_ms == pytest.approx(sum(alignment.stage_ms.values()) - alignment.stage_ms["load"])
    assert alignment.latency_ms > 0


@pytest.mark.skipif("sys.platform != 'darwin'", reason="Core ML predicts on macOS only")
def test_core_ml_itself_is_bin_exact(demo_bundle, demo_model, demo_processor, demo_clips):
    aligner = Aligner(demo_bundle, CoreMLBackend(demo_bundle))
    for clip in demo_clips:
        samples = load_audio(Path(clip.audio))
        ours, theirs = align_both(aligner, demo_model, demo_processor, samples, clip.transcript)
        assert ours == theirs, clip.audio
