"""The compact layout: two packages and a token table say what the five say, in fewer calls."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt

from forced_aligner.align.audio import SAMPLE_RATE_HZ, load_audio
from forced_aligner.align.chain import Aligner
from forced_aligner.align.long_recording import align_recording
from forced_aligner.base.errors import UserError
from forced_aligner.base.paths import METADATA_FILE
from forced_aligner.base.records import read_json
from forced_aligner.convert.options import Options
from forced_aligner.convert.presets import parse_compress
from forced_aligner.jobs.benchmark.probe import CallCounter, inputs_of_size
from forced_aligner.jobs.component_scores import NOTHING_DB, measure_component, record_calls
from forced_aligner.jobs.convert import convert
from forced_aligner.jobs.publish import CARD_FILE, lay_out
from forced_aligner.jobs.reference import align_with_pytorch
from forced_aligner.package.bundle import Bundle
from forced_aligner.package.contract import COMPACT, DEFAULTS_OF, FIVE, TOKEN_TABLE
from forced_aligner.package.metadata import BundleMetadata
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.runtime.mil.program import Program
from forced_aligner.score.records import Reference
from tests.conftest import converted

PARTS = DEFAULTS_OF["compact"]


@pytest.fixture(scope="module")
def five(demo_bundle):
    return Aligner(demo_bundle, MilBackend(demo_bundle))


@pytest.fixture(scope="module")
def compact(compact_bundle):
    return Aligner(compact_bundle, MilBackend(compact_bundle))


@pytest.fixture
def copied(compact_bundle, tmp_path):
    return shutil.copytree(compact_bundle.folder, tmp_path / "m")


def test_the_chain_finds_the_layout(compact_bundle, demo_bundle):
    assert compact_bundle.layout() is COMPACT
    assert demo_bundle.layout() is FIVE
    assert set(compact_bundle.metadata.package_sha256) == {"audio", TOKEN_TABLE, "text"}


def test_every_demo_clip_is_that_of_pytorch_and_of_the_five(compact, five, demo_model, demo_processor, demo_clips):
    for clip in demo_clips:
        samples = load_audio(Path(clip.audio))
        ours = compact.align(samples, clip.transcript, "English")
        theirs = align_with_pytorch(demo_model, demo_processor, samples, clip.transcript, "English")
        others = five.align(samples, clip.transcript, "English")
        assert ours.words == theirs == others.words, clip.audio


def test_the_confidence_is_that_of_the_five_where_no_time_was_moved(compact, five, demo_clips):
    """A class that the repair has moved has neighbours that the package does not give: what is known is less."""
    kept = 0
    for clip in demo_clips:
        samples, words = load_audio(Path(clip.audio)), clip.transcript.split()
        scores = compact.timestamp_scores(samples, words)
        alignments = [aligner.align_words(samples, words) for aligner in (compact, five)]
        ours, theirs = (np.array(alignment.confidences) for alignment in alignments)
        times = [(word.start_time_ms, word.end_time_ms) for word in alignments[0].words]
        same = (np.array(times) == 80 * scores.classes.reshape(-1, 2)).all(-1)
        np.testing.assert_allclose(ours[same], theirs[same], atol=2e-3)  # the five's convolutions are in FP16
        assert (ours <= theirs + 2e-3).all()
        kept += same.sum()
    assert kept > 150


# A partial chunk; one window and a chunk of the next; exactly a group of two windows; a group and a partial chunk.
@pytest.mark.parametrize("duration_s", [0.2, 0.5, 1.01, 8.0, 8.05, 15.99, 16.0, 16.5, 27.0])
def test_bin_exact_wherever_the_audio_ends(compact, demo_model, demo_processor, demo_clips, duration_s):
    clip = max(demo_clips, key=lambda clip: clip.duration_s)
    samples = load_audio(Path(clip.audio))[: round(duration_s * SAMPLE_RATE_HZ)]
    words = " ".join(clip.transcript.split()[: max(1, int(duration_s * 1.5))])
    theirs = align_with_pytorch(demo_model, demo_processor, samples, words, "English")
    assert compact.align(samples, words, "English").words == theirs


class GarbagePadding(MilBackend):
    """Fills what the host pads, chunks and prompt rows, with garbage."""

    def predict(self, component, function, inputs):
        inputs = {name: array.copy() for name, array in inputs.items()}
        for name, axes in (("mel_chunks", (1, 2)), ("hidden_states", 2)):
            if name in inputs:
                padded = ~inputs[name].any(axes)
                assert padded.any()
                inputs[name][padded] = 1e2
        return super().predict(component, function, inputs)


def test_padded_positions_never_reach_a_real_one(compact, compact_bundle, demo_clips):
    clip = demo_clips[6]
    samples = load_audio(Path(clip.audio))
    expected = compact.align(samples, clip.transcript).words
    garbage = Aligner(compact_bundle, GarbagePadding(compact_bundle))
    assert garbage.align(samples, clip.transcript).words == expected


@pytest.mark.parametrize(("duration_s", "calls_of_five", "calls"), [(5, 9, 2), (15, 19, 2), (60, 67, 5)])
def test_fewer_calls(compact_bundle, demo_bundle, demo_clips, duration_s, calls_of_five, calls):
    samples = np.resize(load_audio(Path(demo_clips[-1].audio)), duration_s * SAMPLE_RATE_HZ)
    counted = []
    for bundle in (demo_bundle, compact_bundle):
        counter = CallCounter(MilBackend(bundle))
        Aligner(bundle, counter).align(samples, "one two three")
        counted.append(Counter(counter.calls))
    assert [sum(counts.values()) for counts in counted] == [calls_of_five, calls]
    assert counted[1].keys() == {"audio", "text"}


class Changed(MilBackend):
    """The packages with a change of one output."""

    def __init__(self, bundle, output, change):
        super().__init__(bundle)
        self.output, self.change = output, change

    def predict(self, component, function, inputs):
        outputs = super().predict(component, function, inputs)
        return {name: self.change(array) if name == self.output else array for name, array in outputs.items()}


@pytest.mark.parametrize(
    ("output", "change", "message"),
    [
        ("audio_embeddings", lambda x: x * np.nan, r"audio \(function frames_52\) gave numbers that are not finite"),
        ("probabilities", lambda x: x * np.nan, r"text \(function length_256\) gave numbers that are not finite"),
        ("probabilities", lambda x: x[..., :2], r"gave \[1, 256\], \[1, 256, 2\], not \[1, 256\], \[1, 256, 3\]"),
    ],
)
def test_what_is_no_answer_is_an_error_that_names_the_function(compact_bundle, output, change, message):
    with pytest.raises(UserError, match=message):
        Aligner(compact_bundle, Changed(compact_bundle, output, change)).align(np.zeros(16_000, np.float32), "one")


# --- the token table ------------------------------------------------------------------------------------------


def test_the_table_is_the_embedding_in_little_endian_fp16(compact_bundle, demo_model):
    weight = demo_model.get_input_embeddings().weight.detach().numpy()
    raw = (compact_bundle.folder / "token_table.f16").read_bytes()
    assert raw == weight.astype("<f2").tobytes()
    ids = np.array([3, 0, len(weight) - 1], np.int32)
    np.testing.assert_array_equal(compact_bundle.token_table().vectors(ids), weight[ids].astype(np.float16))
    with pytest.raises(UserError, match=f"token {len(weight)} is outside of the {len(weight)} tokens"):
        compact_bundle.token_table().vectors(np.array([len(weight)], np.int32))


def test_a_damaged_table_is_refused(copied):
    table = copied / "token_table.f16"
    content = bytearray(table.read_bytes())
    content[17] ^= 1
    table.write_bytes(content)
    with pytest.raises(UserError, match=r"token_table\.f16 is missing or damaged"):
        Bundle.open(copied)
    table.unlink()
    with pytest.raises(UserError, match=r"token_table\.f16 is missing or damaged"):
        Bundle.open(copied)


def test_a_table_of_another_size_is_refused(compact_bundle, tmp_path):
    folder = shutil.copytree(compact_bundle.folder, tmp_path / "m")
    (folder / "token_table.f16").write_bytes(bytes(10))
    with pytest.raises(UserError, match=r"has 10 bytes, not the \d+ of \d+ tokens"):
        Aligner(Bundle(folder, compact_bundle.metadata), MilBackend(compact_bundle))


@pytest.mark.parametrize("missing", PARTS)
def test_a_missing_part_is_named(compact_bundle, missing):
    metadata = compact_bundle.metadata
    components = {key: record for key, record in metadata.components.items() if key != missing}
    table = None if missing == TOKEN_TABLE else metadata.token_table
    part = Bundle(compact_bundle.folder, metadata.model_copy(update={"components": components, "token_table": table}))
    with pytest.raises(UserError, match=f"has no {missing}, only"):
        Aligner(part, MilBackend(part))


def test_the_digest_of_the_metadata_covers_the_table(compact_bundle):
    content = compact_bundle.metadata.model_dump()
    content["token_table"]["sha256"] = "0" * 64
    with pytest.raises(ValueError, match="was changed after the conversion"):
        BundleMetadata.model_validate(content)


# --- precision, compression, and what the jobs make of it -----------------------------------------------------------


@pytest.fixture(scope="module")
def small(demo_checkpoint, tmp_path_factory):
    """Both layouts in int8 with one function a size, made with a calibration."""
    options = {"precision": "float16", "compress": "int8", "calibrate": 1}
    return {
        layout: converted(
            demo_checkpoint,
            tmp_path_factory.mktemp("int8") / layout,
            DEFAULTS_OF[layout],
            (256,),
            (104,),
            layout=layout,
            **options,
        )
        for layout in ("five", "compact")
    }


def test_int8_is_int8_throughout_but_for_the_head(small, demo_model):
    bundle, dimensions = small["compact"], small["compact"].metadata.dimensions
    assert {key: record.compression for key, record in bundle.metadata.components.items()} == {
        "audio": "int8",
        "text": "int8",
    }
    assert bundle.metadata.token_table.size_bytes == dimensions.vocab_size * (2 + dimensions.hidden)
    ids = np.arange(dimensions.vocab_size, dtype=np.int32)
    packaged = MilBackend(small["five"]).predict("embedding", "main", {"input_ids": ids[None]})["embeddings"][0]
    np.testing.assert_array_equal(bundle.token_table().vectors(ids), packaged)
    head = demo_model.score.weight.detach().numpy().astype(np.float16)
    assert (bundle.package("text") / "Data/com.apple.CoreML/weights/weight.bin").read_bytes().count(head.tobytes()) == 1
    assert bundle.metadata.size_bytes < small["five"].metadata.size_bytes


def test_both_layouts_compress_alike(small, demo_clips):
    """Not bit by bit, since FP16 rounds sums of another order; the same classes but for near ties."""
    same = total = 0
    for clip in demo_clips[:5]:
        samples = load_audio(Path(clip.audio))
        scores = [
            Aligner(bundle, MilBackend(bundle)).timestamp_scores(samples, clip.transcript.split())
            for bundle in small.values()
        ]
        same += (scores[0].classes == scores[1].classes).sum()
        total += scores[0].classes.size
    assert same >= total - 2


def test_a_calibration_measures_both_packages(small):
    for record in small["compact"].metadata.components.values():
        assert 0 < record.calibration.largest < record.calibration.limit


def test_the_table_has_no_preset_of_part_bytes():
    assert parse_compress("int4", PARTS) == {"audio": "int4", TOKEN_TABLE: "int8", "text": "int4"}
    assert parse_compress("int4,token_table=none", PARTS)[TOKEN_TABLE] == "none"
    with pytest.raises(UserError, match="--compress gives token_table int4, but it takes none or int8 alone"):
        parse_compress("token_table=int4", PARTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"components": ("audio", "lm_head"), "layout": "compact"}, "no component 'lm_head'; expected some of audio, "),
        ({"components": ("audio",)}, "no component 'audio'; expected some of audio_conv"),
        (
            {"components": PARTS, "layout": "compact", "audio_frames": (104, 110)},
            "encodes whole chunks: --audio-frames takes multiples of 13 with it, not 104,110",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(demo_checkpoint, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        convert(demo_checkpoint, tmp_path / "m", Options(**options))


def test_an_unoptimized_package_of_ios17_computes_the_same(demo_checkpoint, compact, demo_clips, tmp_path):
    options = {"layout": "compact", "precision": "float32", "deployment_target": "iOS17", "optimize": False}
    bundle = converted(demo_checkpoint, tmp_path / "m", PARTS, (256,), (117,), **options)
    clip = demo_clips[5]
    samples = load_audio(Path(clip.audio))
    plain = Aligner(bundle, MilBackend(bundle)).align(samples, clip.transcript)
    assert plain.words == compact.align(samples, clip.transcript).words


def test_words_that_nobody_speaks_are_found_as_by_the_five(compact, five, demo_clips):
    """Where confidences decide, what the compact layout does not know of them must not matter."""
    clip, other = demo_clips[3], demo_clips[6]
    words = [word.text for word in clip.alignments]
    foreign = [word.text for word in other.alignments][:8]
    transcript = " ".join([*words[:3], *foreign, *words[3:]])
    samples = load_audio(Path(clip.audio))
    by_five, by_compact = (align_recording(each, samples, transcript, "English", 5.0) for each in (five, compact))
    assert by_five.not_found == set(range(3, 11))
    assert by_compact.not_found == by_five.not_found
    assert by_compact.words == by_five.words


def test_the_same_conversion_is_left_alone_and_another_layout_is_refused(demo_checkpoint, tmp_path, capsys):
    options = {"decoder_lengths": (64,), "audio_frames": (104,)}
    made = convert(demo_checkpoint, tmp_path / "m", Options((TOKEN_TABLE,), layout="compact", **options))
    assert list(made.package_sha256) == [TOKEN_TABLE]
    again = convert(demo_checkpoint, tmp_path / "m", Options((TOKEN_TABLE,), layout="compact", **options))
    assert again == made
    assert "holds this conversion already" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"with another conversion \(other components\)"):
        convert(demo_checkpoint, tmp_path / "m", Options(("lm_head",), **options))
    convert(demo_checkpoint, tmp_path / "m", Options(("lm_head",), force=True, **options))
    assert not (tmp_path / "m/token_table.f16").exists()


def test_components_are_measured_on_the_rows_that_are_read(compact_bundle, demo_checkpoint, demo_reference_path):
    known = read_json(Reference, demo_reference_path, "").head(1)
    calls = record_calls(demo_checkpoint, compact_bundle, known, demo_reference_path.parent)
    rows = {call.component: call.rows for call in calls}
    assert 0 < rows["audio"] <= 13 < rows["text"] < 256
    for key in ("audio", "text"):
        score = measure_component(MilBackend(compact_bundle), calls, key)
        assert score.finite
        assert score.psnr_db is None or score.psnr_db > 90

    class Shifted(MilBackend):
        def predict(self, component, function, inputs):
            outputs = super().predict(component, function, inputs)
            return {name: array + 1 if array.dtype == np.int32 else array for name, array in outputs.items()}

    assert measure_component(Shifted(compact_bundle), calls, "text").psnr_db == NOTHING_DB


def test_a_benchmark_can_fill_every_function(compact_bundle, compact):
    sizes = compact_bundle.metadata.dimensions
    recorded = {"mel_chunks": np.zeros((4, 128, 100), np.float32), "row_mask": np.zeros((1, 1, 1, 52), np.float32)}
    recorded["mel_chunks"][:2] = np.array([1, 2])[:, None, None]
    inputs = inputs_of_size(recorded, 117, sizes)
    assert inputs["mel_chunks"][:, 0, 0].tolist() == [1, 2, 1, 2, 1, 2, 1, 2, 1]
    assert MilBackend(compact_bundle).predict("audio", "frames_117", inputs)["audio_embeddings"].shape[1] == 117


def test_a_published_folder_has_the_table(compact_bundle, tmp_path):
    lay_out(compact_bundle.folder, tmp_path / "hub")
    opened = Bundle.open(tmp_path / "hub")
    assert opened.metadata.token_table == compact_bundle.metadata.token_table
    assert (tmp_path / "hub" / METADATA_FILE).exists()
    card = (tmp_path / "hub" / CARD_FILE).read_text(encoding="utf-8")
    assert "`mel_chunks` [N, 128, 100]" in card
    (table,) = [token for token in MarkdownIt().enable("table").parse(card) if token.type == "table_open"]
    lines = card.splitlines()[slice(*table.map)]
    assert [line.split("`")[1] for line in lines[2:]] == [
        "forced_aligner_audio.mlpackage",
        "forced_aligner_text.mlpackage",
        "token_table.f16",
    ]
    assert "seq" not in card
    lay_out(compact_bundle.folder, tmp_path / "hub")  # its own folder is written anew


def test_no_mask_is_stored(compact_bundle):
    """The windows of 221 rows would be 48,841 values in each function: no constant has a function's size twice."""
    for key in ("audio", "text"):
        program = Program(compact_bundle.package(key))
        for name, size in compact_bundle.record(key).functions.items():
            for operation in program.spec.mlProgram.functions[name].block_specializations["CoreML8"].operations:
                shape = [axis.constant.size for axis in operation.outputs[0].type.tensorType.dimensions]
                assert operation.type != "const" or shape.count(size) < 2, (name, shape)
