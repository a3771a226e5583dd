"""What stands in a transcript and is not spoken: speaker labels, stage directions, headings and line numbers.

The rules are conservative, since a wrong one loses words that are spoken. docs/aligning.md states them for users.
Others decide alike. The Montreal Forced Aligner has words in square, curly, angle or round brackets as words of
their own kind (`DEFAULT_BRACKETS` of montreal_forced_aligner/dictionary/mixins.py). CHAT begins an utterance with a
speaker's capitals and a colon (talkbank.github.io/chatter/chat-format). Round brackets also hold speech, as in
`The agency (NASA)`, so they count only if their words name a sound.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

MarkKind = Literal["label", "direction", "heading", "number"]

MAX_DIRECTION_CHARS = 80
MAX_LABEL_CHARS = 40
LEAST_NUMBERED_LINES = 3  # fewer could be a sentence that begins with a year

# Spoken by nobody: what captions and transcripts name in round brackets.
SOUNDS = frozenset(
    re.findall(
        r"\w+",
        """applause applauds applauding cheers cheering chuckle chuckles chuckling clapping claps clears coughing coughs
    cough crosstalk crying cries gasps gasping giggles giggling groans groaning inaudible indistinct laugh laughs
    laughing laughter music pause pauses screams screaming sighs sighing silence sniffs sniffles sobs sobbing
    unintelligible whistling yawns
    lacht lachen gelächter beifall applaus musik pause rires applaudissements musique risas ríe aplausos
    música silencio risate applausi musica risos palmas смех смеётся аплодисменты музыка
    笑 笑声 笑聲 掌声 掌聲 音乐 音樂 拍手 音楽 웃음 웃음소리 박수 음악""",
    )
)
# May stand beside a sound: `(loud applause)`, `(clears throat)`.
_BESIDE_SOUNDS = frozenset(
    ("all", "and", "audience", "both", "crowd", "loud", "loudly", "nervous", "soft", "softly", "throat", "upbeat")
)

_LINE = re.compile(r"[^\r\n\v\f\x85\u2028\u2029]+")
# Not joined to a letter on either side, as in `[H]e` and `walk[ed]`, and without a space inside the brackets, as in
# `a < b and c > d`.
_PAIRS = (("[", "]"), ("{", "}"), ("<", ">"), ("\uff3b", "\uff3d"), ("\u3010", "\u3011"))  # the last two: full-width
_INSIDE = "|".join(
    rf"\{a}(?!\s)[^\{a}\{b}\r\n]{{1,{MAX_DIRECTION_CHARS}}}(?<!\s)\{b}" for a, b in _PAIRS
)  # of one line
_DIRECTION = re.compile(rf"(?<!\w)(?:{_INSIDE})(?!\w)")
_ROUND = re.compile(rf"[(\uff08]([^()\uff08\uff09\r\n]{{1,{MAX_DIRECTION_CHARS}}})[)\uff09]")
_TIME_CODE = re.compile(r"(?:\d{1,2}:)?\d{1,2}:\d{2}(?:[.,]\d{1,3})?")
_LEADING_TIME = re.compile(r"\s*(?:\d{1,2}:\d{2}:\d{2}(?:[.,]\d{1,3})?)(?=\s|$)")
# Before a name: what begins quotes, lists, captions (`>> ANNA:`), CHAT (`*CHI:`) and Markdown (`**Anna:**`).
_LABEL = re.compile(
    r"(?P<before>[\s>*\u2022\u2013\u2014-]*)"
    rf"(?P<name>[^\W_][^:\uff1a\r\n\[\](){{}}<>]{{0,{MAX_LABEL_CHARS - 1}}}?)\s*[:\uff1a]\**(?=\s|$)"
)
_BEFORE_COLON = re.compile(r"[\[(][^\[\]()]*[\])](?=\s*[:\uff1a])")  # as in `ANNA (quietly):`
_NAME_WORD = re.compile(r"(?:[^\W\d_]\.|#?\d+|[^\W\d_][\w'\u2019&/-]*\.?)")
MAX_NAME_WORDS = 3
# Often read aloud, as in `CHAPTER 1: The Fall`.
_NO_NAMES = frozenset(("act", "book", "chapter", "note", "part", "question", "scene", "section", "step", "warning"))
_GENERIC_NAME = re.compile(r"speaker [\da-z]{1,3}", re.IGNORECASE)
_HEADING = re.compile(r"\s{0,3}#{1,6}\s+\S.*")
_UNDERLINE = re.compile(r"\s*={3,}\s*")
_NUMBERED = re.compile(r"\s*(?P<number>\d{1,6})[.):]?(?:\s+|$)")


@dataclass(frozen=True)
class Mark:
    """A stretch of a transcript, `[start, end)` in characters, that is not spoken."""

    start: int
    end: int
    kind: MarkKind


@dataclass(frozen=True)
class _Line:
    start: int
    text: str


def find_marks(text: str) -> tuple[Mark, ...]:
    """The marks of a transcript in order; they do not overlap."""
    lines = [_Line(match.start(), match[0]) for match in _LINE.finditer(text) if match[0].strip()]
    found = [*_line_numbers(lines), *_headings(lines), *_directions(text)]
    begun = _begin_of_text(lines, found)
    found += _labels(lines, begun, text)
    kept: list[Mark] = []
    for mark in sorted(found, key=lambda mark: (mark.start, -mark.end)):
        if not kept or mark.start >= kept[-1].end:
            kept.append(mark)
    return tuple(kept)


def _line_numbers(lines: list[_Line]) -> list[Mark]:
    """Numbers at the starts of lines, if every line has one and they count up, or begin at 1 again on a new page.

    Time codes of hours, minutes and seconds at the start of a line are numbers too, wherever they are.
    """
    numbered = [_NUMBERED.match(line.text) for line in lines]
    numbers = [int(match["number"]) for match in numbered if match]
    counts_up = all(after in (before + 1, 1) for before, after in pairwise(numbers))
    if len(numbers) == len(lines) >= LEAST_NUMBERED_LINES and counts_up:
        return [
            Mark(line.start + match.start("number"), line.start + len(match[0].rstrip()), "number")
            for line, match in zip(lines, numbered, strict=True)
            if match
        ]
    return [_mark(line, match, "number") for line in lines if (match := _LEADING_TIME.match(line.text))]


def _headings(lines: list[_Line]) -> list[Mark]:
    """Markdown's: `# Title`, and a line above one of `===`."""
    found = [_mark(line, match, "heading") for line in lines if (match := _HEADING.fullmatch(line.text))]
    for above, line in zip([None, *lines], lines, strict=False):
        if above is not None and _UNDERLINE.fullmatch(line.text):
            found.append(Mark(above.start, line.start + len(line.text), "heading"))
    return found


def _directions(text: str) -> list[Mark]:
    found = [Mark(match.start(), match.end(), "direction") for match in _DIRECTION.finditer(text)]
    for match in _ROUND.finditer(text):
        words = re.findall(r"\w+", match[1].casefold())
        is_sound = any(word in SOUNDS for word in words) and all(word in SOUNDS | _BESIDE_SOUNDS for word in words)
        if is_sound or _TIME_CODE.fullmatch(match[1].strip()):
            found.append(Mark(match.start(), match.end(), "direction"))
    return found


def _begin_of_text(lines: list[_Line], found: list[Mark]) -> dict[_Line, int]:
    """Where the text of each line begins, behind the line number and the directions at its start."""
    ends = {mark.start: mark.end for mark in found}
    begun = {}
    for line in lines:
        at = 0
        while at < len(line.text) and (line.text[at].isspace() or line.start + at in ends):
            at = at + 1 if line.text[at].isspace() else ends[line.start + at] - line.start
        begun[line] = at
    return begun


def _labels(lines: list[_Line], begun: dict[_Line, int], text: str) -> list[Mark]:
    """Names before a colon at the start of a line: in capitals in a text that has small letters, or at two lines."""
    has_small_letters = any(letter.islower() for letter in text)
    candidates = []
    for line in lines:
        match = _LABEL.match(_BEFORE_COLON.sub(lambda inside: " " * len(inside[0]), line.text), begun[line])
        if match and _is_name(match["name"]):
            candidates.append((line, match))
    times = Counter(match["name"] for _, match in candidates)
    return [
        _mark(line, match, "label")
        for line, match in candidates
        if times[match["name"]] > 1
        or _GENERIC_NAME.fullmatch(match["name"])
        or (has_small_letters and match["name"].upper() == match["name"])
    ]


def _is_name(name: str) -> bool:
    """Up to three words, each of which begins with a capital or is a number, such as `Dr. Smith` and `MAN #2`."""
    words = name.split()
    if _GENERIC_NAME.fullmatch(name):
        return True
    if words[0].casefold() in _NO_NAMES:
        return False
    are_name_words = len(words) <= MAX_NAME_WORDS and all(_NAME_WORD.fullmatch(word) for word in words)
    return (
        are_name_words and words[0][0].isupper() and all(word[0].isupper() or not word[0].isalpha() for word in words)
    )


def _mark(line: _Line, match: re.Match[str], kind: MarkKind) -> Mark:
    begin = match.start() + len(match[0]) - len(match[0].lstrip())
    return Mark(line.start + begin, line.start + match.end(), kind)
