"""One function of a package: its wrapper is cut into templates, and these are converted.

A plain wrapper is one template. A layered one has three, of which the middle one, the layer, is used many times.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import coremltools as ct
import numpy as np
import torch
from torch import nn

from forced_aligner.checkpoint.lazy_weights import LazyModel
from forced_aligner.convert.template import Instance, Template, distinct_copy
from forced_aligner.convert.tracing import Settings, Signature, trace_and_convert
from individual_components import Component, Layered, Sizes, TensorSpec

TRACE_SEQUENCE = 8  # tokens that a flexible axis is traced with


@dataclass(frozen=True)
class FunctionConverter:
    """Converts the templates of one function.

    Attributes:
        component: its row of the table.
        sizes: what its shapes resolve to.
        model: has the weights.
        settings: how it is converted.
        scratch_dir: an empty folder for the templates.
    """

    component: Component
    sizes: Sizes
    model: LazyModel
    settings: Settings
    scratch_dir: Path

    def instances(self, wrapper: nn.Module) -> list[Instance]:
        """The instances of templates that, one after another, compute `wrapper`, the component's module."""
        whole = Signature(
            [_tensor_type(spec, self.sizes) for spec in self.component.inputs],
            tuple(_example(spec, self.sizes) for spec in self.component.inputs),
            [ct.TensorType(dtype=np.float32) for _ in self.component.outputs],
        )
        if not isinstance(wrapper, Layered):
            return [Instance("whole", self._template("whole", wrapper, whole))]
        return self._layered(wrapper, whole)

    def _layered(self, wrapper: Layered, whole: Signature) -> list[Instance]:
        with torch.inference_mode(), self.model.loaded(wrapper.first):
            state = tuple(wrapper.first(*whole.examples))
        inner = np.float16 if self.settings.precision == "float16" else np.float32
        types = [np.float32 if self.settings.has_wide_state else inner, *(inner for _ in state[1:])]
        state_in = [
            ct.TensorType(name=f"state_{index}", shape=x.shape, dtype=dtype)
            for index, (x, dtype) in enumerate(zip(state, types, strict=True))
        ]
        state_out = [ct.TensorType(dtype=dtype) for dtype in types]
        module, package = distinct_copy(wrapper.layers[0]), self.scratch_dir / "layer.mlpackage"
        trace_and_convert(module, Signature(state_in, state, state_out[:1]), self.settings, "layer", package)
        layer = Template(package, dict(module.named_parameters()))
        first = self._template("first", wrapper.first, Signature(whole.inputs, whole.examples, state_out))
        last = self._template("last", wrapper.last, Signature(state_in[:1], state[:1], whole.outputs))
        layers = [
            Instance(f"layer_{index}", layer, self.model.parameters(each)) for index, each in enumerate(wrapper.layers)
        ]
        return [Instance("first", first), *layers, Instance("last", last)]

    def _template(self, name: str, module: nn.Module, signature: Signature) -> Template:
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
    return ct.TensorType(name=spec.name, shape=shape, dtype=np.int32 if spec.dtype == torch.int32 else np.float32)
