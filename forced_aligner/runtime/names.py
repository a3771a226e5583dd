"""What the command line says of a runtime; no heavy imports, so that `--help` is quick."""

from dataclasses import dataclass
from typing import Literal

BackendName = Literal["auto", "coreml", "mil"]
DeviceName = Literal["cpu", "cuda"]
ComputeUnitsName = Literal["all", "cpu", "cpu-and-gpu", "cpu-and-ne"]


@dataclass(frozen=True)
class RuntimeOptions:
    """Which runtime executes the packages, and how.

    Attributes:
        backend: as in `--backend`.
        device: where the MIL runtime computes.
        compute_units: where Core ML computes; `None`: where the folder's metadata says.
        use_cache: whether Core ML's compiled packages are kept in the user's cache.
    """

    backend: BackendName = "auto"
    device: DeviceName = "cpu"
    compute_units: ComputeUnitsName | None = None
    use_cache: bool = True
