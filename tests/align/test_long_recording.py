"""Long recordings and wrong transcripts: what is spoken gets its times, what is not is named, short clips stay."""

from pathlib import Path

import numpy as np
import pytest

from demo.clips import Clip
from demo.recordings import join
from demo.speech import Voice
from forced_aligner.align.audio import SAMPLE_RATE_HZ, load_audio
from forced_aligner.align.chain import Aligner
from forced_aligner.align.findings import judge_words
from forced_aligner.align.listening import Listener
from forced_aligner.align.long_recording import align_recording
from forced_aligner.align.mel import log_mel
from forced_aligner.align.silences import find_silences
from forced_aligner.base.errors import UserError
from forced_aligner.jobs.infer import align_file
from forced_aligner.runtime.mil.backend import MilBackend

PIECE_S = 12.0
FAR_OFF_MS = 500  # beyond it a word is not where it is spoken
UNSPOKEN = 15


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


@pytest.fixture(scope="module")
def unspoken(demo_clips):
    """Words that are not spoken in the recording."""
    return [word.text for clip in demo_clips[9:] for word in clip.alignments][:UNSPOKEN]


def times_ms(alignment):
    return np.array([(word.start_time_ms, word.end_time_ms) for word in alignment.words])


def check_order(alignment, words):
    assert [word.text for word in alignment.words] == words
    assert len(alignment.confidences) == len(words)
    assert (np.diff(times_ms(alignment).reshape(-1)) >= 0).all()
    assert times_ms(alignment).min() >= 0
    assert times_ms(alignment).max() <= 1000 * alignment.duration_s


def check_found(alignment, true_ms):
    """The indices with true times are found, at these times; of all others most are not.

    Args:
        alignment: of the words.
        true_ms: (words, 2), nan where a word is not spoken.
    """
    spoken = ~np.isnan(true_ms[:, 0])
    found = np.ones(len(true_ms), bool)
    found[list(alignment.not_found)] = False
    if (~spoken).any():
        hits = (~found & ~spoken).sum()
        assert hits / (~spoken).sum() >= 0.8  # recall
        assert hits / (~found).sum() >= 0.8  # precision
    assert (spoken & ~found).sum() <= 3
    errors_ms = np.abs(times_ms(alignment) - true_ms)[spoken & found]
    assert np.median(errors_ms) < 60
    assert (errors_ms > FAR_OFF_MS).any(axis=1).sum() <= 4, errors_ms.max(axis=1)


def first_clips(recording):
    """The first 30 s or so, which take less time."""
    return join(recording.clips[:6], [0.4, 0.0, 1.0, 0.2, 0.7, 0.1], np.random.default_rng(0))


def with_unspoken(recording, unspoken, at):
    """The words of the recording with others before index `at`, and the true times."""
    words = [*recording.words[:at], *unspoken, *recording.words[at:]]
    return words, np.insert(recording.times_ms, [at] * len(unspoken), np.nan, axis=0)


def test_no_word_is_lost_or_doubled_or_out_of_order(alignment, recording):
    check_order(alignment, recording.words)


def test_all_words_of_a_right_transcript_are_found(alignment):
    assert alignment.not_found == frozenset()
    assert alignment.untranscribed_s == []
    assert min(alignment.confidences) > 0


def test_the_error_does_not_grow_with_time(alignment, recording):
    errors_ms = np.abs(times_ms(alignment) - recording.times_ms)
    first, last = np.array_split(errors_ms, 2)
    assert last.mean() < first.mean() + 20
    assert errors_ms.mean() < 40
    assert (errors_ms > 160).mean() < 0.02
    assert errors_ms.max() < 1000


def test_words_beyond_a_piece_change_no_bit_of_those_inside(aligner, recording):
    """Long recordings rely on this: the decoder is causal, and the audio comes before the text."""
    samples = recording.audio[: round(PIECE_S * SAMPLE_RATE_HZ)]
    inside = int((recording.times_ms[:, 1] < 1000 * PIECE_S).sum())
    without = aligner.timestamp_scores(samples, recording.words[:inside])
    surplus = aligner.timestamp_scores(samples, recording.words[: inside + 10])
    tokens = [
        aligner.audio_tokens(samples.size) + aligner.word_tokens(recording.words[:n]).sum()
        for n in (inside, inside + 10)
    ]
    assert len({next(length for length in aligner.decoder_lengths if length >= n) for n in tokens}) == 1
    np.testing.assert_array_equal(surplus.classes[: 2 * inside], without.classes)
    np.testing.assert_array_equal(surplus.probabilities[: 2 * inside], without.probabilities)


def test_the_count_of_tokens_is_that_of_the_prompt(aligner, recording):
    samples = recording.audio[: 5 * SAMPLE_RATE_HZ + 700]
    frames = log_mel(samples, aligner.metadata.dimensions.mel_bins).shape[1]
    prompt = aligner.prompt.ids(recording.words, aligner.metadata.dimensions.audio_tokens(frames))
    assert prompt.size == aligner.audio_tokens(samples.size) + aligner.word_tokens(recording.words).sum()


def test_a_short_recording_goes_in_one_piece_as_ever(aligner, demo_clips):
    clip = demo_clips[6]
    samples = load_audio(Path(clip.audio))
    ours, expected = (
        align_recording(aligner, samples, clip.transcript, "English"),
        aligner.align(samples, clip.transcript, "English"),
    )
    assert (ours.words, ours.confidences) == (expected.words, expected.confidences)
    assert (ours.not_found, ours.untranscribed_s) == (frozenset(), [])


@pytest.mark.parametrize("piece_s", [60])
def test_no_piece_is_too_long_for_the_model(aligner, recording, piece_s):
    """The model was trained on clips up to 30 s, which are its longest pieces unless others are asked for."""
    assert (aligner.metadata.longest_clip_s, aligner.metadata.head_end_s) == (30, 400)
    alignment = align_recording(aligner, recording.audio, recording.transcript, "English", piece_s)
    check_order(alignment, recording.words)
    check_found(alignment, recording.times_ms)
    assert len(alignment.not_found) == 0


def test_silence_longer_than_a_piece_holds_no_words(aligner, recording):
    silence = np.zeros(round(2.5 * PIECE_S * SAMPLE_RATE_HZ), np.float32)
    count = int((recording.times_ms[:, 1] < 20_000).sum())
    speech = recording.audio[: round((recording.times_ms[count - 1, 1] + 200) / 1000 * SAMPLE_RATE_HZ)]
    audio = np.concatenate([silence, speech, silence])
    alignment = align_recording(aligner, audio, " ".join(recording.words[:count]), "English", PIECE_S)
    check_order(alignment, recording.words[:count])
    true_ms = recording.times_ms[:count] + 1000 * silence.size / SAMPLE_RATE_HZ
    assert alignment.not_found == frozenset()
    assert np.abs(times_ms(alignment) - true_ms).mean() < 60


@pytest.mark.parametrize("place", ["start", "middle", "end"])
def test_words_that_nobody_speaks_are_named_and_the_others_keep_their_times(aligner, recording, unspoken, place):
    recording = first_clips(recording)
    at = {"start": 0, "middle": len(recording.words) // 2, "end": len(recording.words)}[place]
    words, true_ms = with_unspoken(recording, unspoken, at)
    alignment = align_recording(aligner, recording.audio, " ".join(words), "English", PIECE_S)
    check_order(alignment, words)
    check_found(alignment, true_ms)
    assert all(alignment.confidences[index] == 0 for index in alignment.not_found)


@pytest.mark.parametrize("place", ["start", "middle", "end"])
def test_speech_that_the_transcript_leaves_out_is_named(aligner, recording, place):
    recording = first_clips(recording)
    middle = len(recording.words) // 2
    first = {"start": 0, "middle": middle, "end": len(recording.words) - UNSPOKEN}[place]
    left_out = np.arange(first, first + UNSPOKEN)
    words = [word for index, word in enumerate(recording.words) if index not in left_out]
    alignment = align_recording(aligner, recording.audio, " ".join(words), "English", PIECE_S)
    check_order(alignment, words)
    check_found(alignment, np.delete(recording.times_ms, left_out, axis=0))
    ((start_s, end_s),) = alignment.untranscribed_s
    true_start_s, true_end_s = recording.times_ms[left_out[0], 0] / 1000, recording.times_ms[left_out[-1], 1] / 1000
    inside_s = min(end_s, true_end_s) - max(start_s, true_start_s)
    assert inside_s > 0.8 * (true_end_s - true_start_s)
    assert inside_s > 0.7 * (end_s - start_s)


def test_a_clip_of_one_piece_may_have_a_sentence_too_many(aligner, recording, unspoken):
    """The same within one piece: a clip of 9 s, and eight words that nobody speaks in the middle of its transcript."""
    clip = join(recording.clips[5:6], [0.1], np.random.default_rng(0))
    words, true_ms = with_unspoken(clip, unspoken[:8], len(clip.words) // 2)
    alignment = align_recording(aligner, clip.audio, " ".join(words), "English")
    check_order(alignment, words)
    check_found(alignment, true_ms)


def test_a_transcript_of_which_no_word_is_spoken_is_refused(aligner, recording, demo_clips):
    other = demo_clips[4].transcript
    noise = np.random.default_rng(1).normal(0, 0.01, 6 * SAMPLE_RATE_HZ).astype(np.float32)
    with pytest.raises(UserError, match=r"none of the \d+ words is found in the audio; does the transcript belong"):
        align_recording(aligner, noise, other, "English", 5)


def test_a_word_that_no_decoder_takes_is_refused(aligner):
    with pytest.raises(UserError, match="longest converted decoder takes 1024"):
        align_recording(aligner, np.zeros(16_000, np.float32), "a" * 1100)


def test_a_folder_run_takes_long_recordings(aligner, demo_clips):
    clip = demo_clips[8]
    file, alignment, _ = align_file(aligner, clip, 0.0, PIECE_S)
    assert alignment.duration_s > PIECE_S
    assert [word.word for word in file.timed] == [word.text for word in clip.alignments]


def test_a_stretch_is_heard_in_times_of_the_recording(aligner, recording):
    listener = Listener(aligner, recording.audio, recording.words)
    true_bins = recording.times_ms / listener.segment_ms
    clip = 2  # starts within the recording
    first = sum(len(clip.words) for clip in recording.clips[:clip])
    words = range(first, first + len(recording.clips[clip].words))
    start, end = int(true_bins[words[0], 0]) - 2, int(true_bins[words[-1], 1]) + 2
    heard = listener.hear(start, end, words)
    assert start > 50
    assert heard.found.all()
    assert np.abs(heard.bins - true_bins[list(words)]).max() <= 3


def test_only_words_that_fit_in_the_decoder_are_asked_for(aligner, recording):
    listener = Listener(aligner, recording.audio, recording.words * 4)
    heard = listener.hear(0, listener.bins(PIECE_S), range(len(listener.words)))
    asked, room = len(heard.found), aligner.decoder_lengths[-1] - aligner.audio_tokens(12 * SAMPLE_RATE_HZ)
    tokens = aligner.word_tokens(listener.words).cumsum()
    assert 0 < asked < len(listener.words)
    assert tokens[asked - 1] <= room < tokens[asked] + 20


def findings(starts, ends, confidences):
    return judge_words(np.stack([starts, ends], axis=1), np.array(confidences))


def test_words_in_order_that_are_likely_are_found():
    starts = np.arange(0, 100, 10)
    heard = findings(starts, starts + 8, [0.99] * 10)
    assert heard.found.all()
    assert (heard.inside, heard.before_hole, heard.excess, heard.longest_hole) == (10, 10, 10, 0)
    assert heard.score == pytest.approx(10 * 0.99**4)


def test_a_word_out_of_order_or_unlikely_is_not_found():
    starts = np.array([0, 10, 90, 20, 30, 40, 50])
    heard = findings(starts, starts + 8, [0.99, 0.99, 0.99, 0.99, 0.3, 0.99, 0.99])
    assert heard.found.tolist() == [True, True, False, True, False, True, True]
    assert (heard.excess, heard.longest_hole) == (3, 1)
    assert heard.score == pytest.approx(5 * 0.99**4 - 2)


def test_what_counts_as_inside_ends_before_a_hole_or_after_it():
    """A hole of three ends the trusted words, yet what follows counts as inside if more is found than missing."""
    starts = np.arange(0, 200, 10)
    confidences = np.full(20, 0.9)
    confidences[6:10] = 0.1
    heard = findings(starts, starts + 8, confidences)
    assert (heard.before_hole, heard.longest_hole) == (6, 4)
    assert (heard.inside, heard.excess) == (20, 12)


def test_a_pile_of_surplus_words_is_not_inside():
    """Words that are not spoken may all get one time, with a high confidence."""
    starts = np.array([*range(0, 100, 10), *[55] * 30])
    ends = np.array([*range(8, 108, 10), *[55] * 30])
    heard = findings(starts, ends, np.full(40, 0.99))
    assert (heard.inside, heard.before_hole, heard.excess, heard.longest_hole) == (10, 10, 10, 30)


def test_words_are_sure_where_those_found_are_likely():
    starts = np.arange(0, 60, 10)
    assert findings(starts, starts + 8, [0.9] * 6).is_sure(6)
    assert not findings(starts, starts + 8, [0.6] * 6).is_sure(6)
    assert not findings(starts, starts + 8, [0.1] * 6).is_sure(6)


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_silences_are_where_it_is_quieter_than_around(noise):
    rng = np.random.default_rng(0)
    audio = rng.normal(0, noise, 6 * SAMPLE_RATE_HZ)
    for start_s, end_s in [(0.5, 2.0), (2.1, 3.0), (3.5, 6.0)]:  # the second pause is too short
        part = slice(round(start_s * SAMPLE_RATE_HZ), round(end_s * SAMPLE_RATE_HZ))
        audio[part] = rng.normal(0, 0.1, part.stop - part.start)
    silences_s = find_silences(audio.astype(np.float32), 0.2) / SAMPLE_RATE_HZ
    np.testing.assert_allclose(silences_s, [(0, 0.5), (3, 3.5)], atol=0.05)


def test_even_sound_and_none_at_all_have_no_silences():
    assert find_silences(np.zeros(100, np.float32), 0.2).shape == (0, 2)
    steady = np.random.default_rng(0).normal(0, 0.1, 3 * SAMPLE_RATE_HZ).astype(np.float32)
    assert find_silences(steady, 0.2).shape == (0, 2)
