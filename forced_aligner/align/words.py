"""The words of a transcript, as the checkpoint's processor splits them, without loading it."""

from __future__ import annotations

import re
import unicodedata

from forced_aligner.base.errors import UserError
from forced_aligner.base.languages import language_name

# Chinese characters, each of which is a word: the blocks that transformers' processor names.
_IDEOGRAPHS = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002ceaf\U0002f800-\U0002fa1f"
_IDEOGRAPH = re.compile(f"[{_IDEOGRAPHS}]")
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\s{_IDEOGRAPHS}]+")


def split_words(transcript: str, language: str | None) -> list[str]:
    """The words of a transcript, of letters, digits and apostrophes alone; `language` is a name or a code.

    Words are parted by white space, and every Chinese character is one. Japanese and Korean are split by transformers'
    processor, with its extra packages.

    Raises:
        UserError: the language is not served or needs an extra package, or the transcript has no words.
    """
    name = None if language is None else language_name(language)
    if name in ("Japanese", "Korean"):
        words = _by_processor(transcript, name)
    else:
        words = _WORD.findall("".join(character for character in transcript if _is_kept(character)))
    if not words:
        raise UserError(f"the transcript {transcript!r} has no words to align")
    return words


def _is_kept(character: str) -> bool:
    return (
        character == "'"
        or character.isspace()
        or unicodedata.category(character)[0] in "LN"
        or _IDEOGRAPH.match(character) is not None  # some are newer than Python's table of categories
    )


def _by_processor(transcript: str, language: str) -> list[str]:
    from transformers import Qwen3ASRProcessor

    try:  # it uses nothing of the processor that it belongs to
        return Qwen3ASRProcessor.split_words_for_alignment(None, transcript, language)
    except ImportError:
        raise UserError(f"{language} needs an extra package: uv sync --extra {language.lower()}") from None
