"""Finds the true word times of a recording and matches them with the aligner's words."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from forced_aligner.base.console import log_always
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import is_folder, is_there
from forced_aligner.data.records import Clip, WordTime
from forced_aligner.data.time_files import READERS, spoken_words


def true_times(clip: Clip, words: list[str]) -> list[WordTime] | None:
    """True times of the aligner's `words` of a clip: from the data set, or else from a file beside the audio.

    If the file cannot be used, a line on stderr says why, and the clip has no true times.

    Returns:
        The time of each of `words`, or None.
    """
    audio = Path(clip.audio)
    try:
        true_words = _read_beside(audio) if clip.alignments is None else clip.alignments
        return match_words(true_words, words) if true_words is not None else None
    except UserError as error:
        log_always(f"no true times for {audio.name}: {error}")
        return None


def _read_beside(audio: Path) -> list[WordTime] | None:
    """The words of the first file of word times that is found beside the audio."""
    for suffix, reader in READERS.items():
        path = audio.with_suffix(suffix)
        if is_there(path) and not is_folder(path):
            return spoken_words(path, reader(path))
    return None


def match_words(true_words: list[WordTime], words: list[str]) -> list[WordTime]:
    """The times of `words`, matched by letters: case, accents, punctuation and word boundaries may differ.

    Args:
        true_words: words with their true times.
        words: the aligner's words of the same recording; one may span several of `true_words`.

    Raises:
        UserError: the letters differ, or a word begins or ends inside a true word, where no time is known.
    """
    true_letters = [_letters(word.text) for word in true_words]
    word_letters = [_letters(word) for word in words]
    _check_same_letters("".join(true_letters), "".join(word_letters))
    starts, ends, offset = {}, {}, 0  # times by the offset in the joined letters
    for true_word, letters in zip(true_words, true_letters, strict=True):
        if letters:
            starts[offset] = true_word.start_time_ms
            offset += len(letters)
            ends[offset] = true_word.end_time_ms
    matched, end = [], 0
    for word, letters in zip(words, word_letters, strict=True):
        begin, end = end, end + len(letters)
        if begin not in starts or end not in ends or not letters:
            raise UserError(f"no true time for both ends of the aligner's word {word!r}")
        matched.append(WordTime(text=word, start_time_ms=starts[begin], end_time_ms=ends[end]))
    return matched


def _check_same_letters(true_letters: str, letters: str) -> None:
    if true_letters != letters:
        differences = (index for index, (a, b) in enumerate(zip(true_letters, letters, strict=False)) if a != b)
        index = next(differences, min(len(true_letters), len(letters)))
        raise UserError(
            f"its words are not the transcript's: after {letters[:index][-12:]!r} the true times go on with "
            f"{true_letters[index : index + 12]!r}, the transcript with {letters[index : index + 12]!r}"
        )


def _letters(text: str) -> str:
    """The letters and digits of `text`, without case, accents and width."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(letter for letter in plain if unicodedata.category(letter)[0] in "LN")
