"""Where cues begin and end. Of all ways to cut a transcript, the one that is best to read is taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from forced_aligner.output.cue_lines import break_lines
from forced_aligner.output.cues import CueOptions, Limits, Span, limits_of, subtitle_spans
from forced_aligner.output.places import best_split, break_cost
from forced_aligner.output.reading import GAP_MS, language_code
from forced_aligner.output.records import TimedFile, joined

# Costs of a cue beside that of the place where it ends, see `places.break_cost`. A sentence is kept in one cue, and
# by itself unless a cue would then be short, or hard to read.
A_CUE, FULLNESS = 2.0, 3.0  # the square of how full it is: two cues of like lengths cost less
SENTENCE_INSIDE = 1.5
ONE_WORD, ONE_WORD_SENTENCE = 6.0, 3.5
TOO_SHORT, TOO_FAST = 10.0, 10.0  # times the share that is missing, or too much
PAUSE_AFTER = -1.5  # as long as the longest pause that a cue may have


@dataclass(frozen=True)
class Cue:
    """A cue as it is shown.

    Attributes:
        lines: its words.
        start_ms: the start of its first word.
        end_ms: the end of its last word, or later.
    """

    lines: list[list[Span]]
    start_ms: float
    end_ms: float


def make_cues(file: TimedFile, options: CueOptions, tick_ns: int) -> list[Cue]:
    """The cues of a recording. Their times are multiples of `tick_ns` nanoseconds, and within the audio."""
    code = language_code(file.language, joined(file.words)[0])
    limits = limits_of(options, code)
    words = subtitle_spans(file, code, tick_ns, per_line=options.cue_per_line)
    last_ms = file.ticks(tick_ns) * tick_ns / 1e6
    cues = group_cues(words, limits, last_ms)
    shown = []
    for cue, next_ms in zip(cues, starts_after(cues, last_ms), strict=True):
        end_ms = shown_until(cue, limits.cue_width(cue), next_ms, limits)
        shown.append(Cue(break_lines(cue, limits), cue[0].start_ms, end_ms // (tick_ns / 1e6) * tick_ns / 1e6))
    return shown


def shown_until(cue: list[Span], chars: float, next_ms: float, limits: Limits) -> float:
    """When a cue ends: with its last word, or as long after it as it takes to read the cue, if there is room.

    Args:
        cue: its words.
        chars: its width.
        next_ms: the start of the next cue. At the end of the audio, `GAP_MS` later.
        limits: see `Limits`.
    """
    start_ms = cue[0].start_ms
    wanted_ms = max(limits.least_ms, 1000 * chars / limits.chars_per_s)
    return max(cue[-1].end_ms, min(start_ms + min(wanted_ms, limits.longest_ms), next_ms - GAP_MS))


def group_cues(words: list[Span], limits: Limits, last_ms: float) -> list[list[Span]]:
    """Group words into cues within `limits`, in audio that ends at `last_ms`."""
    cuts = [index for index in range(1, len(words)) if _must_break(words[index - 1], words[index], limits)]
    parts = [words[begin:end] for begin, end in pairwise([0, *cuts, len(words)])] if words else []
    if limits.per_line:
        return parts
    nexts_ms = starts_after(parts, last_ms)
    return [cue for part, next_ms in zip(parts, nexts_ms, strict=True) for cue in _split(part, next_ms, limits)]


def starts_after(cues: list[list[Span]], last_ms: float) -> list[float]:
    """The start of the cue after each. The last may last until the end of the audio, `last_ms`."""
    return [*(cue[0].start_ms for cue in cues[1:]), *([last_ms + GAP_MS] if cues else [])]


def _must_break(before: Span, word: Span, limits: Limits) -> bool:
    if limits.per_line:
        return word.begins_line
    return word.begins_turn or word.start_ms - before.end_ms > limits.pause_ms


def _split(words: list[Span], next_ms: float, limits: Limits) -> list[list[Span]]:
    """The best cues of words that only their number parts; after them, the next cue starts at `next_ms`."""

    def cues(begin: int) -> Iterator[tuple[int, float]]:
        lines, used, chars, inside = 1, 0.0, 0.0, 0
        for end in range(begin + 1, len(words) + 1):
            wide = limits.width(words[end - 1], follows=end - 1 > begin)
            if used and used + wide > limits.line_chars:
                lines, used = lines + 1, limits.width(words[end - 1], follows=False)
            else:
                used += wide
            chars += wide
            lasts_ms = words[end - 1].end_ms - words[begin].start_ms
            if end > begin + 1 and (lines > limits.lines or lasts_ms > limits.longest_ms):
                return
            after_ms = words[end].start_ms if end < len(words) else next_ms
            cost = _cue_cost(words[begin:end], chars, after_ms, limits) + SENTENCE_INSIDE * inside
            if end < len(words):
                pause_ms = min(after_ms - words[end - 1].end_ms, limits.pause_ms)
                cost += break_cost(words[end - 1], words[end], limits.code) + PAUSE_AFTER * pause_ms / max(
                    limits.pause_ms, 1.0
                )
            yield end, cost
            inside += words[end - 1].ends_sentence

    return best_split(words, cues)


def _cue_cost(cue: list[Span], chars: float, next_ms: float, limits: Limits) -> float:
    """The cost of a cue, wherever it ends."""
    lasts_ms = max(shown_until(cue, chars, next_ms, limits) - cue[0].start_ms, 1.0)
    cost = A_CUE + FULLNESS * (chars / (limits.lines * limits.line_chars)) ** 2
    cost += TOO_SHORT * max(0.0, 1 - lasts_ms / max(limits.least_ms, 1.0))
    cost += TOO_FAST * min(1.0, max(0.0, 1000 * chars / lasts_ms / limits.chars_per_s - 1))
    if len(cue) == 1 and " " not in cue[0].text:
        cost += ONE_WORD_SENTENCE if cue[0].ends_sentence else ONE_WORD
    return cost
