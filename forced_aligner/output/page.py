"""The page of a recording: a player, the words above the mel spectrogram, and the transcript."""

from __future__ import annotations

from pathlib import Path

from forced_aligner.base.text import visible
from forced_aligner.output.alignment_picture import Spectrogram
from forced_aligner.output.mel_tiles import TILE_S, mel_tiles
from forced_aligner.output.page_template import render
from forced_aligner.output.reading import language_code
from forced_aligner.output.records import TimedFile, TimedWord, joined
from forced_aligner.output.sentences import sentence_ends

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
