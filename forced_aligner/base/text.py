"""Text of others, such as names of files and transcripts: what of it may be printed, and what may go into a file."""

from __future__ import annotations

import re

# C0 and C1 control characters, which a terminal obeys; line and paragraph separators and the marks that turn the
# direction of text, which let one name look like another; lone surrogates, which cannot be written.
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")  # without those that str.split takes for white space
LETTERS_OF_A_DIGIT = 2


def visible(text: str) -> str:
    """One line of `text` as a terminal may show it: what a terminal would obey becomes an escape such as `\\x1b`."""
    return _OBEYED.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def without_controls(text: str) -> str:
    """A transcript without control characters; white space of any kind stays, so that its words stay the same."""
    return _CONTROLS.sub("", text)


def spoken_letters(word: str) -> int:
    """How many letters a word has when it is said; a digit is read as a word of its own, and counts as two."""
    return len(word) + (LETTERS_OF_A_DIGIT - 1) * sum(letter.isdigit() for letter in word)
