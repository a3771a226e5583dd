"""Every function of every package, on every backend: loads, calls and memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median

import numpy as np

from forced_aligner.jobs.benchmark.probe import Probe, inputs_for, inputs_of_size, milliseconds
from forced_aligner.package.bundle import Bundle
from forced_aligner.package.spec import input_types, read_spec
from forced_aligner.runtime.measurements import FunctionTiming, PackageTiming
from forced_aligner.runtime.protocol import Arrays


@dataclass(frozen=True)
class _Function:
    component: str
    name: str
    size: int | None

    def __str__(self) -> str:
        return f"{self.component} {self.name}"


@dataclass
class _Times:
    """Of one function on one backend, in ms."""

    loads: list[float] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)


class FunctionBenchmark:
    """The functions of a folder, measured in rounds, in which the backends take turns call by call."""

    def __init__(self, bundle: Bundle, probes: Sequence[Probe]) -> None:
        self._bundle, self._probes = bundle, probes
        self._functions = [
            _Function(component, name, size)
            for component, record in bundle.metadata.components.items()
            for name, size in sorted(record.functions.items(), key=lambda item: item[1] or 0)
        ]
        self._times: dict[tuple[str, _Function], _Times] = defaultdict(_Times)

    def prepare(self) -> list[PackageTiming]:
        """Prepare each package once: the backends of Core ML share what is compiled, on whichever unit it runs then."""
        timings, probe = [], self._probes[0]
        for component in self._bundle.metadata.components:
            with probe.reported(component):
                prepare_ms = milliseconds(partial(probe.prepare, component))
                timings.append(PackageTiming(component=component, computes_on=probe.computes_on, prepare_ms=prepare_ms))
        return timings

    def use_first(self, recorded: Mapping[str, Arrays]) -> None:
        """Load and call each function that was not used yet; a function is loaded while no other is."""
        for function in self._functions:
            inputs = self._inputs(function, recorded)
            for probe in self._probes:
                is_done = (function.component, function.name) in probe.first_uses
                if not is_done and not probe.has_failed(function.component):
                    with probe.reported(str(function)):
                        probe.predict(function.component, function.name, inputs)

    def measure_round(self, recorded: Mapping[str, Arrays], calls: int) -> None:
        """One round: each function is loaded on every backend, called in turns, and let go of."""
        for function in self._functions:
            inputs = self._inputs(function, recorded)
            for probe in self._able(function):
                with probe.reported(str(function)):
                    self._load(probe, function, inputs)
            for _ in range(calls):
                for probe in self._able(function):
                    with probe.reported(str(function)):
                        self._call(probe, function, inputs)
            for probe in self._probes:
                probe.backend.unload(function.component, function.name)

    def timings(self) -> list[FunctionTiming]:
        """What was measured."""
        return [self._timing(function, probe) for function in self._functions for probe in self._able(function)]

    def _inputs(self, function: _Function, recorded: Mapping[str, Arrays]) -> Arrays:
        names = list(input_types(read_spec(self._bundle.package(function.component)), function.name))
        inputs = inputs_for(function.component, names, recorded)
        return inputs_of_size(inputs, function.size, self._bundle.metadata.dimensions)

    def _able(self, function: _Function) -> list[Probe]:
        """The backends that have run a function, and have not failed to since."""
        key = (function.component, function.name)
        return [probe for probe in self._probes if key in probe.first_uses and not probe.has_failed(str(function))]

    def _load(self, probe: Probe, function: _Function, inputs: Arrays) -> None:
        """Load a function, and call it once, which is not measured."""
        backend, key = probe.backend, (function.component, function.name)
        self._of(probe, function).loads.append(milliseconds(lambda: backend.load(*key)))
        backend.predict(*key, inputs)

    def _call(self, probe: Probe, function: _Function, inputs: Arrays) -> None:
        call_ms = milliseconds(lambda: probe.backend.predict(function.component, function.name, inputs))
        self._of(probe, function).calls.append(call_ms)

    def _of(self, probe: Probe, function: _Function) -> _Times:
        return self._times[probe.computes_on, function]

    def _timing(self, function: _Function, probe: Probe) -> FunctionTiming:
        first, times = probe.first_uses[function.component, function.name], self._of(probe, function)
        return FunctionTiming(
            component=function.component,
            function=function.name,
            computes_on=probe.computes_on,
            size=function.size,
            first_load_ms=first.load_ms,
            first_call_ms=first.call_ms,
            load_ms=median(times.loads),
            median_ms=median(times.calls),
            p95_ms=float(np.percentile(times.calls, 95)),
            calls=len(times.calls),
            memory_growth_bytes=first.growth_bytes,
        )
