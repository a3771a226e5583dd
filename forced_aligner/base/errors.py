"""What a user can cause and mend, and the exit codes of the commands."""

from __future__ import annotations

EXIT_THRESHOLD_MISSED = 1
EXIT_INCOMPLETE = 1
EXIT_BAD_INPUT = 2
EXIT_BUG = 70  # as sysexits.h has it; so that a traceback is never taken for a missed threshold
EXIT_CLOSED_PIPE = 141  # as a shell shows a program that SIGPIPE ended


class UserError(Exception):
    """Bad input: the message says what was expected, what was found and what to do.

    The shells print it on one line without a traceback and exit with `exit_code`. Any other exception is a bug.
    """

    exit_code = EXIT_BAD_INPUT


class RunError(UserError):
    """What ends a run of many recordings, and not only the work on one: nothing more could be kept."""


class IncompleteError(UserError):
    """Everything was written, but the user asked for an error where the transcript and the audio do not match."""

    exit_code = EXIT_INCOMPLETE


class UnexpectedError(UserError):
    """A bug in the work on one recording, whose traceback is in a log file."""

    exit_code = EXIT_BUG
