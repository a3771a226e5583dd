"""Each wrapper equals the Hugging Face module it came from, whatever values the padding has."""

import runpy

import pytest
import torch
from torch import testing
from transformers import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding
from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLTextConfig
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextRotaryEmbedding

from forced_aligner.align.positions import rotary_embedding, row_mask, window_mask
from forced_aligner.base.paths import ROOT
from forced_aligner.convert.metadata import read_dimensions
from forced_aligner.package.contract import COMPONENTS_OF, DEFAULT_COMPONENTS, TOKEN_TABLE
from individual_components import (
    COMPONENTS,
    Audio,
    AudioConv,
    AudioEncoder,
    AudioTransformer,
    DecoderPrefill,
    Embedding,
    LMHead,
    Text,
    TimeClasses,
    query_block,
    rms_norm,
)

ATOL = 1e-5


@pytest.fixture(scope="module")
def dimensions(random_model):
    return read_dimensions(random_model.config)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        torch.manual_seed(1)
        yield


def mel_and_mask(frames):
    """A random mel, zero-padded to whole chunks as the processor pads, and its mask."""
    padded = -(-frames // 100) * 100
    mel, mask = torch.zeros(1, 128, padded), torch.zeros(1, padded, dtype=torch.long)
    mel[:, :, :frames], mask[:, :frames] = torch.randn(1, 128, frames), 1
    return mel, mask


def conv_features(model, mel, tokens):
    conv = AudioConv(model)
    return torch.cat([conv(chunk) for chunk in mel.split(100, dim=2)], 1)[:, :tokens]


@pytest.mark.parametrize("frames", [50, 63, 100, 155, 800, 801, 1637])
def test_split_audio_encoder_equals_hugging_face(random_model, dimensions, frames):
    """The padding is garbage, and the real frames do not change; windows of 8 s do not attend to each other."""
    mel, mask = mel_and_mask(frames)
    expected = random_model.model.get_audio_features(mel, mask).pooler_output  # (n, hidden), packed
    tokens = dimensions.audio_tokens(frames)
    features = conv_features(random_model, mel, tokens)
    padded = torch.full((1, 256, dimensions.audio_hidden), 1e3)
    transformer = AudioTransformer(random_model)
    outputs = []
    for group in features.split(2 * dimensions.window_tokens, dim=1):
        padded[:, : group.shape[1]] = group
        additive = torch.from_numpy(window_mask(group.shape[1], 256, dimensions.window_tokens))
        outputs.append(transformer(padded, additive)[0, : group.shape[1]])
    testing.assert_close(torch.cat(outputs), expected, atol=ATOL, rtol=0)


@pytest.mark.parametrize(("frames", "chunks"), [(50, 4), (155, 2), (800, 8), (801, 9), (1563, 17), (1600, 16)])
def test_the_compact_audio_encoder_equals_hugging_face(random_model, dimensions, frames, chunks):
    """Padded chunks are garbage, and so are the rows behind a partial chunk; neither changes a real row."""
    mel, mask = mel_and_mask(frames)
    expected = random_model.model.get_audio_features(mel, mask).pooler_output
    padded = torch.full((chunks, 128, 100), 1e2)
    padded[: mel.shape[2] // 100] = torch.cat(mel.split(100, dim=2))
    real = dimensions.audio_tokens(frames)
    rows = torch.from_numpy(row_mask(real, 13 * chunks))
    assert Audio(random_model).layers[0].window == dimensions.window_tokens == 104
    testing.assert_close(Audio(random_model)(padded, rows)[0, :real], expected, atol=ATOL, rtol=0)


def test_the_row_mask_is_needed(random_model, dimensions):
    """The check above can fail: without the mask, the padding reaches the real rows."""
    mel, mask = mel_and_mask(155)
    expected = random_model.model.get_audio_features(mel, mask).pooler_output
    chunks = torch.cat(mel.split(100, dim=2))
    output = Audio(random_model)(chunks, torch.zeros(1, 1, 1, 26))[0, : len(expected)]
    assert (output - expected).abs().max() > 1e-3


def test_attending_across_windows_is_another_function(random_model, dimensions):
    """The check above can fail: with one window for the whole clip, frames past 8 s differ."""
    mel, mask = mel_and_mask(1600)
    expected = random_model.model.get_audio_features(mel, mask).pooler_output
    features = conv_features(random_model, mel, 208)
    output = AudioTransformer(random_model)(features, torch.zeros(1, 1, 208, 208))[0]
    assert (output - expected).abs().max() > 1e-3


def test_monolithic_encoder_equals_hugging_face_on_one_chunk(random_model):
    mel, mask = mel_and_mask(100)
    expected = random_model.model.get_audio_features(mel, mask).pooler_output
    testing.assert_close(AudioEncoder(random_model)(mel)[0], expected, atol=ATOL, rtol=0)


def test_embedding_equals_hugging_face(random_model):
    ids = torch.randint(0, 300, (1, 17), dtype=torch.int32)
    expected = random_model.get_input_embeddings()(ids.long())
    testing.assert_close(Embedding(random_model)(ids), expected, atol=0, rtol=0)


@pytest.mark.parametrize(("real", "length"), [(64, 64), (200, 256), (700, 768), (1100, 2048)])
def test_decoder_and_head_equal_hugging_face(random_model, dimensions, real, length):
    """Right padding, which is garbage here, never changes a real token; neither do the blocks of query rows."""
    hidden = torch.full((1, length, dimensions.hidden), 1e2)
    hidden[:, :real] = torch.randn(1, real, dimensions.hidden) * 4
    cos, sin = map(torch.from_numpy, rotary_embedding(length, dimensions.inverse_frequencies))
    decoded = DecoderPrefill(random_model)(hidden, cos, sin)[:, :real]
    expected = random_model.model.language_model(inputs_embeds=hidden[:, :real]).last_hidden_state
    testing.assert_close(random_model.model.language_model.norm(decoded), expected, atol=ATOL, rtol=0)
    testing.assert_close(LMHead(random_model)(decoded), random_model.score(expected), atol=ATOL, rtol=0)


@pytest.mark.parametrize(("real", "length"), [(64, 64), (200, 256)])
def test_the_compact_text_package_equals_hugging_face(random_model, dimensions, real, length):
    hidden = torch.full((1, length, dimensions.hidden), 1e2)
    hidden[:, :real] = torch.randn(1, real, dimensions.hidden) * 4
    cos, sin = map(torch.from_numpy, rotary_embedding(length, dimensions.inverse_frequencies))
    classes, probabilities = Text(random_model)(hidden, cos, sin)
    states = random_model.model.language_model(inputs_embeds=hidden[:, :real]).last_hidden_state
    expected = random_model.score(states)[0].softmax(-1)
    assert classes.dtype == torch.int32
    assert classes[0, :real].tolist() == expected.argmax(-1).tolist()
    for row, best, three in zip(expected, classes[0].tolist(), probabilities[0], strict=False):
        around = [float(row[c]) if 0 <= c < len(row) else 0.0 for c in (best - 1, best, best + 1)]
        testing.assert_close(three, torch.tensor(around), atol=ATOL, rtol=0)


@pytest.mark.parametrize(("scores", "best", "around"), [([3, 1, 3, 3], 0, [0, 3, 1]), ([0, 1, 2, 2], 2, [1, 2, 2])])
def test_the_lowest_class_of_a_tie_is_taken_and_the_edges_have_no_neighbour(scores, best, around):
    head = TimeClasses.__new__(TimeClasses)
    torch.nn.Module.__init__(head)
    head.head = torch.nn.Identity()
    classes, probabilities = head(torch.tensor([[scores]], dtype=torch.float32))
    known = {float(score): float(p) for score, p in zip(scores, torch.tensor(scores).float().softmax(-1), strict=True)}
    assert classes.tolist() == [[best]]
    inside = [0 <= best + step < len(scores) for step in (-1, 0, 1)]
    expected = [known[float(score)] if is_inside else 0.0 for score, is_inside in zip(around, inside, strict=True)]
    testing.assert_close(probabilities[0, 0], torch.tensor(expected))


def test_the_softmax_of_fp16_scores_ties_where_the_scores_do_not():
    """Why the class is taken from the scores: two neighbouring numbers of FP16 below 1, of four classes."""
    scores = torch.tensor([0.5, 0.5 + 2**-11, 0.5, 0.5]).half()
    probabilities = scores.float().softmax(-1).half()
    assert scores.argmax() == 1
    assert (probabilities == probabilities.max()).sum() == 4


@pytest.mark.parametrize("magnitude", [0.0, 1e-7, 1e-3, 1.0, 300.0, 3e4])
def test_rms_norm_equals_hugging_face_at_every_magnitude(random_model, magnitude):
    norm = random_model.model.language_model.norm
    x = torch.randn(1, 9, 48) * magnitude
    testing.assert_close(rms_norm(x, norm.weight, norm.variance_epsilon), norm(x), atol=1e-6, rtol=1e-6)


def test_rms_norm_stays_inside_fp16_where_the_standard_formula_overflows():
    """300 squared is 90 000, more than 65 504: the standard RMSNorm formula gives zeros in FP16, ours does not."""
    x = (torch.randn(1, 4, 64) * 300).half()
    weight = torch.ones(64)
    standard = x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6)
    assert standard.abs().max() == 0
    exact = torch.nn.functional.rms_norm(x.float(), (64,), weight, 1e-6)
    testing.assert_close(rms_norm(x, weight.half(), 1e-6).float(), exact, atol=4e-3, rtol=2e-3)


@pytest.mark.parametrize(("length", "block"), [(64, 64), (256, 256), (640, 320), (1024, 512), (2048, 512), (2368, 64)])
def test_query_blocks_divide_every_length(length, block):
    assert query_block(length) == block


@pytest.mark.parametrize(("head_dim", "theta"), [(16, 1e6), (32, 1e4), (128, 1e6)])
def test_rotary_positions_equal_the_models(head_dim, theta):
    config = Qwen3Config(head_dim=head_dim, rope_parameters={"rope_type": "default", "rope_theta": theta})
    model = Qwen3RotaryEmbedding(config)
    expected = model(torch.zeros(1), torch.arange(8192)[None])
    for ours, theirs in zip(rotary_embedding(8192, model.inv_freq.tolist()), expected, strict=True):
        testing.assert_close(torch.from_numpy(ours), theirs, atol=1e-6, rtol=0)


def test_plain_rope_is_interleaved_mrope_whose_axes_agree():
    """Against the interleaved MRoPE of transformers, with sections 24, 20, 20 and the same positions on all axes."""
    config = Qwen3VLTextConfig(
        head_dim=128,
        hidden_size=256,
        num_attention_heads=2,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6, "mrope_section": [24, 20, 20]},
    )
    mrope = Qwen3VLTextRotaryEmbedding(config)
    positions = torch.arange(400).expand(3, 1, 400)
    tables = rotary_embedding(400, mrope.inv_freq.tolist())
    for ours, theirs in zip(tables, mrope(torch.zeros(1), positions), strict=True):
        testing.assert_close(torch.from_numpy(ours), theirs, atol=1e-6, rtol=0)
    different_axes = positions * torch.tensor([1, 2, 3])[:, None, None]
    assert (mrope(torch.zeros(1), different_axes)[0] - torch.from_numpy(tables[0])).abs().max() > 0.1


def test_the_table_declares_the_five_packages_and_the_optional_one():
    assert list(COMPONENTS_OF["five"]) == [
        "audio_conv",
        "audio_transformer",
        "embedding",
        "decoder_prefill",
        "lm_head",
        "audio_encoder",
    ]
    assert {*COMPONENTS_OF["five"]} - {*DEFAULT_COMPONENTS} == {"audio_encoder"}
    assert COMPONENTS.keys() | {TOKEN_TABLE} == {*COMPONENTS_OF["five"], *COMPONENTS_OF["compact"]}


def test_the_table_is_printed(capsys):
    runpy.run_path(str(ROOT / "individual_components.py"), run_name="__main__")
    said = capsys.readouterr()
    assert all(component.package in said.out for component in COMPONENTS.values())
    assert said.err == ""
