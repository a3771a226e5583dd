"""What Core ML is asked for, seen by a stand-in for its model class: it predicts on macOS only."""

import coremltools as ct
import numpy as np
import pytest

from forced_aligner.package.bundle import Bundle
from forced_aligner.package.contract import MAIN
from forced_aligner.runtime.coreml import CoreMLBackend


@pytest.fixture
def loaded(monkeypatch):
    """The arguments of every model that is loaded."""
    calls = []

    class Model:
        __proxy__ = object()

        def __init__(self, path, **options):
            calls.append({"path": path, **options})

        def predict(self, inputs):
            return {"calls": np.array([len(calls)])}

    monkeypatch.setattr("coremltools.models.MLModel", Model)
    return calls


def test_every_function_is_loaded_by_its_name_and_main_by_none(demo_bundle, loaded):
    """A package of one function has no names in Core ML; without a name, one of several would be the default one."""
    backend = CoreMLBackend(demo_bundle)
    for component, record in demo_bundle.metadata.components.items():
        for function in record.functions:
            backend.load(component, function)
            expected = None if function == MAIN else function
            assert loaded[-1]["function_name"] == expected
            assert loaded[-1]["path"] == str(demo_bundle.package(component))
    assert {call["function_name"] for call in loaded} >= {None, "length_256", "length_640", "frames_104"}


@pytest.mark.parametrize("name", ["ALL", "CPU_AND_GPU"])
def test_the_compute_units_are_those_of_the_metadata(demo_bundle, loaded, name):
    metadata = demo_bundle.metadata.model_copy(update={"compute_units": name})
    CoreMLBackend(Bundle(demo_bundle.folder, metadata)).load("decoder_prefill", "length_256")
    assert loaded[-1]["compute_units"] is ct.ComputeUnit[name]


def test_each_function_is_loaded_once(demo_bundle, loaded):
    backend = CoreMLBackend(demo_bundle)
    for function in ("length_256", "length_640", "length_256"):
        backend.predict("decoder_prefill", function, {})
    assert [call["function_name"] for call in loaded] == ["length_256", "length_640"]
