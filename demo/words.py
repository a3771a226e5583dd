"""The words and voices of the demo data, and a fixed split that excludes some of both from training."""

import hashlib
import re

LANGUAGE = "English"
WORD_COUNT = 30_000
UNSEEN_PERCENT = 20  # of the word list, excluded from training
_SPELLING = re.compile(r"[a-z]+('[a-z]+)?")
_VOWEL = re.compile(r"[aeiouy]")

ACCENTS = (
    "en",
    "en-us",
    "en-gb-scotland",
    "en-gb-x-rp",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-029",
    "en-us-nyc",
)
# espeak-ng's voice variants. UNSEEN_VARIANTS are used only in the held-out clips.
TRAINING_VARIANTS = (
    *("m1", "m2", "m3", "m4", "m5", "m6", "m8", "f1", "f2", "f3", "f5"),
    *(
        "adam",
        "Alex",
        "Andrea",
        "announcer",
        "aunty",
        "belinda",
        "benjamin",
        "boris",
        "caleb",
        "david",
        "Denis",
    ),
    *("ed", "edward", "Gene", "grandma", "grandpa", "Henrique", "iven", "john", "Lee", "linda", "marcelo"),
    *(
        "Mario",
        "max",
        "Mike",
        "norbert",
        "pablo",
        "paul",
        "pedro",
        "quincy",
        "rob",
        "Reed",
        "shelby",
        "travis",
    ),
)
UNSEEN_VARIANTS = ("m7", "f4", "Annie", "Hugo", "Michael", "robert", "steph", "victor")
TRAINING_VOICES = tuple(f"{accent}+{variant}" for accent in ACCENTS for variant in TRAINING_VARIANTS)
UNSEEN_VOICES = tuple(f"{accent}+{variant}" for variant in UNSEEN_VARIANTS for accent in ACCENTS)


def is_unseen(word: str) -> bool:
    """Whether `word` is excluded from training: a fixed pseudo-random fifth of all words, by its SHA-1."""
    return int(hashlib.sha1(word.lower().encode()).hexdigest(), 16) % 100 < UNSEEN_PERCENT


def load_words() -> tuple[list[str], list[str]]:
    """The frequent English words as (training words, unseen words), most frequent first.

    Raises:
        RuntimeError: the `demo` dependency group is not installed.
    """
    try:
        from wordfreq import top_n_list  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise RuntimeError("wordfreq is missing: uv sync --group demo") from error
    words = [word for word in top_n_list("en", WORD_COUNT) if _is_plain(word)]
    return [word for word in words if not is_unseen(word)], [word for word in words if is_unseen(word)]


def _is_plain(word: str) -> bool:
    """Whether `word` is spelled in plain letters and read as a word: no numbers, no lone consonants."""
    return bool(_SPELLING.fullmatch(word) and _VOWEL.search(word)) and (len(word) > 1 or word in ("a", "i"))
