"""Calibration: which ops of an FP16 package come near FP16's limit.

A `Watch` observes the ops of the saved packages as PyTorch executes them, without rounding to FP16. So each op is
measured with its unrounded value, even if FP16 would have overflowed in an op before it.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from typing import Any, Literal

import torch

from forced_aligner.base.console import log
from forced_aligner.convert.fp16 import FP16_MAX
from forced_aligner.package.bundle import Bundle
from forced_aligner.package.metadata import BundleMetadata, Calibration, KeptOp
from forced_aligner.runtime.mil.plan import Step, Variable
from forced_aligner.runtime.mil.program import Program

# Headroom of two bits, because other speech may be louder than the clips. It costs only the ops that need it.
MARGIN = 4.0
LIMIT = FP16_MAX / MARGIN
Reason = Literal["writes", "reads", "squares"]
# A cast follows the op that reads it, and a weight the op that uses it.
NOT_MEASURED = ("cast", "constexpr_blockwise_shift_scale", "constexpr_lut_to_dense")
_INSTANCE_NAME = re.compile(r"(first|last|whole|layer_\d+)_(.*)")
_CAST_SUFFIX = re.compile(r"(_cast_(fp16|u?int16))+$")  # which coremltools appends to an op's name when it casts


class Watch:
    """Records the largest magnitudes in one component; it is an `Observer` of the MIL runtime.

    Attributes:
        values: by function and name of the value.
        squares: of what an op squares inside, by function and name of the op.
    """

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], float] = defaultdict(float)
        self.squares: dict[tuple[str, str], float] = defaultdict(float)
        self._latest = 0.0

    def take_largest(self) -> float:
        """The largest magnitude since this was called last."""
        latest, self._latest = self._latest, 0.0
        return latest

    def __call__(self, function: str, step: Step, arguments: dict[str, Any], results: list[Any]) -> None:
        """Take the results of one executed `step`."""
        for (name, dtype), result in zip(step.outputs, results, strict=True):
            if dtype.is_floating_point:
                magnitude = _magnitude(result)
                self.values[function, name] = max(self.values[function, name], magnitude)
                self._latest = max(self._latest, magnitude)
        if step.kind == "layer_norm":  # squares inside the op, in a precision that depends on the device
            variance = arguments["x"].float().var([int(axis) for axis in arguments["axes"]], unbiased=False)
            self.squares[function, step.name] = max(self.squares[function, step.name], _magnitude(variance))


def _magnitude(value: torch.Tensor) -> float:
    largest = float(value.abs().max())
    return largest if math.isfinite(largest) else math.inf


def summarize(bundle: Bundle, key: str, watch: Watch) -> Calibration:
    """The calibration of the component `key` from what `watch` recorded; it includes the ops already kept in FP32.

    Raises:
        RuntimeError: a function was not run, or an op that an earlier calibration keeps in FP32 is in FP16.
    """
    before = bundle.record(key).calibration
    kept = {(op.function, op.piece, op.op): op for op in (before.kept_float32 if before else [])}
    kept_before = frozenset(kept)
    largest, largest_op, has_wide_state = 0.0, "", before is not None and before.has_wide_state
    program = Program(bundle.package(key))
    for function in program.function_names:
        if function not in {observed for observed, _ in watch.values}:
            raise RuntimeError(f"{key}: no clip ran through {function}: it was not measured")
        producers: dict[str, str] = {}  # value -> the instance that computes it
        for step in program.function(function).steps:
            instance, _ = _split_name(step.name)
            wide_inputs = [name for name in _variables(step) if watch.values[function, name] >= LIMIT]
            has_wide_state |= any(producers.get(name, instance) != instance for name in wide_inputs)
            producers.update((name, instance) for name, _ in step.outputs)
            if step.kind in NOT_MEASURED or not any(dtype == torch.float16 for _, dtype in step.outputs):
                continue
            reason, magnitude = _largest(watch, function, step)
            if magnitude < LIMIT:
                largest, largest_op = max((largest, largest_op), (magnitude, f"{function}: {step.name}"))
                continue
            op = _kept_op(function, step, reason, magnitude)
            name = (function, op.piece, op.op)
            if name in kept_before:
                raise RuntimeError(f"{key}: {step.name} is still in FP16, with a magnitude of {magnitude:g}")
            if name not in kept or magnitude > (kept[name].magnitude or math.inf):
                kept[name] = op
    return Calibration(
        largest=largest,
        largest_op=largest_op,
        limit=LIMIT,
        has_wide_state=has_wide_state,
        kept_float32=list(kept.values()),
    )


def _kept_op(function: str, step: Step, reason: Reason, magnitude: float) -> KeptOp:
    instance, op = _split_name(step.name)
    return KeptOp(
        function=function,
        piece=instance.split("_")[0],  # the template's name
        op=op,
        value=_split_name(step.outputs[0][0])[1],
        kind=step.kind,
        reason=reason,
        magnitude=magnitude if math.isfinite(magnitude) else None,
        at=instance,
    )


def _largest(watch: Watch, function: str, step: Step) -> tuple[Reason, float]:
    """Whether the op's largest magnitude is in what it writes, reads or squares, and that magnitude.

    What an op reads counts because it would be cast to FP16 for the op.
    """
    writes = max(watch.values[function, name] for name, _ in step.outputs)
    reads = max((watch.values[function, name] for name in _variables(step)), default=0.0)
    squares = watch.squares[function, step.name]
    if writes >= LIMIT or writes >= max(reads, squares):
        return "writes", writes
    return ("reads", reads) if reads >= squares else ("squares", squares)


def _variables(step: Step) -> list[str]:
    """Names of the computed values that a step reads."""
    arguments = [item for value in step.arguments.values() for item in (value if isinstance(value, list) else [value])]
    return [argument.name for argument in arguments if isinstance(argument, Variable)]


def _split_name(name: str) -> tuple[str, str]:
    """A name in a stitched program -> its instance, and its name in the template before the cast to FP16."""
    match = _INSTANCE_NAME.fullmatch(name)
    instance, rest = match.groups() if match else ("", name)
    return instance, _CAST_SUFFIX.sub("", rest)


def announce(metadata: BundleMetadata) -> None:
    """Say on stderr which ops were kept in FP32, and why: a line per component, and per op of its first function."""
    for key, record in metadata.components.items():
        if record.calibration is None:
            continue
        result, functions = record.calibration, list(record.functions)
        log(
            f"calibration: {key}: {len(result.kept_float32)} ops in FP32 (over {len(functions)} functions), the others "
            f"reach {result.largest:.4g} ({result.largest_op}); "
            f"limit {result.limit:.0f}, a {MARGIN:g}th of {FP16_MAX:.0f}"
        )
        for op in [op for op in result.kept_float32 if op.function == functions[0]]:
            magnitude = "not finite" if op.magnitude is None else f"{op.magnitude:.4g}"
            log(f"  {op.piece} {op.op} ({op.kind}) {op.reason} {magnitude} at {op.at}")
