"""What a run was measured on."""

from __future__ import annotations

from forced_aligner.base.machine import system_name
from forced_aligner.package.provenance import tool_versions
from forced_aligner.runtime.device import processor_name
from forced_aligner.runtime.measurements import RunEnvironment
from forced_aligner.runtime.protocol import Backend


def run_environment(*backends: Backend) -> RunEnvironment:
    """This machine and the backends, which are of one kind and may compute on different units."""
    kind, computes_on = backends[0].name, ", ".join(backend.computes_on for backend in backends)
    return RunEnvironment(
        system=system_name(),
        chip=processor_name(backends[0].computes_on),
        backend=kind,
        device=None if kind == "coreml" else computes_on,
        compute_units=computes_on if kind == "coreml" else None,
        versions=tool_versions(),
    )
