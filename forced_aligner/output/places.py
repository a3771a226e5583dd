"""Where a text is best broken, and how to break it at the best places."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import pairwise

from forced_aligner.output.cues import Span

# Costs of a break. Only their order matters much.
AFTER_SENTENCE, AFTER_CLAUSE, BEFORE_JOINING, ELSEWHERE, AFTER_JOINING, AFTER_ABBREVIATION = (
    0.0,
    1.0,
    2.0,
    3.0,
    6.0,
    8.0,
)

_CLAUSE_END = re.compile("[,;:\u2013\u2014\u2026\u3001\uff0c\uff1b\uff1a?!\u3002\uff1f\uff01)\uff09][^\\w]*$")
_LETTERS = re.compile(r"\w+(?:['\u2019-]\w+)*")
# The most frequent articles, prepositions and conjunctions of the languages with spaces: they go with what follows.
_JOINING = {
    "en": (
        "a an the and but or nor so than that because if when where who which as at by for from in into "
        "of on onto over to under until with without about after before behind between my your his her its our"
    ),
    "fr": (
        "au aux avec ce ces cette chez comme dans de des du en et la le les leur mais ou où par pour quand que "
        "qui sans si sous sur un une"
    ),
    "de": (
        "aber als am an auf aus bei bis das dass dem den der des die ein eine einem einen einer für im in mit "
        "nach oder ohne über um und unter vom von vor weil wenn wie zu zum zur"
    ),
    "it": (
        "al alla che come con da dal dalla dei del della delle di e ed gli i il la le lo ma nel nella o per "
        "perché quando se su un una uno"
    ),
    "es": (
        "a al ante como con cuando de del desde e el en entre hasta la las los ni o para pero por porque que "
        "si sin sobre un una y"
    ),
    "pt": (
        "a ao aos às as com como da das de do dos e em mas na nas no nos num numa o onde os ou para pela pelo "
        "por porque quando que se sem um uma"
    ),
    "ru": (
        "а без в во где для до если за и из или к ко когда на над не но о об от по под при с со у через что "  # noqa: RUF001
        "чтобы"
    ),
}
JOINING = {code: frozenset(text.split()) for code, text in _JOINING.items()}


def break_cost(word: Span, following: Span, code: str) -> float:
    """The cost of a break between two words of the language `code`."""
    if word.ends_sentence:
        return AFTER_SENTENCE
    if _CLAUSE_END.search(word.text):
        return AFTER_CLAUSE
    if word.text.endswith("."):
        return AFTER_ABBREVIATION
    if _is_joining(word, code):
        return AFTER_JOINING
    return BEFORE_JOINING if _is_joining(following, code) else ELSEWHERE


def _is_joining(word: Span, code: str) -> bool:
    letters = _LETTERS.findall(word.text)
    return len(letters) == 1 and letters[0].casefold() in JOINING.get(code, ())


def best_split(words: list[Span], pieces: Callable[[int], Iterable[tuple[int, float]]]) -> list[list[Span]]:
    """The words in the pieces that together cost least.

    Args:
        words: in order.
        pieces: gives, for the index of a piece's first word, the index after its last word and the cost of each
            piece that may begin there; one at least.
    """
    least = [0.0] + [float("inf")] * len(words)
    begins = [0] * (len(words) + 1)
    for begin in range(len(words)):
        for end, cost in pieces(begin):
            if least[begin] + cost < least[end]:
                least[end], begins[end] = least[begin] + cost, begin
    cuts = [len(words)]
    while cuts[-1]:
        cuts.append(begins[cuts[-1]])
    return [words[begin:end] for begin, end in pairwise(reversed(cuts))]
