"""Core ML's protobuf classes come without the rest of coremltools, and are the same ones when the rest comes later."""

import importlib
import subprocess
import sys

import coremltools

from forced_aligner.base.paths import ROOT
from forced_aligner.package import proto

LIGHT = """
import sys
from forced_aligner.package.proto import MIL_pb2, Model_pb2
assert "coremltools" not in sys.modules
spec = Model_pb2.Model(specificationVersion=9)
import coremltools
from coremltools.converters.mil.backend.mil import helper
assert coremltools.proto.Model_pb2.Model is Model_pb2.Model
assert type(helper.create_scalar_value(1.0)) is MIL_pb2.Value
spec.mlProgram.functions["main"].attributes["a"].CopyFrom(helper.create_scalar_value(1.0))
assert coremltools.proto.Model_pb2.Model.FromString(spec.SerializeToString()) == spec
"""


def run(code):
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_the_classes_are_the_same_before_and_after():
    run(LIGHT)


def test_the_classes_are_those_of_coremltools_where_it_is_there():
    assert importlib.reload(proto).Model_pb2 is coremltools.proto.Model_pb2
    assert sys.modules["coremltools"] is coremltools
