"""What `infer` writes of one recording."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices, ConfigDict, Field

from forced_aligner.base.records import Record


class TimedWord(Record):
    """A word of the transcript as it was written, with its times; one without a letter has none.

    `word` is the aligner's cleaned word. `confidence` is the probability that the head gives to the chosen time bins
    and their neighbours, the lower one of start and end.
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
    """What `infer` writes of one recording."""

    schema_version: Literal[1] = 1
    audio: str
    language: str | None
    duration_s: float
    words: list[TimedWord]

    @property
    def timed(self) -> list[TimedWord]:
        """The words that have times."""
        return [word for word in self.words if word.start_time_ms is not None]
