"""Converts one function of a package: its wrapper is split into templates, and each template is converted once.

A `Layered` wrapper has three templates: first, layer and last. The layer has one instance for each layer. Any other
wrapper is a single template, whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import coremltools as ct
import numpy as np
import torch
from torch import nn

from forced_aligner.checkpoint.lazy_weights import LazyModel
from forced_aligner.convert.template import Instance, Template, copy_with_random_parameters
from forced_aligner.convert.tracing import Settings, Signature, trace_and_convert
from individual_components import Component, Layered, Sizes, TensorSpec

TRACE_SEQUENCE = 8  # length of a flexible axis in the trace, in tokens


@dataclass(frozen=True)
class FunctionConverter:
    """Converts the templates of one function.

    Attributes:
        component: its row of the table.
        sizes: the sizes of the function.
        model: the checkpoint's model.
        settings: how the templates are converted.
        scratch_dir: an empty folder for the templates' packages.
    """

    component: Component
    sizes: Sizes
    model: LazyModel
    settings: Settings
    scratch_dir: Path

    def convert(self, wrapper: nn.Module) -> list[Instance]:
        """Convert `wrapper`, the component's module, into instances of templates; run in order, they compute it."""
        whole = Signature(
            [_tensor_type(spec, self.sizes) for spec in self.component.inputs],
            tuple(_example(spec, self.sizes) for spec in self.component.inputs),
            [ct.TensorType(dtype=_numpy_type(spec)) for spec in self.component.outputs],
        )
        if not isinstance(wrapper, Layered):
            return [Instance("whole", self._convert_template("whole", wrapper, whole))]
        return self._convert_layered(wrapper, whole)

    def _convert_layered(self, wrapper: Layered, whole: Signature) -> list[Instance]:
        """The instances first, layer_0, layer_1, ..., last; `whole` is the signature of the whole wrapper."""
        with torch.inference_mode(), self.model.loaded(wrapper.first):
            state = tuple(wrapper.first(*whole.examples))
        dtype = np.float16 if self.settings.precision == "float16" else np.float32
        state_types = [np.float32 if self.settings.has_wide_state else dtype, *(dtype for _ in state[1:])]
        state_in = [
            ct.TensorType(name=f"state_{index}", shape=tensor.shape, dtype=state_type)
            for index, (tensor, state_type) in enumerate(zip(state, state_types, strict=True))
        ]
        state_out = [ct.TensorType(dtype=state_type) for state_type in state_types]
        module, package = copy_with_random_parameters(wrapper.layers[0]), self.scratch_dir / "layer.mlpackage"
        trace_and_convert(module, Signature(state_in, state, state_out[:1]), self.settings, "layer", package)
        layer = Template(package, dict(module.named_parameters()))
        first = self._convert_template("first", wrapper.first, Signature(whole.inputs, whole.examples, state_out))
        last = self._convert_template("last", wrapper.last, Signature(state_in[:1], state[:1], whole.outputs))
        layers = [
            Instance(f"layer_{index}", layer, self.model.parameters(module))
            for index, module in enumerate(wrapper.layers)
        ]
        is_compressible = "last" not in self.component.uncompressed
        return [Instance("first", first), *layers, Instance("last", last, is_compressible=is_compressible)]

    def _convert_template(self, name: str, module: nn.Module, signature: Signature) -> Template:
        package = self.scratch_dir / f"{name}.mlpackage"
        with self.model.loaded(module):
            trace_and_convert(module, signature, self.settings, name, package)
        return Template(package)


def _example(spec: TensorSpec, sizes: Sizes) -> torch.Tensor:
    shape = [size or TRACE_SEQUENCE for size in sizes.resolve(spec)]
    return torch.zeros(shape, dtype=spec.dtype)


def _tensor_type(spec: TensorSpec, sizes: Sizes) -> ct.TensorType:
    flexible = ct.RangeDim(1, sizes.length, default=TRACE_SEQUENCE)
    shape = [flexible if size is None else size for size in sizes.resolve(spec)]
    return ct.TensorType(name=spec.name, shape=shape, dtype=_numpy_type(spec))


def _numpy_type(spec: TensorSpec) -> type[np.generic]:
    return np.int32 if spec.dtype == torch.int32 else np.float32
