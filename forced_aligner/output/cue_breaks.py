"""Where cues begin and end. Of all ways to cut a transcript, the one that is best to read is taken."""

from __future__ import annotations

import math
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
BRIEF = 4.0  # times the share of twice the least duration that is missing: such cues are allowed, and flash by
PAUSE_AFTER = -1.5  # as long as the longest pause that a cue may have
ROUNDING_TICKS = 1e-6


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
        start_ms = cue[0].start_ms
        end_ms = shown_until(start_ms, cue[-1].end_ms, limits.cue_width(cue), next_ms, limits)
        end_ticks = math.floor(end_ms * 1e6 / tick_ns + ROUNDING_TICKS)
        shown.append(Cue(break_lines(cue, limits), start_ms, end_ticks * tick_ns / 1e6))
    return shown


def shown_until(start_ms: float, end_ms: float, chars: float, next_ms: float, limits: Limits) -> float:
    """When a cue ends: with its last word, or as long after it as it takes to read the cue, if there is room.

    Args:
        start_ms: the start of its first word.
        end_ms: the end of its last word.
        chars: its width.
        next_ms: the start of the next cue. At the end of the audio, `GAP_MS` later.
        limits: see `Limits`.
    """
    wanted_ms = max(limits.least_ms, 1000 * chars / limits.chars_per_s)
    return max(end_ms, min(start_ms + min(wanted_ms, limits.longest_ms), next_ms - GAP_MS))


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
    alone = [limits.width(word, follows=False) for word in words]
    inside = [limits.width(word, follows=True) for word in words]
    nexts_ms = [*(word.start_ms for word in words[1:]), next_ms]
    places = [_place_cost(word, after, limits) for word, after in pairwise(words)] + [0.0]

    def cues(begin: int) -> Iterator[tuple[int, float]]:
        start_ms = words[begin].start_ms
        lines, used, chars, sentences = 1, 0.0, 0.0, 0
        for index in range(begin, len(words)):
            word, is_first = words[index], index == begin
            chars += alone[index] if is_first else inside[index]
            if is_first or used + inside[index] <= limits.line_chars:
                used += alone[index] if is_first else inside[index]
            else:
                lines, used = lines + 1, alone[index]
            if not is_first and (lines > limits.lines or word.end_ms - start_ms > limits.longest_ms):
                return
            lasts_ms = shown_until(start_ms, word.end_ms, chars, nexts_ms[index], limits) - start_ms
            cost = _cue_cost(chars, lasts_ms, limits) + places[index] + SENTENCE_INSIDE * sentences
            if is_first and " " not in word.text:
                cost += ONE_WORD_SENTENCE if word.ends_sentence else ONE_WORD
            yield index + 1, cost
            sentences += word.ends_sentence

    return best_split(words, cues)


def _place_cost(word: Span, following: Span, limits: Limits) -> float:
    """The cost of a cue's end between two words. A pause makes it better."""
    pause_ms = min(following.start_ms - word.end_ms, limits.pause_ms)
    return break_cost(word, following, limits.code) + PAUSE_AFTER * pause_ms / max(limits.pause_ms, 1.0)


def _cue_cost(chars: float, lasts_ms: float, limits: Limits) -> float:
    """The cost of a cue of so many characters that is shown so long."""
    least_ms, lasts_ms = max(limits.least_ms, 1.0), max(lasts_ms, 1.0)
    cost = A_CUE + FULLNESS * (chars / (limits.lines * limits.line_chars)) ** 2
    cost += TOO_SHORT * max(0.0, 1 - lasts_ms / least_ms) + BRIEF * max(0.0, 1 - lasts_ms / (2 * least_ms))
    return cost + TOO_FAST * min(1.0, max(0.0, 1000 * chars / lasts_ms / limits.chars_per_s - 1))
