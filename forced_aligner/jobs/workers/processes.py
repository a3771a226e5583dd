"""Worker processes on this machine. One that dies takes no other with it, and its call is made again in a new one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import resource_tracker
from typing import ParamSpec, TypeVar

from forced_aligner.base.console import quiet_libraries, warn
from forced_aligner.base.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")
WARNINGS = "PYTHONWARNINGS"
MOST_DEATHS = 3  # of workers, by one call


class Processes(Executor):
    """An executor of `count` processes.

    Each is a pool of its own, that a thread of this process waits for. So it is known which call a worker died of.
    """

    def __init__(self, count: int) -> None:
        _start_tracker()
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="worker")
        self._own = threading.local()
        self._pools: list[ProcessPoolExecutor] = []

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Call `fn` in a process.

        The future raises:
            UserError: `MOST_DEATHS` processes died in this call.
        """
        return self._threads.submit(self._call, partial(fn, *args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes, once their calls are done."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        for waits in (False, wait):  # first all are told, so that they end at the same time
            for pool in self._pools:
                pool.shutdown(waits)

    def _call(self, call: Callable[[], R]) -> R:
        for death in range(1, MOST_DEATHS + 1):
            try:
                return self._pool().submit(call).result()
            except BrokenProcessPool:
                self._own.pool = None
                warn(f"a worker process died; its recording gets {MOST_DEATHS - death} more")
        raise UserError(
            f"{MOST_DEATHS} worker processes died of this recording: is there too little memory? Try it by itself"
        )

    def _pool(self) -> ProcessPoolExecutor:
        """The pool of this thread, with its one process."""
        if getattr(self._own, "pool", None) is None:
            context = multiprocessing.get_context("spawn")  # PyTorch's threads do not survive a fork
            self._own.pool = ProcessPoolExecutor(1, context, initializer=_begin)
            self._pools.append(self._own.pool)
        pool: ProcessPoolExecutor = self._own.pool
        return pool


def _start_tracker() -> None:
    """Start multiprocessing's process that removes what a killed run leaves behind, without its warning about it."""
    before = os.environ.get(WARNINGS)
    os.environ[WARNINGS] = "ignore:resource_tracker:UserWarning"  # it takes the environment as it is when it starts
    try:
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ[WARNINGS]
        else:
            os.environ[WARNINGS] = before


def _begin() -> None:
    """Prepare a worker process: Ctrl-C reaches it too, but it ends with the process that started it, and only then."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    quiet_libraries()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # a worker has one
    parent.join()
    os._exit(1)
