"""A Dask cluster, whose scheduler says which machine does what, and what is done again when a machine is lost."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from forced_aligner.base.console import log_always
from forced_aligner.base.errors import RunError, UserError
from forced_aligner.base.machine import chip_name

if TYPE_CHECKING:
    from distributed import Client

P = ParamSpec("P")
R = TypeVar("R")
CONNECT_S = 10  # after which a scheduler counts as unreachable
ASK_AGAIN_S = 5.0  # workers come and go
DOCS = "docs/large-sets.md"


class Cluster(Executor):
    """An executor on a cluster that answers.

    Attributes:
        chips: the names of its processors.
    """

    def __init__(self, client: Client, address: str) -> None:
        """Wait until the cluster has a worker, and see that the workers can load this project."""
        self._client, self._address = client, address
        self._asked_s, self._threads, self._is_told, self._sent = 0.0, 0, False, 0
        while not self.threads():
            time.sleep(1)
        self.chips = sorted(set(client.run(chip_name).values()))
        self._executor: Executor = client.get_executor(pure=False)

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Call `fn` there."""
        self._sent += 1
        return self._executor.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for the calls; Dask cancels those for which it is not to wait."""
        self._executor.shutdown(wait and not cancel_futures)

    def width(self) -> int:
        """How many calls may be under way: one for each thread, and later two, so that no thread waits.

        Dask counts a worker's death against all calls that are at the worker. It keeps those that are too many at the
        scheduler (`worker-saturation`), but only once it has seen more than two alike for each thread.
        """
        threads = self.threads()
        return threads if self._sent <= 2 * threads else 2 * threads

    def threads(self) -> int:
        """How many calls it can make at a time. Where it can make none, that is said once."""
        if not self._threads or time.monotonic() > self._asked_s + ASK_AGAIN_S:
            self._threads, self._asked_s = sum(self._client.nthreads().values()), time.monotonic()
        if not self._threads and not self._is_told:
            log_always(f"waiting for a worker of {self._address}")
        self._is_told = not self._threads
        return self._threads


@contextmanager
def dask_cluster(address: str) -> Iterator[Cluster]:
    """The cluster at `address`, such as `tcp://10.0.0.1:8786`, once it has a worker.

    Raises:
        UserError: Dask is not installed, no scheduler answers, or the workers cannot load this project.
    """
    try:
        from distributed import Client
        from distributed.security import Security
    except ModuleNotFoundError:
        raise UserError("--cluster needs Dask: uv sync --extra distributed") from None
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)  # a lost scheduler is told in one sentence
    if address.startswith("tls:") and not Security().get_connection_args("client").get("ssl_context"):
        raise UserError(f"{address} needs certificates: name them in Dask's configuration, by DASK_CONFIG")
    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(f"no Dask scheduler answers at {address} ({_reason(error)}): see {DOCS}") from None
    try:
        try:
            cluster = Cluster(client, address)
        except Exception as error:  # Dask makes a bare one of what a worker cannot load
            raise cluster_error(error) from None
        yield cluster
        cluster.shutdown()
    finally:
        client.close()


def cluster_error(error: Exception) -> UserError:
    """What a call's future raised, if not the call itself, in one sentence. A `RunError` ends the run."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return UserError("workers of the cluster died of this recording: is there too little memory?")
    if isinstance(error, CancelledError):
        return RunError("the cluster was lost: start it, then run this again to go on")
    reason = _reason(error)
    if isinstance(error, ImportError) or "No module named" in str(error) or "deserialization" in str(error):
        return RunError(
            f"the cluster cannot load this project ({reason}): start its scheduler and its workers in the project's "
            f"folder, as {DOCS} has it"
        )
    return RunError(f"the cluster failed ({type(error).__name__}: {reason}): see {DOCS}, then run this again to go on")


def _reason(error: Exception) -> str:
    """The first sentence of an exception's message."""
    return " ".join((str(error) or type(error).__name__).split(". ")[0].split())
