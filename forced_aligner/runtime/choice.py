"""The runtime that executes the packages of a folder."""

from __future__ import annotations

from collections.abc import Sequence

from forced_aligner.package.bundle import Bundle
from forced_aligner.runtime.compiled import CompiledPackages
from forced_aligner.runtime.coreml import CoreMLBackend
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.runtime.options import RuntimeOptions
from forced_aligner.runtime.protocol import Backend


def make_backend(options: RuntimeOptions, bundle: Bundle) -> Backend:
    """The runtime that `options` ask for, over the packages of `bundle`.

    Raises:
        UserError: PyTorch does not have the device.
    """
    (backend,) = make_backends([options], bundle)
    return backend


def make_backends(asked: Sequence[RuntimeOptions], bundle: Bundle) -> list[Backend]:
    """The runtimes that are `asked` for; those of Core ML share the compiled packages.

    Raises:
        UserError: PyTorch does not have the device.
    """
    compiled = CompiledPackages(bundle, use_cache=all(options.use_cache for options in asked))
    return [
        CoreMLBackend(bundle, options.compute_units, compiled)
        if options.is_coreml
        else MilBackend(bundle, device=options.device, threads=options.threads)
        for options in asked
    ]
