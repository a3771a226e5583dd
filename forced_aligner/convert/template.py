"""A part of a component that is converted once, and its uses."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from coremltools.proto import MIL_pb2
from numpy.typing import NDArray
from torch import Tensor, nn

from forced_aligner.package.contract import MAIN
from forced_aligner.package.spec import WEIGHTS_FILE, file_values, read_spec, tensor_type
from forced_aligner.package.weight_file import WeightFile

_TORCH_TYPES = {MIL_pb2.FLOAT16: torch.float16, MIL_pb2.FLOAT32: torch.float32}


class Template:
    """A converted part, in the package that coremltools saved.

    Args:
        package: the package.
        parameters: those that another use of the template replaces, by name; see `distinct_copy`.
    """

    def __init__(self, package: Path, parameters: Mapping[str, Tensor] | None = None) -> None:
        self.spec = read_spec(package)
        self.weights = WeightFile(package / WEIGHTS_FILE)
        self.names = self._match(parameters or {})

    def _match(self, parameters: Mapping[str, Tensor]) -> dict[int, str]:
        """Which parameter the weight at each offset was made from, by its bytes.

        Raises:
            RuntimeError: a parameter is not in the file as it was: a pass has changed it, so it cannot be replaced.
        """
        known = {
            (dtype, digest(parameter_bytes(parameter, dtype))): name
            for name, parameter in parameters.items()
            for dtype in _TORCH_TYPES
        }
        found = {}
        for constant, value in file_values(self.function):
            offset, dtype = value.blobFileValue.offset, tensor_type(value.type)[0]
            name = known.get((dtype, digest(self.weights.raw(offset, constant))))
            if name is not None:
                found[offset] = name
        if missing := parameters.keys() - set(found.values()):
            raise RuntimeError(f"the conversion has changed the weights {sorted(missing)}")
        return found

    @property
    def function(self) -> MIL_pb2.Function:
        """The only function."""
        return self.spec.mlProgram.functions[MAIN]


@dataclass(frozen=True)
class Instance:
    """A use of a template. `name` is unique; `parameters` take the place of those it was converted with."""

    name: str
    template: Template
    parameters: Mapping[str, Tensor] = field(default_factory=dict)


def distinct_copy(module: nn.Module) -> nn.Module:
    """A float32 copy of `module` whose every parameter is random, so that a weight tells which one it is."""
    template = copy.deepcopy(module).to_empty(device="cpu").float()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in template.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return template


def parameter_bytes(parameter: Tensor, dtype: int) -> NDArray[np.uint8]:
    """The bytes of a parameter as the MIL type `dtype`: (bytes,)."""
    return parameter.detach().to(_TORCH_TYPES[dtype]).contiguous().numpy().view(np.uint8).reshape(-1)


def digest(data: NDArray[np.uint8]) -> str:
    """SHA-256 (hex) of (bytes,)."""
    return hashlib.sha256(np.ascontiguousarray(data).data).hexdigest()
