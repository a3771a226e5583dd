"""`host.py` of a kit: numpy alone, and the same parts as `transformers` and `tokenizers`, which it does not use."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as OtherTokenizer
from transformers.models.qwen3_asr.processing_qwen3_asr import _fix_timestamps

from forced_aligner.package.host_kit import host
from forced_aligner.package.host_kit.host import Tokenizer, repair, split_words
from forced_aligner.package.host_kit.stages import stage_of

HOST_FILE = Path(host.__file__)


def test_it_imports_numpy_and_the_standard_library_alone():
    imported = set()
    for node in ast.walk(ast.parse(HOST_FILE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert imported - sys.stdlib_module_names == {"numpy"}


def test_it_runs_from_a_folder_of_its_own(tmp_path):
    """A copy of the file, without this repository on the path."""
    (tmp_path / "host.py").write_bytes(HOST_FILE.read_bytes())
    code = "import host, sys; print(sorted({'torch', 'transformers', 'librosa', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@given(st.lists(st.integers(0, 30), min_size=1, max_size=24), st.sampled_from([1.0, 80.0, 62.5]))
def test_times_are_repaired_as_transformers_repairs_them(classes, segment_ms):
    raw = np.array(classes, np.float32) * np.float32(segment_ms)
    assert repair(raw.tolist(), 2) == _fix_timestamps(raw)


@given(st.text(st.sampled_from("aZé'’-9² \n\t.,ßéﬁ"), max_size=30))
def test_words_are_split_as_transformers_splits_them(demo_processor, text):
    assert split_words(text) == demo_processor.split_words_for_alignment(text, "English")


@pytest.fixture(scope="module")
def tokenizers(merging_tokenizer, tmp_path_factory):
    """A tokenizer with merges: by `tokenizers`, and by the host."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    path.write_text(merging_tokenizer, encoding="utf-8")
    return OtherTokenizer.from_str(merging_tokenizer), Tokenizer(path)


@given(st.text(st.sampled_from("itshelowrvdISTLé'91²ßſﬁe\u0301Å"), min_size=1, max_size=12))
def test_words_are_cut_into_the_pieces_of_the_tokenizers_library(tokenizers, text):
    other, ours = tokenizers
    for word in split_words(text):
        assert ours.ids(word) == other.encode(word, add_special_tokens=False).ids


def test_the_tokenizer_merges_and_not_only_spells(tokenizers):
    _, ours = tokenizers
    assert len(ours.ranks) > 50
    assert len(ours.ids("lowest")) < 4


def test_a_prompt_that_no_function_takes_is_an_error(demo_kit):
    with pytest.raises(ValueError, match="1025 rows are more than the largest function of decoder_prefill takes"):
        host.Host(demo_kit, None).function("decoder_prefill", 1025)


def test_stages_have_names():
    assert stage_of("mel").name == "mel"
    assert stage_of("mask.1").calls
    assert stage_of("mask") is stage_of("mel.0") is stage_of("other") is None
