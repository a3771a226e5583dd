"""A converted folder, opened to align with."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from forced_aligner.align.chain import Aligner
from forced_aligner.base.errors import UserError
from forced_aligner.base.journal import digest_of
from forced_aligner.jobs.workers.crew import Crew, crew_of
from forced_aligner.jobs.workers.options import Workers
from forced_aligner.package.bundle import Bundle
from forced_aligner.runtime.choice import make_backend
from forced_aligner.runtime.options import BackendName, RuntimeOptions
from forced_aligner.runtime.threads import limit_threads


def open_aligner(folder: Path, runtime: RuntimeOptions) -> Aligner:
    """The converted model in `folder`, executed by the runtime that is asked for.

    Raises:
        UserError: no converted folder, a damaged one, a missing component, or a backend or device that this
            machine lacks.
    """
    bundle = Bundle.open(folder)
    return Aligner(bundle, make_backend(runtime, bundle))


@dataclass(frozen=True)
class ConvertedModel:
    """How another process gets the converted model of a digest."""

    folder: Path
    runtime: RuntimeOptions
    digest: str
    most_threads: int | None = None

    def open(self) -> Aligner:
        """See `open_aligner`.

        Raises:
            UserError: the folder cannot be opened, or holds another model.
        """
        if not self.runtime.is_coreml:
            limit_threads(self.most_threads)
        aligner = open_aligner(self.folder, self.runtime)
        if digest_of(aligner.metadata) != self.digest:
            raise UserError(f"{self.folder} holds another model than when the run began: run it again")
        return aligner


def aligning_crew(
    aligner: Aligner, folder: Path, runtime: RuntimeOptions, workers: Workers
) -> AbstractContextManager[Crew[Aligner]]:
    """Those that `workers` ask for, to align with the model in `folder`, which this process has as `aligner`.

    Raises:
        UserError: see `crew_of`.
    """
    backend: BackendName = "coreml" if runtime.is_coreml else "mil"  # "auto" may be another one elsewhere
    same = replace(runtime, backend=backend)
    recipe = ConvertedModel(folder, same, digest_of(aligner.metadata), workers.most_threads)
    return crew_of(workers, recipe, lambda: aligner)
