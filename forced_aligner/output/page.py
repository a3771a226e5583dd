"""Pages that show results in a browser. A page is one file, and loads nothing, save a recording that it links to."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import jinja2
from jinja2.utils import htmlsafe_json_dumps

from forced_aligner.base.text import visible
from forced_aligner.output.alignment_picture import Spectrogram
from forced_aligner.output.mel_tiles import TILE_S, mel_tiles
from forced_aligner.output.reading import language_code
from forced_aligner.output.records import TimedFile, TimedWord, joined
from forced_aligner.output.sentences import sentence_ends

SOURCES = Path(__file__).with_name("page")
# Where a paragraph of the transcript ends. The transcript's own paragraphs are not in the alignment.
PAUSE_MS = 2000.0
PARAGRAPH_WORDS, MAX_PARAGRAPH_WORDS = 40, 120  # it ends with its sentence from 40 words on, and anywhere at 120


def alignment_page(file: TimedFile, spectrogram: Spectrogram, audio: str) -> str:
    """The page of one recording: a player, the words above the mel spectrogram, and the transcript.

    Args:
        file: the words. Of the recording's path, only the name goes into the page.
        spectrogram: the recording's.
        audio: the address of its audio; see `page_audio`.

    Returns:
        HTML with its style, script, pictures and data inside.
    """
    words = [word.model_copy(update={"text": word.one_line}) for word in file.words]
    name = visible(Path(file.audio).name)
    data = {
        "file": file.model_copy(update={"audio": name, "words": words}).model_dump(mode="json"),
        "paragraphs": paragraphs(file),
        "tile_s": TILE_S,
        "tiles": mel_tiles(spectrogram),
    }
    values = {"title": name, "duration": clock(file.duration_s), "counts": word_counts(file), "file": file}
    return render("alignment", data, audio, **values)


def render(name: str, data: object, audio: str, **values: Any) -> str:
    """A page of `name`.html, .css and .js in the folder `page`, with a policy that forbids everything else.

    Args:
        name: of the files.
        data: what the script shows. It goes in as JSON in ASCII, in which `<`, `>`, `&` and `'` are escaped.
        audio: a data URI, or a relative address.
        values: what else the template names. They are escaped.
    """
    style, script = ((SOURCES / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    policy = {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "img-src": "data:",
        "media-src": "data:" if audio.startswith("data:") else "'self'",
        "style-src": source_hash(style),
        "script-src": source_hash(script),
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(SOURCES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template(f"{name}.html").render(
        policy="; ".join(f"{key} {source}" for key, source in policy.items()),
        style=style,
        script=script,
        data=htmlsafe_json_dumps(data, dumps=json.dumps, allow_nan=False, separators=(",", ":")),
        audio=audio,
        **values,
    )


def source_hash(source: str) -> str:
    """The source expression with which a Content-Security-Policy allows an inline style or script."""
    digest = hashlib.sha256(source.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def word_counts(file: TimedFile) -> dict[str, int]:
    """How many words are `weak`, `doubtful` and `not-found`."""
    return {
        "weak": sum(word.weak for word in file.words),
        "doubtful": sum(word.doubtful is not None for word in file.words),
        "not-found": sum(word.status is not None for word in file.words),
    }


def clock(time_s: float) -> str:
    """Seconds as `m:ss`, or `h:mm:ss` from an hour on; below a minute as `5.3 s`."""
    if time_s < 60:
        return f"{time_s:.1f} s"
    minutes, seconds = divmod(int(time_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def paragraphs(file: TimedFile) -> list[int]:
    """The index in `file.words` of the first word of each paragraph.

    A paragraph begins with a speaker's label or a heading, and after a pause of more than `PAUSE_MS`. It is kept short:
    see `PARAGRAPH_WORDS`.
    """
    ends = sentence_ends(file.words, language_code(file.language, joined(file.words)[0]))
    firsts: list[int] = []
    end_ms = 0.0  # of the last word with times
    for index, word in enumerate(file.words):
        count = index - firsts[-1] if firsts else 0
        if not firsts or _begins(word, file.words[index - 1], count, end_ms, after_sentence=ends[index - 1]):
            firsts.append(index)
        end_ms = end_ms if word.end_time_ms is None else word.end_time_ms
    return firsts


def _begins(word: TimedWord, before: TimedWord, count: int, end_ms: float, *, after_sentence: bool) -> bool:
    """Whether `word` begins a paragraph after one of `count` words, of which `before` is the last."""
    return (
        (word.mark in ("label", "heading") and before.mark not in ("label", "heading"))
        or (word.start_time_ms is not None and word.start_time_ms - end_ms > PAUSE_MS and before.mark is None)
        or (count >= PARAGRAPH_WORDS and after_sentence)
        or count >= MAX_PARAGRAPH_WORDS
    )
