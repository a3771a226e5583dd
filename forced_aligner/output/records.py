"""The word times of one recording, as `infer` writes them to JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from forced_aligner.base.records import Record
from forced_aligner.base.text import without_controls
from forced_aligner.data.marks import MarkKind

# Text of others, which a JSON manifest may have spoiled: half a surrogate pair cannot be written into any file.
Text = Annotated[str, AfterValidator(lambda text: re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text))]


# Why a word's times are hard to believe: it lasts too long, or it is one of many words that lie at one time.
Doubt = Literal["long", "no-length"]
QUIET_KEYS = {"status", "doubtful", "not_found", "untranscribed"}


class _Remarkable(Record):
    """A record whose `QUIET_KEYS` are in JSON only where they say something, so most files have none of them."""

    @model_serializer(mode="wrap")
    def _without_quiet_keys(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in write(self).items() if value or key not in QUIET_KEYS}


class TimedWord(_Remarkable):
    """A word of the transcript as it was written, with its times. A stretch without letters, such as a dash, has none.

    What is not spoken has no times and a `mark`, such as a speaker's label.

    `begins_line` says that it is the first of its line in the transcript. It is not in JSON.

    `word` is the aligner's cleaned word. `confidence`, 0 to 1, is the probability that the head gives to the chosen
    time bin and its two neighbours; it is the lower one of start and end. A word that was not found in the audio has a
    `word` and a `status`, and neither times nor confidence.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    text: Text
    word: Text | None = None
    start_time_ms: float | None = None
    end_time_ms: float | None = None
    confidence: float | None = None
    mark: MarkKind | None = None
    weak: bool = False  # below --min-confidence
    status: Literal["not-found"] | None = None
    doubtful: Doubt | None = None
    no_space_before: bool = Field(
        default=False, validation_alias=AliasChoices("glued", "no_space_before"), serialization_alias="glued"
    )  # `glued` is the key in JSON files
    begins_line: bool = Field(default=False, exclude=True)

    @property
    def one_line(self) -> str:
        """`text` for formats of lines and cells: no control characters, and any white space in it is one space."""
        return " ".join(without_controls(self.text).split())


def joined(words: Sequence[TimedWord]) -> tuple[str, list[int]]:
    """The text of `words` on one line, with spaces where the transcript has them, and where each word starts in it."""
    pieces: list[str] = []
    starts: list[int] = []
    length = 0
    for word in words:
        gap = " " if pieces and not word.no_space_before else ""
        pieces.append(gap + word.one_line)
        starts.append(length + len(gap))
        length += len(pieces[-1])
    return "".join(pieces), starts


class NotFound(Record):
    """A range of words that were not found. `near_s` is where it would be: the end of the word found before it, or else
    the start of the first one found.

    Words are counted from 1, as in messages. Only those with a letter or a digit count.
    """

    first_word: int
    last_word: int
    near_s: float | None = None


class Stretch(Record):
    """A part of the audio, in seconds."""

    start_s: float
    end_s: float


class TimedFile(_Remarkable):
    """The words of one recording with their times: the JSON output of `infer`.

    `untranscribed` are stretches of sound that have no word.
    """

    schema_version: Literal[1] = 1
    audio: Text
    language: str | None
    duration_s: float
    words: list[TimedWord]
    not_found: list[NotFound] = Field(default_factory=list)
    untranscribed: list[Stretch] = Field(default_factory=list)

    @property
    def spoken(self) -> list[TimedWord]:
        """The words with a letter or a digit, found or not; the dashes between them are not spoken."""
        return [word for word in self.words if word.word is not None]

    @property
    def timed(self) -> list[TimedWord]:
        """The words that have times."""
        return [word for word in self.words if word.start_time_ms is not None]

    def ticks(self, tick_ns: int) -> int:
        """How many whole ticks of `tick_ns` nanoseconds the audio has: the last time that a file may name."""
        return round(self.duration_s * 1e6) * 1000 // tick_ns

    def tick(self, time_ms: float | None, tick_ns: int) -> int:
        """The tick nearest to `time_ms` that lies within the audio; no time counts as 0."""
        return min(max(round((time_ms or 0.0) * 1e6 / tick_ns), 0), self.ticks(tick_ns))
