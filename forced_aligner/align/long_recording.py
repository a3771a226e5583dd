"""Recordings of any length, with transcripts that may be wrong: what is spoken gets times, the rest is named.

First `walk` finds which words are spoken, and `search` finds the place again where it is lost. Then `seams` looks at
the edges of unspoken words, `utterances` aligns what lies between two pauses by itself, and `sharing` moves words that
went to the wrong utterance.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.audio import SAMPLE_RATE_HZ
from forced_aligner.align.chain import Aligner, Alignment
from forced_aligner.align.confidence import bins_of
from forced_aligner.align.findings import HOLE, judge_words
from forced_aligner.align.listening import Listener
from forced_aligner.align.positions import choose_length
from forced_aligner.align.seams import mend_seams
from forced_aligner.align.search import Search
from forced_aligner.align.sharing import Sharing
from forced_aligner.align.silences import SILENCE_S, find_silences, seconds_before
from forced_aligner.align.utterances import Utterance, find_utterances, place_words, spoken_words
from forced_aligner.align.walk import LEAST_PER_S, SURPLUS, Progress, Walk
from forced_aligner.align.words import split_words
from forced_aligner.base.errors import UserError
from forced_aligner.data.records import WordTime

LONGEST_PIECE_S = 240.0  # with longer ones the last words of others collapsed onto one time (soniqo/speech-swift 237)
SHORTEST_PIECE_S = 4.0  # however many words a second the transcript has
UNTRANSCRIBED_S = 2.0  # sound without words that is named


def align_recording(
    aligner: Aligner,
    samples: NDArray[np.float32],
    transcript: str,
    language: str | None = None,
    piece_s: float | None = None,
    progress: Progress | None = None,
) -> Alignment:
    """Align `transcript` with (samples,) of 16 kHz mono audio of any length.

    A recording of at most `piece_s` that fits in a converted decoder is aligned in one piece, as by `Aligner.align`, if
    all its words are found so.

    Args:
        aligner: the model.
        samples: the audio.
        transcript: what is said in it.
        language: name or code.
        piece_s: longest piece; by default, the longest clip that the model was trained on, and at most 240 s.
        progress: is called with a line after each piece.

    Raises:
        UserError: the transcript has no words, or none of a long recording is found, or the language is not served.
    """
    words = split_words(transcript, language)
    metadata = aligner.metadata
    longest_s = min(piece_s or metadata.longest_clip_s or LONGEST_PIECE_S, metadata.head_end_s)
    whole: Alignment | None = None
    if aligner.fits(samples.size, words) and samples.size <= longest_s * SAMPLE_RATE_HZ:
        whole = aligner.align_words(samples, words)
        if _is_found(whole, metadata.timestamp_segment_ms):
            return _with_untranscribed(whole, find_silences(samples, SILENCE_S))
    listener = Listener(aligner, samples, words)
    walk = Walk(listener, listener.bins(_piece_s(listener, longest_s)))
    walk.run(Search(listener), progress or (lambda line: None))
    if not walk.found.any():
        if whole is not None:
            return whole
        raise UserError(f"none of the {len(words)} words is found in the audio; does the transcript belong to it?")
    mend_seams(walk)
    longest_s = listener.seconds(walk.piece_length)
    utterances = find_utterances(listener, longest_s)
    place_words(walk, utterances, spoken_words(walk), longest_s)
    return _alignment(walk, Sharing(listener, utterances, longest_s).run())


def _is_found(alignment: Alignment, segment_ms: float) -> bool:
    """Whether the words of one piece are found, all but a few that stand alone."""
    findings = judge_words(bins_of(alignment.words, segment_ms), np.array(alignment.confidences))
    return bool(findings.found.any()) and findings.longest_hole < HOLE


def _piece_s(listener: Listener, longest_s: float) -> float:
    """A piece's length: its audio and the words asked for fit in the longest decoder.

    Raises:
        UserError: not even the longest word fits with the shortest piece.
    """
    aligner = listener.aligner
    duration_s = listener.samples.size / SAMPLE_RATE_HZ
    tokens = aligner.word_tokens(list(listener.words))
    per_s = max(SURPLUS * tokens.sum() / duration_s, LEAST_PER_S * float(tokens.mean()))
    audio_per_s = aligner.audio_tokens(SAMPLE_RATE_HZ * 100) / 100
    piece_s = min(longest_s, max(max(aligner.decoder_lengths) / (audio_per_s + per_s), SHORTEST_PIECE_S))
    choose_length(aligner.audio_tokens(round(piece_s * SAMPLE_RATE_HZ)) + int(tokens.max()), aligner.decoder_lengths)
    return piece_s


def _with_untranscribed(alignment: Alignment, silences: NDArray[np.int64]) -> Alignment:
    """The same with the stretches between its words that have enough sound in them."""
    found = [word for index, word in enumerate(alignment.words) if index not in alignment.not_found]
    edges_s = [0.0, *(time / 1000 for word in found for time in (word.start_time_ms, word.end_time_ms))]
    edges_s.append(alignment.duration_s)
    gaps_s = np.array(edges_s).reshape(-1, 2)
    sound_s = np.diff(gaps_s - seconds_before(silences / SAMPLE_RATE_HZ, gaps_s), axis=1)[:, 0]
    stretches = [(start_s, end_s) for start_s, end_s in gaps_s[sound_s >= UNTRANSCRIBED_S].tolist()]
    return replace(alignment, untranscribed_s=stretches)


def _alignment(walk: Walk, utterances: list[Utterance]) -> Alignment:
    """The result: in order, and words that were not found at the time where they would stand."""
    listener = walk.listener
    milliseconds = np.full((walk.count, 2), np.nan)
    confidences = np.zeros(walk.count)
    for utterance in utterances:
        milliseconds[utterance.words], confidences[utterance.words] = utterance.milliseconds, utterance.confidences
    is_found = ~np.isnan(milliseconds[:, 0])
    flat = np.concatenate([[0.0], milliseconds.reshape(-1)])
    milliseconds = np.fmax.accumulate(flat)[1:].reshape(-1, 2)  # fmax passes over NaN
    words = [
        WordTime(text=text, start_time_ms=round(start_ms), end_time_ms=round(end_ms))
        for text, (start_ms, end_ms) in zip(listener.words, milliseconds, strict=True)
    ]
    result = Alignment(
        words,
        [float(confidence) for confidence in confidences],
        listener.samples.size / SAMPLE_RATE_HZ,
        listener.clock.laps,
        not_found=frozenset(np.flatnonzero(~is_found).tolist()),
    )
    return _with_untranscribed(result, listener.silences)
