"""Who does the work on many recordings: this process, processes of this machine, or a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

from forced_aligner.base.console import repeat_lines
from forced_aligner.base.errors import UserError
from forced_aligner.jobs.workers.calls import (
    CallError,
    Home,
    Outcome,
    Recipe,
    Result,
    Task,
    Tool,
    attempt,
    attempt_elsewhere,
    open_elsewhere,
)
from forced_aligner.jobs.workers.cluster import cluster_error, dask_cluster
from forced_aligner.jobs.workers.options import Workers
from forced_aligner.jobs.workers.processes import Processes

P = ParamSpec("P")
R = TypeVar("R")


class Crew(Generic[Tool]):
    """Makes calls of the form `compute(tool, task)`, each process with a tool of its own.

    Attributes:
        width: asked anew for each call: how many may be under way at a time.
        processes: that are known to do them; a cluster's may come and go.
        chips: the names of a cluster's processors.
    """

    def __init__(
        self,
        executor: Executor,
        attempt: Callable[..., Outcome[Any]],
        width: Callable[[], int] = lambda: 1,
        processes: int = 1,
        chips: list[str] | None = None,
    ) -> None:
        self._executor, self._attempt = executor, attempt
        self.width, self.processes, self.chips = width, processes, chips

    @classmethod
    def of(cls, tool: Tool) -> Crew[Tool]:
        """This process, with its tool."""
        return cls(InThisProcess(), lambda compute, task: attempt(compute, tool, task))

    @property
    def is_this_process(self) -> bool:
        """Whether no other process works."""
        return isinstance(self._executor, InThisProcess)

    def submit(self, compute: Callable[[Tool, Task], Result], task: Task) -> Future[Outcome[Result]]:
        """Call `compute`, a function at a module's top level, with the tool and `task`, which can be pickled."""
        return self._executor.submit(self._attempt, compute, task)

    def first(self, compute: Callable[[Tool, None], Result]) -> Result:
        """What `compute` gives of the tool alone. The known processes open theirs at once for it.

        Raises:
            UserError: the tool cannot be had, or `compute` raised it.
        """
        futures = [self.submit(compute, None) for _ in range(self.processes)]
        outcome = self.outcome(futures[0])
        repeat_lines(outcome.lines)
        return outcome.value()

    def outcome(self, future: Future[Outcome[Result]]) -> Outcome[Result]:
        """What a call that is done gave. A cluster that was lost, or cannot load this project, is a `RunError`."""
        try:
            return future.result()
        except UserError as error:
            return Outcome([], error)
        except Exception as error:  # not of the call itself: what it gave could not be sent, or the cluster failed
            return Outcome([], CallError.of(error) if self.chips is None else cluster_error(error))


class InThisProcess(Executor):
    """An executor that calls at once."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Call `fn`; the future is done."""
        future = Future[R]()
        future.set_result(fn(*args, **kwargs))
        return future


@contextmanager
def crew_of(workers: Workers, recipe: Recipe[Tool], here: Callable[[], Tool] | None = None) -> Iterator[Crew[Tool]]:
    """Those that `workers` ask for, each with what `recipe` opens, or `here` for this process.

    Raises:
        UserError: see `dask_cluster`, or the tool cannot be had.
    """
    if not workers.are_others:
        yield Crew.of((here or recipe.open)())
        return
    home = Home.here()
    call = _Elsewhere(recipe, home)
    if workers.cluster is not None:
        with dask_cluster(workers.cluster) as cluster:
            yield Crew(cluster, call, cluster.width, chips=cluster.chips)
        return
    processes = Processes(workers.jobs, partial(open_elsewhere, recipe, home))
    try:
        yield Crew(processes, call, lambda: 2 * workers.jobs, workers.jobs)
    finally:  # after an error, calls may wait
        processes.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Elsewhere(Generic[Tool]):
    """`attempt_elsewhere` with its recipe and home."""

    recipe: Recipe[Tool]
    home: Home

    def __call__(self, compute: Callable[[Tool, Task], Result], task: Task) -> Outcome[Result]:
        return attempt_elsewhere(compute, self.recipe, self.home, task)
