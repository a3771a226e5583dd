"""The prompt and the times without the processor: token by token and time by time those of the processor."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from forced_aligner.align.prompt import Prompt
from forced_aligner.align.times import word_times
from forced_aligner.align.words import split_words
from forced_aligner.base.errors import UserError
from forced_aligner.checkpoint.processor import PROMPT_TOKENS, load_processor
from forced_aligner.package.metadata import TokenIds


@pytest.fixture(scope="module")
def merging(demo_checkpoint, merging_tokenizer, tmp_path_factory):
    """A processor of the demo's kind whose tokenizer has merges, and the prompt of the same folder."""
    folder = tmp_path_factory.mktemp("checkpoint") / "merging"
    load_processor(demo_checkpoint.folder).save_pretrained(folder)
    tokenizer = Tokenizer.from_str(merging_tokenizer)
    tokenizer.add_special_tokens([*PROMPT_TOKENS.values()])
    tokenizer.save(str(folder / "tokenizer.json"))
    processor = load_processor(folder)
    ids = {name: processor.tokenizer.convert_tokens_to_ids(token) for name, token in PROMPT_TOKENS.items()}
    return processor, Prompt.open(folder, TokenIds(**ids))


@given(st.text(st.sampled_from("itshelowrvdLS' é91²ßſﬁe\u0301Å你好<|>_"), min_size=1, max_size=30))
def test_the_prompt_is_the_processors_whatever_the_words(merging, text):
    processor, prompt = merging
    words = processor.split_words_for_alignment(text, "English")
    if words:
        samples = np.zeros(16_000, np.float32)
        inputs, _ = processor.prepare_forced_aligner_inputs(samples, text, "English")
        assert prompt.ids(split_words(text, "English"), 13).tolist() == inputs["input_ids"][0].tolist()


def test_padding_and_truncation_of_the_tokenizer_are_left_out(merging):
    processor, prompt = merging
    words = ["a", "lowest", "ééé"]
    processor.tokenizer(words, padding=True, truncation=True, max_length=2)
    assert processor.tokenizer.backend_tokenizer.padding is not None
    ids = {name: processor.tokenizer.convert_tokens_to_ids(token) for name, token in PROMPT_TOKENS.items()}
    again = Prompt.of_processor(processor, TokenIds(**ids))
    assert again.ids(words, 2).tolist() == prompt.ids(words, 2).tolist()
    assert processor.tokenizer.backend_tokenizer.padding is not None  # it is the processor's own


def test_the_tokens_of_each_word_are_counted(merging):
    _, prompt = merging
    counts = prompt.word_tokens(["lowest", "it's", "zzz"])
    assert counts.tolist() == [len(prompt.ids([word], 0)) - 2 for word in ("lowest", "it's", "zzz")]
    assert counts[0] < 2 + len("lowest")


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.sampled_from([1.0, 80.0, 62.5]))
def test_times_are_those_of_the_processor(demo_processor, halves, segment_ms):
    classes = np.array([*halves, *reversed(halves)])
    words = [f"w{index}" for index in range(len(halves))]
    scores = torch.nn.functional.one_hot(torch.from_numpy(classes))[None]
    (items,) = demo_processor.decode_forced_alignment(
        scores, torch.full(scores.shape[:2], 260), [words], 260, segment_ms
    )
    expected = [(item["text"], round(item["start_time"] * 1000), round(item["end_time"] * 1000)) for item in items]
    found = word_times(classes, words, segment_ms)
    assert [(word.text, word.start_time_ms, word.end_time_ms) for word in found] == expected


@pytest.mark.parametrize("content", ["", "{}", '{"model": {"type": "BPE"}}', "[" * 100_000, "\x00"])
def test_a_damaged_tokenizer_is_a_sentence(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match="no usable processor in") as caught:
        Prompt.open(tmp_path, TokenIds(audio_start=1, audio_end=2, audio_pad=3, timestamp=4))
    assert "\n" not in str(caught.value)
