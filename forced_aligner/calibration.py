"""Calibration: run clips through FP16 packages, and find the ops whose magnitudes come near FP16's limit.

It observes the ops of the packages themselves, executed in PyTorch without rounding to FP16: each op is seen with the
value that it would make if FP16 had no limits, whatever the ops before it would have lost.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from forced_aligner import features
from forced_aligner.aligner import Aligner, split_words
from forced_aligner.backends import MilBackend
from forced_aligner.bundle import Bundle
from forced_aligner.console import log
from forced_aligner.errors import UserError
from forced_aligner.lint import FP16_MAX
from forced_aligner.mil.program import Program, Step, Variable
from forced_aligner.schemas import BundleMetadata, Calibration, Clip, KeptOp
from individual_components import COMPONENTS

# Other speech than the clips may be louder: two bits of headroom, which costs nothing but the ops that need it.
MARGIN = 4.0
LIMIT = FP16_MAX / MARGIN

# Casts follow their readers, and weights the ops that they are for.
NOT_MEASURED = ("cast", "constexpr_blockwise_shift_scale", "constexpr_lut_to_dense")
_STAGE = re.compile(r"(first|last|whole|layer_\d+)_(.*)")
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


def measure(bundle: Bundle, clips: list[Clip]) -> dict[str, Calibration]:
    """Run `clips` through every function of the packages of `bundle`; findings of the FP16 components, by key.

    A clip that is too long for a function is cut for it.

    Raises:
        UserError: a component is missing, or a clip that cannot be used.
    """
    watches = {key: Watch() for key, record in bundle.metadata.components.items() if record.precision == "float16"}
    backend = MilBackend(bundle, watches)
    for key, record in bundle.metadata.components.items():
        if COMPONENTS[key].varies is None:
            continue
        for name, size in record.functions.items():
            only = record.model_copy(update={"functions": {name: size}})
            components = {**bundle.metadata.components, key: only}
            restricted = Bundle(bundle.folder, bundle.metadata.model_copy(update={"components": components}))
            aligner = Aligner(restricted, backend)
            log(f"calibration: {key}: {name}, {len(clips)} clips")
            for clip in clips:
                aligner.align_words(*_cut(aligner, clip))
    return {key: finding(bundle, key, watch) for key, watch in watches.items()}


def _cut(aligner: Aligner, clip: Clip) -> tuple[NDArray[np.float32], list[str]]:
    """(samples,) and words of a clip, both from its start and in proportion, so that they fit."""
    samples = features.load_audio(Path(clip.audio))
    words = split_words(aligner.processor, clip.transcript, clip.language)
    while not aligner.fits(samples.size, words):
        if samples.size < features.MIN_SAMPLES and len(words) == 1:
            raise UserError(f"{clip.audio} cannot be cut for calibration: its first word is too long; use other clips")
        samples, words = samples[: samples.size * 4 // 5], words[: max(1, len(words) * 4 // 5)]
    return samples, words


def finding(bundle: Bundle, key: str, watch: Watch) -> Calibration:
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
        makers: dict[str, str] = {}  # value -> the stage that makes it
        for step in program.function(function).steps:
            stage, op = _split(step.name)
            read = [name for name in _variables(step) if watch.values[function, name] >= LIMIT]
            has_wide_state |= any(makers.get(name, stage) != stage for name in read)
            makers.update((name, stage) for name, _ in step.outputs)
            if step.kind in NOT_MEASURED or not any(dtype == torch.float16 for _, dtype in step.outputs):
                continue
            reason, magnitude = _largest(watch, function, step)
            if magnitude < LIMIT:
                largest, largest_op = max((largest, largest_op), (magnitude, f"{function}: {step.name}"))
                continue
            piece = stage.split("_")[0]
            name = (function, piece, op)
            if before and name in {(one.function, one.piece, one.op) for one in before.kept_float32}:
                raise RuntimeError(f"{key}: {step.name} is still in FP16, with a magnitude of {magnitude:g}")
            if name not in kept or magnitude > (kept[name].magnitude or math.inf):
                kept[name] = KeptOp(
                    function=function,
                    piece=piece,
                    op=op,
                    value=_split(step.outputs[0][0])[1],
                    kind=step.kind,
                    reason=reason,
                    magnitude=magnitude if math.isfinite(magnitude) else None,
                    at=stage,
                )
    return Calibration(
        largest=largest,
        largest_op=largest_op,
        limit=LIMIT,
        has_wide_state=has_wide_state,
        kept_float32=list(kept.values()),
    )


def _largest(watch: Watch, function: str, step: Step) -> tuple[Literal["writes", "reads", "squares"], float]:
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
    """A name of a stitched program -> its stage, and its name in the converted piece before the cast to FP16."""
    match = _STAGE.fullmatch(name)
    stage, rest = match.groups() if match else ("", name)
    return stage, _CAST_SUFFIX.sub("", rest)


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
