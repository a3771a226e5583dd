"""The pure parts of the comparison with qwen-asr; `benchmarks/qwen_asr_oracle.py` itself needs a package index."""

import json
import re

import pytest
from safetensors import safe_open

from benchmarks.qwen_asr_oracle import rows_of, side_command
from benchmarks.qwen_asr_side import legacy_config, legacy_key
from forced_aligner.base.errors import UserError
from forced_aligner.checkpoint.find import Checkpoint
from forced_aligner.checkpoint.layouts import LEGACY_KEYS, load_config
from forced_aligner.convert.metadata import read_dimensions
from forced_aligner.data.records import WordTime


def test_the_converter_reads_back_every_name_that_qwen_asr_gives_a_weight(demo_checkpoint):
    with safe_open(demo_checkpoint.folder / "model.safetensors", "pt") as weights:
        keys = list(weights.keys())
    for key in keys:
        legacy = legacy_key(key)
        assert legacy.startswith("thinker.")
        read_back = [re.sub(old, new, legacy) for old, new in LEGACY_KEYS.items() if re.match(old, legacy)]
        assert read_back[0] == key


def test_the_config_for_qwen_asr_says_the_same_sizes(demo_checkpoint, tmp_path):
    native = json.loads((demo_checkpoint.folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3_asr", **legacy_config(native)}))
    legacy = load_config(Checkpoint("./legacy", tmp_path))
    assert read_dimensions(legacy) == read_dimensions(load_config(demo_checkpoint))
    assert legacy.timestamp_token_id == native["timestamp_token_id"]


def words(*starts_ms):
    return [WordTime(text="a", start_time_ms=start_ms, end_time_ms=1000) for start_ms in starts_ms]


def test_clips_of_one_window_are_scored_apart_from_longer_ones():
    found, expected = [words(0, 80), words(240), words(0)], [words(0, 80), words(0), words(80)]
    rows = rows_of("way", found, expected, [8.0, 8.01, 20.0])
    counts = [(row.clips, row.files, row.boundaries, row.moved, row.beyond_80ms, row.max_error_ms) for row in rows]
    assert counts == [("up to 8 s", 1, 4, 0, 0, 0), ("beyond 8 s", 2, 4, 2, 1, 240), ("all", 3, 8, 2, 1, 240)]


def test_without_uv_the_benchmark_says_how_to_get_it(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="pip install uv"):
        side_command()


def test_the_benchmark_says_in_one_sentence_why_uv_failed(monkeypatch, tmp_path):
    uv = tmp_path / "uv"
    uv.write_text(
        "#!/bin/sh\nprintf 'Resolving\\nerror: No solution\\n  cause: not found\\n\\nhint: none\\n' >&2; exit 1\n"
    )
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"needs a package index: No solution: not found$"):
        side_command()
