"""The commands, run in the process of the tests."""

import runpy
import sys
from types import SimpleNamespace

import pytest

from forced_aligner.base.console import set_quiet
from forced_aligner.base.paths import ROOT


@pytest.fixture
def here(capsys, monkeypatch, empty_hub):
    """A command in this process: the same script, without its start-up time.

    The process keeps its own signals: one that a fork of it gets would end it too (`tests/base/test_stopping.py` tests
    them in processes of their own).
    """
    monkeypatch.setattr("forced_aligner.base.stopping.exit_on_signals", lambda: None)

    def run_here(script, *arguments, cwd):
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        said = capsys.readouterr()
        return SimpleNamespace(returncode=caught.value.code, stdout=said.out, stderr=said.err)

    yield run_here
    set_quiet(False)
