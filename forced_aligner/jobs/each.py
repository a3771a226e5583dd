"""Work on many recordings: the failure of one does not stop the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from forced_aligner.base.console import log, log_always, repeat_lines, tracked
from forced_aligner.base.errors import IncompleteError, RunError, UnexpectedError, UserError
from forced_aligner.base.files import printable, require_regular
from forced_aligner.base.journal import Journal
from forced_aligner.base.stopping import wait_if_stopping
from forced_aligner.jobs.workers.calls import CallError, Outcome, Result, Task, Tool, attempt
from forced_aligner.jobs.workers.crew import Crew
from forced_aligner.score.records import FailedClip

Item = TypeVar("Item")
Kept = TypeVar("Kept")
WAIT_S = 10.0
ERROR_LOG = "forced-aligner-errors.log"  # beside the results of infer, or beside the reference


@dataclass(frozen=True)
class Failure:
    """A recording that could not be done, and the reason in one sentence."""

    audio: str
    error: UserError

    def __str__(self) -> str:
        return f"{self.audio}: {self.error}"


@dataclass(frozen=True)
class Done:
    """Nothing is left to compute for a recording, and `note` says why."""

    note: str


@dataclass(frozen=True)
class Work(Generic[Item, Tool, Task, Result, Kept]):
    """What is done with each recording: prepared here, computed by a worker, and finished here.

    Attributes:
        audio_of: the path of a recording's audio.
        prepare: what the worker gets for a recording.
        compute: called by a worker with its tool and what `prepare` gave.
        finish: makes of what `compute` gave what is kept, and a few words on it.
        length_of: how long a recording is, in any unit; the longest are done first where several workers are.
        key_of: the digest of all that a result depends on, for a journal. It reads the recording.
        name_of: what the line of a recording calls it. (default: the audio's name without its folder)
    """

    audio_of: Callable[[Item], str]
    prepare: Callable[[Item], Task | Done]
    compute: Callable[[Tool, Task], Result]
    finish: Callable[[Item, Result], tuple[Kept, str]]
    length_of: Callable[[Item], float]
    key_of: Callable[[Item], str] | None = None
    name_of: Callable[[Item], str] | None = None

    def label(self, item: Item) -> str:
        """What the line of a recording calls it."""
        return Path(self.audio_of(item)).name if self.name_of is None else self.name_of(item)


@dataclass(frozen=True)
class _Given(Generic[Result]):
    """What there is for an item: the outcome of its call, or why there was none.

    Attributes:
        outcome: of the call.
        key: of the result in the journal; empty where it need not be kept there.
        is_known: the result is from an earlier run.
    """

    outcome: Outcome[Result] | Done
    key: str = ""
    is_known: bool = False


def for_each(
    items: Sequence[Item],
    work: Work[Item, Tool, Task, Result, Kept],
    crew: Crew[Tool],
    error_log: Path,
    journal: Journal[Any] | None = None,
) -> tuple[list[Kept], list[Failure]]:
    """Do `work` on each item, with a line of progress for each as it is done.

    Args:
        items: the recordings.
        work: what is done.
        crew: who does it.
        error_log: gets the traceback of an unexpected error, and is made for the first one.
        journal: of results. It has those of earlier runs, which are not computed again, and gets those of this one.

    Returns:
        What is kept of the recordings, and those that failed, each in the order of the items, whoever did them.

    Raises:
        RunError: nothing more can be kept or computed.
    """
    kept: dict[int, Kept] = {}
    failures: dict[int, Failure] = {}
    for number, (index, given) in enumerate(tracked(_as_done(items, work, crew, journal), len(items)), 1):
        item, outcome = items[index], given.outcome
        label = f"[{number}/{len(items)}] {work.label(item)}"
        try:
            if isinstance(outcome, Done):
                note = outcome.note
            else:
                repeat_lines(outcome.lines)
                result = outcome.value()
                if journal and given.key:
                    journal.put(given.key, result)
                kept[index], note = work.finish(item, result)
            log(f"{label}  {note}{', from an earlier run' if given.is_known else ''}")
        except RunError:
            raise
        except Exception as error:
            wait_if_stopping()
            audio = work.audio_of(item)
            failure = error if isinstance(error, UserError) else _unexpected(error, audio, error_log)
            failures[index] = Failure(audio, failure)
            log_always(f"{label}  FAILED: {failure}")
    return [kept[index] for index in sorted(kept)], [failures[index] for index in sorted(failures)]


def _as_done(
    items: Sequence[Item],
    work: Work[Item, Tool, Task, Result, Kept],
    crew: Crew[Tool],
    journal: Journal[Any] | None,
) -> Iterator[tuple[int, _Given[Result]]]:
    """What there is for each item, with its index, in the order in which the calls end."""
    order = list(range(len(items)))
    if not crew.is_this_process:  # longest first: none is left to the end, and neighbours share a decoder function
        lengths = [work.length_of(item) for item in items]
        order.sort(key=lambda index: -lengths[index])
    under_way: dict[Future[Outcome[Result]], tuple[int, str]] = {}
    for index in order:
        prepared = attempt(_prepare, (work, journal), items[index])
        if prepared.error is not None:
            yield index, _Given(Outcome([], prepared.error))
        elif isinstance(given := prepared.value(), _Given):
            yield index, given
        else:
            task, key = given
            under_way[crew.submit(work.compute, task)] = index, key
        while under_way and len(under_way) >= crew.width():
            yield from _ended(under_way, crew)
    while under_way:
        yield from _ended(under_way, crew)


def _prepare(
    work_and_journal: tuple[Work[Item, Tool, Task, Result, Kept], Journal[Any] | None], item: Item
) -> tuple[Task, str] | _Given[Result]:
    """The task for an item and the key of its result, or what there is already."""
    work, journal = work_and_journal
    task = work.prepare(item)
    if isinstance(task, Done):
        return _Given(task)
    if journal is None or work.key_of is None:
        return task, ""
    key = work.key_of(item)
    known = journal.get(key)
    return (task, key) if known is None else _Given(Outcome([known]), is_known=True)


def _ended(
    under_way: dict[Future[Outcome[Result]], tuple[int, str]], crew: Crew[Tool]
) -> Iterator[tuple[int, _Given[Result]]]:
    """Wait a while for a call to end; take those that have ended out of `under_way`."""
    ended, _ = wait(under_way, timeout=WAIT_S, return_when=FIRST_COMPLETED)
    if not ended:
        crew.width()  # a cluster that has lost its workers says so
    for future in ended:
        index, key = under_way.pop(future)
        yield index, _Given(crew.outcome(future), key)


def _unexpected(error: Exception, audio: str, error_log: Path) -> UnexpectedError:
    """A sentence on a bug. Its traceback goes to `error_log`, or to stderr if that cannot be written."""
    bug = error if isinstance(error, CallError) else CallError.of(error)
    lines = [f"{audio}:", *bug.trace.splitlines()]
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
    return UnexpectedError(f"unexpected {bug.name} ({bug.message}): {where}")


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
