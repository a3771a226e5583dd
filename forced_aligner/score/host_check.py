"""Another host's stages against the golden vectors of a kit: the first that departs, how, and by how much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from forced_aligner.base.console import show_table
from forced_aligner.base.records import Record
from forced_aligner.base.text import visible
from forced_aligner.package.host_kit.golden import Golden
from forced_aligner.package.host_kit.stages import (
    PACKAGES,
    REFERENCE,
    STAGES,
    TIMES,
    Stage,
    in_order,
    key,
    stage_of,
)
from forced_aligner.score.host_mistakes import NOT_REPAIRED, distance, recognise
from forced_aligner.score.host_times import RAW, is_of_ties, moved, moved_raw, own_times

Array = NDArray[Any]


class StageResult(Record):
    """One stage of one clip.

    Attributes:
        clip: its name.
        stage: the tensor, such as `mask.0`.
        departs: whether it is farther from the golden vector than the tolerance.
        distance: by the stage's measure; None where the shapes differ or a number is not finite.
        measure: see `Stage`.
        tolerance: of the stage.
        from_pytorch: the distance of the same from PyTorch in float32, where that has the stage.
        how: for a departure: the known mistake, or what differs.
        is_known: whether `how` is a known mistake.
    """

    clip: str
    stage: str
    departs: bool
    distance: float | None
    measure: str
    tolerance: float
    from_pytorch: float | None = None
    how: str = ""
    is_known: bool = False


class HostReport(Record):
    """What `check-host` found."""

    schema_version: Literal[1] = 1
    model_id: str
    clips: list[str]
    passed: bool
    first: StageResult | None
    results: list[StageResult]
    not_given: list[str]


def host_report(model_id: str, results: list[StageResult], clips: list[str]) -> HostReport:
    """The report of all clips; the first departure is that of the earliest stage, in a clip that tells how."""
    departing = [result for result in results if result.departs]
    names = in_order({result.stage for result in departing})
    given = {stage.name for result in results if (stage := stage_of(result.stage))}
    return HostReport(
        model_id=model_id,
        clips=clips,
        passed=not departing,
        first=min(departing, key=lambda result: (names.index(result.stage), not result.is_known), default=None),
        results=results,
        not_given=[name for name in STAGES if name not in given],
    )


def check_clip(clip: str, golden: Golden, given: Mapping[str, Array]) -> list[StageResult]:
    """Compare every stage that a host gave for a clip, in the order of the stages.

    Args:
        clip: its name.
        golden: its golden vectors.
        given: arrays by stage, none of them empty; axes of length 1 at the front do not count.
    """
    checked, stages = [], dict(given)
    for name in in_order(given):
        stage, expected = stage_of(name), golden.expected(name)
        assert stage is not None
        if expected is None:
            how = f"there is no {name}: this clip needs fewer calls"
            checked.append(_result(clip, name, stage, None, how=how))
            continue
        stages[name] = _as_expected(stage, given[name], expected)
        if stage.name == "mask":
            checked.append(_check_mask(clip, name, stage, golden, stages[name], expected))
        else:
            checked.append(_check(clip, name, stage, golden, stages, expected))
    return checked


def _check_mask(clip: str, name: str, stage: Stage, golden: Golden, given: Array, expected: Array) -> StageResult:
    """Compare the rows of the real tokens, in a mask of any function's size: what padded rows give is dropped."""
    real = int(expected.any(0).sum())
    sizes = {function.size for function in golden.config.components["audio_transformer"].functions}
    is_size = given.ndim == 2 and given.shape[0] == given.shape[1] >= real and len(given) in sizes
    if is_size:
        expected = np.pad(expected[:real, :real], ((0, 0), (0, len(given) - real)))
    how = recognise(stage, given, expected, golden)
    if not is_size:
        shape = f"its shape is {list(given.shape)}, and not {list(expected.shape)}"
        return _result(clip, name, stage, None, how=how or shape, is_known=how is not None)
    apart = distance(stage, given[: len(expected)] == 0, expected == 1)
    return _result(clip, name, stage, apart, how=how or "", is_known=how is not None, departs=how is not None or None)


def _check(
    clip: str, name: str, stage: Stage, golden: Golden, stages: Mapping[str, Array], expected: Array
) -> StageResult:
    given, own = stages[name], own_times(name, stages, golden)
    if own is not None:
        expected = own
    if given.shape != expected.shape:
        how = recognise(stage, given, expected, golden)
        shape = f"its shape is {list(given.shape)}, and not {list(expected.shape)}"
        return _result(clip, name, stage, None, how=how or shape, is_known=how is not None)
    apart = _distance(stage, given, expected, golden, may_tie=own is None)
    if apart <= stage.tolerance:
        return _result(clip, name, stage, apart, from_pytorch=_from_pytorch(stage, name, given, golden))
    raw = stages[RAW] if RAW in stages else own_times(RAW, stages, golden)
    is_raw = name == TIMES and raw is not None and np.array_equal(given, raw)
    how = NOT_REPAIRED if is_raw else recognise(stage, given, expected, golden)
    plain = "no known mistake: compare it value by value"
    return _result(clip, name, stage, apart, how=how or plain, is_known=how is not None)


def _distance(stage: Stage, given: Array, expected: Array, golden: Golden, *, may_tie: bool) -> float:
    """As `distance`; of classes, and of times that come without them, those that scores of ties allow do not count."""
    if stage.name == "classes":
        return float(moved(given, golden).sum())
    if stage.name == RAW and may_tie:
        return float(moved_raw(given, golden).sum())
    if stage.name == TIMES and may_tie and is_of_ties(given, golden):
        return 0.0
    return distance(stage, given, expected)


def _as_expected(stage: Stage, given: Array, expected: Array) -> Array:
    """Without leading axes of 1, and without the angles of padding."""
    while given.ndim > expected.ndim and given.shape[0] == 1:
        given = given[0]
    if stage.name in ("cos", "sin") and given.ndim == 2:
        return given[: len(expected)]  # a host may pass those of the padded prompt
    return given


def _from_pytorch(stage: Stage, name: str, given: Array, golden: Golden) -> float | None:
    reference = golden.tensors.get(key(REFERENCE, name))
    if stage.name == "hidden_states":
        reference = golden.with_audio(REFERENCE)
    if key(PACKAGES, name) not in golden.tensors or reference is None or reference.shape != given.shape:
        return None
    return distance(stage, given, reference)


def _result(
    clip: str,
    name: str,
    stage: Stage,
    apart: float | None,
    *,
    from_pytorch: float | None = None,
    how: str = "",
    is_known: bool = False,
    departs: bool | None = None,
) -> StageResult:
    finite = apart if apart is not None and np.isfinite(apart) else None
    return StageResult(
        clip=clip,
        stage=name,
        departs=(finite is None or finite > stage.tolerance) if departs is None else departs,
        distance=finite,
        measure=stage.measure,
        tolerance=stage.tolerance,
        from_pytorch=from_pytorch if from_pytorch is not None and np.isfinite(from_pytorch) else None,
        how=how,
        is_known=is_known,
    )


def verdict(report: HostReport) -> str:
    """The report in one sentence."""
    count = f"{len(report.results)} results of {len(report.clips)} clips"
    if report.first is None:
        return f"passed: {count} are within their tolerances"
    first = report.first
    away = (
        "" if first.distance is None else f", by {first.distance:.3g} (tolerance {first.tolerance:g}, {first.measure})"
    )
    return f"FAILED: the first stage that departs is {first.stage}, in {first.clip}{away}: {first.how}"


def print_host_report(report: HostReport) -> None:
    """Print a row for each stage, with the farthest of its clips, and the first departure."""
    table = Table(title=f"{visible(report.model_id)}: another host against the golden vectors")
    for heading in ("stage", "departs", "farthest", "tolerance", "measure", "from PyTorch", "how"):
        table.add_column(heading, justify="left" if heading in ("stage", "measure", "how") else "right")
    for name in in_order({result.stage for result in report.results}):
        results = [result for result in report.results if result.stage == name]
        departing = sorted((result for result in results if result.departs), key=lambda result: not result.is_known)
        table.add_row(
            name,
            f"{len(departing)} of {len(results)}" if departing else "ok",
            _farthest([result.distance for result in results]),
            f"{results[0].tolerance:g}",
            results[0].measure,
            _farthest([result.from_pytorch for result in results]),
            visible(departing[0].how) if departing else "",
        )
    missing = f"not given: {', '.join(report.not_given)}" if report.not_given else "every stage was given"
    show_table(table, missing, verdict(report))


def _farthest(distances: list[float | None]) -> str:
    return f"{max(known):.3g}" if (known := [apart for apart in distances if apart is not None]) else ""
