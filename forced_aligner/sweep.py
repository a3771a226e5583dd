"""A choice made by evidence: convert a checkpoint in every preset, score each, and measure each component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from forced_aligner import bundle, checkpoint, conversion, parity, reference
from forced_aligner.aligner import Aligner
from forced_aligner.backends import Backend, BackendName, MilBackend, make_backend
from forced_aligner.bundle import Bundle
from forced_aligner.console import log
from forced_aligner.errors import UserError
from forced_aligner.paths import PARITY_FILE, REFERENCE_FILE
from forced_aligner.schemas import Clip, ComponentScore, ParityReport, Reference, Sweep, SweepRow, write_json
from individual_components import COMPONENTS, DEFAULT_COMPONENTS

SWEEP_FILE = "sweep.json"
PICTURE_FILE = "sweep.png"
MEASURED_CALLS = 4  # calls of each component whose outputs are compared with PyTorch

# preset -> what `convert-coreml.py` is given
PRESETS: dict[str, dict[str, Any]] = {
    "float32": {"precision": "float32"},
    "mixed": {"precision": "mixed"},
    "float16": {"precision": "float16"},
    "int8": {"precision": "float16", "compress": "int8"},
    "int6": {"precision": "float16", "compress": "int6"},
    "int4": {"precision": "float16", "compress": "int4"},
}


@dataclass(frozen=True)
class Call:
    """One call of a component, with what PyTorch makes of the same inputs in its `rows` real rows (None: all)."""

    component: str
    function: str
    inputs: Mapping[str, NDArray[Any]]
    expected: NDArray[np.float32]
    rows: int | None


class Recorder:
    """A backend that keeps the inputs of the first `MEASURED_CALLS` calls of each component."""

    def __init__(self, backend: Backend) -> None:
        self.name = backend.name
        self.calls: dict[str, list[tuple[str, Mapping[str, NDArray[Any]]]]] = {key: [] for key in DEFAULT_COMPONENTS}
        self._backend = backend

    def load(self, component: str, function: str) -> None:
        """As the backend within."""
        self._backend.load(component, function)

    def predict(self, component: str, function: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """As the backend within."""
        if len(self.calls[component]) < MEASURED_CALLS:
            self.calls[component].append((function, {name: array.copy() for name, array in inputs.items()}))
        return self._backend.predict(component, function, inputs)


def run(
    found: checkpoint.Checkpoint,
    clips: list[Clip],
    folder: Path,
    presets: Sequence[str],
    decoder_lengths: tuple[int, ...],
    backend_name: BackendName,
) -> Sweep:
    """Convert `found` in each preset below `folder`, score each on `clips`, and write `sweep.json`.

    The packages of the first preset give the inputs that the components of all are measured with.

    Raises:
        UserError: an unknown preset, or a folder that cannot be written.
    """
    for preset in presets:
        if preset not in PRESETS:
            raise UserError(f"no preset {preset!r}; expected some of {', '.join(PRESETS)}")
    folder.mkdir(parents=True, exist_ok=True)
    log("PyTorch reference")
    made = reference.make_reference(found, clips, folder / REFERENCE_FILE)
    rows: list[SweepRow] = []
    calls: list[Call] = []
    for preset in presets:
        log(f"{preset}: convert and score")
        options = conversion.Options(DEFAULT_COMPONENTS, decoder_lengths, force=True, **PRESETS[preset])
        conversion.convert(found, folder / preset, options)
        opened = Bundle.open(folder / preset)
        backend = make_backend(backend_name, opened)
        calls = calls or record_calls(found, opened, made, folder)
        report, _ = parity.compare(Aligner(opened, backend), backend.name, made, folder, parity.Gate())
        write_json(report, folder / preset / PARITY_FILE)
        rows.append(row(preset, opened, report, {key: measure(backend, calls, key) for key in DEFAULT_COMPONENTS}))
    sweep = Sweep(model_id=found.model_id, checkpoint_fingerprint=made.checkpoint_fingerprint, rows=rows)
    write_json(sweep, folder / SWEEP_FILE)
    return sweep


def row(name: str, opened: Bundle, report: ParityReport, components: dict[str, ComponentScore]) -> SweepRow:
    """One line of the table: a converted folder, its parity report and its components' scores (or none)."""
    return SweepRow(
        name=name,
        size_bytes=sum(bundle.package_size(opened.package(key)) for key in opened.metadata.components),
        **report.model_dump(include={"bin_exact_percent", "aas_ms", "max_error_ms", "passed"}),
        components=components,
    )


def record_calls(found: checkpoint.Checkpoint, opened: Bundle, made: Reference, root: Path) -> list[Call]:
    """The first calls of each component over the reference's clips, with PyTorch's float32 outputs."""
    recorder = Recorder(MilBackend(opened))
    count = min(len(made.samples), MEASURED_CALLS)
    parity.compare(Aligner(opened, recorder), recorder.name, made.head(count), root, parity.Gate())
    model = checkpoint.load_model(found)
    calls = []
    for key, recorded in recorder.calls.items():
        component = COMPONENTS[key]
        wrapper = component.wrapper(model).eval()
        for function, inputs in recorded:
            arguments = [torch.from_numpy(np.ascontiguousarray(inputs[spec.name])) for spec in component.inputs]
            with torch.inference_mode():
                expected = wrapper(*arguments).numpy()
            calls.append(Call(key, function, inputs, expected, real_rows(key, inputs)))
    return calls


def real_rows(key: str, inputs: Mapping[str, NDArray[Any]]) -> int | None:
    """How many rows of a call hold more than padding, whose outputs nobody reads.

    A padded frame attends to nothing, which FP16 does in another way than FP32: -1e4 plus a score is rounded to eights.
    """
    if key == "audio_transformer":
        return int(np.flatnonzero((inputs["attention_mask"] == 0).any((0, 1, 2)))[-1]) + 1
    if key == "decoder_prefill":
        return int(np.flatnonzero(inputs["hidden_states"].any((0, 2)))[-1]) + 1
    return None


def measure(backend: Backend, calls: Sequence[Call], key: str) -> ComponentScore:
    """PSNR of a component against PyTorch in float32 over its recorded calls, and whether all of it is finite."""
    worst, finite = np.inf, True
    for call in calls:
        if call.component == key:
            (output,) = backend.predict(key, call.function, call.inputs).values()
            finite = finite and bool(np.isfinite(output).all())
            worst = min(worst, psnr_db(output[:, : call.rows], call.expected[:, : call.rows]))
    return ComponentScore(psnr_db=round(worst, 2) if np.isfinite(worst) else None, finite=finite)


def psnr_db(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Peak signal to noise: 20 log10(max|expected| / rms error), dB; inf for equal arrays, -inf for not finite ones."""
    error = found.astype(np.float64) - expected.astype(np.float64)
    if not np.isfinite(error).all():
        return -np.inf
    rms = float(np.sqrt((error**2).mean()))
    return float(20 * np.log10(np.abs(expected).max() / rms)) if rms else np.inf
