"""The one exception for what a user can cause and mend."""

from __future__ import annotations


class UserError(Exception):
    """Bad input: the message says what was expected, what was found and what to do.

    The shells print it on one line without a traceback and exit with code 2. Any other exception is a bug.
    """
