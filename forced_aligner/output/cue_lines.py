"""The lines of a cue: as few as can be, broken at good places, and of like lengths."""

from __future__ import annotations

from collections.abc import Iterator

from forced_aligner.output.cues import Limits, Span
from forced_aligner.output.places import best_split, break_cost

A_LINE, UNEVENNESS = 1000.0, 12.0  # costs; a line more is worse than anything else


def break_lines(words: list[Span], limits: Limits) -> list[list[Span]]:
    """The lines of a cue. None is wider than `limits.line_chars`, save a single word that is wider."""

    def lines(begin: int) -> Iterator[tuple[int, float]]:
        used = 0.0
        for end in range(begin + 1, len(words) + 1):
            used += limits.width(words[end - 1], follows=end - 1 > begin)
            if used > limits.line_chars and end > begin + 1:
                return
            place = break_cost(words[end - 1], words[end], limits.code) if end < len(words) else 0.0
            yield end, A_LINE + place + UNEVENNESS * (used / limits.line_chars) ** 2

    return best_split(words, lines)
