"""The demo model: its dimensions, its folder, and a batched forward pass for training.

`transformers` packs the clips and computes the audio attention window by window in a Python loop. In training all clips
of a batch have the same length, so the same function is computed here on dense (batch, windows, frames) tensors
(tests/demo/test_demo_model.py compares both).
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import (
    Qwen2Tokenizer,
    Qwen3ASRConfig,
    Qwen3ASRFeatureExtractor,
    Qwen3ASRForTokenClassification,
    Qwen3ASRProcessor,
)

from forced_aligner.checkpoint.processor import ALIGNER_CHAT_TEMPLATE

SEGMENT_MS = 80  # one timestamp class
TIMESTAMP_CLASSES = 5000
CHUNK_FRAMES = 100  # mel frames of 10 ms that the convolutions see at once
CHUNK_EMBEDDINGS = 13  # audio embeddings a chunk gives
WINDOW_EMBEDDINGS = 104  # audio embeddings that attend to each other: 8 chunks, 8 s
LONGEST_CLIP_S = 30.0  # in training; it is in the config, because longer recordings must be cut
FUSED_ATTENTION_FROM = 600  # positions; below it, separate matrix products are faster on a CPU

PAD, AUDIO_START, AUDIO_END, AUDIO_PAD, TIMESTAMP = range(256, 261)
SPECIAL_TOKENS = ("<|endoftext|>", "<|audio_start|>", "<|audio_end|>", "<|audio_pad|>", "<timestamp>")


@dataclass(frozen=True)
class Dimensions:
    """The sizes that are smaller than in the 0.6B checkpoint; all others are the same."""

    d_model: int = 128
    encoder_layers: int = 3
    encoder_heads: int = 4
    encoder_ffn: int = 512
    conv_channels: int = 16
    decoder_layers: int = 4
    decoder_ffn: int = 256
    heads: int = 4
    key_value_heads: int = 2
    head_dim: int = 32
    rope_theta: float = 10_000.0


def make_config(sizes: Dimensions) -> Qwen3ASRConfig:
    """The model's configuration in the native layout."""
    return Qwen3ASRConfig(
        audio_config={
            "model_type": "qwen3_asr_encoder",
            "num_mel_bins": 128,
            "d_model": sizes.d_model,
            "encoder_layers": sizes.encoder_layers,
            "encoder_attention_heads": sizes.encoder_heads,
            "encoder_ffn_dim": sizes.encoder_ffn,
            "downsample_hidden_size": sizes.conv_channels,
            "output_dim": sizes.d_model,
            "n_window": CHUNK_FRAMES // 2,
            "n_window_infer": 8 * CHUNK_FRAMES,
        },
        text_config={
            "model_type": "qwen3",
            "vocab_size": 256 + len(SPECIAL_TOKENS),
            "hidden_size": sizes.d_model,
            "intermediate_size": sizes.decoder_ffn,
            "num_hidden_layers": sizes.decoder_layers,
            "num_attention_heads": sizes.heads,
            "num_key_value_heads": sizes.key_value_heads,
            "head_dim": sizes.head_dim,
            "max_position_embeddings": 8192,
            "rope_parameters": {"rope_type": "default", "rope_theta": sizes.rope_theta},
            "pad_token_id": PAD,
            "bos_token_id": None,
            "eos_token_id": PAD,
        },
        audio_token_id=AUDIO_PAD,
        timestamp_token_id=TIMESTAMP,
        pad_token_id=PAD,
        eos_token_id=PAD,
        num_labels=TIMESTAMP_CLASSES,
        longest_clip_s=LONGEST_CLIP_S,
    )


def make_processor() -> Qwen3ASRProcessor:
    """The processor, with a byte-level tokenizer without merges: one token per UTF-8 byte."""
    vocabulary = {symbol: byte for byte, symbol in enumerate(_byte_symbols())}
    vocabulary |= {token: 256 + index for index, token in enumerate(SPECIAL_TOKENS)}
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=[],
        extra_special_tokens={
            "audio_bos_token": "<|audio_start|>",
            "audio_eos_token": "<|audio_end|>",
            "audio_token": "<|audio_pad|>",
            "timestamp_token": "<timestamp>",
        },
    )
    return Qwen3ASRProcessor(
        feature_extractor=Qwen3ASRFeatureExtractor(),
        tokenizer=tokenizer,
        chat_template=ALIGNER_CHAT_TEMPLATE,
        timestamp_segment_time=SEGMENT_MS,
    )


def _byte_symbols() -> list[str]:
    """The printable character that byte-level tokenizers write for each byte 0 to 255 (GPT-2's table)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = {byte: chr(byte) for byte in printable}
    others = [byte for byte in range(256) if byte not in symbols]
    symbols |= {byte: chr(256 + index) for index, byte in enumerate(others)}
    return [symbols[byte] for byte in range(256)]


def save_model(model: Qwen3ASRForTokenClassification, folder: Path) -> None:
    """Write model (bf16) and processor to `folder`; an interrupted write never leaves an incomplete folder there."""
    part, old = folder.with_name(folder.name + ".part"), folder.with_name(folder.name + ".old")
    for leftover in (part, old):
        shutil.rmtree(leftover, ignore_errors=True)
    copy = Qwen3ASRForTokenClassification(model.config)
    copy.load_state_dict(model.state_dict())
    copy.to(torch.bfloat16).save_pretrained(part)
    make_processor().save_pretrained(part)
    if folder.exists():
        folder.rename(old)
    (part / "model.safetensors").chmod(0o644)
    part.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def embeddings_for(frames: int) -> int:
    """How many audio embeddings `frames` mel frames give."""
    last = frames % CHUNK_FRAMES
    for _ in range(3):
        last = (last + 1) // 2  # a stride-2 convolution; 0 stays 0
    return frames // CHUNK_FRAMES * CHUNK_EMBEDDINGS + last


def encode_audio(model: Qwen3ASRForTokenClassification, mel: Tensor, frames: int) -> Tensor:
    """Audio embeddings of clips of one length.

    Inputs:
        mel: (batch, 128, chunks * 100) log-mel, zero after `frames`.
        frames: real mel frames, the same for all clips.
    Outputs:
        (batch, embeddings_for(frames), d_model)
    """
    tower = model.model.audio_tower
    batch, bins, _ = mel.shape
    chunks = mel.view(batch, bins, -1, CHUNK_FRAMES).transpose(1, 2).reshape(-1, 1, bins, CHUNK_FRAMES)
    hidden = F.gelu(tower.conv2d1(chunks))
    hidden = F.gelu(tower.conv2d2(hidden))
    hidden = F.gelu(tower.conv2d3(hidden))  # (batch * chunks, channels, 16, 13)
    hidden = tower.conv_out(hidden.permute(0, 3, 1, 2).flatten(2))
    hidden = hidden + tower.positional_embedding.positional_embedding
    hidden = hidden.view(batch, -1, hidden.shape[-1])[:, : embeddings_for(frames)]
    for layer in tower.layers:
        hidden = hidden + _window_attention(layer.self_attn, layer.self_attn_layer_norm(hidden))
        hidden = hidden + layer.fc2(F.gelu(layer.fc1(layer.final_layer_norm(hidden))))
    return model.model.multi_modal_projector(tower.ln_post(hidden))


def _window_attention(attention: Any, hidden: Tensor) -> Tensor:
    """Self-attention within windows of 104 embeddings: all whole windows at once, then the last part.

    Inputs:  hidden (batch, embeddings, d_model)
    Outputs: (batch, embeddings, d_model)
    """
    batch, length, width = hidden.shape
    whole = length // WINDOW_EMBEDDINGS * WINDOW_EMBEDDINGS
    projected = [proj(hidden) for proj in (attention.q_proj, attention.k_proj, attention.v_proj)]
    parts = []
    for begin, end, size in ((0, whole, WINDOW_EMBEDDINGS), (whole, length, length - whole)):
        if begin == end:
            continue
        heads = (t[:, begin:end].reshape(-1, size, attention.num_heads, attention.head_dim) for t in projected)
        query, key, value = (t.transpose(1, 2) for t in heads)
        mixed = _attend(query, key, value, causal=False)
        parts.append(mixed.transpose(1, 2).reshape(batch, end - begin, width))
    return attention.out_proj(torch.cat(parts, dim=1))


def decode_text(model: Qwen3ASRForTokenClassification, embeddings: Tensor) -> Tensor:
    """The causal decoder on right-padded prompts.

    Inputs:  embeddings (batch, positions, d_model)
    Outputs: (batch, positions, d_model), after the last norm
    """
    decoder = model.model.language_model
    positions = torch.arange(embeddings.shape[1], device=embeddings.device)[None]
    rotation = decoder.rotary_emb(embeddings, positions)  # two of (1, positions, head_dim)
    hidden = embeddings
    for layer in decoder.layers:
        hidden = hidden + _causal_attention(layer.self_attn, _norm(layer.input_layernorm, hidden), rotation)
        normed = _norm(layer.post_attention_layernorm, hidden)
        gated = F.silu(layer.mlp.gate_proj(normed)) * layer.mlp.up_proj(normed)
        hidden = hidden + layer.mlp.down_proj(gated)
    return _norm(decoder.norm, hidden)


def _causal_attention(attention: Any, hidden: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Grouped-query self-attention with rotary positions. (batch, positions, d_model) in and out."""
    batch, length, _ = hidden.shape
    size = attention.head_dim
    query = _norm(attention.q_norm, attention.q_proj(hidden).view(batch, length, -1, size)).transpose(1, 2)
    key = _norm(attention.k_norm, attention.k_proj(hidden).view(batch, length, -1, size)).transpose(1, 2)
    value = attention.v_proj(hidden).view(batch, length, -1, size).transpose(1, 2)
    query, key = (_rotate(t, *rotation).to(value.dtype) for t in (query, key))
    groups = attention.num_key_value_groups
    key, value = (t.repeat_interleave(groups, dim=1) for t in (key, value))
    mixed = _attend(query, key, value, causal=True)
    return attention.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1))


def _attend(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    """Attention of (batch, heads, positions, head_dim), in whichever way is faster."""
    length = query.shape[2]
    if query.is_cuda or length >= FUSED_ATTENTION_FROM:
        return F.scaled_dot_product_attention(query, key, value, is_causal=causal)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(2, 3)
    if causal:
        future = torch.full((length, length), -1e4, dtype=scores.dtype, device=scores.device)
        scores = scores + future.triu(1)
    return scores.softmax(dim=-1).to(value.dtype) @ value


def _rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position on (batch, heads, positions, head_dim)."""
    first, second = heads.chunk(2, dim=-1)
    return heads * cos[:, None] + torch.cat([-second, first], dim=-1) * sin[:, None]


def _norm(norm: Any, hidden: Tensor) -> Tensor:
    """RMSNorm as one fused call."""
    return F.rms_norm(hidden, (hidden.shape[-1],), norm.weight.to(hidden.dtype), norm.variance_epsilon)
