"""The word times of one recording, as `infer` writes them to JSON."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, AliasChoices, ConfigDict, Field

from forced_aligner.base.records import Record
from forced_aligner.base.text import without_controls
from forced_aligner.data.marks import MarkKind

# Text of others, which a JSON manifest may have spoiled: half a surrogate pair cannot be written into any file.
Text = Annotated[str, AfterValidator(lambda text: re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text))]


class TimedWord(Record):
    """A word of the transcript as it was written, with its times. A stretch without letters, such as a dash, has none.

    What is not spoken has no times and a `mark`, such as a speaker's label.

    `word` is the aligner's cleaned word. `confidence`, 0 to 1, is the probability that the head gives to the chosen
    time bin and its two neighbours; it is the lower one of start and end.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    text: Text
    word: Text | None = None
    start_time_ms: float | None = None
    end_time_ms: float | None = None
    confidence: float | None = None
    mark: MarkKind | None = None
    weak: bool = False  # below --min-confidence
    no_space_before: bool = Field(
        default=False, validation_alias=AliasChoices("glued", "no_space_before"), serialization_alias="glued"
    )  # `glued` is the key in JSON files

    @property
    def one_line(self) -> str:
        """`text` for formats of lines and cells: no control characters, and any white space in it is one space."""
        return " ".join(without_controls(self.text).split())


class TimedFile(Record):
    """The words of one recording with their times: the JSON output of `infer`."""

    schema_version: Literal[1] = 1
    audio: Text
    language: str | None
    duration_s: float
    words: list[TimedWord]

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
