"""The bundled model: it loads with transformers alone, and aligns as well as demo/README.md says."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import AutoProcessor, Qwen3ASRForTokenClassification

from demo.evaluate import Aligner, by_position, figures, score_ten
from demo.features import log_mel
from demo.network import decode_text, embeddings_for, encode_audio, make_processor

DEMO = Path(__file__).parents[2] / "demo"
MODEL = DEMO / "model"
MAX_MODEL_BYTES = 5_000_000


@pytest.fixture(scope="module")
def processor():
    return AutoProcessor.from_pretrained(MODEL)


@pytest.fixture(scope="module")
def model():
    return Qwen3ASRForTokenClassification.from_pretrained(MODEL, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def scored():
    return score_ten(Aligner(MODEL))


def test_the_model_folder_is_small():
    assert sum(path.stat().st_size for path in MODEL.iterdir()) <= MAX_MODEL_BYTES


def test_transformers_alone_aligns_a_clip(model, processor):
    audio, _ = soundfile.read(DEMO / "clips" / "clip-02.flac", dtype="float32")
    inputs, words = processor.prepare_forced_aligner_inputs(audio, "Ain't traction, classic.", "English")
    with torch.inference_mode():
        logits = model(**inputs).logits
    assert logits.shape[-1] == 5000
    aligned = processor.decode_forced_alignment(logits, inputs["input_ids"], words, model.config.timestamp_token_id)[0]
    assert [word["text"] for word in aligned] == ["Ain't", "traction", "classic"]
    times = [time for word in aligned for time in (word["start_time"], word["end_time"])]
    assert times == sorted(times)
    assert times[0] >= 0 and times[-1] <= len(audio) / 16_000 + 0.08


def test_the_weights_are_bf16():
    model = Qwen3ASRForTokenClassification.from_pretrained(MODEL, dtype="auto")
    assert {param.dtype for param in model.parameters()} == {torch.bfloat16}


def test_the_architecture_is_the_real_one_but_for_its_size(model):
    audio = model.config.audio_config
    assert (audio.num_mel_bins, 2 * audio.n_window, audio.n_window_infer) == (128, 100, 800)
    assert model.config.num_labels == 5000
    assert model.score.bias is None


def test_the_prompt_has_no_chat_prefix(processor):
    audio = np.zeros(16_000 + 8_000, np.float32)
    inputs, _ = processor.prepare_forced_aligner_inputs(audio, "Hello, don't über.", "English")
    pads = "<|audio_pad|>" * embeddings_for(150)
    words = "".join(f"{word}<timestamp><timestamp>" for word in ("Hello", "don't", "über"))
    assert processor.tokenizer.decode(inputs["input_ids"][0]) == f"<|audio_start|>{pads}<|audio_end|>{words}"


def test_the_tokenizer_spells_every_byte(processor):
    text = "".join(map(chr, range(32, 127))) + "éß中文 한국어"
    ids = processor.tokenizer(text)["input_ids"]
    assert ids == list(text.encode())
    assert processor.tokenizer.decode(ids) == text


def test_the_saved_processor_is_the_one_that_the_code_makes(processor):
    made = make_processor()
    assert made.chat_template == processor.chat_template
    assert made.tokenizer.get_vocab() == processor.tokenizer.get_vocab()
    assert made.timestamp_segment_time == processor.timestamp_segment_time == 80


@pytest.mark.parametrize("seconds", [0.7, 3.0, 8.0, 18.37])
def test_the_training_forward_pass_is_that_of_transformers(model, processor, seconds):
    audio = 0.1 * np.random.default_rng(0).standard_normal(int(16_000 * seconds)).astype(np.float32)
    inputs, _ = processor.prepare_forced_aligner_inputs(audio, "one two three", "English")
    frames = int(inputs["input_features_mask"].sum())
    with torch.inference_mode():
        expected = model(**inputs).logits
        mel = log_mel(torch.from_numpy(audio)[None])
        torch.testing.assert_close(mel, inputs["input_features"])
        embedded = model.model.language_model.embed_tokens(inputs["input_ids"])
        audio_embeddings = encode_audio(model, mel, frames)
        embedded[:, 1 : 1 + audio_embeddings.shape[1]] = audio_embeddings
        logits = model.score(decode_text(model, embedded))
    torch.testing.assert_close(logits, expected, atol=1e-3, rtol=1e-3)


def test_the_ten_clips_are_aligned_within_the_promised_error(scored):
    found = figures(scored)
    assert found["aas_ms"] <= 28  # measured: 23.6
    assert found["bin_exact_percent"] >= 85  # 89.2
    assert found["within_one_bin_percent"] >= 97  # 99.4
    assert found["worst_clip_aas_ms"] <= 40  # 27.8


def test_the_error_does_not_drift_with_the_position(scored):
    late = [mean for begin, count, mean, _ in by_position(scored) if begin >= 9 and count >= 10]
    assert len(late) >= 5
    assert max(late) <= 45  # measured: 30.9
