"""The parts of Qwen3-ForcedAligner that become Core ML packages, and the one table that declares them.

Each wrapper holds the Hugging Face weights, not copies of them, and computes the same function as their module. Where
it computes it in another way, its docstring says why. Shapes are those of the 0.6B checkpoint; all sizes come from the
config.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen3ASRForTokenClassification

from forced_aligner.package.contract import LENGTH_STEP, MASKED
from forced_aligner.package.metadata import Dimensions, conv_length

QUERY_BLOCK = 512  # the most query rows in one block of the decoder's attention


class AudioConv(nn.Module):
    """Three stride-2 convolutions over one chunk of 1 s, a projection, and the chunk's sinusoidal positions."""

    def __init__(self, model: Qwen3ASRForTokenClassification) -> None:
        super().__init__()
        tower = model.model.audio_tower
        self.convolutions = nn.ModuleList([tower.conv2d1, tower.conv2d2, tower.conv2d3])
        self.conv_out = tower.conv_out
        self.positions = tower.positional_embedding

    def forward(self, mel_input: Tensor) -> Tensor:
        """(1, 128, 100) log-mel -> (1, 13, 1024)."""
        x = mel_input.unsqueeze(1)  # (1, 1, 128, 100)
        for convolution in self.convolutions:
            x = F.gelu(convolution(x))
        x = self.conv_out(x.permute(0, 3, 1, 2).flatten(2))  # (1, 13, 480 * 16) -> (1, 13, 1024)
        return x + self.positions.positional_embedding[: x.shape[1]]


class Layered(nn.Module):
    """A wrapper of equal layers between a first and a last module.

    `first` turns the inputs into the state, a tuple of tensors. Each layer takes the state and returns a new first
    tensor. `last` turns that tensor into the output. The conversion traces one layer and copies it for all of them.
    """

    def __init__(self, first: nn.Module, layers: Iterable[nn.Module], last: nn.Module) -> None:
        super().__init__()
        self.first = first
        self.layers = nn.ModuleList(layers)
        self.last = last

    def forward(self, *inputs: Tensor) -> Tensor:
        """The component's inputs, as the table declares them -> its output."""
        x, *rest = self.first(*inputs)
        for layer in self.layers:
            x = layer(x, *rest)
        return self.last(x)


class AudioLayer(nn.Module):
    """One layer of the audio transformer.

    With a `window`, so many rows attend to each other at a time: that is the block-diagonal mask of the windows without
    the mask, and without the work on what it excludes.
    """

    def __init__(self, layer: Any, window: int | None = None) -> None:
        super().__init__()
        self.layer = layer
        self.window = window

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(1, n, 1024), additive mask (1, 1, n or 1, n) or none -> (1, n, 1024)."""
        layer = self.layer
        x = x + self._attention(layer.self_attn, layer.self_attn_layer_norm(x), attention_mask)
        return x + layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(x))))

    def _attention(self, attention: Any, x: Tensor, attention_mask: Tensor | None) -> Tensor:
        def heads(projected: Tensor) -> Tensor:  # (1, n, 1024) -> (1, 16, n, 64)
            return projected.unflatten(-1, (attention.num_heads, attention.head_dim)).transpose(1, 2)

        query = heads(attention.q_proj(x) * attention.scaling)
        key, value = heads(attention.k_proj(x)), heads(attention.v_proj(x))
        if self.window is None or attention_mask is None or x.shape[1] <= self.window:
            mixed = _attend(query, key, value, attention_mask)  # (1, 16, n, 64)
        else:
            windows = (slice(start, start + self.window) for start in range(0, x.shape[1], self.window))
            mixed = torch.cat(
                [_attend(query[:, :, w], key[:, :, w], value[:, :, w], attention_mask[..., w]) for w in windows], 2
            )
        return attention.out_proj(mixed.transpose(1, 2).flatten(2))


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of (1, heads, n, 64), the query being scaled, with an additive mask -> (1, heads, n, 64)."""
    scores = query @ key.transpose(-1, -2)  # (1, 16, n, n)
    if mask is not None:
        scores = scores + mask
    return scores.softmax(-1) @ value


class Projection(nn.Module):
    """The audio transformer's last norm, and the projector into the decoder's embedding space."""

    def __init__(self, model: Qwen3ASRForTokenClassification) -> None:
        super().__init__()
        self.ln_post = model.model.audio_tower.ln_post
        self.projector = model.model.multi_modal_projector

    def forward(self, x: Tensor) -> Tensor:
        """(1, n, 1024) -> (1, n, 1024)."""
        projector = self.projector
        return projector.linear_2(projector.act(projector.linear_1(self.ln_post(x))))


class Passthrough(nn.Module):
    """Returns its inputs unchanged."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Any tensors -> the same."""
        return inputs


class AudioTransformer(Layered):
    """The audio transformer and the projector over whole 8 s windows.

    Hugging Face packs the windows without padding and attends within each. A function of a package has one fixed
    shape, so the host passes an additive mask that is block-diagonal over the windows and excludes the padding. The
    result is the same.

    Inputs: (1, F, 1024) conv features, (1, 1, F, F) mask of 0 or -1e4. Output: (1, F, 1024).
    """

    def __init__(self, model: Qwen3ASRForTokenClassification) -> None:
        super().__init__(Passthrough(), map(AudioLayer, model.model.audio_tower.layers), Projection(model))


class AudioEncoder(Layered):
    """The monolithic encoder: one call per chunk, without attention across chunks. Faster, but less accurate.

    Input: (1, 128, 100) log-mel. Output: (1, 13, 1024).
    """

    def __init__(self, model: Qwen3ASRForTokenClassification) -> None:
        first = nn.Sequential(AudioConv(model), Passthrough())
        super().__init__(first, map(AudioLayer, model.model.audio_tower.layers), Projection(model))


class AudioStart(nn.Module):
    """The convolutions over all chunks of a call at once; their rows in the order of time."""

    def __init__(self, model: Qwen3ASRForTokenClassification) -> None:
        super().__init__()
        self.conv = AudioConv(model)

    def forward(self, mel_chunks: Tensor, row_mask: Tensor) -> tuple[Tensor, ...]:
        """(N, 128, 100), (1, 1, 1, 13 N) -> (1, 13 N, 1024), and the mask."""
        return self.conv(mel_chunks).flatten(0, 1).unsqueeze(0), row_mask


class Audio(Layered):
    """The whole audio encoder over N chunks: convolutions, transformer and projector in one.

    The rows attend within windows of 104, from the first one on. The host passes which rows are padding. Only the last
    chunk of a clip may be partial, so the padding is always at the end, and no real row's place depends on it.

    Inputs: (N, 128, 100) log-mel, (1, 1, 1, 13 N) mask of 0 or -1e4. Output: (1, 13 N, 1024).
    """

    def __init__(self, model: Qwen3ASRForTokenClassification) -> None:
        config = model.config.audio_config
        chunk = 2 * config.n_window
        window = conv_length(chunk) * (config.n_window_infer // chunk)  # 104
        layers = (AudioLayer(layer, window) for layer in model.model.audio_tower.layers)
        super().__init__(AudioStart(model), layers, Projection(model))


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

    The residual stream reaches 300 and more, and 300 squared exceeds FP16's 65 504. So x is first divided by
    s = max(max|x|, sqrt(eps)). With y = x / s, x / sqrt(mean(x^2) + eps) = y / sqrt(mean(y^2) + eps / s^2), where
    every term lies in [0, 2].

    Args:
        x: (..., n).
        weight: (n,).
        eps: added to the mean square, as in the model's config.
    """
    eps_root = torch.tensor(eps**0.5, dtype=x.dtype)
    scale = torch.maximum(x.abs().amax(-1, keepdim=True), eps_root)
    y = x / scale
    eps_ratio = eps_root / scale  # both are tensors: a number divided by a tensor becomes MIL's 1 / (x + 1e-4)
    return y * torch.rsqrt((y * y).mean(-1, keepdim=True) + eps_ratio * eps_ratio) * weight


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE on (L, heads, 128) with cos and sin of (L, 1, 128)."""
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


class DecoderStart(nn.Module):
    """RoPE's tables in the shape that all heads share, and the causal mask.

    A stored causal mask costs up to L^2 values per function. So it is computed in the graph, from the numbers of
    the rows and of the columns. The row numbers are multiplied by `position_cos` at position 0, which is 1 by
    definition. Because it is an input, the converter cannot fold the mask into a constant.
    """

    def __init__(self, group: int) -> None:
        super().__init__()
        self.group = group  # number of query heads that share a key-value head

    def forward(self, hidden_states: Tensor, position_cos: Tensor, position_sin: Tensor) -> tuple[Tensor, ...]:
        """(1, L, 1024), (1, L, 128), (1, L, 128) -> the same states, cos and sin (L, 1, 128), and the mask.

        The mask is (group * block, L), for the last block: 0 where the row may attend to the column, else MASKED. It
        depends only on column minus row, so a block that ends at `end` uses the mask's last `end` columns.
        """
        length = hidden_states.shape[1]
        block = query_block(length)
        one = position_cos[0, 0, 0]
        column = torch.arange(length, dtype=torch.float32) - float(length - block)
        row = torch.arange(block, dtype=torch.float32).repeat(self.group).unsqueeze(1)
        mask = (column.to(one.dtype) - row.to(one.dtype) * one).clamp(0.0, 1.0) * MASKED
        return hidden_states, position_cos[0].unsqueeze(1), position_sin[0].unsqueeze(1), mask


class DecoderLayer(nn.Module):
    """One decoder layer.

    Attention is computed in blocks of query rows, each over the keys up to the block's end. That is about half of the
    work of the full square, and no L x L matrix is ever in memory. The query heads of a group share a key-value head.
    They are laid out as additional rows, so keys and values are never repeated.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        """(1, L, 1024), (L, 1, 128), (L, 1, 128), (group * block, L) -> (1, L, 1024)."""
        norm, mlp = self.layer.input_layernorm, self.layer.mlp
        y = rms_norm(x, norm.weight, norm.variance_epsilon)
        x = x + self._attention(self.layer.self_attn, y, cos, sin, mask)
        norm = self.layer.post_attention_layernorm
        y = rms_norm(x, norm.weight, norm.variance_epsilon)
        return x + mlp.down_proj(mlp.act_fn(mlp.gate_proj(y)) * mlp.up_proj(y))

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


class DecoderPrefill(Layered):
    """All decoder layers in one causal pass. The final norm is part of the head.

    Inputs: (1, L, 1024), and RoPE's cos and sin, (1, L, 128) each. Output: (1, L, 1024).
    """

    def __init__(self, model: Qwen3ASRForTokenClassification) -> None:
        decoder = model.model.language_model
        group = decoder.config.num_attention_heads // decoder.config.num_key_value_heads
        super().__init__(DecoderStart(group), map(DecoderLayer, decoder.layers), nn.Identity())


def query_block(length: int) -> int:
    """The query rows of one block: the largest multiple of `LENGTH_STEP` up to `QUERY_BLOCK` that divides `length`."""
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


class TimeClasses(nn.Module):
    """The head, and what a host needs of it: the class of each row, and how sure it is.

    The class is taken from the scores and not from the probabilities, which FP16 rounds once more. Of scores that tie,
    the lowest class wins in torch, numpy and the MIL runtime; Core ML does not say which.
    """

    def __init__(self, model: Qwen3ASRForTokenClassification) -> None:
        super().__init__()
        self.head = LMHead(model)

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, Tensor]:
        """(1, L, 1024) -> (1, L) int32 classes; (1, L, 3) probabilities of the class before, the class, the one after.

        A class before the first or after the last one has a probability of 0.
        """
        scores = self.head(hidden_states)  # (1, L, 5000)
        classes = scores.argmax(-1, keepdim=True)  # (1, L, 1)
        probabilities = F.pad(scores.softmax(-1), (1, 1))  # (1, L, 5002): class c is in column c + 1
        columns = torch.cat((classes, classes + 1, classes + 2), -1)
        return classes.squeeze(-1).int(), probabilities.gather(-1, columns)


class Text(Layered):
    """The decoder and the head in one, on every row: the head costs 1 % of the decoder's work.

    Inputs: those of `DecoderPrefill`. Outputs: those of `TimeClasses`.
    """

    def __init__(self, model: Qwen3ASRForTokenClassification) -> None:
        decoder = DecoderPrefill(model)
        super().__init__(decoder.first, decoder.layers, TimeClasses(model))


@dataclass(frozen=True)
class TensorSpec:
    """An input or output. A string in `shape` names a field of `Sizes` or `Dimensions`; 'seq' is flexible, from 1."""

    name: str
    shape: tuple[int | str, ...]
    description: str
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class Sizes:
    """The values behind the names in the table's shapes: a checkpoint's dimensions and the sizes of one function."""

    dimensions: Dimensions
    frames: int  # of the audio transformer, per call
    length: int  # decoder sequence length

    @property
    def chunks(self) -> int:
        """Chunks of 1 s that make so many frames."""
        return self.frames // self.dimensions.chunk_tokens

    def resolve(self, spec: TensorSpec) -> tuple[int | None, ...]:
        """The shape of `spec`, with None for a flexible axis."""
        return tuple(size if isinstance(size, int) else self._named(size) for size in spec.shape)

    def _named(self, name: str) -> int | None:
        if name == "seq":
            return None
        return int(getattr(self if hasattr(self, name) else self.dimensions, name))


@dataclass(frozen=True)
class Component:
    """One package; conversion, metadata and input checks are derived from it."""

    key: str
    wrapper: Callable[[Qwen3ASRForTokenClassification], nn.Module]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    description: str
    varies: Literal["frames", "length"] | None = None  # the field of `Sizes` with one function for each value
    uncompressed: tuple[Literal["last"], ...] = ()  # parts of a `Layered` wrapper that `--compress` leaves as they are

    @property
    def package(self) -> str:
        """File name of the package."""
        return f"forced_aligner_{self.key}.mlpackage"


_MEL = TensorSpec("mel_input", (1, "mel_bins", "chunk_frames"), "log-mel of one chunk, zero-padded to 1 s")
_AUDIO_EMBEDDINGS = "audio frames in the decoder's embedding space"
_DECODER_INPUTS = (
    TensorSpec("hidden_states", (1, "length", "hidden"), "embedded prompt, zero-padded on the right"),
    TensorSpec("position_cos", (1, "length", "head_dim"), "cos of the rotary angles; 1 at position 0"),
    TensorSpec("position_sin", (1, "length", "head_dim"), "sin of the rotary angles"),
)

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
            "Audio transformer and projector over whole attention windows; functions for several counts of frames.",
            varies="frames",
        ),
        Component(
            "embedding",
            Embedding,
            (TensorSpec("input_ids", (1, "seq"), "token ids of the prompt", torch.int32),),
            (TensorSpec("embeddings", (1, "seq", "hidden"), "token vectors; audio frames replace the pads"),),
            "Token embedding.",
        ),
        Component(
            "decoder_prefill",
            DecoderPrefill,
            _DECODER_INPUTS,
            (TensorSpec("output_hidden", (1, "length", "hidden"), "decoder states before the final norm"),),
            "Causal decoder in one pass; one function for each sequence length, sharing their weights.",
            varies="length",
        ),
        Component(
            "lm_head",
            LMHead,
            (TensorSpec("hidden_states", (1, "seq", "hidden"), "decoder states at the <timestamp> positions"),),
            (TensorSpec("logits", (1, "seq", "num_classes"), "scores of the time classes"),),
            "Final norm and timestamp classifier.",
        ),
        Component(
            "audio_encoder",
            AudioEncoder,
            (_MEL,),
            (TensorSpec("audio_embeddings", (1, "chunk_tokens", "hidden"), _AUDIO_EMBEDDINGS),),
            "Monolithic audio encoder, one chunk a call: faster, without attention across chunks, less accurate.",
        ),
        Component(
            "audio",
            Audio,
            (
                TensorSpec("mel_chunks", ("chunks", "mel_bins", "chunk_frames"), "log-mel chunks, zero-padded"),
                TensorSpec("row_mask", (1, 1, 1, "frames"), "0 at a real row, -1e4 at a padded one"),
            ),
            (TensorSpec("audio_embeddings", (1, "frames", "hidden"), _AUDIO_EMBEDDINGS),),
            "Audio encoder over whole attention windows; functions for several counts of chunks.",
            varies="frames",
        ),
        Component(
            "text",
            Text,
            _DECODER_INPUTS,
            (
                TensorSpec("time_class", (1, "length"), "the class with the highest score", torch.int32),
                TensorSpec("probabilities", (1, "length", 3), "of the class before, the class, and the class after"),
            ),
            "Causal decoder and timestamp classifier in one pass; one function for each sequence length.",
            varies="length",
            uncompressed=("last",),
        ),
    )
}


def _print_table() -> None:
    """Print what the packages take and give, as README and metadata have it."""
    from rich.console import Console
    from rich.table import Table

    table = Table("package", "inputs", "outputs", "one function for each", title="The packages", show_lines=True)
    for component in COMPONENTS.values():
        inputs, outputs = (
            "\n".join(f"{tensor.name} ({', '.join(map(str, tensor.shape))})" for tensor in tensors)
            for tensors in (component.inputs, component.outputs)
        )
        table.add_row(component.package, inputs, outputs, component.varies or "")
    Console(markup=False, width=None if sys.stdout.isatty() else 160).print(table)


if __name__ == "__main__":
    _print_table()
