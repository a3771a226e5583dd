"""Whether subtitle cues keep a published guideline: the Netflix Timed Text Style Guide, see `output/reading.py`.

Ten minutes of prose are spoken by espeak-ng, which tells the true times of the words. The cues are made from these, so
that nothing but the making of cues is measured; and once more from times on the aligner's grid of 80 ms.

uv run benchmarks/cues.py
"""

import re
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import write_results
from forced_aligner.base.console import run_app

app = typer.Typer(add_completion=False)
PROSE = Path(__file__).with_name("prose") / "harbour.txt"
SEED = 4200
WORDS_PER_MINUTE, PITCH, VOICE = 150, 50, "en-us"
SENTENCE_PAUSE_S, PARAGRAPH_PAUSE_S = (0.1, 0.7), (0.8, 1.4)  # after a line; espeak-ng pauses within it
GRID_MS = 80.0
# Every abbreviation of the prose, none of which ends a sentence there.
ABBREVIATIONS = re.compile(r"(Mrs|Mr|Dr|Prof|Capt|St|No|Rd|vol|approx|a\.m|p\.m|etc|J|T|U\.K)\.,?")
LINE_CHARS, LINES, LEAST_S, LONGEST_S, CHARS_PER_S = 42, 2, 5 / 6, 7.0, 20.0
ROUNDING_S = 0.001


@dataclass(frozen=True)
class Spoken:
    """The prose with (words, 2) times in ms, and how long it lasts."""

    words: list[str]
    times_ms: np.ndarray
    duration_s: float


@app.command()
def main(
    text: Annotated[Path, typer.Option(help="Sentences in lines; a blank line is a longer pause.")] = PROSE,
) -> None:
    """Measure, print a table and write JSON."""
    spoken = speak(text)
    grid = Spoken(spoken.words, np.floor(spoken.times_ms / GRID_MS + 0.5) * GRID_MS, spoken.duration_s)
    results = {
        "words": len(spoken.words),
        "duration_s": round(spoken.duration_s, 1),
        "true_times": figures(cues_of(spoken)),
        "times_on_the_grid": figures(cues_of(grid)),
    }
    write_results("cues", results)
    _print(results)


def speak(path: Path) -> Spoken:
    """The prose of a file, line by line, with pauses."""
    from demo.speech import SAMPLE_RATE_HZ, Synthesizer, Voice

    synthesizer, rng = Synthesizer(), np.random.default_rng(SEED)
    words: list[str] = []
    times_s: list[np.ndarray] = []
    at_s = 0.0
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line:
            at_s += rng.uniform(*PARAGRAPH_PAUSE_S)
            continue
        utterance = synthesizer.speak_prose(line, Voice(VOICE, WORDS_PER_MINUTE, PITCH))
        words += utterance.words
        times_s.append(at_s + np.stack([utterance.starts_s, utterance.ends_s], axis=1))
        at_s += len(utterance.audio) / SAMPLE_RATE_HZ + rng.uniform(*SENTENCE_PAUSE_S)
    return Spoken(words, 1000 * np.concatenate(times_s), at_s)


def cues_of(spoken: Spoken) -> list[Any]:
    """The cues of its SRT file, as another program reads them."""
    import pysubs2

    from forced_aligner.output.cues import CueOptions
    from forced_aligner.output.formats import FORMATS
    from forced_aligner.output.records import TimedFile, TimedWord

    words = [
        TimedWord(text=word, word=word, start_time_ms=start_ms, end_time_ms=end_ms, confidence=1.0)
        for word, (start_ms, end_ms) in zip(spoken.words, spoken.times_ms.tolist(), strict=True)
    ]
    file = TimedFile(audio="prose.wav", language="English", duration_s=spoken.duration_s, words=words)
    return list(pysubs2.SSAFile.from_string(FORMATS["srt"].write(file, CueOptions()), format_="srt"))


def figures(cues: list[Any]) -> dict[str, Any]:
    """How many cues break which rule."""
    texts = [cue.plaintext.split() for cue in cues]
    lasts_s = [(cue.end - cue.start) / 1000 for cue in cues]
    chars = [len(" ".join(text)) for text in texts]
    lines = [cue.plaintext.split("\n") for cue in cues]
    gaps = [after.start - before.end for before, after in pairwise(cues)]
    rules = {
        "below_least_duration": [lasts < LEAST_S - ROUNDING_S for lasts in lasts_s],
        "above_longest_duration": [lasts > LONGEST_S + ROUNDING_S for lasts in lasts_s],
        "one_word": [len(text) == 1 for text in texts],
        "above_reading_speed": [
            count / lasts > CHARS_PER_S * (1 + ROUNDING_S) for count, lasts in zip(chars, lasts_s, strict=True)
        ],
        "above_two_lines": [len(some) > LINES for some in lines],
        "line_too_wide": [any(len(line) > LINE_CHARS for line in some) for some in lines],
        "ends_in_an_abbreviation": [ABBREVIATIONS.fullmatch(text[-1]) is not None for text in texts],
        "overlaps_the_next": [gap < 0 for gap in gaps],
    }
    ends = [bool(re.search(r"[.?!][\"']?$", text[-1])) and not ABBREVIATIONS.fullmatch(text[-1]) for text in texts]
    return {
        "cues": len(cues),
        **{rule: sum(broken) for rule, broken in rules.items()},
        "ends_with_a_sentence": sum(ends),
        "ends_with_a_clause": sum(bool(re.search(r"[,;:][\"']?$", text[-1])) for text in texts),
        "mean_chars": round(float(np.mean(chars)), 1),
        "mean_duration_s": round(float(np.mean(lasts_s)), 2),
    }


def _print(results: dict[str, Any]) -> None:
    from rich.table import Table

    from forced_aligner.base.console import show_table

    table = Table("rule", "true times", "80 ms grid")
    for rule, count in results["true_times"].items():
        table.add_row(rule.replace("_", " "), str(count), str(results["times_on_the_grid"][rule]))
    show_table(table, f"{results['words']} words, {results['duration_s']} s")


if __name__ == "__main__":
    run_app(app)
