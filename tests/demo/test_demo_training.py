"""The training recipe: batches carry the right targets, and a run goes on from its checkpoint."""

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from demo.batches import BatchMaker
from demo.corpus import Corpus, load_corpus, make_corpus
from demo.network import AUDIO_PAD, TIMESTAMP, TIMESTAMP_CLASSES, embeddings_for
from demo.objective import soft_bin_loss
from demo.train import app, learning_rate_factor

UTTERANCES = 400


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    for module in ("espeakng_loader", "wordfreq"):
        pytest.importorskip(module, reason="the data maker needs the dependency group demo: uv sync --group demo")
    folder = tmp_path_factory.mktemp("demo")
    make_corpus(folder / "corpus", UTTERANCES, seed=3)
    return folder


@pytest.fixture(scope="module")
def corpus(work) -> Corpus:
    return load_corpus(work / "corpus")


def test_a_corpus_holds_whole_utterances(corpus):
    assert len(corpus.durations) == UTTERANCES
    assert corpus.sample_offsets[-1] == len(corpus.audio)
    assert np.all(corpus.ends_s > corpus.starts_s)


@pytest.mark.parametrize("longest_s", [2.0, 12.0])
def test_targets_lie_on_their_tokens_and_inside_the_clip(corpus, longest_s):
    batch = BatchMaker(corpus, seed=1).batch(0, 1.0, longest_s, batch_s=24.0)
    ids = batch.input_ids.flatten()
    assert torch.all(ids[batch.timestamp_rows] == TIMESTAMP)
    assert len(batch.timestamp_rows) == int((ids == TIMESTAMP).sum())
    assert torch.all(ids[batch.byte_rows] < 256)
    assert torch.all((batch.input_ids == AUDIO_PAD).sum(dim=1) == embeddings_for(batch.frames))
    for bins in (batch.timestamp_bins, batch.byte_bins):
        assert bins.min() >= 0 and bins.max() * 8 <= batch.frames + 1  # 8 mel frames a bin
    assert batch.phonemes.shape == (len(batch.input_ids), embeddings_for(batch.frames))


def test_the_same_seed_and_step_give_the_same_batch(corpus):
    first, second = (BatchMaker(corpus, seed=1).batch(7, 1.0, 5.0, batch_s=12.0) for _ in range(2))
    assert torch.equal(first.mel, second.mel) and torch.equal(first.input_ids, second.input_ids)


def test_words_are_where_the_targets_say(corpus):
    batch = BatchMaker(corpus, seed=1).batch(3, 1.0, 4.0, batch_s=24.0)
    energy = batch.mel.mean(dim=1)  # (clips, frames)
    spoken = torch.zeros(energy.shape, dtype=torch.bool)
    width = batch.input_ids.shape[1]
    starts, ends = batch.timestamp_bins[0::2], batch.timestamp_bins[1::2]
    for row, start, end in zip(batch.timestamp_rows[0::2], starts, ends, strict=True):
        spoken[int(row) // width, int(start * 8) : int(end * 8)] = True
    inside, outside = spoken.clone(), ~spoken
    outside[:, batch.frames :] = False
    assert energy[inside].mean() > energy[outside].mean() + 0.2


def test_the_loss_is_least_for_the_bin_nearest_to_the_truth():
    scores = [float(soft_bin_loss(10 * torch.eye(20)[k][None], torch.tensor([7.3]), 0.5)) for k in range(20)]
    assert int(np.argmin(scores)) == 7


def test_the_learning_rate_rises_holds_and_falls_to_zero():
    factors = [learning_rate_factor(step, 1000, 300) for step in range(1001)]
    assert factors[0] < 0.05 and factors[500] == 1 and factors[1000] == 0
    assert np.all(np.diff(factors[700:]) < 0)


@pytest.fixture
def keep_threads():
    count = torch.get_num_threads()
    yield
    torch.set_num_threads(count)


def test_a_run_goes_on_from_its_checkpoint_and_writes_a_model(work, keep_threads):
    arguments = ["--work", str(work), "--out", str(work / "model"), "--batch-s", "4"]
    assert CliRunner().invoke(app, [*arguments, "--steps", "2"]).exit_code == 0
    first = torch.load(work / "checkpoint.pt", weights_only=True)
    assert CliRunner().invoke(app, [*arguments, "--steps", "3"]).exit_code == 0
    second = torch.load(work / "checkpoint.pt", weights_only=True)
    assert (first["step"], second["step"]) == (2, 3)
    assert first["model"]["score.weight"].shape[0] == TIMESTAMP_CLASSES
    assert not torch.equal(first["model"]["score.weight"], second["model"]["score.weight"])
    assert (work / "model" / "model.safetensors").exists()
