"""Work on many recordings: the failure of one does not stop the rest."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from forced_aligner.base.console import log, log_always, tracked
from forced_aligner.base.errors import IncompleteError, RunError, UnexpectedError, UserError
from forced_aligner.base.files import printable, require_regular
from forced_aligner.base.stopping import wait_if_stopping
from forced_aligner.score.records import FailedClip

T = TypeVar("T")
ERROR_LOG = "forced-aligner-errors.log"  # beside the results of infer, or beside the reference


@dataclass(frozen=True)
class Failure:
    """A recording that could not be done, and the reason in one sentence."""

    audio: str
    error: UserError

    def __str__(self) -> str:
        return f"{self.audio}: {self.error}"


def for_each(
    items: Sequence[T],
    audio_of: Callable[[T], str],
    work: Callable[[T], str],
    error_log: Path,
    name_of: Callable[[T], str] | None = None,
) -> list[Failure]:
    """Do `work` on each item, with a line of progress for each that ends in what `work` returns.

    Args:
        items: the recordings.
        audio_of: the path of a recording's audio.
        work: what is done.
        error_log: gets the traceback of an unexpected error, and is made for the first one.
        name_of: what the line of a recording calls it. (default: the audio's name without its folder)

    Returns:
        The recordings that failed, in order.

    Raises:
        RunError: nothing more can be kept.
    """
    failures = []
    for number, item in enumerate(tracked(items), 1):
        audio = audio_of(item)
        label = f"[{number}/{len(items)}] {Path(audio).name if name_of is None else name_of(item)}"
        try:
            log(f"{label}  {work(item)}")
        except RunError:
            raise
        except Exception as error:
            wait_if_stopping()
            failure = error if isinstance(error, UserError) else _unexpected(error, audio, error_log)
            failures.append(Failure(audio, failure))
            log_always(f"{label}  FAILED: {failure}")
    return failures


def _unexpected(error: Exception, audio: str, error_log: Path) -> UnexpectedError:
    """A sentence on a bug. Its traceback goes to `error_log`, or to stderr if that cannot be written."""
    lines = [f"{audio}:", *traceback.format_exc().splitlines()]
    try:
        require_regular(error_log)
        error_log.parent.mkdir(parents=True, exist_ok=True)
        with error_log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write("\n".join([*lines, ""]))
        where = f"its traceback is in {error_log}"
    except (OSError, UserError):
        for line in lines:
            log_always(line)
        where = "its traceback is above"
    return UnexpectedError(f"unexpected {type(error).__name__} ({error}): {where}")


def list_failures(failed: Sequence[FailedClip], total: int, what: str = "recordings") -> None:
    """List the recordings that failed, if there are any, and end the command with an error.

    Raises:
        UserError: one of `total`, which are `what`, failed, or more. It is an `IncompleteError` where all were written.
    """
    if not failed:
        return
    for clip in failed:
        log_always(f"failed: {clip.audio}: {clip.reason}")
    kind: type[UserError] = IncompleteError if all(clip.incomplete for clip in failed) else UserError
    if any(clip.unexpected for clip in failed):
        kind = UnexpectedError
    raise kind(f"{len(failed)} of {total} {what} failed, see above")


def failed_clips(failures: list[Failure]) -> list[FailedClip]:
    """The failures, as a report names them."""
    return [
        FailedClip(
            audio=printable(failure.audio),
            reason=printable(str(failure.error)),
            unexpected=isinstance(failure.error, UnexpectedError),
            incomplete=isinstance(failure.error, IncompleteError),
        )
        for failure in failures
    ]


def nothing_done(failures: list[Failure]) -> UserError:
    """The error for a run in which no clip could be measured; with one clip, that clip's."""
    (first, *others) = failures
    if not others:
        return first.error
    return type(first.error)(f"none of {len(failures)} recordings could be measured; the first: {first}")
