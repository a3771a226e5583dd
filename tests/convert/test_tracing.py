"""One module becomes one package, and coremltools checks its program once."""

import coremltools as ct
import torch
from torch import nn

from forced_aligner.convert.tracing import Settings, Signature, trace_and_convert
from forced_aligner.package.coremltools_internals import Program


def test_the_program_that_is_saved_is_checked_once(monkeypatch, tmp_path):
    checked = []

    def validate(program, check_essential_scope=False):
        checked.append(len(program.functions["main"].operations))

    monkeypatch.setattr(Program, "validate", validate)
    signature = Signature([ct.TensorType("x", (1, 4))], (torch.zeros(1, 4),), [ct.TensorType("y")])
    settings = Settings("float32", "iOS18", True, None, "main")
    trace_and_convert(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), signature, settings, "layer", tmp_path / "a.mlpackage")
    assert len(checked) == 1
    assert checked[0] > 0
    assert Program.validate is validate
    assert (tmp_path / "a.mlpackage/Manifest.json").exists()
