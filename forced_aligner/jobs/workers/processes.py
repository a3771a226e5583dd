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
from forced_aligner.base.errors import RunError, UserError
from forced_aligner.base.stopping import SIGNALS, remove_unfinished, wait_if_stopping

P = ParamSpec("P")
R = TypeVar("R")
WARNINGS = "PYTHONWARNINGS"
MOST_DEATHS = 3  # of workers, by one call


class Processes(Executor):
    """An executor of `count` processes.

    Each is a pool of its own, that a thread of this process waits for. So it is known which call a worker died of.
    """

    def __init__(self, count: int, first_call: Callable[[], object]) -> None:
        """Start the threads; a process is started for the first call of its thread.

        Args:
            count: how many processes.
            first_call: made in each process before all others, to load what these need.
        """
        _start_tracker()
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="worker")
        self._first_call = first_call
        self._own = threading.local()
        self._pools: list[ProcessPoolExecutor] = []

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Call `fn` in a process.

        The future raises:
            RunError: `MOST_DEATHS` processes died in their first call.
            UserError: they died in this one.
        """
        return self._threads.submit(self._call, partial(fn, *args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes, once their calls are done."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        with ThreadPoolExecutor() as enders:  # all at the same time: each takes a while
            list(enders.map(lambda pool: pool.shutdown(wait), self._pools))

    def _call(self, call: Callable[[], R]) -> R:
        for death in range(1, MOST_DEATHS + 1):
            pool = self._pool()
            try:
                return pool.submit(call).result()
            except BrokenProcessPool:
                self._forget(pool)
                warn(f"a worker process died ({death} of {MOST_DEATHS} for its recording)")
        raise UserError(
            f"{MOST_DEATHS} worker processes died of this recording: is there too little memory? Try it by itself"
        )

    def _pool(self) -> ProcessPoolExecutor:
        """The pool of this thread, whose process has made its first call."""
        pool: ProcessPoolExecutor | None = getattr(self._own, "pool", None)
        deaths = 0
        while pool is None:
            context = multiprocessing.get_context("spawn")  # PyTorch's threads do not survive a fork
            self._own.pool = pool = ProcessPoolExecutor(1, context, initializer=_begin)
            self._pools.append(pool)
            try:
                pool.submit(self._first_call).result()
            except BrokenProcessPool:
                self._forget(pool)
                pool, deaths = None, deaths + 1
                if deaths == MOST_DEATHS:
                    raise RunError(
                        f"{deaths} worker processes died while they loaded the model: is there too little memory? "
                        "Give fewer --jobs"
                    ) from None
        return pool

    def _forget(self, pool: ProcessPoolExecutor) -> None:
        """Drop a pool whose process has died."""
        wait_if_stopping()  # a signal may have gone to all processes
        pool.shutdown()
        self._pools.remove(pool)
        self._own.pool = None


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
    """Prepare a worker process: signals reach it too, but it ends with the process that started it, and only then."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    quiet_libraries()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # a worker has one
    parent.join()
    remove_unfinished()
    os._exit(1)
