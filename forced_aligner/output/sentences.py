"""Where the sentences of a transcript end: `sentencex` knows the abbreviations and quotes of the served languages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from forced_aligner.output.records import TimedWord, joined

# A straight or curly apostrophe is a quote unless letters stand on both of its sides.
_QUOTE = re.compile(
    "[\"\u201c\u201d\u201e\u00ab\u00bb\u2039\u203a\u300c\u300d\u300e\u300f]|\\b['\u2018\u2019]\\B|\\B['\u2018\u2019]"
)
_QUOTE_AT_END = re.compile(rf"(?:{_QUOTE.pattern})\W*$")
# What sentencex 1.0.32 does not know: two ends, `(It rained.) Then` and `perhaps… Then`, and some abbreviations.
_LATE_END = re.compile("[.?!\u3002\uff1f\uff01]\\W*[)\\]\uff09]\\W*|\u2026\\W*")
_ABBREVIATIONS = frozenset(("M.", "Mme.", "Mlle.", "Av.", "Rd.", "approx.", "p.", "pp.", "vol.", "Vol.", "vols."))


def sentence_ends(words: Sequence[TimedWord], code: str) -> list[bool]:
    """Whether a sentence ends with each word. An abbreviation ends none, and a closing quote belongs to its sentence.

    The text has single spaces and no other white space: sentencex 1.0.32 panics at some, such as U+2028.

    Args:
        words: in order.
        code: of their language; see `reading.language_code`.
    """
    text, starts = joined(words)
    ends = [False] * len(words)
    for index in _words_at_ends(text, starts, code):
        ends[index] = True
    # sentencex keeps a quotation whole. Its sentences are those of the text without quotes; but `"Why?" she asked` is
    # one sentence.
    for index in _words_at_ends(_QUOTE.sub(" ", text), starts, code):
        following = words[index + 1].one_line if index + 1 < len(words) else ""
        ends[index] |= not _QUOTE_AT_END.search(words[index].one_line) and not _QUOTE.fullmatch(following)
    for index, (word, after) in enumerate(pairwise(words)):
        if word.one_line.lstrip("([\"'\u201c\u2018\u00ab") in _ABBREVIATIONS:
            ends[index] = False
        late = re.search(r"\W*$", word.one_line)
        if late is not None and _LATE_END.fullmatch(late[0]) and _begins_with_capital(after.one_line):
            ends[index] = True
    return ends


def _words_at_ends(text: str, starts: list[int], code: str) -> Iterator[int]:
    """The last word of each sentence of `text`, whose words begin at `starts`."""
    import sentencex

    at = 0
    for boundary in sentencex.get_sentence_boundaries(code, text) if starts else []:
        end = boundary["start_index"] + len(boundary["text"].rstrip())
        while at + 1 < len(starts) and starts[at + 1] < end:
            at += 1
        yield at


def _begins_with_capital(text: str) -> bool:
    return next((letter for letter in text if letter.isalpha()), "").isupper()
