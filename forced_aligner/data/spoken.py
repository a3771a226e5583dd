"""The spoken part of a transcript, as the aligner gets it, and what stands around it."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from forced_aligner.data.marks import Mark, find_marks

# Part two words though no space does: em dash, horizontal bar, en dash, two hyphens, ellipsis, three full stops.
_DASHES = re.compile(r"[\u2013-\u2015]+|-{2,}|\u2026+|\.{3,}")
_APOSTROPHE = re.compile(r"(?<=[^\W\d_])\u2019(?=[^\W\d_])")
_LETTER = re.compile(r"[^\W_]")


@dataclass(frozen=True)
class SpokenText:
    """What the aligner gets of a transcript.

    Attributes:
        text: the transcript, of the same length, so that a place in one is the same place in the other. What is not
            spoken is replaced by spaces.
        marks: what is not spoken, in order.
    """

    text: str
    marks: tuple[Mark, ...] = ()


def spoken_text(transcript: str, *, keep_brackets: bool = False) -> SpokenText:
    """The spoken part of `transcript`; with `keep_brackets`, all of it is spoken.

    The checkpoint's processor drops all but letters, digits and straight apostrophes, and parts words at white space
    alone. It would make one word of `replied—“well,”`, and `were` of `we're` with a curly apostrophe. Dashes therefore
    become spaces, and curly apostrophes between letters straight ones, as people read them. (The Montreal Forced
    Aligner takes both apostrophes for one: `DEFAULT_CLITIC_MARKERS`.) Beside characters of Chinese and Japanese, dashes
    stay, since their words are found in other ways. Nothing else is changed.
    """
    marks = () if keep_brackets else find_marks(transcript)
    characters = list(_APOSTROPHE.sub("'", transcript))
    for mark in marks:
        characters[mark.start : mark.end] = " " * (mark.end - mark.start)
    return SpokenText(_DASHES.sub(_space, "".join(characters)), marks)


def has_words(text: str) -> bool:
    """Whether a text has a letter or a digit."""
    return _LETTER.search(text) is not None


def _space(match: re.Match[str]) -> str:
    around = match.string[max(match.start() - 1, 0) : match.start()] + match.string[match.end() : match.end() + 1]
    is_wide = any(unicodedata.east_asian_width(character) in "WF" for character in around)
    return match[0] if is_wide else " " * len(match[0])
