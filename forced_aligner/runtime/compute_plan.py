"""Core ML's own forecast: on which device each op of a compiled package is to run. macOS 14.4 and later."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from forced_aligner.runtime.measurements import DeviceShare, FunctionPlan, OffNeuralEngine

NEURAL_ENGINE = "Neural Engine"
NOT_SAID = "not said"  # Core ML gives no device
WITH_NEURAL_ENGINE = ("ALL", "CPU_AND_NE")  # of `coremltools.ComputeUnit`
MAX_NAMES = 5  # of each kind: one op of a layer stands for those of all layers


@runtime_checkable
class CompiledBackend(Protocol):
    """A backend that has compiled packages; `computes_on` is a name of `coremltools.ComputeUnit`."""

    computes_on: str

    def compiled_path(self, component: str) -> Path:
        """The `.mlmodelc` of `component`."""
        ...


def read_plans(backend: CompiledBackend, component: str) -> list[FunctionPlan]:
    """The plan of each function of `component`.

    coremltools asks for the plan of the package and cannot name a function. Where Core ML gives no device for an op,
    as it may for functions other than the default one, the device is `NOT_SAID`.

    Raises:
        RuntimeError: Core ML has no plan, as on a macOS before 14.4 (coremltools 9.0, coremlpython/CoreMLPython.mm).
        UserError: the package cannot be compiled.
    """
    import coremltools
    from coremltools.models.compute_plan import MLComputePlan

    path = str(backend.compiled_path(component))
    plan = MLComputePlan.load_from_path(path, coremltools.ComputeUnit[backend.computes_on])
    program = plan.model_structure.program
    if program is None:
        raise RuntimeError("its model structure has no program")
    functions = program.functions
    return [_function_plan(plan, component, name, backend.computes_on, functions[name]) for name in sorted(functions)]


def _function_plan(plan: Any, component: str, name: str, computes_on: str, function: Any) -> FunctionPlan:
    ops: Counter[str] = Counter()
    costs: dict[str, float] = defaultdict(float)
    elsewhere: dict[str, list[str]] = {}
    for op in _operations(function.block):
        device = _device(plan.get_compute_device_usage_for_mlprogram_operation(op))
        cost = plan.get_estimated_cost_for_mlprogram_operation(op)
        ops[device] += 1
        costs[device] += cost.weight if cost else 0.0
        if computes_on in WITH_NEURAL_ENGINE and device not in (NEURAL_ENGINE, NOT_SAID):
            elsewhere.setdefault(op.operator_name, []).append(op.outputs[0].name if op.outputs else "")
    total = sum(costs.values())
    return FunctionPlan(
        component=component,
        function=name,
        computes_on=computes_on,
        ops=ops.total(),
        devices=[
            DeviceShare(device=device, ops=count, cost_percent=100 * costs[device] / total if total else None)
            for device, count in ops.most_common()
        ],
        off_neural_engine=[
            OffNeuralEngine(kind=kind, ops=len(names), names=names[:MAX_NAMES])
            for kind, names in sorted(elsewhere.items(), key=lambda item: -len(item[1]))
        ],
    )


def _operations(block: Any) -> Iterator[Any]:
    """The ops of a block and of the blocks within them, without constants, which no device runs."""
    for op in block.operations:
        if op.operator_name.rpartition(".")[2] != "const":
            yield op
        for inner in op.blocks:
            yield from _operations(inner)


def _device(usage: Any) -> str:
    """The device that an op is preferably run on."""
    from coremltools.models import compute_device

    if usage is None:
        return NOT_SAID
    names = {
        compute_device.MLCPUComputeDevice: "CPU",
        compute_device.MLGPUComputeDevice: "GPU",
        compute_device.MLNeuralEngineComputeDevice: NEURAL_ENGINE,
    }
    chosen = usage.preferred_compute_device  # None for a kind of device that coremltools does not know
    return next((name for kind, name in names.items() if isinstance(chosen, kind)), NOT_SAID)
