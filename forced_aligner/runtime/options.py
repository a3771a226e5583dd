"""What the command line says of a runtime; no heavy imports, so that `--help` and refusals are quick."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

from forced_aligner.base.errors import UserError

BackendName = Literal["auto", "coreml", "mil"]
DeviceName = Literal["cpu", "cuda"]
ComputeUnitsName = Literal["all", "cpu", "cpu-and-gpu", "cpu-and-ne"]


def has_core_ml() -> bool:
    """Whether this system has Core ML."""
    return sys.platform == "darwin"


@dataclass(frozen=True)
class RuntimeOptions:
    """Which runtime executes the packages, and how.

    Attributes:
        backend: as in `--backend`. `auto` is Core ML where the system has it, unless a GPU of PyTorch's is asked for,
            and the MIL runtime elsewhere.
        device: where the MIL runtime computes.
        compute_units: where Core ML computes; `None`: where the folder's metadata says.
        use_cache: whether compiled packages of Core ML are kept in the user's cache.
        threads: of PyTorch in the MIL runtime; `None`: by the work of each function.

    Raises:
        UserError: Core ML is asked for where it is not, or with a device or threads; compute units without Core ML; or
            less than one thread.
    """

    backend: BackendName = "auto"
    device: DeviceName = "cpu"
    compute_units: ComputeUnitsName | None = None
    use_cache: bool = True
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.backend == "coreml" and not has_core_ml():
            raise UserError("--backend coreml needs macOS; use --backend mil, which runs the same packages anywhere")
        if self.backend == "coreml" and self.device != "cpu":
            raise UserError(f"--device {self.device} is for the MIL runtime; Core ML takes --compute-units")
        if self.threads is not None and self.is_coreml:
            raise UserError(f"--threads {self.threads} is for the MIL runtime; Core ML chooses its own")
        if self.threads is not None and self.threads < 1:
            raise UserError(f"--threads {self.threads} is less than one thread")
        if self.compute_units and not self.is_coreml:
            raise UserError(
                f"--compute-units {self.compute_units} needs Core ML, but the MIL runtime runs: leave it out"
            )

    @property
    def is_coreml(self) -> bool:
        """Whether Core ML executes the packages; else the MIL runtime does."""
        return self.backend == "coreml" or (self.backend == "auto" and self.device == "cpu" and has_core_ml())
