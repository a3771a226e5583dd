"""A model whose parameters stay in the checkpoint's files until they are read.

A conversion needs every weight once. All weights of the 0.6B model in float32 take 3.7 GB; here only the parameters
that are being read are in memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from forced_aligner.base.errors import UserError
from forced_aligner.checkpoint.files import raw_config, weight_files
from forced_aligner.checkpoint.find import Checkpoint
from forced_aligner.checkpoint.layouts import LEGACY_KEYS, is_legacy, load_config, require_finite

if TYPE_CHECKING:
    from transformers import Qwen3ASRForTokenClassification


class ParameterLocation(NamedTuple):
    """Where a parameter is stored: its file, its key there, and its shape."""

    path: Path
    key: str
    shape: tuple[int, ...]


class LazyModel:
    """A model whose weights are read from the checkpoint when they are needed.

    Attributes:
        module: the model in float32; its parameters are on the meta device, its buffers hold their values.
    """

    module: Qwen3ASRForTokenClassification

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Build the model without weights, and locate each of its parameters in the files.

        Raises:
            UserError: a file cannot be read, no model fits the config, a parameter is missing, or its shape differs
                from the config's.
        """
        from transformers import Qwen3ASRForTokenClassification
        from transformers.initialization import no_init_weights

        self._folder = checkpoint.folder
        config = load_config(checkpoint)
        try:
            with no_init_weights():
                self.module = Qwen3ASRForTokenClassification(config).eval()
        except Exception as error:  # whatever transformers and torch make of a damaged config
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"no model can be built from the config in {self._folder} ({reason})") from error
        for module in self.module.modules():
            for name, parameter in module.named_parameters(recurse=False):
                module._parameters[name] = nn.Parameter(torch.empty_like(parameter, device="meta"))
        self._names = {id(parameter): name for name, parameter in self.module.named_parameters()}
        self._locations = _locate_parameters(checkpoint)
        for name, parameter in self.module.named_parameters():
            self._check(name, parameter)

    def _check(self, name: str, parameter: nn.Parameter) -> None:
        if name not in self._locations:
            raise UserError(f"the weights in {self._folder} do not fit their config: {name} is missing")
        shape, expected_shape = self._locations[name].shape, tuple(parameter.shape)
        if shape != expected_shape:
            raise UserError(
                f"the weights in {self._folder} do not fit their config: "
                f"{name} is {list(shape)}, not {list(expected_shape)}"
            )

    def read(self, parameter: nn.Parameter) -> Tensor:
        """The values of a parameter of `module`, in float32. The file is mapped into memory for this read only.

        Raises:
            UserError: they are not finite.
        """
        location = self._locations[self._names[id(parameter)]]
        with safe_open(location.path, "pt") as file:
            tensor: Tensor = file.get_tensor(location.key).to(torch.float32, copy=True)
        require_finite(location.key, tensor, self._folder)
        return tensor

    def parameters(self, module: nn.Module) -> Mapping[str, Tensor]:
        """The parameters of `module`, a submodule of the model, by name; each is read when it is looked up."""
        return _LazyParameters(self, dict(module.named_parameters()))

    @contextmanager
    def loaded(self, module: nn.Module) -> Iterator[None]:
        """Within the block, the parameters of `module`, a submodule of the model, are in memory."""
        owners = [
            (owner, name, parameter)
            for owner in module.modules()
            for name, parameter in owner.named_parameters(recurse=False)
        ]
        try:
            for owner, name, parameter in owners:
                owner._parameters[name] = nn.Parameter(self.read(parameter), requires_grad=False)
            yield
        finally:
            for owner, name, parameter in owners:
                owner._parameters[name] = parameter


class _LazyParameters(Mapping[str, Tensor]):
    """Parameters by name; each look-up reads the file again."""

    def __init__(self, model: LazyModel, parameters: dict[str, nn.Parameter]) -> None:
        self._model = model
        self._parameters = parameters

    def __getitem__(self, name: str) -> Tensor:
        return self._model.read(self._parameters[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)


def _locate_parameters(checkpoint: Checkpoint) -> dict[str, ParameterLocation]:
    """The location of each parameter, by its native name."""
    renamings = LEGACY_KEYS if is_legacy(raw_config(checkpoint.folder)) else {}
    locations = {}
    for path in weight_files(checkpoint.folder):
        try:
            with safe_open(path, "pt") as file:
                for key in file.keys():  # noqa: SIM118 - not a dict
                    name = key
                    for pattern, native in renamings.items():
                        name = re.sub(pattern, native, name)
                    locations[name] = ParameterLocation(path, key, tuple(file.get_slice(key).get_shape()))
        except (SafetensorError, OSError) as error:
            raise UserError(f"cannot load the weights in {checkpoint.folder}: {error}") from None
    return locations
