"""Single components against PyTorch in float32, on the inputs that they get in real alignments."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from forced_aligner.align.chain import Aligner
from forced_aligner.checkpoint.find import Checkpoint
from forced_aligner.checkpoint.weights import load_model
from forced_aligner.jobs.compare import compare
from forced_aligner.package.bundle import Bundle
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.runtime.protocol import Backend
from forced_aligner.runtime.wrapped import WrappedBackend
from forced_aligner.score.gate import Gate
from forced_aligner.score.psnr import psnr_db
from forced_aligner.score.records import ComponentScore, Reference
from individual_components import COMPONENTS

MASKS = {"audio_transformer": "attention_mask", "audio": "row_mask"}  # component -> the input that tells its padding
NOTHING_DB = 0.0  # where no row can be compared
MEASURED_CALLS = 4  # calls of each component whose outputs are compared with PyTorch


@dataclass(frozen=True)
class Call:
    """One call of a component, with what PyTorch makes of the same inputs in its `rows` real rows (None: all)."""

    component: str
    function: str
    inputs: Mapping[str, NDArray[Any]]
    expected: Mapping[str, NDArray[Any]]
    rows: int | None


class Recorder(WrappedBackend):
    """A backend that keeps the inputs of the first `MEASURED_CALLS` calls of each component."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend)
        self.calls: dict[str, list[tuple[str, Mapping[str, NDArray[Any]]]]] = defaultdict(list)

    def predict(self, component: str, function: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """As the backend within."""
        if len(self.calls[component]) < MEASURED_CALLS:
            self.calls[component].append((function, {name: array.copy() for name, array in inputs.items()}))
        return super().predict(component, function, inputs)


def record_calls(checkpoint: Checkpoint, bundle: Bundle, reference: Reference, root: Path) -> list[Call]:
    """The first calls of each component over the reference's clips, with PyTorch's float32 outputs."""
    recorder = Recorder(MilBackend(bundle))
    count = min(len(reference.samples), MEASURED_CALLS)
    compare(Aligner(bundle, recorder), reference.head(count), root, Gate())
    model = load_model(checkpoint)
    calls = []
    for key, recorded in recorder.calls.items():
        component = COMPONENTS[key]
        wrapper = component.wrapper(model).eval()
        for function, inputs in recorded:
            arguments = [torch.from_numpy(np.ascontiguousarray(inputs[spec.name])) for spec in component.inputs]
            with torch.inference_mode():
                made = wrapper(*arguments)
            outputs = made if isinstance(made, tuple) else (made,)
            expected = {spec.name: value.numpy() for spec, value in zip(component.outputs, outputs, strict=True)}
            calls.append(Call(key, function, inputs, expected, real_rows(key, inputs)))
    return calls


def real_rows(key: str, inputs: Mapping[str, NDArray[Any]]) -> int | None:
    """How many rows of a call hold more than padding, whose outputs nobody reads.

    A padded frame attends to nothing, which FP16 does in another way than FP32: -1e4 plus a score is rounded to eights.
    """
    if mask := MASKS.get(key):
        return int(np.flatnonzero((inputs[mask] == 0).any((0, 1, 2)))[-1]) + 1
    if COMPONENTS[key].varies == "length":
        return int(np.flatnonzero(inputs["hidden_states"].any((0, 2)))[-1]) + 1
    return None


def measure_component(backend: Backend, calls: Sequence[Call], key: str) -> ComponentScore:
    """PSNR of a component against PyTorch in float32 over its recorded calls, and whether all of it is finite.

    An output of whole numbers is a choice, such as a class. A row where it differs has other neighbours, so its other
    outputs are left out: how many choices differ is what the boundaries tell. Where all differ, nothing is alike: 0 dB.
    """
    worst, finite = np.inf, True
    for call in [call for call in calls if call.component == key]:
        outputs = backend.predict(key, call.function, call.inputs)
        given = {name: outputs[name][0, : call.rows] for name in call.expected}
        expected = {name: array[0, : call.rows] for name, array in call.expected.items()}
        choices = [name for name, array in expected.items() if np.issubdtype(array.dtype, np.integer)]
        same = np.all([given[name] == expected[name] for name in choices], axis=0)  # (rows,); True without choices
        for name in expected.keys() - set(choices):
            finite = finite and bool(np.isfinite(outputs[name]).all())
            worst = min(worst, psnr_db(given[name][same], expected[name][same]) if same.any() else NOTHING_DB)
    return ComponentScore(psnr_db=round(worst, 2) if np.isfinite(worst) else None, finite=finite)
