"""Templates and instances.

A template is a part of a wrapper that is converted once. An instance is one use of a template in a function.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from forced_aligner.package.contract import MAIN, WEIGHTS_FILE
from forced_aligner.package.proto import MIL_pb2
from forced_aligner.package.spec import file_values, read_spec, tensor_type
from forced_aligner.package.weight_file import WeightFile

_TORCH_TYPES = {MIL_pb2.FLOAT16: torch.float16, MIL_pb2.FLOAT32: torch.float32}


class Template:
    """A converted part of a wrapper, read from the package that coremltools saved.

    Args:
        package: the saved package.
        parameters: the parameters that each instance replaces, by name; see `copy_with_random_parameters`.

    Attributes:
        spec: of the package.
        weights: its weight file.
        parameter_names: the name of the replaced parameter, by its offset in the weight file and its MIL type.
    """

    def __init__(self, package: Path, parameters: Mapping[str, Tensor] | None = None) -> None:
        self.spec = read_spec(package)
        self.weights = WeightFile(package / WEIGHTS_FILE)
        self.parameter_names = self._match_parameters(parameters or {})

    def _match_parameters(self, parameters: Mapping[str, Tensor]) -> dict[tuple[int, int], str]:
        """The parameter that was saved at each offset in each type, recognised by its bytes.

        Raises:
            RuntimeError: a parameter is not found. A pass has changed its values, so it cannot be replaced.
        """
        names_by_digest = {
            (dtype, digest(parameter_bytes(parameter, dtype))): name
            for name, parameter in parameters.items()
            for dtype in _TORCH_TYPES
        }
        names = {}
        for constant, value in file_values(self.function):
            offset, dtype = value.blobFileValue.offset, tensor_type(value.type)[0]
            name = names_by_digest.get((dtype, digest(self.weights.raw(offset, constant))))
            if name is not None:
                names[offset, dtype] = name
        if missing := parameters.keys() - set(names.values()):
            raise RuntimeError(f"the conversion has changed the weights {sorted(missing)}")
        return names

    @property
    def function(self) -> MIL_pb2.Function:
        """The only function of the spec."""
        return self.spec.mlProgram.functions[MAIN]


@dataclass(frozen=True)
class Instance:
    """One use of a template.

    Attributes:
        name: unique within the function; it becomes the prefix of all names.
        template: what is used.
        parameters: these replace the template's parameters of the same names.
        is_compressible: whether `--compress` is for its weights.
    """

    name: str
    template: Template
    parameters: Mapping[str, Tensor] = field(default_factory=dict)
    is_compressible: bool = True


def copy_with_random_parameters(module: nn.Module) -> nn.Module:
    """A float32 copy of `module` with random parameters, so that the bytes of a weight identify its parameter."""
    random_copy = copy.deepcopy(module).to_empty(device="cpu").float()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in random_copy.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return random_copy


def parameter_bytes(parameter: Tensor, dtype: int) -> NDArray[np.uint8]:
    """The bytes of a parameter in the MIL type `dtype`: (bytes,)."""
    return parameter.detach().to(_TORCH_TYPES[dtype]).contiguous().numpy().view(np.uint8).reshape(-1)


def digest(data: NDArray[np.uint8]) -> str:
    """SHA-256 (hex) of (bytes,)."""
    return hashlib.sha256(np.ascontiguousarray(data).data).hexdigest()
