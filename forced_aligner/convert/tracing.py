"""Tracing: one PyTorch module in, one saved package out, undescribed and with the single function `main`."""

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
import torch
from torch import nn

from forced_aligner.convert.fp16 import ADD_FP16_CAST
from forced_aligner.package.metadata import Calibration, Precision

# With --no-optimize no optimisation pass runs. FP16 still needs the pass that casts to it and the one that folds
# the cast of a weight into the weight; both are about the precision asked for, not about speed.
FP16_PASSES = ["common::dedup_op_and_var_names", ADD_FP16_CAST, "common::update_output_dtypes"]
FP16_FOLD_PASSES = ["common::const_elimination", "common::dead_code_elimination"]


@dataclass(frozen=True)
class Settings:
    """How one function is converted.

    Attributes:
        precision: of its ops.
        deployment_target: the oldest system that it is for.
        optimize: whether coremltools' optimisation passes run.
        calibrated: what a calibration found for its component.
        function: its name.
    """

    precision: Precision
    deployment_target: str
    optimize: bool
    calibrated: Calibration | None
    function: str

    @property
    def has_wide_state(self) -> bool:
        """Whether the state between the layers must be FP32."""
        return self.calibrated is not None and self.calibrated.has_wide_state

    def kept(self, template: str) -> frozenset[str]:
        """Names of the ops of a template, and of what they make, that stay in FP32."""
        ops = self.calibrated.kept_float32 if self.calibrated else []
        mine = [op for op in ops if (op.function, op.piece) == (self.function, template)]
        return frozenset(name for op in mine for name in (op.op, op.value))


@dataclass(frozen=True)
class Signature:
    """The inputs of a module with an example of each, and its outputs."""

    inputs: list[ct.TensorType]
    examples: tuple[torch.Tensor, ...]
    outputs: list[ct.TensorType]


def trace_and_convert(module: nn.Module, signature: Signature, settings: Settings, name: str, package: Path) -> None:
    """Convert `module`, the template `name` of a function, into `package`.

    The ops that a calibration keeps in FP32 stay in FP32.
    """
    kept = settings.kept(name)

    def may_be_fp16(op: Any) -> bool:
        return kept.isdisjoint(
            {_saved_name(op.name, "op_"), *(_saved_name(value.name, "var_") for value in op.outputs)}
        )

    is_fp16 = settings.precision == "float16"
    # coremltools and torch print progress bars and notes about pinned versions here; errors are exceptions.
    with torch.inference_mode(), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ct.convert(
            torch.jit.trace(module.eval(), signature.examples, check_trace=False),
            convert_to="mlprogram",
            inputs=signature.inputs,
            outputs=signature.outputs,
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
