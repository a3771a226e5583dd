"""Long recordings: each word once and in order, times as good near cuts as elsewhere, and no change for short ones."""

from pathlib import Path

import numpy as np
import pytest

from demo.clips import Clip
from demo.recordings import join
from demo.speech import Voice
from forced_aligner.align.audio import SAMPLE_RATE_HZ, load_audio
from forced_aligner.align.chain import Aligner
from forced_aligner.align.cuts import Cut, judge_words, possible_cuts
from forced_aligner.align.long_recording import align_recording
from forced_aligner.align.mel import log_mel
from forced_aligner.align.prompt import prompt_ids
from forced_aligner.base.errors import UserError
from forced_aligner.jobs.infer import align_file
from forced_aligner.runtime.mil.backend import MilBackend

PIECE_S = 12.0
NEAR_S = 1.5  # distance from a cut that counts as near
SEGMENT_MS = 80


@pytest.fixture(scope="module")
def aligner(demo_bundle):
    return Aligner(demo_bundle, MilBackend(demo_bundle))


@pytest.fixture(scope="module")
def recording(demo_clips):
    """Clips joined with pauses to a recording of 74 s, with the true times."""
    clips = []
    for clip in demo_clips[1:9]:
        audio = load_audio(Path(clip.audio))
        words = [word.text for word in clip.alignments]
        starts_s = np.array([word.start_time_ms / 1000 for word in clip.alignments])
        ends_s = np.array([word.end_time_ms / 1000 for word in clip.alignments])
        voice = Voice(clip.voice, int(clip.words_per_minute), 50)
        clips.append(Clip(audio, clip.transcript, words, starts_s, ends_s, voice))
    return join(clips, [0.4, 0.0, 1.0, 0.2, 0.7, 0.1, 0.5, 0.3], np.random.default_rng(0))


@pytest.fixture(scope="module")
def alignment(aligner, recording):
    return align_recording(aligner, recording.audio, recording.transcript, "English", PIECE_S)


def times_ms(alignment):
    return np.array([(word.start_time_ms, word.end_time_ms) for word in alignment.words])


def check_order(alignment, recording):
    assert [word.text for word in alignment.words] == recording.words
    assert len(alignment.confidences) == len(recording.words)
    assert (np.diff(times_ms(alignment).reshape(-1)) >= 0).all()
    assert times_ms(alignment).max() <= 1000 * alignment.duration_s


def test_no_word_is_lost_or_doubled_or_out_of_order(alignment, recording):
    check_order(alignment, recording)
    assert alignment.warnings == []
    pieces_s = np.diff([0, *alignment.cuts_s, alignment.duration_s])
    assert len(pieces_s) >= 6
    assert pieces_s.max() <= PIECE_S


def test_joins_are_as_good_as_the_middle(alignment, recording):
    errors_ms = np.abs(times_ms(alignment) - recording.times_ms)
    centres_s, cuts_s = recording.times_ms.mean(axis=1) / 1000, np.array(alignment.cuts_s)
    near = np.abs(centres_s[:, None] - cuts_s).min(axis=1) < NEAR_S
    assert near.sum() >= 20
    assert errors_ms[near].mean() < errors_ms[~near].mean() + 10
    assert errors_ms[near].max() < 1000
    for word, (start_ms, end_ms) in zip(recording.words, recording.times_ms, strict=True):
        assert not ((start_ms + SEGMENT_MS < cuts_s * 1000) & (cuts_s * 1000 < end_ms - SEGMENT_MS)).any(), word


def test_the_error_does_not_grow_with_time(alignment, recording):
    errors_ms = np.abs(times_ms(alignment) - recording.times_ms)
    first, last = np.array_split(errors_ms, 2)
    assert last.mean() < first.mean() + 20
    assert errors_ms.mean() < 50


def test_words_beyond_a_piece_change_no_bit_of_those_inside(aligner, recording):
    """Long recordings rely on this: the decoder is causal, and the audio comes before the text."""
    samples = recording.audio[: round(PIECE_S * SAMPLE_RATE_HZ)]
    inside = int((recording.times_ms[:, 1] < 1000 * PIECE_S).sum())
    without = aligner.timestamp_logits(samples, recording.words[:inside])
    surplus = aligner.timestamp_logits(samples, recording.words[: inside + 10])
    tokens = [
        aligner.audio_tokens(samples.size) + aligner.word_tokens(recording.words[:n]).sum()
        for n in (inside, inside + 10)
    ]
    assert len({next(length for length in aligner.decoder_lengths if length >= n) for n in tokens}) == 1
    np.testing.assert_array_equal(surplus[:, : 2 * inside], without)


def test_the_count_of_tokens_is_that_of_the_prompt(aligner, recording):
    samples = recording.audio[: 5 * SAMPLE_RATE_HZ + 700]
    frames = log_mel(samples, aligner.metadata.dimensions.mel_bins).shape[1]
    prompt = prompt_ids(aligner.processor, recording.words, aligner.metadata.dimensions.audio_tokens(frames))
    assert prompt.size == aligner.audio_tokens(samples.size) + aligner.word_tokens(recording.words).sum()


def test_a_short_recording_goes_in_one_piece_as_ever(aligner, demo_clips):
    clip = demo_clips[6]
    samples = load_audio(Path(clip.audio))
    ours, expected = (
        align_recording(aligner, samples, clip.transcript, "English"),
        aligner.align(samples, clip.transcript, "English"),
    )
    assert (ours.words, ours.confidences, ours.cuts_s) == (expected.words, expected.confidences, [])


def test_the_demo_model_cuts_what_is_longer_than_its_training_clips(aligner, recording):
    assert aligner.metadata.longest_clip_s == 30
    assert aligner.metadata.head_end_s == 400
    alignment = align_recording(aligner, recording.audio, recording.transcript)
    check_order(alignment, recording)
    assert np.diff([0, *alignment.cuts_s, alignment.duration_s]).max() <= 30


def test_silence_longer_than_a_piece_holds_no_words(aligner, recording):
    silence = np.zeros(round(2.5 * PIECE_S * SAMPLE_RATE_HZ), np.float32)
    count = int((recording.times_ms[:, 1] < 20_000).sum())
    speech = recording.audio[: round((recording.times_ms[count - 1, 1] + 200) / 1000 * SAMPLE_RATE_HZ)]
    audio = np.concatenate([silence, speech, silence])
    alignment = align_recording(aligner, audio, " ".join(recording.words[:count]), "English", PIECE_S)
    true_times_ms = recording.times_ms[:count] + 1000 * silence.size / SAMPLE_RATE_HZ
    assert [word.text for word in alignment.words] == recording.words[:count]
    assert np.abs(times_ms(alignment) - true_times_ms).mean() < 60


def test_a_piece_that_is_too_long_for_the_model_is_halved(aligner, recording):
    """The model was trained on clips up to 30 s; it fails on 74 s at once."""
    alignment = align_recording(aligner, recording.audio[:-1600], recording.transcript, "English", 60)
    check_order(alignment, recording)
    assert np.abs(times_ms(alignment) - recording.times_ms).mean() < 60


def test_a_transcript_that_does_not_belong_is_refused(aligner, recording, demo_clips):
    other = " ".join(clip.transcript for clip in demo_clips[8:] * 3)
    with pytest.raises(
        UserError, match=r"the transcript was lost at \d+\.\d s: from word \d+ of \d+ on .* does it belong"
    ):
        align_recording(aligner, recording.audio[: 20 * SAMPLE_RATE_HZ], other, "English", PIECE_S)


def test_a_word_that_no_decoder_takes_is_refused(aligner):
    with pytest.raises(UserError, match="longest converted decoder takes 1024"):
        align_recording(aligner, np.zeros(16_000, np.float32), "a" * 1100)


def test_a_folder_run_takes_long_recordings(aligner, demo_clips):
    clip = demo_clips[8]
    file, alignment, _ = align_file(aligner, clip, 0.0, PIECE_S)
    assert len(alignment.cuts_s) >= 2
    assert [word.word for word in file.timed] == [word.text for word in clip.alignments]


def findings(starts, ends, confidences, length):
    return judge_words(np.stack([starts, ends], axis=1), np.array(confidences), length)


def test_a_cut_lies_in_the_longest_gap_of_the_later_half():
    starts = np.array([0, 20, 30, 50, 60, 85, 95, 110, 120, 130])
    piece = findings(starts, starts + 8, np.full(10, 0.99), 200)
    assert piece.inside == 10
    assert possible_cuts(piece, margin=12)[0] == Cut(words=5, at=(68 + 85) // 2)


def test_a_pile_of_surplus_words_is_not_inside():
    """Words that are not spoken may all get one time, with a high confidence."""
    starts = np.array([*range(0, 100, 10), *[55] * 30])
    ends = np.array([*range(8, 108, 10), *[55] * 30])
    piece = findings(starts, ends, np.full(40, 0.99), 120)
    assert piece.inside == 10
    assert all(cut.words <= 8 for cut in possible_cuts(piece, margin=12))


def test_nothing_is_cut_near_the_end_of_a_piece():
    starts = np.arange(0, 100, 10)
    piece = findings(starts, starts + 8, np.full(10, 0.99), 100)
    assert max(cut.words for cut in possible_cuts(piece, margin=12)) == 7


def beginning(recording):
    """The first 30 s, and the words in them."""
    return recording.audio[: 30 * SAMPLE_RATE_HZ], recording.words[: (recording.times_ms < 30_000).all(axis=1).sum()]


def test_words_that_are_not_found_at_the_end_are_a_warning(aligner, recording, demo_clips):
    surplus = [word.text for clip in demo_clips[5:7] for word in clip.alignments][:20]
    audio, words = beginning(recording)
    audio = np.concatenate([audio, np.zeros(round(2 * PIECE_S * SAMPLE_RATE_HZ), np.float32)])
    alignment = align_recording(aligner, audio, " ".join([*words, *surplus]), "English", PIECE_S)
    assert [word.text for word in alignment.words] == [*words, *surplus]
    assert any("words were not found; their times mean nothing" in warning for warning in alignment.warnings)


def test_pieces_that_do_not_agree_are_a_warning(aligner, recording, monkeypatch):
    answers = iter([2])  # the first two pieces agree, all others do not
    monkeypatch.setattr("forced_aligner.align.long_recording.shared_words", lambda *_: next(answers, None))
    audio, words = beginning(recording)
    alignment = align_recording(aligner, audio, " ".join(words), "English", PIECE_S)
    assert [word.text for word in alignment.words] == words
    assert "the pieces around the cut at " in alignment.warnings[0]
    assert alignment.warnings[0].endswith(" s do not agree")
