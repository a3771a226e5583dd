"""What `benchmark` is asked for; no heavy imports, so that a bad option is told at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from forced_aligner.base.errors import UserError
from forced_aligner.runtime.options import BackendName, ComputeUnitsName, DeviceName, RuntimeOptions

CLIP_LENGTHS_S = (5.0, 15.0, 30.0, 60.0)


@dataclass(frozen=True)
class BenchmarkOptions:
    """How much is measured.

    Attributes:
        rounds: everything is measured so often, one round after the other.
        calls: measured calls of each function in a round.
        clip_lengths_s: lengths of the whole clips.
    """

    rounds: int = 3
    calls: int = 10
    clip_lengths_s: tuple[float, ...] = CLIP_LENGTHS_S


def runtimes(backend: BackendName, device: DeviceName, compute_units: str | None) -> list[RuntimeOptions]:
    """The runtimes to measure: one for each of the comma-separated `compute_units`; without them, the folder's own.

    None of them uses the cache of compiled packages, so that compiling is measured.

    Raises:
        UserError: there are no such compute units.
    """
    known = get_args(ComputeUnitsName)
    chosen = list(dict.fromkeys(name.strip() for name in compute_units.split(","))) if compute_units is not None else []
    for name in chosen:
        if name not in known:
            raise UserError(f"no compute units {name!r}; --compute-units takes some of {', '.join(known)}")
    units: list[ComputeUnitsName | None] = [name for name in known if name in chosen] or [None]
    return [RuntimeOptions(backend, device, name, use_cache=False) for name in units]
