"""The fonts of pictures: matplotlib's own, and installed ones for Chinese, Japanese and Korean, which that lacks."""

from __future__ import annotations

import contextlib
import os
import re
from functools import cache

import matplotlib
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

OWN_FONT = "DejaVu Sans"
# Hangul; radicals, kana, ideographs and their punctuation; letters of other widths; the rarer ideographs.
_CJK = re.compile(
    "[\u1100-\u11ff\u2e80-\ua4cf\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff]"
)
SAMPLES = "\u4e2d\u306e\ud55c"  # a font for any of the three languages has one of these
# The starts of the names of fonts that are drawn for screens, best first. Others are taken too, after these.
LIKED = (
    "Noto Sans",
    "Source Han Sans",
    "PingFang",
    "Hiragino",
    "Apple SD Gothic",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun",
    "WenQuanYi",
    "Arial Unicode",
    "AppleGothic",
    "Droid Sans Fallback",
)
COARSE = "Unifont"  # has every letter, of 16 pixels: taken for what no other font has


def fonts(text: str) -> list[str]:
    """The names of the fonts to draw `text` with; a letter is drawn in the first font that has it.

    Only a text with letters of Chinese, Japanese or Korean makes this look through the installed fonts, once.
    """
    names, missing = [OWN_FONT], set(_CJK.findall(text))
    for candidates in cjk_fonts() if missing else ():
        while missing:
            best = max(candidates, key=lambda font: len(_had(font, missing)), default=None)  # of equals, the most liked
            if best is None or not (had := _had(best, missing)):
                break
            names.append(_known_name(best))
            missing -= had
    return names


@cache
def cjk_fonts() -> tuple[list[FT2Font], list[FT2Font]]:
    """The installed fonts with letters of Chinese, Japanese or Korean, the most liked first; and the coarse ones."""
    found = []
    for path in font_paths():
        with contextlib.suppress(OSError, RuntimeError, UnicodeError):  # a font that is damaged, or gone
            font = FT2Font(path)
            if _had(font, set(SAMPLES)):
                found.append(font)
    fine = [font for font in found if not font.family_name.startswith(COARSE)]
    return sorted(fine, key=_dislike), [font for font in found if font not in fine]


def font_paths() -> list[str]:
    """The installed fonts.

    matplotlib keeps a list of them in a file, which lacks what was installed since. Its own fonts are left out: they
    have a few symbols, and one has a box for every letter.
    """
    paths = {entry.fname for entry in font_manager.fontManager.ttflist} | set(font_manager.findSystemFonts())
    return sorted(path for path in paths if not path.startswith(matplotlib.get_data_path()))


def _had(font: FT2Font, letters: set[str]) -> set[str]:
    """Those of `letters` that a font has."""
    return {letter for letter in letters if font.get_char_index(ord(letter))}


def _dislike(font: FT2Font) -> tuple[int, bool]:
    """The lower, the better a font is for labels."""
    name = font.family_name
    rank = next((rank for rank, start in enumerate(LIKED) if name.startswith(start)), len(LIKED))
    return rank, font.style_name not in ("Regular", "Normal", "Book", "W3")


def _known_name(font: FT2Font) -> str:
    """The name by which matplotlib finds a font, which it is told of if it does not know it."""
    manager, path = font_manager.fontManager, os.fsdecode(font.fname)
    if not any(entry.fname == path for entry in manager.ttflist):
        manager.addfont(path)
    return font_manager.ttfFontProperty(font).name
