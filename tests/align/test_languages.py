"""The eleven languages, by name and code; Japanese and Korean through their extras."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.qwen3_asr import processing_qwen3_asr

from forced_aligner.align.words import split_words
from forced_aligner.base.errors import UserError
from forced_aligner.base.languages import LANGUAGES
from forced_aligner.output.spelling import written_words

# name, code, a transcript, its words
SERVED = [
    ("Chinese", "zh", "你好，世界 OK！", ["你", "好", "世", "界", "OK"]),
    ("Cantonese", "yue", "係咁先。", ["係", "咁", "先"]),
    ("English", "en", "It's a well-known fact.", ["It's", "a", "wellknown", "fact"]),
    ("French", "fr", "C'est l'été, là-bas.", ["C'est", "l'été", "làbas"]),
    ("German", "de", "Straße, Übergröße!", ["Straße", "Übergröße"]),
    ("Italian", "it", "Perché no?", ["Perché", "no"]),
    ("Portuguese", "pt", "Não, obrigação.", ["Não", "obrigação"]),
    ("Russian", "ru", "Ещё раз, пожалуйста.", ["Ещё", "раз", "пожалуйста"]),
    ("Spanish", "es", "¿Qué tal, señor?", ["Qué", "tal", "señor"]),
]
EXTRAS = [("Japanese", "ja", "nagisa"), ("Korean", "ko", "soynlp")]
# The recognition model of the family serves more languages; the aligner refuses them.
REFUSED = ["Arabic", "ar", "Dutch", "nl", "English (US)", "en-US", "", "klingon"]


def test_the_languages_are_those_of_the_processor():
    served = processing_qwen3_asr.FORCED_ALIGNER_LANGUAGES
    names = processing_qwen3_asr.LANGUAGE_CODE_TO_NAME.items()
    assert {code: name for code, name in names if name in served} == LANGUAGES


LETTERS = (
    "aZé'’-9²ﬁ \n\t\x1c\u3000.,ßё你好々〇かカ한\u0301\u200b"
    "\u3400\u9fff\uf900\ufa6e\U0002a6df\U0002b81d\U0002ceaf\U0002fa1f\U00030000"
)


@given(st.one_of(st.text(max_size=30), st.text(st.sampled_from(LETTERS), max_size=30)))
def test_words_are_those_of_the_processor(demo_processor, text):
    expected = demo_processor.split_words_for_alignment(text, "Chinese")
    if expected:
        assert split_words(text, None) == split_words(text, "zh") == expected
    else:
        with pytest.raises(UserError, match="has no words to align"):
            split_words(text, None)


@pytest.mark.parametrize(("name", "code", "text", "words"), SERVED)
def test_nine_languages_need_no_extra(name, code, text, words):
    for language in (name, name.lower(), code, code.upper()):
        assert split_words(text, language) == words
    assert [stretch.word for stretch in written_words(text, words) if stretch.word is not None] == list(
        range(len(words))
    )


@pytest.mark.parametrize("language", REFUSED)
def test_other_languages_are_refused_with_the_eleven(language):
    with pytest.raises(
        UserError, match=f"language {language!r} is not served".replace("(", r"\(").replace(")", r"\)")
    ) as caught:
        split_words("one", language)
    for name, code in [*((row[0], row[1]) for row in SERVED), *((row[0], row[1]) for row in EXTRAS)]:
        assert f"{name} ({code})" in str(caught.value)
    assert str(caught.value).count("(") == 11 + language.count("(")


@pytest.mark.parametrize(("name", "code", "package"), EXTRAS)
def test_without_its_extra_a_language_is_refused_with_the_install_line(monkeypatch, name, code, package):
    monkeypatch.setattr(processing_qwen3_asr, f"is_{package}_available", lambda: False)
    for language in (name, code):
        with pytest.raises(UserError, match=f"^{name} needs an extra package: uv sync --extra {name.lower()}$"):
            split_words("one", language)


def test_japanese_words_come_from_nagisa():
    pytest.importorskip("nagisa", reason="needs uv sync --extra japanese")
    for language in ("Japanese", "ja"):
        words = split_words("今日は良い天気です。", language)
        assert words == ["今日", "は", "良い", "天気", "です"]


def test_japanese_keeps_the_letters_that_nagisa_rewrites():
    pytest.importorskip("nagisa", reason="needs uv sync --extra japanese")
    text = "２０２３年、ﾃﾞｰﾀを　New York で。"
    words = split_words(text, "Japanese")
    assert "".join(words) == "2023年データをNewYorkで"
    stretches = written_words(text, words)
    assert [stretch.word for stretch in stretches] == list(range(len(words)))
    assert "".join(stretch.text for stretch in stretches).replace(" ", "") == text.replace(" ", "").replace("　", "")


def test_korean_words_are_those_between_spaces():
    """transformers gives soynlp's tokenizer no scores; qwen-asr gives it a dictionary, which splits off particles."""
    pytest.importorskip("soynlp", reason="needs uv sync --extra korean")
    from soynlp.tokenizer import LTokenizer

    for language in ("Korean", "ko"):
        assert split_words("오늘은 날씨가 좋아요!", language) == ["오늘은", "날씨가", "좋아요"]
    with_dictionary = LTokenizer(scores={"오늘": 1.0, "날씨": 1.0}).tokenize("오늘은 날씨가 좋아요")
    assert with_dictionary == ["오늘", "은", "날씨", "가", "좋아요"]


@pytest.mark.parametrize(
    ("language", "package", "text", "count"),
    [("Japanese", "nagisa", "今日は良い天気です。", 5), ("Korean", "soynlp", "오늘은 날씨가 좋아요!", 3)],
)
def test_japanese_and_korean_are_aligned_by_the_packages_as_by_pytorch(
    demo_bundle, demo_model, demo_processor, language, package, text, count
):
    pytest.importorskip(package, reason=f"needs uv sync --extra {language.lower()}")
    from forced_aligner.align.chain import Aligner
    from forced_aligner.jobs.reference import align_with_pytorch
    from forced_aligner.runtime.mil.backend import MilBackend

    samples = 0.1 * np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    ours = Aligner(demo_bundle, MilBackend(demo_bundle)).align(samples, text, language).words
    assert len(ours) == count
    assert ours == align_with_pytorch(demo_model, demo_processor, samples, text, language)
