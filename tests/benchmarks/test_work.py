"""The multiply-adds that the chosen shapes execute, counted from the packages."""

from itertools import combinations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.work import Work, best_sizes, executed_pairs, librispeech_like
from forced_aligner.convert.defaults import DEFAULT_FRAMES, DEFAULT_LENGTHS
from forced_aligner.runtime.mil.program import Program
from forced_aligner.runtime.mil.work import count
from individual_components import COMPONENTS, Sizes
from tests.runtime.test_mil_program import wrapper_inputs


@pytest.fixture(scope="module")
def work(demo_bundle):
    return Work(demo_bundle)


@pytest.mark.parametrize("key", COMPONENTS)
def test_what_is_counted_is_what_pytorch_counts(bundle_of, demo_model, key):
    component, bundle = COMPONENTS[key], bundle_of(key)
    functions = Program(bundle.package(key)).spec.mlProgram.functions
    for name, size in bundle.record(key).functions.items():
        inputs = wrapper_inputs(component, Sizes(bundle.metadata.dimensions, size or 1, size or 1))
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            component.wrapper(demo_model)(*inputs)
        assert 2 * count(functions[name], rows=inputs[0].shape[1]).total == counter.get_total_flops()


def test_rows_and_pairs_explain_every_function(work):
    """So the cost of a size that was not converted can be computed exactly."""
    for (key, size), macs in work.counted.items():
        if key == "audio_transformer":
            assert work.encoder(size, size**2) == macs.total
        if key == "decoder_prefill":
            assert work.decoder(size, executed_pairs(size)) == macs.total


def test_the_default_sizes_execute_little_more_than_what_is_needed(work):
    clips = librispeech_like()
    ours = work.overhead(clips, DEFAULT_FRAMES["iOS18"], DEFAULT_LENGTHS["iOS18"])
    baseline = work.overhead(clips, (256,), (1024,), head_rows=1024)
    assert 1.0 < ours < 1.35  # the demo's attention is a larger part of it than the 0.6B model's
    assert baseline > 3.5 * ours


def test_the_clips_have_librispeechs_mean(work):
    clips = librispeech_like()
    assert sum(clip.duration_s for clip in clips) / len(clips) == pytest.approx(5.4 * 3600 / 2620, rel=0.03)
    for clip in clips:
        assert clip.audio_tokens == pytest.approx(work.dimensions.audio_tokens(round(clip.duration_s * 100)), abs=1)


def test_the_best_sizes_are_the_best():
    """Compared with an exhaustive search."""
    cost, needed = {n: n**1.3 for n in range(1, 9)}, [1, 1, 2, 3, 3, 3, 5, 8]

    def total(sizes):
        return sum(cost[min(size for size in sizes if size >= each)] for each in needed)

    for number in range(1, 5):
        tried = [sizes for sizes in combinations(cost, number) if max(sizes) == 8]
        assert total(best_sizes(cost, needed, number)) == min(map(total, tried))
