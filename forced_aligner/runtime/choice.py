"""The choice of the runtime that executes the packages."""

from __future__ import annotations

import sys

from forced_aligner.base.errors import UserError
from forced_aligner.package.bundle import Bundle
from forced_aligner.runtime.coreml import CoreMLBackend
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.runtime.names import BackendName, DeviceName
from forced_aligner.runtime.protocol import Backend


def make_backend(name: BackendName, bundle: Bundle, device: DeviceName = "cpu") -> Backend:
    """The backend `name` over the packages of `bundle`.

    `auto` is Core ML on macOS, unless a GPU is asked for, and the MIL runtime elsewhere. `device` is for the MIL
    runtime only.

    Raises:
        UserError: Core ML is asked for without macOS or with a device, or PyTorch does not have the device.
    """
    on_macos = sys.platform == "darwin"
    if name == "coreml" and not on_macos:
        raise UserError("--backend coreml needs macOS; use --backend mil, which runs the same packages anywhere")
    if name == "coreml" and device != "cpu":
        raise UserError(f"--device {device} is for the MIL runtime: Core ML chooses by itself; use --backend mil")
    if name == "coreml" or (name == "auto" and on_macos and device == "cpu"):
        return CoreMLBackend(bundle)
    return MilBackend(bundle, device=device)
