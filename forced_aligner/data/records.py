"""Recordings, their transcripts, and word times."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, FiniteFloat
from pydantic.dataclasses import dataclass

from forced_aligner.base.errors import UserError
from forced_aligner.base.records import Record
from forced_aligner.base.text import without_controls
from forced_aligner.data.cue_sheets import CueSheet

TimeMs = Annotated[float, Field(ge=0, le=1e9)]  # a recording has at most 12 hours, 4e7 ms
DURATION_TOLERANCE_S = 0.1  # manifests round durations, and an mp3 file is padded by up to 0.05 s


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class WordTime:
    """One aligned word. A zero-length word (start equal to end) is legal for this model.

    A run has as many of them as its data set has words. So it is no `Record`, which takes 537 bytes, but a dataclass
    with the same rules, which takes 112.
    """

    text: str
    start_time_ms: TimeMs
    end_time_ms: TimeMs


class Clip(Record):
    """A recording with its transcript and, where the data set has them, its true word times.

    Attributes:
        audio: path of the recording.
        transcript: what is said in it, without control characters, which no output may hold.
        declared_duration_s: what a manifest says that the audio lasts.
        speaker: a name that the clips of one speaker share.
        problem: why it cannot be aligned, if that is known before it is loaded.
        cues: those of the transcript, if it is a subtitle file.
        sources: paths of the other files that it was read from, such as a transcript's.
        subfolder: where it lies in the folder that was given, and its results in the folder of the results.
    """

    audio: str
    transcript: Annotated[str, AfterValidator(without_controls)]
    language: str | None = None
    duration_s: FiniteFloat | None = None
    declared_duration_s: FiniteFloat | None = None
    voice: str | None = None
    speaker: str | None = None
    words_per_minute: FiniteFloat | None = None
    alignments: list[WordTime] | None = None
    problem: str | None = None
    cues: CueSheet | None = Field(default=None, exclude=True)
    sources: tuple[str, ...] = ()
    subfolder: str = Field(default="", exclude=True)

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
