"""Word times that are hard to believe, such as a word that lasts 298.8 s (Montreal Forced Aligner, issue 966)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from forced_aligner.base.text import spoken_letters
from forced_aligner.data.records import WordTime
from forced_aligner.output.records import Doubt

# The 3,141 words of six synthetic recordings of 300 s (`demo.recordings.long_recording(300, seed)`, seeds 1 to 6) last
# at most 1.37 s, and 99.9 % of them at most 0.20 s a letter. Whisper takes a word of more than 2 s for an anomaly
# (`word_anomaly_score` in openai/whisper, whisper/transcribe.py), and stable-ts aligns one of more than 3 s again
# (`max_word_dur` in jianfch/stable-ts, stable_whisper/alignment.py).
LONGEST_WORD_MS = 2000.0
LONGEST_LETTER_MS = 250.0  # for words of more than eight letters
WORDS_AT_ONE_TIME = 4  # so many in a row without a length are doubtful; single ones are usual for this model


def doubts(words: Sequence[WordTime]) -> list[Doubt | None]:
    """Why the times of each word are hard to believe; None where they are not.

    Args:
        words: those that were found, in order.
    """
    found: list[Doubt | None] = []
    for (start_ms, end_ms), run in groupby(words, lambda word: (word.start_time_ms, word.end_time_ms)):
        same = list(run)
        if start_ms == end_ms and len(same) >= WORDS_AT_ONE_TIME:
            found += ["no-length"] * len(same)
        else:
            found += ["long" if end_ms - start_ms > _longest_ms(word.text) else None for word in same]
    return found


def _longest_ms(word: str) -> float:
    return max(LONGEST_WORD_MS, spoken_letters(word) * LONGEST_LETTER_MS)
