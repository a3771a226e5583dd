"""The doubles of the classes behind `coremltools.models.compute_plan` and `compute_device`.

**Devices and costs are made up.** They are there so that a table of them has rows. An op's share of the cost is its
share of all output elements, and every op may run anywhere, except one kind that the Neural Engine does not take.

Only the default function has a plan. coremltools asks for a plan without naming a function (coremlpython/
CoreMLPython.mm, `Model::getComputePlan`), and Core ML then takes the default one (Apple,
`MLModelConfiguration.functionName`). That the other functions have no devices and costs is a cautious guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from coremltools.models import compute_device, compute_plan
from coremltools.proto import MIL_pb2

from .compiled import Compiled

NOT_ON_THE_NEURAL_ENGINE = "softmax"  # made up
NEURAL_ENGINE_CORES = 16  # made up
# They may have no device and no cost: coremltools/test/api/test_api_examples.py, `TestMLComputePlan`.
NOT_PLANNED = ("const", "cast")
# Names of ops have a prefix, such as `ios18.mul`; `const` has none (https://github.com/0seba/VoxCPMANE/issues/15).
OPSET_PREFIXES = {"CoreML5": "ios15", "CoreML6": "ios16", "CoreML7": "ios17", "CoreML8": "ios18", "CoreML9": "ios26"}


class CPUProxy:
    """The double of `_MLCPUComputeDeviceProxy`."""


class GPUProxy:
    """The double of `_MLGPUComputeDeviceProxy`."""


class NeuralEngineProxy:
    """The double of `_MLNeuralEngineComputeDeviceProxy`."""

    def get_total_core_count(self) -> int:
        """A made up number."""
        return NEURAL_ENGINE_CORES


@dataclass(frozen=True)
class OperationProxy:
    """What stands behind one op of a structure.

    Attributes:
        kind: the op's type in the spec, such as `linear`.
        weight: its share of the estimated cost of its function; `None` where it has no plan.
    """

    kind: str
    weight: float | None


class ComputePlanProxy:
    """The double of `_MLComputePlanProxy`."""

    def __init__(self, model_structure: Any = None, units: str = "ALL") -> None:
        self.model_structure = model_structure
        self._units = units

    def get_compute_device_usage_for_mlprogram_operation(self, operation: Any) -> Any:
        """The devices that an op may run on, the best first; `None` where they are not known. Made up."""
        proxy = _proxy_of(operation)
        if proxy.weight is None:
            return None
        supported = [
            device
            for device in _devices(self._units)
            if proxy.kind != NOT_ON_THE_NEURAL_ENGINE
            or not isinstance(device, compute_device.MLNeuralEngineComputeDevice)
        ]
        return compute_plan.MLComputePlanDeviceUsage(supported[0], supported)

    def get_estimated_cost_for_mlprogram_operation(self, operation: Any) -> Any:
        """The op's share of the whole, 0 to 1; `None` where it is not known. Made up."""
        weight = _proxy_of(operation).weight
        return None if weight is None else compute_plan.MLComputePlanCost(weight)


def _proxy_of(operation: Any) -> OperationProxy:
    """As pybind11's cast: an object that did not come from a structure is an error."""
    proxy = operation.__proxy__
    if not isinstance(proxy, OperationProxy):
        raise RuntimeError(f"Unable to cast a {type(proxy).__name__} to the proxy of an operation")
    return proxy


def _devices(units: str) -> list[Any]:
    """The devices that the compute units allow, the best first."""
    neural_engine = [compute_device.MLNeuralEngineComputeDevice(NeuralEngineProxy())]
    gpu = [compute_device.MLGPUComputeDevice(GPUProxy())]
    cpu = [compute_device.MLCPUComputeDevice(CPUProxy())]
    return {
        "ALL": [*neural_engine, *gpu, *cpu],
        "CPU_AND_NE": [*neural_engine, *cpu],
        "CPU_AND_GPU": [*gpu, *cpu],
        "CPU_ONLY": cpu,
    }[units]


def all_devices() -> list[Any]:
    """Every device there is. Made up."""
    return _devices("ALL")


def make_plan(compiled: Compiled, units: str) -> Any:
    """coremltools' `MLComputePlan` for a compiled folder."""
    return compute_plan.MLComputePlan(ComputePlanProxy(make_structure(compiled), units))


def make_structure(compiled: Compiled) -> Any:
    """coremltools' `MLModelStructure` of a compiled folder: all its functions and their ops."""
    functions = {
        name: _function(function, is_planned=name == compiled.default_function)
        for name, function in compiled.spec.mlProgram.functions.items()
    }
    return compute_plan.MLModelStructure(
        neuralnetwork=None, program=compute_plan.MLModelStructureProgram(functions), pipeline=None
    )


def _function(function: MIL_pb2.Function, *, is_planned: bool) -> Any:
    block = function.block_specializations[function.opset]
    elements = [0 if operation.type in NOT_PLANNED else _elements(operation) for operation in block.operations]
    total = sum(elements)
    operations = [
        _operation(operation, function.opset, count / total if is_planned and count else None)
        for operation, count in zip(block.operations, elements, strict=True)
    ]
    return compute_plan.MLModelStructureProgramFunction(
        inputs=[_named(value) for value in function.inputs],
        block=compute_plan.MLModelStructureProgramBlock(
            inputs=[_named(value) for value in block.inputs],
            operations=operations,
            output_names=list(block.outputs),
        ),
    )


def _operation(operation: MIL_pb2.Operation, opset: str, weight: float | None) -> Any:
    kind = operation.type
    return compute_plan.MLModelStructureProgramOperation(
        inputs={key: _argument(argument) for key, argument in operation.inputs.items()},
        operator_name=kind if kind == "const" else f"{OPSET_PREFIXES[opset]}.{kind}",
        outputs=[_named(value) for value in operation.outputs],
        blocks=[],
        __proxy__=OperationProxy(kind, weight),
    )


def _argument(argument: MIL_pb2.Argument) -> Any:
    bindings = [
        compute_plan.MLModelStructureProgramBinding(binding.name, None)
        if binding.WhichOneof("binding") == "name"
        else compute_plan.MLModelStructureProgramBinding(None, compute_plan.MLModelStructureProgramValue())
        for binding in argument.arguments
    ]
    return compute_plan.MLModelStructureProgramArgument(bindings)


def _named(value: MIL_pb2.NamedValueType) -> Any:
    return compute_plan.MLModelStructureProgramNamedValueType(
        value.name, compute_plan.MLModelStructureProgramValueType()
    )


def _elements(operation: MIL_pb2.Operation) -> int:
    """Elements of the op's outputs; a size that is free counts as one."""
    return sum(
        prod(
            dimension.constant.size if dimension.WhichOneof("dimension") == "constant" else 1
            for dimension in value.type.tensorType.dimensions
        )
        for value in operation.outputs
    )
