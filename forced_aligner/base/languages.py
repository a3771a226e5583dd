"""The languages that Qwen's forced aligner serves."""

from __future__ import annotations

from forced_aligner.base.errors import UserError

# The codes are those of transformers' `LANGUAGE_CODE_TO_NAME`.
LANGUAGES = {
    "yue": "Cantonese",
    "zh": "Chinese",
    "en": "English",
    "fr": "French",
    "de": "German",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "pt": "Portuguese",
    "ru": "Russian",
    "es": "Spanish",
}


def language_name(language: str) -> str:
    """The name of a language that is given by name or code, such as `English` or `en`.

    Raises:
        UserError: it is not served.
    """
    name = LANGUAGES.get(language.lower(), language.capitalize())
    if name not in LANGUAGES.values():
        served = ", ".join(f"{name} ({code})" for code, name in LANGUAGES.items())
        raise UserError(f"language {language!r} is not served; expected one of {served}")
    return name
