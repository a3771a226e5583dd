"""Limits that decide what a user is told of a result; without imports, so that `--help` starts without numpy."""

WEAK = 0.5  # confidence below which a word is worth a look
