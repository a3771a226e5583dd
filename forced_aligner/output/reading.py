"""How much of a subtitle can be read in a second, and how wide it may be, by language.

The figures are those of the Netflix Timed Text Style Guide, whose pages are at partnerhelp.netflixstudios.com: General
Requirements (least and longest duration, two lines), Subtitle Timing Guidelines (two frames between cues), and the page
of each language. Those of a language are for adult programmes. Of Japanese, the reading speed is that of subtitles
for the deaf, which repeat what is said: 4 a second is for translations.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from forced_aligner.base.languages import LANGUAGES

LEAST_CUE_S = 0.833  # 5/6 s
LONGEST_CUE_S = 7.0
MAX_LINES = 2
GAP_MS = 84.0  # two frames of 24 a second, rounded up


@dataclass(frozen=True)
class Guideline:
    """What the viewers of a language can read.

    Attributes:
        line_chars: longest line.
        chars_per_s: fastest text, with spaces and punctuation.
        has_wide_letters: whether a full-width letter counts as 1 character, and any other as a half.
    """

    line_chars: int
    chars_per_s: float
    has_wide_letters: bool = False


_EUROPEAN = Guideline(42, 17)
GUIDELINES = {
    "en": Guideline(42, 20),
    "fr": _EUROPEAN,
    "de": _EUROPEAN,
    "it": _EUROPEAN,
    "pt": _EUROPEAN,
    "ru": _EUROPEAN,
    "es": _EUROPEAN,
    "zh": Guideline(16, 9, has_wide_letters=True),
    "yue": Guideline(16, 9, has_wide_letters=True),
    "ja": Guideline(13, 7, has_wide_letters=True),
    "ko": Guideline(16, 12, has_wide_letters=True),
}
_CODES = {name.lower(): code for code, name in LANGUAGES.items()}
# A language that is not given is guessed by its letters, of which some languages have a fifth at least.
_LETTERS = {"ja": "[\u3040-\u30ff]", "ko": "[\uac00-\ud7a3]", "zh": "[\u4e00-\u9fff]", "ru": "[\u0400-\u04ff]"}
_LEAST_SHARE = 0.2


def by_language(figure: str) -> str:
    """A figure of `GUIDELINES`, such as `line_chars`, for all languages in a few words, as help shows it."""
    languages: dict[object, list[str]] = {}
    for code, guideline in GUIDELINES.items():
        languages.setdefault(getattr(guideline, figure), []).append(LANGUAGES[code])
    (most, _), *others = sorted(languages.items(), key=lambda item: -len(item[1]))
    return f"{most:g}; " + "; ".join(f"{', '.join(names)} {value:g}" for value, names in others)


def language_code(language: str | None, text: str) -> str:
    """The key of `GUIDELINES` for a name or code of a language; without one, that of the letters of `text`."""
    name = (language or "").lower()
    code = _CODES.get(name, name)
    if code in GUIDELINES:
        return code
    letters = _LEAST_SHARE * sum(letter.isalpha() for letter in text)
    return next((code for code, some in _LETTERS.items() if 0 < letters < len(re.findall(some, text))), "en")


@lru_cache(maxsize=4096)
def width(text: str, *, has_wide_letters: bool) -> float:
    """The characters of `text`, as the guideline counts them."""
    if not has_wide_letters:
        return len(text)
    return sum(1.0 if unicodedata.east_asian_width(letter) in "WFA" else 0.5 for letter in text)
