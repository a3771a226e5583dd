"""The double in the places where coremltools looks for its C++ layer."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from coremltools.models import _compiled_model, compute_device, compute_plan, model, utils

from .compute_plan import ComputePlanProxy, CPUProxy, GPUProxy, NeuralEngineProxy, OperationProxy
from .double import CoreMLDouble
from .proxy import ModelProxy

LAYER = "coremltools.libcoremlpython"  # `compile_model` imports it when it is called
READERS = (model, _compiled_model, compute_plan, compute_device)  # these took its names when they were imported
READERS_OF_THE_VERSION = (utils, model, _compiled_model)


@contextmanager
def installed(monkeypatch: pytest.MonkeyPatch, scratch: Path) -> Iterator[CoreMLDouble]:
    """coremltools over a new double, whose compiler writes to the folder `scratch`.

    Raises:
        AssertionError: at the end, if an input array died while Core ML may still hold it.
    """
    double = CoreMLDouble(scratch)
    layer = ModuleType(LAYER)
    names = {
        "_MLModelProxy": type("_MLModelProxy", (ModelProxy,), {"double": double}),
        "_MLComputePlanProxy": ComputePlanProxy,
        "_MLCPUComputeDeviceProxy": CPUProxy,
        "_MLGPUComputeDeviceProxy": GPUProxy,
        "_MLNeuralEngineComputeDeviceProxy": NeuralEngineProxy,
        "_MLModelStructureProgramOperationProxy": OperationProxy,
    }
    for name, value in names.items():
        setattr(layer, name, value)
        for reader in READERS:
            if hasattr(reader, name):
                monkeypatch.setattr(reader, name, value)
    monkeypatch.setitem(sys.modules, LAYER, layer)
    for reader in READERS_OF_THE_VERSION:
        monkeypatch.setattr(reader, "_macos_version", lambda: double.macos)
    gc.freeze()  # the collections of `check_inputs_alive` need not look at what was there before
    try:
        yield double
        double.check_inputs_alive()
    finally:
        gc.unfreeze()
