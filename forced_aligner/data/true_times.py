"""True word times of a recording, matched with the aligner's words."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from forced_aligner.base.console import log
from forced_aligner.base.errors import UserError
from forced_aligner.data.records import Clip, WordTime
from forced_aligner.data.time_files import READERS, spoken_words


def true_times(clip: Clip, words: list[str]) -> list[WordTime] | None:
    """True times of the aligner's `words` of a clip: the data set's own, or those of a file beside the audio.

    A file that cannot be used is said on stderr, and the clip has no true times.

    Returns:
        One for each of `words`, or None.
    """
    audio = Path(clip.audio)
    try:
        truth = _read_beside(audio) if clip.alignments is None else clip.alignments
        return match_words(truth, words) if truth is not None else None
    except UserError as error:
        log(f"no true times for {audio.name}: {error}")
        return None


def _read_beside(audio: Path) -> list[WordTime] | None:
    for suffix, reader in READERS.items():
        path = audio.with_suffix(suffix)
        if path.is_file():
            return spoken_words(path, reader(path))
    return None


def match_words(truth: list[WordTime], words: list[str]) -> list[WordTime]:
    """The times of `words`, by their letters: case, accents, punctuation and where words are cut may differ.

    Args:
        truth: words with their true times.
        words: the aligner's words of the same recording; one may be several of `truth`.

    Raises:
        UserError: other letters, or a word that begins or ends inside a word of `truth`, where no time is known.
    """
    spelled = [_letters(word.text) for word in truth]
    wanted = [_letters(word) for word in words]
    _check_same_letters("".join(spelled), "".join(wanted))
    starts, ends, place = {}, {}, 0
    for known, letters in zip(truth, spelled, strict=True):
        if letters:
            starts[place] = known.start_time_ms
            place += len(letters)
            ends[place] = known.end_time_ms
    matched, place = [], 0
    for word, letters in zip(words, wanted, strict=True):
        begin, place = place, place + len(letters)
        if begin not in starts or place not in ends or not letters:
            raise UserError(f"no true time for both ends of the aligner's word {word!r}")
        matched.append(WordTime(text=word, start_time_ms=starts[begin], end_time_ms=ends[place]))
    return matched


def _check_same_letters(true: str, wanted: str) -> None:
    if true != wanted:
        differ = (place for place, (a, b) in enumerate(zip(true, wanted, strict=False)) if a != b)
        place = next(differ, min(len(true), len(wanted)))
        raise UserError(
            f"its words are not the transcript's: after {wanted[:place][-12:]!r} the true times go on with "
            f"{true[place : place + 12]!r}, the transcript with {wanted[place : place + 12]!r}"
        )


def _letters(text: str) -> str:
    """Letters and digits, without case, accents and width."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(letter for letter in plain if unicodedata.category(letter)[0] in "LN")
