"""The training losses: the timestamps, and three denser ones that make the small model learn.

Training stalled with the timestamp positions alone. So the same head also predicts the time of each audio embedding
and of each text byte, and a linear layer predicts the phoneme at each audio embedding. That layer is dropped after
training; the rest of the model is an ordinary `Qwen3ASRForTokenClassification`.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen3ASRForTokenClassification

from demo.batches import Batch
from demo.network import decode_text, encode_audio

TIMESTAMP_SIGMA = 0.5  # bins
BYTE_SIGMA = 1.0  # bins
NEIGHBOURS = 4  # bins on each side that a softened target covers


@dataclass(frozen=True)
class Weights:
    """The weight of each auxiliary loss; the timestamps have weight 1."""

    frames: float = 0.3
    bytes: float = 0.3
    phonemes: float = 0.5


def losses(
    model: Qwen3ASRForTokenClassification,
    phoneme_layer: nn.Linear,
    batch: Batch,
    weights: Weights,
    all_classes: bool,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum for one batch, and its parts by name.

    With `all_classes` the timestamps compete with all 5000 classes, otherwise only with the classes that a clip of this
    length can have. The former is needed only now and then, to keep the scores of unused classes low.
    """
    audio = encode_audio(model, batch.mel, batch.frames)  # (B, A, d)
    embedded = model.model.language_model.embed_tokens(batch.input_ids)
    count = audio.shape[1]
    embeddings = torch.cat([embedded[:, :1], audio.to(embedded.dtype), embedded[:, 1 + count :]], dim=1)
    hidden = decode_text(model, embeddings)  # (B, S, d)
    rows = hidden.flatten(0, 1)
    head = model.score.weight  # (5000, d)
    possible = head[: int(batch.frame_bins[-1]) + NEIGHBOURS + 2]  # bins that a clip of this length can have
    frame_bins = batch.frame_bins.repeat(hidden.shape[0])
    parts = {
        "timestamps": soft_bin_loss(
            rows[batch.timestamp_rows] @ (head if all_classes else possible).T,
            batch.timestamp_bins,
            TIMESTAMP_SIGMA,
        ),
        "frames": soft_bin_loss(hidden[:, 1 : 1 + count].flatten(0, 1) @ possible.T, frame_bins, TIMESTAMP_SIGMA),
        "bytes": soft_bin_loss(rows[batch.byte_rows] @ possible.T, batch.byte_bins, BYTE_SIGMA),
        "phonemes": F.cross_entropy(phoneme_layer(audio).flatten(0, 1).float(), batch.phonemes.flatten()),
    }
    total = parts["timestamps"] + sum(getattr(weights, name) * parts[name] for name in vars(weights))
    return total, parts


def soft_bin_loss(logits: Tensor, bins: Tensor, sigma: float) -> Tensor:
    """Cross-entropy against a Gaussian over the bins around the true time.

    Inputs:
        logits: (rows, classes).
        bins: (rows,) true times in bins, not rounded.
        sigma: width of the Gaussian in bins.
    """
    logits = logits.float()
    nearest = bins.round().long()
    offsets = torch.arange(-NEIGHBOURS, NEIGHBOURS + 1, device=bins.device)
    index = (nearest[:, None] + offsets).clamp(0, logits.shape[1] - 1)  # (rows, 9)
    target = torch.exp(-0.5 * ((nearest[:, None] + offsets - bins[:, None]) / sigma) ** 2)
    target = target / target.sum(dim=1, keepdim=True)
    return (logits.logsumexp(dim=1) - (target * logits.gather(1, index)).sum(dim=1)).mean()
