"""Whole clips, from samples to word times, on every backend."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from forced_aligner.align.chain import Aligner, Alignment
from forced_aligner.align.clock import LOAD_STAGE
from forced_aligner.align.long_recording import align_recording
from forced_aligner.jobs.benchmark.clips import LANGUAGE, TimedClip
from forced_aligner.jobs.benchmark.probe import CallCounter, Probe, milliseconds
from forced_aligner.package.bundle import Bundle
from forced_aligner.runtime.measurements import ClipTiming


def align_clip(aligner: Aligner, clip: TimedClip) -> Alignment:
    """The alignment of a clip, in one piece if the model takes it so.

    Raises:
        UserError: the model cannot take it.
    """
    return align_recording(aligner, clip.samples, clip.transcript, LANGUAGE)


@dataclass(frozen=True)
class _Run:
    """Two alignments of a clip one after the other: how long the first took, and what the second gave."""

    first_ms: float
    alignment: Alignment
    calls: dict[str, int]


class ClipBenchmark:
    """Clips, measured in rounds, in which the backends take turns clip by clip."""

    def __init__(self, bundle: Bundle, probes: Sequence[Probe], clips: Sequence[TimedClip]) -> None:
        self._clips, self._components = clips, bundle.metadata.components.keys()
        self._aligners: list[tuple[Probe, CallCounter, Aligner]] = []
        for probe in probes:
            counter = CallCounter(probe.backend)
            self._aligners.append((probe, counter, Aligner(bundle, counter)))
        self._runs: dict[tuple[float, str], list[_Run]] = defaultdict(list)

    def measure_round(self) -> None:
        """One round: each clip on every backend, which lets go of its functions afterwards."""
        for clip in self._clips:
            what = f"clip of {clip.duration_s:g} s"
            for probe, counter, aligner in self._aligners:
                if probe.has_failed(what):
                    continue
                with probe.reported(what):
                    self._runs[clip.duration_s, probe.computes_on].append(self._align(counter, aligner, clip))
                counter.unload_all()

    def timings(self) -> list[ClipTiming]:
        """What was measured."""
        return [
            self._timing(clip, probe.computes_on, runs)
            for clip in self._clips
            for probe, _, _ in self._aligners
            if (runs := self._runs.get((clip.duration_s, probe.computes_on)))
        ]

    def _align(self, counter: CallCounter, aligner: Aligner, clip: TimedClip) -> _Run:
        first_ms = milliseconds(lambda: align_clip(aligner, clip))
        counter.calls.clear()
        alignment = align_clip(aligner, clip)
        return _Run(first_ms, alignment, {key: counter.calls[key] for key in self._components if counter.calls[key]})

    def _timing(self, clip: TimedClip, computes_on: str, runs: list[_Run]) -> ClipTiming:
        last = runs[-1].alignment
        total_ms = median(run.alignment.latency_ms for run in runs)
        return ClipTiming(
            duration_s=clip.duration_s,
            computes_on=computes_on,
            words=len(last.words),
            calls=runs[-1].calls,
            first_ms=median(run.first_ms for run in runs),
            stage_ms={
                stage: median(run.alignment.stage_ms[stage] for run in runs)
                for stage in last.stage_ms
                if stage != LOAD_STAGE
            },
            total_ms=total_ms,
            real_time_factor=total_ms / 1000 / clip.duration_s,
        )
