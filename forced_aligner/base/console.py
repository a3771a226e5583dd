"""What the command-line shells share: results on stdout, progress on stderr, errors in one sentence."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO, TypeVar

from forced_aligner.base.errors import EXIT_BAD_INPUT, EXIT_BUG, EXIT_CLOSED_PIPE, UserError
from forced_aligner.base.result_table import ResultTable
from forced_aligner.base.stopping import wait_if_stopping
from forced_aligner.base.text import visible

if TYPE_CHECKING:
    import typer
    from rich.console import Console
    from rich.table import Table


T = TypeVar("T")
TABLE_COLUMNS = 180
Line = tuple[str, bool]  # what is to be said, and whether with `--quiet` too
_quiet = False  # see `set_quiet`
_collected: list[Line] | None = None  # see `collected_lines`
RATE_WINDOW_S = 3600.0  # the remaining time is estimated from the last hour: one file may take minutes


def set_quiet(quiet: bool) -> None:
    """Leave out progress and notes from here on, or not."""
    global _quiet
    _quiet = quiet


def log(message: str) -> None:
    """Print one line of progress, or a note, to stderr, unless `--quiet` is given; see `log_always`."""
    if _collected is not None:
        _collected.append((message, False))
    elif not _quiet:
        log_always(message)


def log_always(message: str) -> None:
    """Print a line that nobody may miss to stderr: a failure, or that something is not as it was asked for.

    Names and texts of others in it cannot steer the terminal.
    """
    if _collected is not None:
        _collected.append((message, True))
        return
    with contextlib.suppress(OSError):  # a closed or full stderr does not stop the work
        print(visible(message), file=sys.stderr, flush=True)


@contextlib.contextmanager
def collected_lines() -> Iterator[list[Line]]:
    """Within the block, lines are kept instead of printed, for a process that will `repeat_lines`."""
    global _collected
    _collected = lines = list[Line]()
    try:
        yield lines
    finally:
        _collected = None


def repeat_lines(lines: Iterable[Line]) -> None:
    """Print what another process had to say."""
    for message, always in lines:
        (log_always if always else log)(message)


def warn(message: str) -> None:
    """Print a warning to stderr."""
    log_always(f"warning: {message}")


def write_result(content: str) -> None:
    """Write `content` to stdout as it is, for programs.

    Raises:
        UserError: stdout cannot be written, as on a full disk.
        SystemExit: nobody reads it any more.
    """
    try:
        sys.stdout.write(content)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes stdout again at its end, which must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_CLOSED_PIPE)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise UserError(f"cannot write the result to stdout ({error.strerror}): free some space") from None


def show_table(*items: object) -> None:
    """Print tables and lines to stdout. In a file or a pipe, lines are wide enough for every column.

    On a terminal that is too narrow for a `ResultTable`, each of its rows is a paragraph.
    """
    console = _console()
    with console.capture() as capture:
        for item in items:
            console.print(_fitted(item, console) if isinstance(item, ResultTable) else item)
    write_result(capture.get())


def _fitted(table: ResultTable, console: Console) -> Table | str:
    drawn = table.rich()
    needed = console.measure(drawn, options=console.options.update(max_width=10 * TABLE_COLUMNS)).maximum
    return drawn if needed <= console.width else table.paragraphs()


def _console() -> Console:
    """A console on stdout that takes names and texts as they are, without markup such as `[b]` and `:smile:`."""
    from rich.console import Console

    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = TABLE_COLUMNS
    return console


def log_progress(message: str) -> None:
    """Print one line of progress to stderr if it is a terminal."""
    if sys.stderr.isatty() and _collected is None:
        log(message)


def tracked(files: Iterable[T], total: int) -> Iterator[T]:
    """Yield `files`, of which there are `total`.

    Meanwhile stderr, where it is a terminal, ends in a bar with the rate and the remaining time.
    """
    if total < 2 or _quiet or not sys.stderr.isatty():
        yield from files
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            per_minute = 60 * task.completed / task.elapsed if task.elapsed else 0.0
            return Text(f"{per_minute:.1f} files/min")

    with Progress(
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=False,  # results may go to a file
        speed_estimate_period=RATE_WINDOW_S,
        transient=True,
    ) as progress:
        yield from progress.track(files, total)


def quiet_libraries() -> None:
    """Silence library chatter; must run before torch, transformers and coremltools are imported.

    Their warnings concern versions that this project pins and platforms that it checks itself.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.getLogger("coremltools").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore")


def run_app(app: typer.Typer) -> None:
    """Run a Typer app; what a user can mend becomes one sentence on stderr and exit code 2."""
    quiet_libraries()
    stdout = sys.stdout
    if isinstance(stdout, io.TextIOWrapper):
        stdout.reconfigure(encoding="utf-8")  # whatever the locale: the files have it too
    if {"COMP_WORDS", "_TYPER_COMPLETE_ARGS"} & os.environ.keys() and not any(map(_asks_to_complete, os.environ)):
        sys.exit(EXIT_BAD_INPUT)  # a shell between, such as dash, has lost the name with a dot: nothing may be started
    was_null = _is_null(stdout)
    try:
        app()
    except SystemExit:
        # typer and rich put another stream or the null device in its place, and exit with 1, when nobody reads it.
        if sys.stdout is not stdout or _is_null(stdout) > was_null:
            sys.exit(EXIT_CLOSED_PIPE)
        raise
    except UserError as error:
        _exit(str(error), error.exit_code)
    except OSError as error:
        if isinstance(error.filename, str | bytes):
            _exit(f"cannot read or write {os.fsdecode(error.filename)} ({error.strerror})")
        if error.errno == errno.ENOSPC:
            _exit(f"cannot write the result ({error.strerror}): free some space")
        _exit_as_bug()
    except Exception:
        _exit_as_bug()


def _asks_to_complete(name: str) -> bool:
    """Whether an environment variable is the one by which a shell asks Typer to complete."""
    return name.startswith("_") and name.endswith("_COMPLETE")


def _is_null(stream: TextIO) -> bool:
    """Whether a stream goes to the null device."""
    try:
        return os.fstat(stream.fileno()).st_rdev == Path(os.devnull).stat().st_rdev
    except (OSError, ValueError):  # a stream of a test has no number
        return False


def _exit(reason: str, code: int = EXIT_BAD_INPUT) -> NoReturn:
    wait_if_stopping()
    log_always(f"error: {reason}")
    sys.exit(code)


def _exit_as_bug() -> NoReturn:
    wait_if_stopping()
    for line in traceback.format_exc().splitlines():
        log_always(line)
    sys.exit(EXIT_BUG)
