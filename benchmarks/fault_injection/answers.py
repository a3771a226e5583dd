"""Reads what the commands give, and compares it with what is right."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.fault_injection.fault import Check, Finished, Verdict, Word
from forced_aligner.base.errors import UserError
from forced_aligner.package.bundle import Bundle
from forced_aligner.package.contract import SPEC_FILE, WEIGHTS_FILE
from forced_aligner.score.records import ParityReport, Reference

Contents = dict[str, str]


def words_of(content: str) -> list[Word]:
    """The words of a JSON result that have times.

    Raises:
        ValueError: it is no such result.
    """
    try:
        found = [word for word in json.loads(content)["words"] if word["word"] is not None]
        return [(word["text"], word["start_time_ms"], word["end_time_ms"]) for word in found]
    except (KeyError, TypeError) as error:
        raise ValueError(f"no {error}") from None


def is_same(found: Sequence[Word], expected: Sequence[Word], tolerance_ms: float = 0.0, *, texts: bool = True) -> bool:
    """Whether the words are the same and their times differ by no more than `tolerance_ms`."""
    return len(found) == len(expected) and all(
        (one[0] == other[0] or not texts)
        and abs(one[1] - other[1]) <= tolerance_ms
        and abs(one[2] - other[2]) <= tolerance_ms
        for one, other in zip(found, expected, strict=True)
    )


def strange(words: Sequence[Word], end_ms: float = math.inf) -> str:
    """What no right answer has: no word, times that are not finite, that fall, or that pass the end. Empty: nothing."""
    times = [time for word in words for time in word[1:]]
    if not words:
        return "no word"
    if not all(isinstance(time, int | float) and math.isfinite(time) for time in times):
        return "times that are not finite"
    if any(later < earlier for earlier, later in itertools.pairwise(times)):
        return "times that fall"
    return f"times beyond {end_ms:.0f} ms" if times[0] < 0 or times[-1] > end_ms else ""


def _judged(
    name: str, content: str, run: Finished, expected: Sequence[Word] | None, tolerance_ms: float, texts: bool
) -> Verdict:
    try:
        words, end_ms = words_of(content), json.loads(content)["duration_s"] * 1000 + 1
    except (ValueError, KeyError) as error:
        return Verdict("half-made", f"{name} is no result ({error})")
    if odd := strange(words, end_ms):
        return Verdict("silent", f"{name} has {odd}")
    if expected is None or is_same(words, expected, tolerance_ms, texts=texts):
        return Verdict("answered")
    if run.is_warned:
        return Verdict("warned")
    return Verdict("silent", f"{name} has {words[:3]}…, expected {list(expected[:3])}…")


def printed(expected: Sequence[Word] | None, tolerance_ms: float = 0.0, *, texts: bool = True) -> Check:
    """The check of `infer` that prints its JSON; None expects any times that are possible."""

    def check(runs: Sequence[Finished]) -> Verdict:
        run = runs[-1]
        if run.code:
            return Verdict("refused")
        return _judged("the answer", run.out, run, expected, tolerance_ms, texts)

    return check


def written(
    folder: Path,
    expected: Mapping[str, Sequence[Word] | None],
    tolerance_ms: float = 0.0,
    *,
    texts: bool = True,
    skip: Sequence[str] = (),
) -> Check:
    """The check of `infer` that writes JSON files: with exit 0 each of `expected`, by stem, else those that are there.

    A file of a stem that was not expected, and is not in `skip`, needs possible times alone.
    """

    def check(runs: Sequence[Finished]) -> Verdict:
        run = runs[-1]
        files = {path.stem: path for path in folder.glob("*.json") if path.stem not in skip} if folder.is_dir() else {}
        if not run.code and (missing := expected.keys() - files.keys()) and not run.is_warned:
            return Verdict("silent", f"no result of {', '.join(sorted(missing))}, and no line about it")
        for stem, path in files.items():
            found = _judged(path.name, _text(path), run, expected.get(stem), tolerance_ms, texts)
            if found.outcome not in ("answered", "warned"):
                return found
        return Verdict("refused" if run.code else "answered")

    return check


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except ValueError:
        return ""


def reference_at(path: Path, expected: Mapping[str, Sequence[Word] | None] | None = None) -> Check:
    """The check of `compare-models.py`: a whole reference with possible times, of each of the clips `expected`."""

    def check(runs: Sequence[Finished]) -> Verdict:
        run = runs[-1]
        if not path.is_file():
            return Verdict("refused" if run.code else "half-made", f"exit {run.code}, and no {path.name}")
        try:
            reference = Reference.model_validate_json(path.read_bytes())
        except ValueError as error:
            return Verdict("half-made", f"{path.name} is no reference: {str(error).splitlines()[0]}")
        found = {
            Path(sample.audio).stem: [(word.text, word.start_time_ms, word.end_time_ms) for word in sample.alignments]
            for sample in reference.samples
        }
        for name, words in found.items():
            if odd := strange(words):
                return Verdict("silent", f"{name} has {odd}")
        for name, words_expected in (expected or {}).items():
            if name not in found and not run.code:
                return Verdict("silent", f"{name} is missing")
            if name in found and words_expected is not None and not is_same(found[name], words_expected, texts=False):
                return Verdict("silent", f"{name} has {found[name][:3]}")
        return Verdict("refused" if run.code else "answered")

    return check


def report_at(path: Path, *, moved: bool | None = None) -> Check:
    """The check of `compare`: a whole report, which says whether boundaries `moved` where that is known."""

    def check(runs: Sequence[Finished]) -> Verdict:
        run = runs[-1]
        if run.code == 2 and not path.is_file():
            return Verdict("refused")
        report = _report(path)
        if report is None:
            return Verdict("half-made", f"exit {run.code}, and {path.name} is no report")
        if run.code == 2:
            return Verdict("refused")
        if report.passed != (run.code == 0):
            return Verdict("silent", f"exit {run.code}, and passed is {report.passed}")
        if moved is not None and (report.moved > 0) != moved:
            return Verdict("silent", f"{report.moved} boundaries moved")
        return Verdict("answered")

    return check


def _report(path: Path) -> ParityReport | None:
    try:
        return ParityReport.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def contents(path: Path) -> Contents:
    """Digests of the program and the weights of each package of a converted folder.

    The spec of a program is compared as a message: its maps have another order in the file of another process.

    Raises:
        UserError: no converted folder, or a damaged one.
    """
    from forced_aligner.package.proto import Model_pb2

    found = {}
    for key, record in Bundle.open(path).metadata.components.items():
        spec = Model_pb2.Model()
        spec.ParseFromString((path / record.package / SPEC_FILE).read_bytes())
        digest = hashlib.sha256(spec.SerializeToString(deterministic=True))
        digest.update((path / record.package / WEIGHTS_FILE).read_bytes())
        found[key] = digest.hexdigest()
    return found


def bundle_at(path: Path, expected: Sequence[Contents] = ()) -> Check:
    """The check of `convert-coreml.py`: a whole folder, whose contents are one of `expected`, if there are any."""

    def check(runs: Sequence[Finished]) -> Verdict:
        run = runs[-1]
        if run.code and not path.exists():
            return Verdict("refused")
        try:
            found = contents(path)
        except UserError as error:
            return Verdict("half-made", str(error))
        if expected and found not in expected:
            return Verdict("silent", f"{path.name} has other packages than an undisturbed conversion")
        return Verdict("refused" if run.code else "answered")

    return check


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The places of all values in a JSON value that hold no others."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [leaf for key, item in items for leaf in leaves(item, (*path, key))]
    return found or [path]
