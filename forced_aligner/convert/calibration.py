"""Calibration: which ops of an FP16 package come near FP16's limit.

A `Watch` observes the ops of the packages themselves, executed in PyTorch without rounding to FP16: each op is seen
with the value that it would make if FP16 had no limits, whatever the ops before it would have lost.
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

# Other speech than the clips may be louder: two bits of headroom, which costs nothing but the ops that need it.
MARGIN = 4.0
LIMIT = FP16_MAX / MARGIN
Reason = Literal["writes", "reads", "squares"]
# Casts follow their readers, and weights the ops that they are for.
NOT_MEASURED = ("cast", "constexpr_blockwise_shift_scale", "constexpr_lut_to_dense")
_INSTANCE = re.compile(r"(first|last|whole|layer_\d+)_(.*)")
_CAST_SUFFIX = re.compile(r"(_cast_(fp16|u?int16))+$")  # what coremltools adds to an op's name as it casts


class Watch:
    """The largest magnitudes seen in one component, by (function, name of the value or, for squares, of the op)."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], float] = defaultdict(float)
        self.squares: dict[tuple[str, str], float] = defaultdict(float)

    def __call__(self, function: str, step: Step, arguments: dict[str, Any], results: list[Any]) -> None:
        """An `Observer`."""
        for (name, dtype), result in zip(step.outputs, results, strict=True):
            if dtype.is_floating_point:
                self.values[function, name] = max(self.values[function, name], _magnitude(result))
        if step.kind == "layer_norm":  # one op that squares inside, in a type that only the device knows
            variance = arguments["x"].float().var([int(axis) for axis in arguments["axes"]], unbiased=False)
            self.squares[function, step.name] = max(self.squares[function, step.name], _magnitude(variance))


def _magnitude(value: torch.Tensor) -> float:
    largest = float(value.abs().max())
    return largest if math.isfinite(largest) else math.inf


def summarize(bundle: Bundle, key: str, watch: Watch) -> Calibration:
    """What `watch` saw in one component: the ops to keep in FP32, with those that are kept already.

    Raises:
        RuntimeError: an op is in FP16 although it was to be kept in FP32, or a function was not run.
    """
    before = bundle.record(key).calibration
    kept = {(op.function, op.piece, op.op): op for op in (before.kept_float32 if before else [])}
    largest, largest_op, has_wide_state = 0.0, "", before is not None and before.has_wide_state
    program = Program(bundle.package(key))
    for function in program.function_names:
        if function not in {seen for seen, _ in watch.values}:
            raise RuntimeError(f"{key}: no clip ran through {function}: it was not measured")
        makers: dict[str, str] = {}  # value -> the instance that makes it
        for step in program.function(function).steps:
            instance, _ = _split(step.name)
            read = [name for name in _variables(step) if watch.values[function, name] >= LIMIT]
            has_wide_state |= any(makers.get(name, instance) != instance for name in read)
            makers.update((name, instance) for name, _ in step.outputs)
            if step.kind in NOT_MEASURED or not any(dtype == torch.float16 for _, dtype in step.outputs):
                continue
            reason, magnitude = _largest(watch, function, step)
            if magnitude < LIMIT:
                largest, largest_op = max((largest, largest_op), (magnitude, f"{function}: {step.name}"))
                continue
            found = _kept_op(function, step, reason, magnitude)
            name = (function, found.piece, found.op)
            if before and name in {(one.function, one.piece, one.op) for one in before.kept_float32}:
                raise RuntimeError(f"{key}: {step.name} is still in FP16, with a magnitude of {magnitude:g}")
            if name not in kept or magnitude > (kept[name].magnitude or math.inf):
                kept[name] = found
    return Calibration(
        largest=largest,
        largest_op=largest_op,
        limit=LIMIT,
        has_wide_state=has_wide_state,
        kept_float32=list(kept.values()),
    )


def _kept_op(function: str, step: Step, reason: Reason, magnitude: float) -> KeptOp:
    instance, op = _split(step.name)
    return KeptOp(
        function=function,
        piece=instance.split("_")[0],
        op=op,
        value=_split(step.outputs[0][0])[1],
        kind=step.kind,
        reason=reason,
        magnitude=magnitude if math.isfinite(magnitude) else None,
        at=instance,
    )


def _largest(watch: Watch, function: str, step: Step) -> tuple[Reason, float]:
    """The largest magnitude that the op has to do with, and how: what it reads would be cast to FP16 for it."""
    writes = max(watch.values[function, name] for name, _ in step.outputs)
    reads = max((watch.values[function, name] for name in _variables(step)), default=0.0)
    squares = watch.squares[function, step.name]
    if writes >= LIMIT or writes >= max(reads, squares):
        return "writes", writes
    return ("reads", reads) if reads >= squares else ("squares", squares)


def _variables(step: Step) -> list[str]:
    arguments = [item for value in step.arguments.values() for item in (value if isinstance(value, list) else [value])]
    return [argument.name for argument in arguments if isinstance(argument, Variable)]


def _split(name: str) -> tuple[str, str]:
    """A name of a stitched program -> its instance, and its name in the template before the cast to FP16."""
    match = _INSTANCE.fullmatch(name)
    instance, rest = match.groups() if match else ("", name)
    return instance, _CAST_SUFFIX.sub("", rest)


def announce(metadata: BundleMetadata) -> None:
    """Say on stderr what was kept in FP32, and why; one line a component, and one for each op of the pieces."""
    for key, record in metadata.components.items():
        if record.calibration is None:
            continue
        found = record.calibration
        functions = len(record.functions)
        log(
            f"calibration: {key}: {len(found.kept_float32)} ops in FP32 (over {functions} functions), the others reach "
            f"{found.largest:.4g} ({found.largest_op}); limit {found.limit:.0f}, a {MARGIN:g}th of {FP16_MAX:.0f}"
        )
        for op in [op for op in found.kept_float32 if op.function == next(iter(record.functions))]:
            magnitude = "not finite" if op.magnitude is None else f"{op.magnitude:.4g}"
            log(f"  {op.piece} {op.op} ({op.kind}) {op.reason} {magnitude} at {op.at}")
