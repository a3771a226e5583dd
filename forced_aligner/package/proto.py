"""Core ML's protobuf classes, without the rest of coremltools.

`import coremltools.proto` first runs `coremltools/__init__.py`, which loads its converters, scikit-learn and more:
2.5 s for a few classes. Here its files are run below a bare package of the same name. The classes stay in
`sys.modules`, so `import coremltools`, whenever it comes, has the same ones.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

PACKAGE = "coremltools"


def _classes() -> ModuleType:
    """The module `coremltools.proto`.

    Raises:
        ModuleNotFoundError: coremltools is not installed.
    """
    name = f"{PACKAGE}.proto"
    if PACKAGE in sys.modules:
        return importlib.import_module(name)
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {PACKAGE!r}", name=PACKAGE)
    sys.modules[PACKAGE] = bare = ModuleType(PACKAGE)
    bare.__path__ = list(spec.submodule_search_locations or ())
    try:
        return importlib.import_module(name)
    finally:
        del sys.modules[PACKAGE]


_classes()

# What lies in `sys.modules` is not looked for again.
from coremltools.proto import FeatureTypes_pb2, MIL_pb2, Model_pb2  # noqa: E402

__all__ = ["FeatureTypes_pb2", "MIL_pb2", "Model_pb2"]
