"""The parts of Qwen3-ForcedAligner that become Core ML packages, and the one table that declares them.

Each wrapper holds the Hugging Face weights, not copies of them, and computes what their module computes; where
it deviates, its docstring says why. Shapes are of the 0.6B checkpoint; all sizes come from the config.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen3ASRForTokenClassification

from forced_aligner.positions import MASKED
from forced_aligner.schemas import Dimensions, Precision

QUERY_BLOCK = 512  # longest run of query rows that the decoder attends with at once
LENGTH_STEP = 64  # decoder lengths are multiples of it


class AudioConv(nn.Module):
    """Three stride-2 convolutions over one chunk of 1 s, a projection, and the chunk's sinusoidal positions."""

    def __init__(self, model: Qwen3ASRForTokenClassification) -> None:
        super().__init__()
        self.tower = model.model.audio_tower

    def forward(self, mel_input: Tensor) -> Tensor:
        """(1, 128, 100) log-mel -> (1, 13, 1024)."""
        tower = self.tower
        x = mel_input.unsqueeze(1)  # (1, 1, 128, 100)
        for conv in (tower.conv2d1, tower.conv2d2, tower.conv2d3):
            x = F.gelu(conv(x))
        x = x.permute(0, 3, 1, 2).flatten(2)  # (1, 13, 480 * 16)
        x = tower.conv_out(x)
        return x + tower.positional_embedding.positional_embedding[: x.shape[1]]


def _audio_layers(model: Qwen3ASRForTokenClassification, x: Tensor, attention_mask: Tensor | None) -> Tensor:
    """The audio transformer and the projector: (1, n, 1024) -> (1, n, 1024)."""
    tower, projector = model.model.audio_tower, model.model.multi_modal_projector
    for layer in tower.layers:
        x = x + _audio_attention(layer.self_attn, layer.self_attn_layer_norm(x), attention_mask)
        x = x + layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(x))))
    x = tower.ln_post(x)
    return projector.linear_2(projector.act(projector.linear_1(x)))


def _audio_attention(attention: Any, x: Tensor, attention_mask: Tensor | None) -> Tensor:
    def heads(projected: Tensor) -> Tensor:  # (1, n, 1024) -> (1, 16, n, 64)
        return projected.unflatten(-1, (attention.num_heads, attention.head_dim)).transpose(1, 2)

    query = heads(attention.q_proj(x) * attention.scaling)
    scores = query @ heads(attention.k_proj(x)).transpose(-1, -2)  # (1, 16, n, n)
    if attention_mask is not None:
        scores = scores + attention_mask
    mixed = scores.softmax(-1) @ heads(attention.v_proj(x))  # (1, 16, n, 64)
    return attention.out_proj(mixed.transpose(1, 2).flatten(2))


class AudioTransformer(nn.Module):
    """The audio transformer and the projector over whole 8 s windows.

    Hugging Face packs the windows without padding and attends in each by itself. A package has one shape, so the
    host passes an additive mask that is block-diagonal over the windows and shuts out padding: same result.
    """

    def __init__(self, model: Qwen3ASRForTokenClassification) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, attention_mask: Tensor) -> Tensor:
        """(1, 256, 1024) conv features, (1, 1, 256, 256) mask of 0 or -1e4 -> (1, 256, 1024)."""
        return _audio_layers(self.model, features, attention_mask)


class AudioEncoder(nn.Module):
    """The monolithic encoder: one call a chunk, so no attention across chunks. Faster, and less accurate."""

    def __init__(self, model: Qwen3ASRForTokenClassification) -> None:
        super().__init__()
        self.model = model
        self.conv = AudioConv(model)

    def forward(self, mel_input: Tensor) -> Tensor:
        """(1, 128, 100) log-mel -> (1, 13, 1024)."""
        return _audio_layers(self.model, self.conv(mel_input), None)


class Embedding(nn.Module):
    """Token ids to vectors."""

    def __init__(self, model: Qwen3ASRForTokenClassification) -> None:
        super().__init__()
        self.embed_tokens = model.get_input_embeddings()

    def forward(self, input_ids: Tensor) -> Tensor:
        """(1, seq) int32 -> (1, seq, 1024)."""
        return self.embed_tokens(input_ids)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """RMSNorm over the last axis that stays inside FP16's range for every finite input.

    The residual stream reaches 300 and more, and 300 squared passes FP16's 65 504. So x is divided by
    s = max(max|x|, sqrt(eps)) first: with y = x / s, x / sqrt(mean(x^2) + eps) = y / sqrt(mean(y^2) + eps / s^2),
    where every term lies in [0, 2].
    """
    eps_root = torch.tensor(eps**0.5, dtype=x.dtype)
    scale = torch.maximum(x.abs().amax(-1, keepdim=True), eps_root)
    y = x / scale
    eps_ratio = eps_root / scale  # a tensor over a tensor: a number over a tensor becomes MIL's 1 / (x + 1e-4)
    return y * torch.rsqrt((y * y).mean(-1, keepdim=True) + eps_ratio * eps_ratio) * weight


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE on (L, heads, 128) with cos and sin of (L, 1, 128)."""
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


class DecoderPrefill(nn.Module):
    """All decoder layers in one causal pass, without the final norm, which belongs to the head.

    Attention goes by blocks of query rows, each over the keys up to its end: about half the work of the whole
    square, and no L x L matrix is alive at once. The heads of a group share a key-value head: they are laid out
    as further rows, so keys and values are never repeated.

    A stored causal mask costs up to L^2 values a function. It is computed in the graph instead, from a row and a
    column of numbers; `position_cos` at position 0 is 1 by definition, and the product with it keeps the
    converter from folding the whole into a constant.
    """

    def __init__(self, model: Qwen3ASRForTokenClassification) -> None:
        super().__init__()
        self.decoder = model.model.language_model

    def forward(self, hidden_states: Tensor, position_cos: Tensor, position_sin: Tensor) -> Tensor:
        """(1, L, 1024), and RoPE's cos and sin of (1, L, 128) each -> (1, L, 1024)."""
        x = hidden_states
        length = x.shape[1]
        block = query_block(length)
        config = self.decoder.config
        mask = self._mask(length, block, config.num_attention_heads // config.num_key_value_heads, position_cos)
        cos, sin = position_cos[0].unsqueeze(1), position_sin[0].unsqueeze(1)  # (L, 1, 128)
        for layer in self.decoder.layers:
            norm = layer.input_layernorm
            x = x + self._attention(layer.self_attn, rms_norm(x, norm.weight, norm.variance_epsilon), cos, sin, mask)
            norm, mlp = layer.post_attention_layernorm, layer.mlp
            y = rms_norm(x, norm.weight, norm.variance_epsilon)
            x = x + mlp.down_proj(mlp.act_fn(mlp.gate_proj(y)) * mlp.up_proj(y))
        return x

    @staticmethod
    def _mask(length: int, block: int, group: int, position_cos: Tensor) -> Tensor:
        """(group * block, L): 0 where the last block's row may look at the column, MASKED where not.

        A block that ends at `end` uses the last `end` columns: the mask depends on column minus row alone.
        """
        one = position_cos[0, 0, 0]
        column = torch.arange(length, dtype=torch.float32) - float(length - block)
        row = torch.arange(block, dtype=torch.float32).repeat(group).unsqueeze(1)
        return (column.to(one.dtype) - row.to(one.dtype) * one).clamp(0.0, 1.0) * MASKED

    @staticmethod
    def _attention(attention: Any, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        length, head_dim, group = x.shape[1], attention.head_dim, attention.num_key_value_groups
        block = query_block(length)

        def heads(projection: nn.Linear) -> Tensor:  # (L, heads, 128)
            return projection(x)[0].unflatten(-1, (-1, head_dim))

        q_norm, k_norm = attention.q_norm, attention.k_norm
        query = rms_norm(heads(attention.q_proj), q_norm.weight, q_norm.variance_epsilon)
        query = _rotate(query, cos, sin) * attention.scaling
        key = rms_norm(heads(attention.k_proj), k_norm.weight, k_norm.variance_epsilon)
        key = _rotate(key, cos, sin).permute(1, 2, 0)  # (8, 128, L)
        value = heads(attention.v_proj).transpose(0, 1)  # (8, L, 128)
        kv_heads = value.shape[0]
        mixed = []
        for start in range(0, length, block):
            end = start + block
            rows = query[start:end].unflatten(1, (kv_heads, group)).permute(1, 2, 0, 3)  # (8, 2, block, 128)
            scores = rows.flatten(1, 2) @ key[:, :, :end] + mask[:, length - end :]  # (8, 2 * block, end)
            out = (scores.softmax(-1) @ value[:, :end]).unflatten(1, (group, block))  # (8, 2, block, 128)
            mixed.append(out.permute(2, 0, 1, 3).flatten(1))  # (block, 16 * 128)
        return attention.o_proj(torch.cat(mixed, 0)).unsqueeze(0)


def query_block(length: int) -> int:
    """The query rows of one block: the largest multiple of `LENGTH_STEP` up to `QUERY_BLOCK` that divides."""
    blocks = range(min(length, QUERY_BLOCK), 0, -LENGTH_STEP)
    return next(block for block in blocks if length % block == 0)


class LMHead(nn.Module):
    """Final RMSNorm and the timestamp classifier; the host calls it on `<timestamp>` rows only."""

    def __init__(self, model: Qwen3ASRForTokenClassification) -> None:
        super().__init__()
        self.norm = model.model.language_model.norm
        self.score = model.score

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(1, seq, 1024) -> (1, seq, 5000); class index * 80 ms = time."""
        return self.score(rms_norm(hidden_states, self.norm.weight, self.norm.variance_epsilon))


@dataclass(frozen=True)
class TensorSpec:
    """An input or output. A string in `shape` names a field of `Sizes`; 'seq' is flexible, from 1 up."""

    name: str
    shape: tuple[int | str, ...]
    description: str
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class Sizes:
    """What the shapes of the table are made of: a checkpoint's dimensions and the lengths asked for."""

    dimensions: Dimensions
    frames: int  # audio-transformer frames a call
    length: int  # decoder sequence length

    def resolve(self, spec: TensorSpec) -> tuple[int | None, ...]:
        """The shape of `spec`, with None for a flexible axis."""
        return tuple(size if isinstance(size, int) else self._named(size) for size in spec.shape)

    def _named(self, name: str) -> int | None:
        if name == "seq":
            return None
        return int(getattr(self if hasattr(self, name) else self.dimensions, name))


@dataclass(frozen=True)
class Component:
    """One package: conversion, metadata, input checks and the README's table come from this."""

    key: str
    wrapper: Callable[[Qwen3ASRForTokenClassification], nn.Module]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    mixed_precision: Precision
    description: str
    is_default: bool = True
    by_length: bool = False  # converted once for each decoder length

    @property
    def package(self) -> str:
        """File name of the package."""
        return f"forced_aligner_{self.key}.mlpackage"


_MEL = TensorSpec("mel_input", (1, "mel_bins", "chunk_frames"), "log-mel of one chunk, zero-padded to 1 s")
_AUDIO_EMBEDDINGS = "audio frames in the decoder's embedding space"

COMPONENTS: dict[str, Component] = {
    component.key: component
    for component in (
        Component(
            "audio_conv",
            AudioConv,
            (_MEL,),
            (
                TensorSpec(
                    "conv_features", (1, "chunk_tokens", "audio_hidden"), "frames of 80 ms; trim the padded ones"
                ),
            ),
            "float16",
            "Convolutions over one chunk of log-mel, with the chunk's positions added.",
        ),
        Component(
            "audio_transformer",
            AudioTransformer,
            (
                TensorSpec("features", (1, "frames", "audio_hidden"), "conv features of whole windows, padded"),
                TensorSpec("attention_mask", (1, 1, "frames", "frames"), "0 within a window, -1e4 elsewhere"),
            ),
            (TensorSpec("audio_embeddings", (1, "frames", "hidden"), _AUDIO_EMBEDDINGS),),
            "float32",
            "Audio transformer and projector over whole attention windows.",
        ),
        Component(
            "embedding",
            Embedding,
            (TensorSpec("input_ids", (1, "seq"), "token ids of the prompt", torch.int32),),
            (TensorSpec("embeddings", (1, "seq", "hidden"), "token vectors; audio frames replace the pads"),),
            "float16",
            "Token embedding.",
        ),
        Component(
            "decoder_prefill",
            DecoderPrefill,
            (
                TensorSpec("hidden_states", (1, "length", "hidden"), "embedded prompt, zero-padded on the right"),
                TensorSpec("position_cos", (1, "length", "head_dim"), "cos of the rotary angles; 1 at position 0"),
                TensorSpec("position_sin", (1, "length", "head_dim"), "sin of the rotary angles"),
            ),
            (TensorSpec("output_hidden", (1, "length", "hidden"), "decoder states before the final norm"),),
            "float32",
            "Causal decoder in one pass; one function for each sequence length, sharing their weights.",
            by_length=True,
        ),
        Component(
            "lm_head",
            LMHead,
            (TensorSpec("hidden_states", (1, "seq", "hidden"), "decoder states at the <timestamp> positions"),),
            (TensorSpec("logits", (1, "seq", "num_classes"), "scores of the time classes"),),
            "float32",
            "Final norm and timestamp classifier.",
        ),
        Component(
            "audio_encoder",
            AudioEncoder,
            (_MEL,),
            (TensorSpec("audio_embeddings", (1, "chunk_tokens", "hidden"), _AUDIO_EMBEDDINGS),),
            "float32",
            "Monolithic audio encoder, one chunk a call: faster, without attention across chunks, less accurate.",
            is_default=False,
        ),
    )
}
DEFAULT_COMPONENTS = tuple(key for key, component in COMPONENTS.items() if component.is_default)
