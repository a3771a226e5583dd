"""What the command line says of who does the work; no heavy imports, so that `--help` and refusals are quick."""

from __future__ import annotations

import re
from dataclasses import dataclass

from forced_aligner.base.errors import UserError
from forced_aligner.base.machine import cores

EXAMPLE = "tcp://10.0.0.1:8786"
ADDRESS = re.compile(r"(tcp|tls)://(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}")


@dataclass(frozen=True)
class Workers:
    """What the command line says of who works.

    Attributes:
        jobs: processes of this machine; with one, this process itself.
        threads: of PyTorch's, in each process. `None`: by the work of a call, but no more than `most_threads`.
        cluster: the address of a Dask scheduler, instead of processes.

    Raises:
        UserError: both processes and a cluster are asked for, or the address is none.
    """

    jobs: int = 1
    threads: int | None = None
    cluster: str | None = None

    def __post_init__(self) -> None:
        if self.jobs > 1 and self.cluster is not None:
            raise UserError("--jobs is for this machine, and --cluster for many: give one of them")
        if self.cluster is not None and not ADDRESS.fullmatch(self.cluster):
            raise UserError(f"--cluster takes the address of a Dask scheduler such as {EXAMPLE}, not {self.cluster!r}")

    @property
    def are_others(self) -> bool:
        """Whether other processes do the work."""
        return self.jobs > 1 or self.cluster is not None

    @property
    def most_threads(self) -> int | None:
        """The most threads of a process that make use of every core once; `None`: as many as PyTorch would take."""
        return None if self.jobs == 1 else max(1, cores() // self.jobs)


ALONE = Workers()
