"""Tracing: converts one PyTorch module to one saved package with the single function `main` and no description."""

from __future__ import annotations

import contextlib
import gc
import io
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coremltools as ct
import torch
from torch import nn

from forced_aligner.convert.fp16 import ADD_FP16_CAST
from forced_aligner.package.coremltools_internals import Program
from forced_aligner.package.metadata import Calibration, Precision

# With --no-optimize no optimisation pass runs. FP16 still needs the pass that casts to it, and the one that folds the
# cast of a weight into the weight: these set the requested precision, they do not optimise.
FP16_PASSES = ["common::dedup_op_and_var_names", ADD_FP16_CAST, "common::update_output_dtypes"]
FP16_FOLD_PASSES = ["common::const_elimination", "common::dead_code_elimination"]


@dataclass(frozen=True)
class Settings:
    """How the templates of one function are converted.

    Attributes:
        precision: of the ops.
        deployment_target: the oldest supported system.
        optimize: whether coremltools' optimisation passes run.
        calibration: of the component, if there is one.
        function: the function's name.
    """

    precision: Precision
    deployment_target: str
    optimize: bool
    calibration: Calibration | None
    function: str

    @property
    def has_wide_state(self) -> bool:
        """Whether the state between the instances must be FP32."""
        return self.calibration is not None and self.calibration.has_wide_state

    def kept_float32(self, template: str) -> frozenset[str]:
        """Names of the ops of a template that stay in FP32, and of their first outputs."""
        ops = self.calibration.kept_float32 if self.calibration else []
        template_ops = [op for op in ops if (op.function, op.piece) == (self.function, template)]
        return frozenset(name for op in template_ops for name in (op.op, op.value))


@dataclass(frozen=True)
class Signature:
    """The inputs of a module, an example of each for tracing, and its outputs."""

    inputs: list[ct.TensorType]
    examples: tuple[torch.Tensor, ...]
    outputs: list[ct.TensorType]


def trace_and_convert(module: nn.Module, signature: Signature, settings: Settings, name: str, package: Path) -> None:
    """Convert `module` to the template `name` of a function, saved as `package`.

    The ops that the calibration keeps in FP32 stay in FP32.
    """
    kept_float32 = settings.kept_float32(name)

    def may_be_fp16(op: Any) -> bool:
        return kept_float32.isdisjoint(
            {_saved_name(op.name, "op_"), *(_saved_name(value.name, "var_") for value in op.outputs)}
        )

    is_fp16 = settings.precision == "float16"
    # This hides coremltools' and torch's progress bars and notes about versions; errors are exceptions.
    quiet = (contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings(action="ignore"))
    with torch.inference_mode(), quiet[0], quiet[1], without_checks() as check:
        converted = ct.convert(
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
    check(converted._mil_program)
    del converted
    gc.collect()  # the converter's programs hold weights in reference cycles


@contextlib.contextmanager
def without_checks() -> Iterator[Callable[[Program], None]]:
    """Leave out coremltools' check of the whole program after each of some 90 passes, a quarter of a conversion.

    The check is given, so that it can be made at the end. It changes nothing.
    """
    check = Program.validate
    Program.validate = lambda program, check_essential_scope=False: None
    try:
        yield check
    finally:
        Program.validate = check


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
    """A name as coremltools' NameSanitizer saves it: `scale.1` becomes scale_1, and `48` becomes op_48 or var_48."""
    name = re.sub(r"[^a-zA-Z0-9_]", "_", name)
    return prefix + name if name[:1].isdigit() else name
