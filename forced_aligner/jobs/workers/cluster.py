"""A Dask cluster, whose scheduler says which machine does what, and what is done again when a machine is lost."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import TYPE_CHECKING

from forced_aligner.base.console import log_always
from forced_aligner.base.errors import RunError, UserError
from forced_aligner.base.machine import chip_name

if TYPE_CHECKING:
    from concurrent.futures import Executor

CONNECT_S = 10  # after which a scheduler counts as unreachable
IN_FLIGHT = 1000  # calls that the scheduler has at a time


@contextmanager
def dask_cluster(address: str) -> Iterator[tuple[Executor, list[str]]]:
    """An executor on the cluster at `address`, such as `tcp://10.0.0.1:8786`, and the names of its processors.

    It waits until the cluster has a worker.

    Raises:
        UserError: Dask is not installed, no scheduler answers, or the workers cannot load this project.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError:
        raise UserError("--cluster needs Dask: uv sync --extra distributed") from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a lost scheduler is told in one sentence
    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"no Dask scheduler answers at {address} ({reason}): see docs/large-sets.md") from None
    try:
        if not client.nthreads():
            log_always(f"waiting for a worker of {address}")
        client.wait_for_workers(1)
        try:
            chips = client.run(chip_name)
        except Exception as error:  # Dask makes a bare one of what a worker cannot load
            raise _unfit(error) from None
        executor = client.get_executor(pure=False)
        yield executor, sorted(set(chips.values()))
        executor.shutdown()
    finally:
        client.close()


def cluster_error(error: Exception) -> UserError:
    """What a call's future raised, if not the call itself, in one sentence. A `RunError` ends the run."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return UserError("workers of the cluster died of this recording: is there too little memory?")
    if isinstance(error, CancelledError):
        return RunError("the cluster was lost: start it, then run this again to go on")
    return _unfit(error)


def _unfit(error: Exception) -> RunError:
    reason = " ".join(str(error).split(".")[0].split())
    return RunError(
        f"the cluster cannot load this project ({reason}): start its scheduler and its workers in the project's "
        "folder, as docs/large-sets.md has it"
    )
