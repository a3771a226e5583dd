"""The runtime that executes the packages of a folder."""

from __future__ import annotations

from forced_aligner.package.bundle import Bundle
from forced_aligner.runtime.coreml import CoreMLBackend
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.runtime.options import RuntimeOptions
from forced_aligner.runtime.protocol import Backend


def make_backend(options: RuntimeOptions, bundle: Bundle) -> Backend:
    """The runtime that `options` ask for, over the packages of `bundle`.

    Raises:
        UserError: PyTorch does not have the device.
    """
    if options.is_coreml:
        return CoreMLBackend(bundle, options.compute_units, use_cache=options.use_cache)
    return MilBackend(bundle, device=options.device)
