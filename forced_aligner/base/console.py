"""What the command-line shells share: results on stdout, progress on stderr, errors in one sentence."""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from forced_aligner.base.errors import UserError

if TYPE_CHECKING:
    import typer


T = TypeVar("T")
EXIT_THRESHOLD_MISSED = 1
EXIT_BAD_INPUT = 2
EXIT_BUG = 70  # as sysexits.h has it; so that a traceback is never taken for a missed threshold
RATE_WINDOW_S = 3600.0  # the remaining time is estimated from the last hour: one file may take minutes


def log(message: str) -> None:
    """Print one line of progress to stderr."""
    print(message, file=sys.stderr, flush=True)


def log_progress(message: str) -> None:
    """Print one line of progress to stderr if it is a terminal."""
    if sys.stderr.isatty():
        log(message)


def tracked(files: Sequence[T]) -> Iterator[T]:
    """Yield `files`; meanwhile stderr, where it is a terminal, ends in a bar with the rate and the remaining time."""
    if len(files) < 2 or not sys.stderr.isatty():
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
        yield from progress.track(files)


def quiet_libraries() -> None:
    """Silence library chatter; must run before torch, transformers and coremltools are imported.

    Their warnings concern versions that this project pins and platforms that it checks itself.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.getLogger("coremltools").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore")


def parse_ints(option: str, text: str | None) -> tuple[int, ...] | None:
    """Comma-separated whole numbers; None for None.

    Raises:
        UserError: `text` holds something else.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UserError(f"{option} takes comma-separated whole numbers such as 256,512, not {text!r}")
    return tuple(int(part) for part in parts)


def run_app(app: typer.Typer) -> None:
    """Run a Typer app; a `UserError` becomes one sentence on stderr and exit code 2."""
    quiet_libraries()
    try:
        app()
    except UserError as error:
        log(f"error: {error}")
        sys.exit(EXIT_BAD_INPUT)
    except Exception:
        traceback.print_exc()
        sys.exit(EXIT_BUG)
