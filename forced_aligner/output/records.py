"""The word times of one recording, as `infer` writes them to JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices, ConfigDict, Field

from forced_aligner.base.records import Record


class TimedWord(Record):
    """A word of the transcript as it was written, with its times. A stretch without letters, such as a dash, has none.

    `word` is the aligner's cleaned word. `confidence`, 0 to 1, is the probability that the head gives to the chosen
    time bin and its two neighbours; it is the lower one of start and end.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    text: str
    word: str | None = None
    start_time_ms: float | None = None
    end_time_ms: float | None = None
    confidence: float | None = None
    weak: bool = False  # below --min-confidence
    no_space_before: bool = Field(
        default=False, validation_alias=AliasChoices("glued", "no_space_before"), serialization_alias="glued"
    )  # `glued` is the key in JSON files


class TimedFile(Record):
    """The words of one recording with their times: the JSON output of `infer`."""

    schema_version: Literal[1] = 1
    audio: str
    language: str | None
    duration_s: float
    words: list[TimedWord]

    @property
    def timed(self) -> list[TimedWord]:
        """The words that have times."""
        return [word for word in self.words if word.start_time_ms is not None]
