"""Recordings of any length: cut at pauses, aligned piece by piece, each word in one piece.

The model gets more words than are spoken in a piece of audio. `cuts` finds the words that surely lie inside. The piece
is cut in a gap between two of them, and the next piece starts there, with the next word. A cut is accepted if the next
piece gives its first words the same times as this one; otherwise another cut is tried.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.audio import SAMPLE_RATE_HZ
from forced_aligner.align.chain import Aligner, Alignment
from forced_aligner.align.clock import Clock
from forced_aligner.align.confidence import bins_of, word_confidences
from forced_aligner.align.cuts import Findings, all_found, judge_words, possible_cuts, shared_words
from forced_aligner.align.positions import choose_length
from forced_aligner.align.prompt import split_words
from forced_aligner.base.errors import UserError
from forced_aligner.data.records import WordTime

# How these were chosen was not recorded; benchmarks/long_recording.py measures what they give.
SURPLUS = 2.0  # words given to a piece, relative to the average of the remaining recording in the same time
LEAST_PER_S = 2.0  # least words per second given to a piece, if enough are left
MARGIN_S = 1.0  # not trusted at a piece's end, where a word may be cut off: one convolution chunk
TOLERANCE_S = 0.16  # largest difference between two pieces' times of a word: two time bins
SHOWN_WORDS = 5  # words of the transcript that an error shows
MIN_PIECE_S = 4.0  # shortest piece, however many words a second the transcript has
SHORTEST_S = 8.0  # shortest half of a piece without a good cut: one window of the audio transformer
MAX_TRIES = 3  # most cuts that are tried in one piece
STEPS = 4  # where no word is heard, as in music, skip 1 / STEPS of a piece; half of one may jump into speech
Progress = Callable[[str], None]


def align_recording(
    aligner: Aligner,
    samples: NDArray[np.float32],
    transcript: str,
    language: str | None = None,
    piece_s: float | None = None,
    progress: Progress | None = None,
) -> Alignment:
    """Align `transcript` with (samples,) of 16 kHz mono audio of any length.

    A recording of at most `piece_s` that fits in a converted decoder is aligned in one piece, as by `Aligner.align`.

    Args:
        aligner: the model.
        samples: the audio.
        transcript: what is said in it.
        language: name or code.
        piece_s: longest piece; by default, the longest clip that the model was trained on.
        progress: is called with a line after each piece.

    Raises:
        UserError: the transcript has no words or cannot be followed through the audio, or the language is not served.
    """
    words = split_words(aligner.processor, transcript, language)
    metadata = aligner.metadata
    longest_s = min(piece_s or metadata.longest_clip_s or metadata.head_end_s, metadata.head_end_s)
    if aligner.fits(samples.size, words) and samples.size <= longest_s * SAMPLE_RATE_HZ:
        return aligner.align_words(samples, words)
    return _Recording(aligner, samples, words, longest_s, progress or (lambda line: None)).align()


@dataclass(frozen=True)
class _Piece:
    """A piece that went through the model.

    Attributes:
        start: the time bin of the recording at which it starts.
        first: the index of its first word.
        logits: (1, 2 * words given, classes).
        findings: what the head says of them.
        anchored: whether the piece before agrees on the times of its first words.
    """

    start: int
    first: int
    logits: NDArray[np.float32]
    findings: Findings
    anchored: bool = False

    @property
    def is_heard(self) -> bool:
        """Whether its words are spoken in it: there is enough evidence in it, or the piece before agrees."""
        return self.anchored or self.findings.has_evidence

    @property
    def given(self) -> int:
        """How many words it was given."""
        return len(self.findings.bins)

    @property
    def end(self) -> int:
        """The time bin after its last one."""
        return self.start + self.findings.length


class _Recording:
    """One recording on its way through the model. Times are in bins of the head, 80 ms, from its start."""

    def __init__(
        self, aligner: Aligner, samples: NDArray[np.float32], words: list[str], longest_s: float, progress: Progress
    ) -> None:
        self.aligner, self.samples, self.words, self.progress = aligner, samples, words, progress
        self.segment_ms = aligner.metadata.timestamp_segment_ms
        self.tokens = aligner.word_tokens(words)
        self.clock = Clock()
        self.bin_samples = round(self.segment_ms * SAMPLE_RATE_HZ / 1000)
        self.length = -(-samples.size // self.bin_samples)
        self.margin = self._bins(MARGIN_S)
        self.piece_length = self._bins(self._piece_s(longest_s))
        piece_tokens = aligner.audio_tokens(self.piece_length * self.bin_samples)
        choose_length(piece_tokens + int(self.tokens.max()), aligner.decoder_lengths)
        self.times: list[WordTime] = []
        self.confidences: list[float] = []
        self.cuts: list[int] = []
        self.warnings: list[str] = []
        self.first_unmatched_piece: _Piece | None = (
            None  # the first of the latest pieces, none of whose words was found
        )

    def _bins(self, seconds: float) -> int:
        return int(seconds * 1000 / self.segment_ms)

    def _seconds(self, bins: int) -> float:
        return bins * self.segment_ms / 1000

    def _piece_s(self, longest_s: float) -> float:
        """A piece's length: its audio and `SURPLUS` times the usual words fit in the longest decoder."""
        duration_s = self.samples.size / SAMPLE_RATE_HZ
        audio_per_s = self.aligner.audio_tokens(SAMPLE_RATE_HZ * 100) / 100
        fitting_s = max(self.aligner.decoder_lengths) / (audio_per_s + SURPLUS * self.tokens.sum() / duration_s)
        return min(longest_s, max(fitting_s, MIN_PIECE_S))

    def align(self) -> Alignment:
        """Read piece after piece, until each word is kept once."""
        piece: _Piece | None = self._read(0, 0)
        while piece is not None:
            piece = self._advance(piece)
            at_s = self._seconds(piece.start if piece else self.length)
            self.progress(f"{at_s:.0f} of {self._seconds(self.length):.0f} s, {len(self.times)} words")
        duration_s = self.samples.size / SAMPLE_RATE_HZ
        cuts_s = [self._seconds(cut) for cut in self.cuts]
        return Alignment(self.times, self.confidences, duration_s, self.clock.laps, cuts_s, self.warnings)

    def _read(self, start: int, first: int, *, length: int | None = None, all_left: bool = False) -> _Piece:
        """Run the model on the piece from `start`, with more words from `first` on than it has, or all that fit."""
        length = min(length or self.piece_length, self.length - start)
        samples = self.samples[start * self.bin_samples : (start + length) * self.bin_samples]
        room = max(self.aligner.decoder_lengths) - self.aligner.audio_tokens(samples.size)
        fitting = int(np.searchsorted(self.tokens[first:].cumsum(), room, side="right"))
        left = len(self.words) - first
        usual = max(SURPLUS * left / (self.length - start), LEAST_PER_S * self.segment_ms / 1000) * length
        given = min(left, fitting, left if all_left or start + length == self.length else math.ceil(usual))
        logits = self.aligner.timestamp_logits(samples, self.words[first : first + given], self.clock)
        bins = logits[0].argmax(-1).reshape(-1, 2)
        sure = np.array(word_confidences(logits, bins))
        self.clock.lap("head")
        return _Piece(start, first, logits, judge_words(bins, sure, length))

    def _advance(self, piece: _Piece) -> _Piece | None:
        """Keep the sure words of a piece and read the next piece; None once all words are kept."""
        has_all, is_last = piece.first + piece.given == len(self.words), piece.end == self.length
        heard_most = piece.findings.inside > piece.given / 2
        all_inside = piece.is_heard and all_found(piece.findings, self.margin)
        if has_all and (all_inside or (is_last and heard_most)):
            self._finish(piece)
            return None
        if (following := self._cut(piece)) is not None:
            return following
        self.first_unmatched_piece = self.first_unmatched_piece or piece
        if not is_last:
            return self._read(piece.start + piece.findings.length // STEPS, piece.first)
        if has_all:
            self._finish(piece)
            return None
        raise self._lost(self.first_unmatched_piece)

    def _cut(self, piece: _Piece) -> _Piece | None:
        """Cut where the next piece agrees: in this piece, else in one of half its length, and so on down to 8 s.

        If no next piece agrees, but the piece before did, take the best cut and warn. None where there is no cut.
        """
        tried: list[tuple[_Piece, _Piece]] = []
        while True:
            found = possible_cuts(piece.findings, self.margin) if piece.is_heard else []
            for cut in found[:MAX_TRIES]:
                following = self._read(piece.start + cut.at, piece.first + cut.words, length=piece.findings.length)
                shared = shared_words(piece.findings, cut, following.findings, self._bins(TOLERANCE_S))
                if shared is not None:
                    return self._keep_before(piece, replace(following, anchored=shared > 0))
                tried.append((piece, following))
            half = piece.findings.length // 2
            if half < self._bins(SHORTEST_S):
                break
            piece = replace(self._read(piece.start, piece.first, length=half), anchored=piece.anchored)
        if not tried or not piece.anchored:
            return None
        piece, following = tried[0]
        self.warnings.append(f"the pieces around the cut at {self._seconds(following.start):.1f} s do not agree")
        return self._keep_before(piece, following)

    def _keep_before(self, piece: _Piece, following: _Piece) -> _Piece:
        """Keep the words of a piece before the following one."""
        self._keep(piece, following.first - piece.first, following.start)
        self.cuts.append(following.start)
        self.first_unmatched_piece = None
        return following

    def _finish(self, piece: _Piece) -> None:
        """Keep all remaining words; if they were not heard for some time, where the model is the surest of them."""
        candidates = [piece]
        if self.first_unmatched_piece is not None:
            earlier = self._read(self.first_unmatched_piece.start, piece.first, all_left=True)
            candidates += [earlier] if earlier.given == piece.given else []
        chosen = max(candidates, key=lambda read: float(read.findings.confidences.mean()))
        if chosen.findings.inside == 0:
            self.warnings.append(f"the last {chosen.given} words were not found; their times mean nothing")
        self._keep(chosen, chosen.given, chosen.end)

    def _keep(self, piece: _Piece, count: int, end: int) -> None:
        """Keep the first `count` words of a piece: the monotonic repair sees no others, and none ends after `end`."""
        logits = piece.logits[:, : 2 * count]
        offset_ms, end_ms = piece.start * self.segment_ms, end * self.segment_ms
        times = self.aligner.word_times(logits, self.words[piece.first : piece.first + count])
        self.confidences += word_confidences(logits, bins_of(times, self.segment_ms))
        self.times += [
            WordTime(
                text=word.text,
                start_time_ms=min(word.start_time_ms + offset_ms, end_ms),
                end_time_ms=min(word.end_time_ms + offset_ms, end_ms),
            )
            for word in times
        ]

    def _lost(self, piece: _Piece) -> UserError:
        text = " ".join(self.words[piece.first : piece.first + SHOWN_WORDS])
        return UserError(
            f"the transcript was lost at {self._seconds(piece.start):.1f} s: from word {piece.first + 1} of "
            f"{len(self.words)} on ({text} ...) it is not found in the rest of the audio, and it is too long for what "
            f"is left at the end; does it belong to the recording, and is nothing missing there?"
        )
