"""What the times of another host should be: those of its own classes, or else those that ties between scores allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forced_aligner.package.host_kit.golden import Golden
from forced_aligner.package.host_kit.host import repair
from forced_aligner.package.host_kit.stages import FINAL_STAGES, TIMES

Array = NDArray[Any]
CLASSES, RAW, _ = FINAL_STAGES
MAX_CHOICES = 4096  # of the classes of times that may change places; of more, those nearest to the given times


def own_times(name: str, given: Mapping[str, Array], golden: Golden) -> Array | None:
    """(2 words,): raw or repaired times that follow from what the host gave before them; None if it gave nothing.

    Args:
        name: the stage; there is none for `classes`.
        given: what the host gave, by stage.
        golden: the golden vectors of the clip.
    """
    if name == RAW:
        classes = _whole(given.get(CLASSES), golden)
        return None if classes is None else classes * golden.config.head.segment_ms
    if name == TIMES:
        raw = _whole(given.get(RAW), golden)
        raw = own_times(RAW, given, golden) if raw is None else raw
        return None if raw is None else np.array(repair(raw.tolist(), golden.config.repair.snapped_run))
    return None


def _whole(given: Array | None, golden: Golden) -> Array | None:
    """`given` where it has a number for each boundary."""
    is_whole = given is not None and given.shape == (2 * len(golden.words),) and np.isfinite(given).all()
    return given if is_whole else None


def moved(classes: Array, golden: Golden) -> NDArray[np.bool_]:
    """(2 words,): whether a class is none that is as good as the best; what is no whole number is none."""
    allowed = golden.as_good_as_best()
    is_class = (classes >= 0) & (classes < allowed.shape[1]) & (classes == np.round(classes))
    return ~(is_class & allowed[np.arange(len(allowed)), np.where(is_class, classes, 0).astype(int)])


def moved_raw(raw_ms: Array, golden: Golden) -> NDArray[np.bool_]:
    """(2 words,): the same for the times of classes."""
    segment_ms = golden.config.head.segment_ms
    classes = np.round(raw_ms / segment_ms)
    return moved(np.where(classes * segment_ms == raw_ms, classes, np.nan), golden)


def is_of_ties(times_ms: Array, golden: Golden) -> bool:
    """Whether repaired times are those of classes that are all as good as the best.

    The boundaries are cut into parts, none of whose classes is later than any of the next part. The longest subsequence
    that `repair` keeps is then that of each part, one after the other, so that the choices of one part can be tried
    without those of the others. What follows depends on the last time that is kept, and on nothing else before it.

    Args:
        times_ms: (2 words,), finite.
        golden: the golden vectors of the clip.
    """
    times, run = times_ms.tolist(), golden.config.repair.snapped_run
    options = [(np.flatnonzero(row) * golden.config.head.segment_ms).tolist() for row in golden.as_good_as_best()]
    begun: dict[int, list[float]] = {-1: []}  # raw times from the start, by the last one that is kept
    for start, end in _parts(options):
        choices = list(_choices(options[start:end], times[start:end], run))
        longer: dict[int, list[float]] = {}
        for raw in (before + choice for before in begun.values() for choice in choices):
            result = repair(raw, run)
            last = _kept(raw, result)[-1]
            if result[: last + 1] == times[: last + 1]:
                longer.setdefault(last, raw)
        begun = longer
    return any(repair(raw, run) == times for raw in begun.values())


def _parts(options: Sequence[Sequence[float]]) -> Iterator[tuple[int, int]]:
    """Start and end of each part; see `is_of_ties`."""
    latest = np.maximum.accumulate([max(each) for each in options])
    earliest = np.minimum.accumulate([min(each) for each in options][::-1])[::-1]
    cuts = [0, *(np.flatnonzero(latest[:-1] <= earliest[1:]) + 1).tolist(), len(options)]
    yield from pairwise(cuts)


def _choices(options: Sequence[Sequence[float]], times: Sequence[float], run: int) -> Iterator[list[float]]:
    """One choice of raw times for each way to keep some of a part, where `times` has what is kept and lies between."""
    nearest = [sorted(each, key=lambda raw: abs(raw - time)) for each, time in zip(options, times, strict=True)]
    seen = set()
    for choice in islice(product(*nearest), MAX_CHOICES):
        raw = list(choice)
        result = repair(raw, run)
        kept = _kept(raw, result)
        first, last = kept[0], kept[-1]
        if (ways := tuple(kept)) not in seen and result[first : last + 1] == list(times[first : last + 1]):
            seen.add(ways)
            yield raw


def _kept(raw: Sequence[float], result: Sequence[float]) -> list[int]:
    """The places of the times that `repair` keeps: it moves all others."""
    return [at for at, pair in enumerate(zip(raw, result, strict=True)) if int(pair[0]) == pair[1]]
