"""Recordings, their transcripts, and word times."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from forced_aligner.base.errors import UserError
from forced_aligner.base.records import Record


class WordTime(Record):
    """One aligned word. A zero-length word (start equal to end) is legal for this model."""

    text: str
    start_time_ms: float
    end_time_ms: float


class Clip(Record):
    """A recording with its transcript and, where the data set has them, its true word times."""

    audio: str
    transcript: str
    language: str | None = None
    duration_s: float | None = None
    voice: str | None = None
    words_per_minute: float | None = None
    alignments: list[WordTime] | None = None
    problem: str | None = None  # why it cannot be aligned, if that is known before it is loaded

    def check(self) -> None:
        """Refuse a recording that cannot be aligned.

        Raises:
            UserError: the recording has a `problem`, or its transcript is not Unicode.
        """
        if self.problem:
            raise UserError(self.problem)
        try:
            self.transcript.encode()
        except UnicodeEncodeError as error:  # a lone surrogate, which stands for a byte that was not UTF-8
            raise UserError(f"character {error.start} of the transcript is not Unicode; give it as UTF-8") from None


class ClipManifest(Record):
    """`manifest.json`: the recordings in its folder, with true word times."""

    schema_version: Literal[1] = 1
    samples: list[Clip] = Field(min_length=1)
