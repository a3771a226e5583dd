"""Core ML's plan, counted from coremltools' own classes; the plan itself is made up here, for Linux has none."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from coremltools import ComputeUnit
from coremltools.models.compute_device import MLCPUComputeDevice, MLGPUComputeDevice, MLNeuralEngineComputeDevice
from coremltools.models.compute_plan import (
    MLComputePlan,
    MLComputePlanCost,
    MLComputePlanDeviceUsage,
    MLModelStructure,
    MLModelStructureProgram,
    MLModelStructureProgramBlock,
    MLModelStructureProgramFunction,
    MLModelStructureProgramNamedValueType,
    MLModelStructureProgramOperation,
    MLModelStructureProgramValueType,
)

from forced_aligner.runtime.compute_plan import MAX_NAMES, NOT_SAID, CompiledBackend, read_plans
from forced_aligner.runtime.measurements import DeviceShare, OffNeuralEngine

# Their constructors take objects of the C++ layer alone.
CPU, GPU, NE = (object.__new__(kind) for kind in (MLCPUComputeDevice, MLGPUComputeDevice, MLNeuralEngineComputeDevice))


class Backend:
    computes_on = "ALL"

    def compiled_path(self, component):
        return Path(f"{component}.mlmodelc")


def op(name, kind, device=None, cost=None, inner=()):
    output = MLModelStructureProgramNamedValueType(name, MLModelStructureProgramValueType())
    return MLModelStructureProgramOperation({}, kind, [output], [block(inner)] if inner else [], (device, cost))


def block(operations):
    return MLModelStructureProgramBlock([], list(operations), [])


class Plan:
    """What `MLComputePlan` returns; the device and the cost of an op are in the place of its C++ object."""

    def __init__(self, functions):
        named = {name: MLModelStructureProgramFunction([], block(ops)) for name, ops in functions.items()}
        self.model_structure = MLModelStructure(None, MLModelStructureProgram(named), None)

    def get_compute_device_usage_for_mlprogram_operation(self, operation):
        device, _ = operation.__proxy__
        return MLComputePlanDeviceUsage(device, [CPU, GPU, NE]) if device else None

    def get_estimated_cost_for_mlprogram_operation(self, operation):
        _, cost = operation.__proxy__
        return MLComputePlanCost(cost) if cost is not None else None


@pytest.fixture
def plans(monkeypatch):
    """The plans that are read of `functions`, and what coremltools was asked for."""
    asked = []

    def read(functions, computes_on="ALL"):
        def load(path, compute_units):
            asked.append((path, compute_units))
            return Plan(functions)

        monkeypatch.setattr(MLComputePlan, "load_from_path", load)
        backend = Backend()
        backend.computes_on = computes_on
        return read_plans(backend, "lm_head")

    return SimpleNamespace(read=read, asked=asked)


def test_each_device_has_its_share_of_ops_and_of_cost(plans):
    ops = [
        op("weight", "const"),
        op("a", "ios18.linear", NE, 0.6),
        op("b", "ios18.linear", NE, 0.15),
        op("c", "ios18.gather", CPU, 0.05),
        op("d", "ios16.softmax", GPU, 0.2),
    ]
    (plan,) = plans.read({"main": ops})
    assert plans.asked == [("lm_head.mlmodelc", ComputeUnit.ALL)]
    assert (plan.component, plan.function, plan.computes_on, plan.ops) == ("lm_head", "main", "ALL", 4)
    assert {share.device: share.ops for share in plan.devices} == {"Neural Engine": 2, "CPU": 1, "GPU": 1}
    costs = {share.device: share.cost_percent for share in plan.devices}
    assert costs == pytest.approx({"Neural Engine": 75, "CPU": 5, "GPU": 20})


def test_what_falls_off_the_neural_engine_is_named_by_kind(plans):
    ops = [op(f"gather_{number}", "ios18.gather", CPU) for number in range(MAX_NAMES + 2)]
    inner = [op("inside", "ios18.cast", GPU), op("on", "ios18.add", NE)]
    (plan,) = plans.read({"main": [*ops, op("branch", "cond", NE, inner=inner)]})
    assert plan.ops == MAX_NAMES + 2 + 3
    assert plan.off_neural_engine == [
        OffNeuralEngine(kind="ios18.gather", ops=MAX_NAMES + 2, names=[f"gather_{n}" for n in range(MAX_NAMES)]),
        OffNeuralEngine(kind="ios18.cast", ops=1, names=["inside"]),
    ]


def test_nothing_falls_off_where_the_neural_engine_is_not_asked_for(plans):
    (plan,) = plans.read({"main": [op("a", "ios18.gather", CPU)]}, computes_on="CPU_AND_GPU")
    assert plans.asked == [("lm_head.mlmodelc", ComputeUnit.CPU_AND_GPU)]
    assert plan.off_neural_engine == []


def test_an_op_without_a_device_is_counted_as_such(plans):
    first, second = plans.read({"length_64": [op("a", "ios18.add", NE, 1.0)], "length_128": [op("a", "ios18.add")]})
    assert [plan.function for plan in (first, second)] == ["length_128", "length_64"]
    assert first.devices == [DeviceShare(device=NOT_SAID, ops=1, cost_percent=None)]
    assert first.off_neural_engine == []


def test_a_backend_without_compiled_packages_has_no_plan():
    assert isinstance(Backend(), CompiledBackend)
    assert not isinstance(SimpleNamespace(computes_on="cpu"), CompiledBackend)
