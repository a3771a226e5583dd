"""A model whose parameters stay in the checkpoint's files until they are asked for.

A conversion needs every weight once. Loaded as a whole in float32, those of the 0.6B model take 3.7 GB; here the
largest one alone is in memory at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from forced_aligner.base.errors import UserError
from forced_aligner.checkpoint.files import raw_config, weight_files
from forced_aligner.checkpoint.find import Checkpoint
from forced_aligner.checkpoint.layouts import LEGACY_KEYS, is_legacy, load_config

if TYPE_CHECKING:
    from transformers import Qwen3ASRForTokenClassification


class LazyModel:
    """`module` is the model in float32 with its parameters on the meta device; its buffers are real."""

    module: Qwen3ASRForTokenClassification

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Build the model without weights, and find each of its parameters in the files.

        Raises:
            UserError: a file cannot be read, or a parameter is missing or of another shape than the config says.
        """
        from transformers import Qwen3ASRForTokenClassification
        from transformers.initialization import no_init_weights

        self._folder = checkpoint.folder
        with no_init_weights():
            self.module = Qwen3ASRForTokenClassification(load_config(checkpoint)).eval()
        for module in self.module.modules():
            for name, parameter in module.named_parameters(recurse=False):
                module._parameters[name] = nn.Parameter(torch.empty_like(parameter, device="meta"))
        self._names = {id(parameter): name for name, parameter in self.module.named_parameters()}
        self._places = _locations(checkpoint)
        for name, parameter in self.module.named_parameters():
            self._check(name, parameter)

    def _check(self, name: str, parameter: nn.Parameter) -> None:
        if name not in self._places:
            raise UserError(f"the weights in {self._folder} do not fit their config: {name} is missing")
        found = self._places[name][2]
        if found != tuple(parameter.shape):
            wanted = list(parameter.shape)
            raise UserError(
                f"the weights in {self._folder} do not fit their config: {name} is {list(found)}, not {wanted}"
            )

    def read(self, parameter: nn.Parameter) -> Tensor:
        """The values of a parameter of `module`, in float32. The file is mapped for this read alone."""
        path, key, _ = self._places[self._names[id(parameter)]]
        with safe_open(path, "pt") as file:
            tensor: Tensor = file.get_tensor(key)
            return tensor.to(torch.float32, copy=True)

    def parameters(self, module: nn.Module) -> Mapping[str, Tensor]:
        """The parameters of a part of `module` by name, each read when it is asked for."""
        return _LazyParameters(self, dict(module.named_parameters()))

    @contextmanager
    def loaded(self, module: nn.Module) -> Iterator[None]:
        """Within the block, the parameters of a part of `module` are real."""
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
    def __init__(self, model: LazyModel, parameters: dict[str, nn.Parameter]) -> None:
        self._model = model
        self._parameters = parameters

    def __getitem__(self, name: str) -> Tensor:
        return self._model.read(self._parameters[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)


def _locations(checkpoint: Checkpoint) -> dict[str, tuple[Path, str, tuple[int, ...]]]:
    """Where each parameter lies, by its native name: file, key, shape."""
    renamings = LEGACY_KEYS if is_legacy(raw_config(checkpoint.folder)) else {}
    found = {}
    for path in weight_files(checkpoint.folder):
        try:
            with safe_open(path, "pt") as file:
                for key in file.keys():  # noqa: SIM118 - it is no dict
                    name = key
                    for pattern, native in renamings.items():
                        name = re.sub(pattern, native, name)
                    found[name] = (path, key, tuple(file.get_slice(key).get_shape()))
        except (SafetensorError, OSError) as error:
            raise UserError(f"cannot load the weights in {checkpoint.folder}: {error}") from None
    return found
