"""PyTorch gets threads by the work of a function: one for small products, all for large ones."""

import os

import numpy as np
import pytest
import torch
from torch import nn

from forced_aligner.runtime import threads
from forced_aligner.runtime.choice import make_backend
from forced_aligner.runtime.mil.program import Function, Program
from forced_aligner.runtime.options import RuntimeOptions
from forced_aligner.runtime.threads import available_threads, computing_with, threads_for, threads_for_model

IDS = {"input_ids": np.zeros((1, 3), np.int32)}


@pytest.fixture
def four_cores(monkeypatch):
    """A machine of four cores on which PyTorch takes three threads, as OMP_NUM_THREADS says it."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4), raising=False)
    with computing_with(3):
        yield


@pytest.fixture
def used(monkeypatch):
    """Appends the number of threads of each call of a function."""
    call, seen = Function.__call__, []

    def spy(function, inputs):
        seen.append(torch.get_num_threads())
        return call(function, inputs)

    monkeypatch.setattr(Function, "__call__", spy)
    return seen


def test_no_more_threads_than_pytorch_has_or_the_process_may_use(four_cores, monkeypatch):
    assert available_threads() == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 6}, raising=False)
    assert available_threads() == 2
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert available_threads() == 1


def test_more_work_gets_more_threads(four_cores):
    assert [threads_for(work) for work in (0, threads.ENOUGH_WORK - 1, threads.ENOUGH_WORK, 1e12)] == [1, 1, 3, 3]


def test_the_block_restores_what_was_there_before_an_error_too(four_cores):
    with pytest.raises(KeyError), computing_with(2):
        assert torch.get_num_threads() == 2
        raise KeyError
    assert torch.get_num_threads() == 3


def test_the_demo_gets_one_thread_and_a_larger_model_all(demo_bundle, demo_model, four_cores, used, monkeypatch):
    for key in ("audio_conv", "audio_transformer", "decoder_prefill", "lm_head"):
        program = Program(demo_bundle.package(key))
        assert all(0 < program.function(name).work < threads.ENOUGH_WORK for name in program.function_names)
    backend = make_backend(RuntimeOptions("mil"), demo_bundle)
    backend.predict("embedding", "main", IDS)
    assert (used, backend.most_threads) == ([1], 1)
    monkeypatch.setattr(threads, "ENOUGH_WORK", 0)
    backend.predict("embedding", "main", IDS)
    assert (used, backend.most_threads) == ([1, 3], 3)
    assert torch.get_num_threads() == 3


def test_the_number_that_is_asked_for_is_taken(demo_bundle, four_cores, used):
    backend = make_backend(RuntimeOptions("mil", threads=2), demo_bundle)
    backend.predict("embedding", "main", IDS)
    assert (used, backend.most_threads, torch.get_num_threads()) == ([2], 2, 3)


def test_a_model_of_pytorch_is_chosen_for_as_its_packages_are(demo_model, four_cores):
    assert threads_for_model(demo_model) == 1
    with torch.device("meta"):
        layer = nn.ModuleList([nn.Linear(1024, 1024), nn.Linear(1024, 3072), nn.Linear(3072, 1024)])  # of the 0.6B
    assert threads_for_model(layer) == 3
    assert threads_for_model(nn.Identity()) == 1
