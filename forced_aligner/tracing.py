"""Tracing: a wrapper in, the converted pieces of one function out, ready to be stitched."""

from __future__ import annotations

import contextlib
import gc
import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import torch
from torch import nn

from forced_aligner.mapped import MappedModel
from forced_aligner.passes import ADD_FP16_CAST
from forced_aligner.schemas import Calibration, Precision
from forced_aligner.stitching import Piece, Stage, distinct_copy
from individual_components import Component, Layered, Sizes, TensorSpec

Types = list[ct.TensorType]
TRACE_SEQUENCE = 8  # tokens that a flexible axis is traced with

# With --no-optimize no optimisation pass runs. FP16 still needs the pass that casts to it and the one that folds
# the cast of a weight into the weight; both are about the precision asked for, not about speed.
FP16_PASSES = ["common::dedup_op_and_var_names", ADD_FP16_CAST, "common::update_output_dtypes"]
FP16_FOLD_PASSES = ["common::const_elimination", "common::dead_code_elimination"]


@dataclass(frozen=True)
class Settings:
    """How one function is converted. `calibrated`: what a calibration found for its component."""

    precision: Precision
    deployment_target: str
    optimize: bool
    calibrated: Calibration | None
    function: str

    @property
    def has_wide_state(self) -> bool:
        """Whether the state between the layers must be FP32."""
        return self.calibrated is not None and self.calibrated.has_wide_state

    def kept(self, piece: str) -> frozenset[str]:
        """Names of the ops of a piece, and of what they make, that stay in FP32."""
        ops = self.calibrated.kept_float32 if self.calibrated else []
        mine = [op for op in ops if (op.function, op.piece) == (self.function, piece)]
        return frozenset(name for op in mine for name in (op.op, op.value))


def stages(
    component: Component, model: MappedModel, wrapper: nn.Module, sizes: Sizes, settings: Settings, place: Path
) -> list[Stage]:
    """The converted pieces of one function: a plain wrapper is one, a layered one three, of which one repeats.

    Args:
        component: its row of the table.
        model: has the weights.
        wrapper: the component's module, over parts of `model`.
        sizes: what its shapes resolve to.
        settings: how it is converted.
        place: an empty folder for the pieces.
    """
    inputs = [_tensor_type(spec, sizes) for spec in component.inputs]
    outputs = [ct.TensorType(dtype=np.float32) for _ in component.outputs]
    examples = tuple(_example(spec, sizes) for spec in component.inputs)

    def piece(name: str, part: nn.Module, examples: tuple[torch.Tensor, ...], taken: Types, made: Types) -> Piece:
        package = place / f"{name}.mlpackage"
        with model.loaded(part):
            _trace_and_convert(part, examples, taken, made, settings, settings.kept(name), package)
        return Piece(package)

    if not isinstance(wrapper, Layered):
        return [Stage("whole", piece("whole", wrapper, examples, inputs, outputs))]
    with torch.inference_mode(), model.loaded(wrapper.first):
        state = tuple(wrapper.first(*examples))
    inner = np.float16 if settings.precision == "float16" else np.float32
    types = [np.float32 if settings.has_wide_state else inner, *(inner for _ in state[1:])]
    taken = [
        ct.TensorType(name=f"state_{index}", shape=x.shape, dtype=dtype)
        for index, (x, dtype) in enumerate(zip(state, types, strict=True))
    ]
    made = [ct.TensorType(dtype=dtype) for dtype in types]
    template, package = distinct_copy(wrapper.layers[0]), place / "layer.mlpackage"
    _trace_and_convert(template, state, taken, made[:1], settings, settings.kept("layer"), package)
    layer = Piece(package, dict(template.named_parameters()))
    layers = [Stage(f"layer_{i}", layer, model.parameters(each)) for i, each in enumerate(wrapper.layers)]
    first = Stage("first", piece("first", wrapper.first, examples, inputs, made))
    last = Stage("last", piece("last", wrapper.last, state[:1], taken[:1], outputs))
    return [first, *layers, last]


def _trace_and_convert(
    module: nn.Module,
    examples: tuple[torch.Tensor, ...],
    inputs: Types,
    outputs: Types,
    settings: Settings,
    kept: frozenset[str],
    package: Path,
) -> None:
    """Convert `module` into `package`, undescribed and with the single function `main`; ops in `kept` stay FP32."""

    def may_be_fp16(op: Any) -> bool:
        return kept.isdisjoint(
            {_saved_name(op.name, "op_"), *(_saved_name(value.name, "var_") for value in op.outputs)}
        )

    is_fp16 = settings.precision == "float16"
    # coremltools and torch print progress bars and notes about pinned versions here; errors are exceptions.
    with torch.inference_mode(), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ct.convert(
            torch.jit.trace(module.eval(), examples, check_trace=False),
            convert_to="mlprogram",
            inputs=inputs,
            outputs=outputs,
            minimum_deployment_target=getattr(ct.target, settings.deployment_target),
            compute_precision=ct.precision.FLOAT16 if is_fp16 else ct.precision.FLOAT32,
            pass_pipeline=_pipeline(settings, may_be_fp16),
            skip_model_load=True,
            package_dir=str(package),
        )
    gc.collect()  # the converter's programs hold their weights, and are cycles


def _pipeline(settings: Settings, may_be_fp16: Callable[[Any], bool]) -> ct.PassPipeline:
    is_fp16 = settings.precision == "float16"
    if settings.optimize:
        pipeline = ct.PassPipeline.DEFAULT
        pipeline.passes = [ADD_FP16_CAST if name == "common::add_fp16_cast" else name for name in pipeline.passes]
    else:
        names = [*FP16_PASSES, *FP16_FOLD_PASSES] if is_fp16 else []
        pipeline = ct.PassPipeline(pass_names=names, pipeline_name="unoptimized")
    if is_fp16:
        pipeline.set_options(ADD_FP16_CAST, {"op_selector": may_be_fp16})
    else:
        pipeline.remove_passes({ADD_FP16_CAST})
    return pipeline


def _saved_name(name: str, prefix: str) -> str:
    """A name as coremltools' NameSanitizer saves it: `scale.1` is scale_1, and `48` is op_48 or var_48."""
    name = re.sub(r"[^a-zA-Z0-9_]", "_", name)
    return prefix + name if name[:1].isdigit() else name


def _example(spec: TensorSpec, sizes: Sizes) -> torch.Tensor:
    shape = [size or TRACE_SEQUENCE for size in sizes.resolve(spec)]
    return torch.zeros(shape, dtype=spec.dtype)


def _tensor_type(spec: TensorSpec, sizes: Sizes) -> ct.TensorType:
    flexible = ct.RangeDim(1, sizes.length, default=TRACE_SEQUENCE)
    shape = [flexible if size is None else size for size in sizes.resolve(spec)]
    return ct.TensorType(name=spec.name, shape=shape, dtype=np.int32 if spec.dtype == torch.int32 else np.float32)
