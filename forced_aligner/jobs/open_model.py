"""A converted folder, opened to align with."""

from __future__ import annotations

from pathlib import Path

from forced_aligner.align.chain import Aligner
from forced_aligner.package.bundle import Bundle
from forced_aligner.runtime.choice import make_backend
from forced_aligner.runtime.options import RuntimeOptions


def open_aligner(folder: Path, runtime: RuntimeOptions) -> Aligner:
    """The converted model in `folder`, executed by the runtime that is asked for.

    Raises:
        UserError: no converted folder, a damaged one, a missing component, or a backend or device that this
            machine lacks.
    """
    bundle = Bundle.open(folder)
    return Aligner(bundle, make_backend(runtime, bundle))
