"""The ten clips: the manifest says what is in the audio, and the clips cover what they are meant to cover."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from transformers import AutoProcessor

from demo.words import ACCENTS, TRAINING_VARIANTS, TRAINING_VOICES, UNSEEN_VARIANTS, is_unseen

DEMO = Path(__file__).parents[2] / "demo"
CLIPS = DEMO / "clips"
SAMPLES = json.loads((CLIPS / "manifest.json").read_text())["samples"]
MAX_CLIPS_BYTES = 2_000_000
RATE_HZ = 16_000


def by_name(sample):
    return sample["audio"]


@pytest.mark.parametrize("sample", SAMPLES, ids=by_name)
def test_the_manifest_matches_the_audio_file(sample):
    info = soundfile.info(CLIPS / sample["audio"])
    assert (info.samplerate, info.channels, info.format) == (RATE_HZ, 1, "FLAC")
    assert info.frames / RATE_HZ == pytest.approx(sample["duration_s"], abs=1e-6)


@pytest.mark.parametrize("sample", SAMPLES, ids=by_name)
def test_the_words_are_those_that_the_processor_finds(sample):
    processor = AutoProcessor.from_pretrained(DEMO / "model")
    words = processor.split_words_for_alignment(sample["transcript"], sample["language"])
    assert [alignment["text"] for alignment in sample["alignments"]] == words


@pytest.mark.parametrize("sample", SAMPLES, ids=by_name)
def test_the_times_are_in_order_and_inside_the_clip(sample):
    times = [time for word in sample["alignments"] for time in (word["start_time_ms"], word["end_time_ms"])]
    assert times == sorted(times)
    assert all(word["end_time_ms"] > word["start_time_ms"] for word in sample["alignments"])
    assert times[0] >= 0 and times[-1] <= 1000 * sample["duration_s"]


@pytest.mark.parametrize("sample", SAMPLES, ids=by_name)
def test_words_are_louder_than_the_silence_around_them(sample):
    audio, _ = soundfile.read(CLIPS / sample["audio"])
    spans = [(word["start_time_ms"], word["end_time_ms"]) for word in sample["alignments"]]
    gaps = [(0, spans[0][0]), (spans[-1][1], 1000 * sample["duration_s"])]
    gaps += [(end, start) for (_, end), (start, _) in pairwise(spans)]
    levels = [_level(audio, *span) for span in spans]
    # 30 ms are left out after each word: espeak-ng lets its sounds ring out a little.
    silences = [_level(audio, begin + 30, end) for begin, end in gaps if end - begin > 50]
    assert max(silences) < 0.1 * np.median(levels)
    assert max(silences) < min(levels)


def _level(audio: np.ndarray, begin_ms: float, end_ms: float) -> float:
    return float(np.sqrt(np.mean(audio[int(begin_ms * RATE_HZ / 1000) : int(end_ms * RATE_HZ / 1000)] ** 2)))


def test_the_clips_are_small():
    assert len(SAMPLES) == 10
    assert sum(path.stat().st_size for path in CLIPS.glob("*.flac")) <= MAX_CLIPS_BYTES
    assert {path.name for path in CLIPS.glob("*.flac")} == {sample["audio"] for sample in SAMPLES}


def test_the_clips_cover_short_long_and_ragged_lengths():
    durations = np.array([sample["duration_s"] for sample in SAMPLES])
    assert np.any(durations < 1)
    assert np.sum(durations > 8) >= 2 + np.sum(durations > 20)
    assert np.sum(durations > 20) >= 2
    assert np.all(durations * 100 % 100 > 0)  # none ends with a chunk
    assert len({sample["voice"] for sample in SAMPLES}) == 10
    assert len({sample["words_per_minute"] for sample in SAMPLES}) >= 5


def test_some_clips_have_pauses_between_words():
    pauses = [
        following["start_time_ms"] - word["end_time_ms"]
        for sample in SAMPLES
        for word, following in pairwise(sample["alignments"])
    ]
    assert sum(pause > 150 for pause in pauses) >= 10


def test_the_voices_are_not_training_voices():
    assert not set(TRAINING_VARIANTS) & set(UNSEEN_VARIANTS)
    for sample in SAMPLES:
        accent, variant = sample["voice"].split("+")
        assert accent in ACCENTS and variant in UNSEEN_VARIANTS
        assert sample["voice"] not in TRAINING_VOICES


def test_at_least_a_fifth_of_the_words_was_never_seen_in_training():
    words = [word["text"] for sample in SAMPLES for word in sample["alignments"]]
    assert np.mean([is_unseen(word) for word in words]) >= 0.2


@pytest.mark.parametrize(
    ("name", "count", "variants"),
    [("clips-120", 120, UNSEEN_VARIANTS), ("clips-calibration", 64, TRAINING_VARIANTS)],
)
def test_the_fresh_clips_are_what_their_manifest_says(name, count, variants):
    """Ogg Vorbis keeps the number of samples, so the true times hold."""
    folder = DEMO / name
    samples = json.loads((folder / "manifest.json").read_text())["samples"]
    assert len(samples) == count
    assert {path.name for path in folder.glob("*.ogg")} == {sample["audio"] for sample in samples}
    assert sum(path.stat().st_size for path in folder.glob("*.ogg")) < 8_000_000
    processor = AutoProcessor.from_pretrained(DEMO / "model")
    for sample in samples:
        info = soundfile.info(folder / sample["audio"])
        assert (info.samplerate, info.channels, info.format) == (RATE_HZ, 1, "OGG")
        assert info.frames / RATE_HZ == pytest.approx(sample["duration_s"], abs=1e-6)
        words = processor.split_words_for_alignment(sample["transcript"], sample["language"])
        assert [alignment["text"] for alignment in sample["alignments"]] == words
        assert sample["voice"].split("+")[1] in variants
    assert not {sample["transcript"] for sample in samples} & {sample["transcript"] for sample in SAMPLES}
