"""Rotary positions, the window mask, and the choice of the decoder length; in numpy, as a host computes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from forced_aligner.base.errors import UserError
from forced_aligner.package.contract import MASKED, MAX_DECODER_LENGTH


def rotary_embedding(
    length: int, inverse_frequencies: Sequence[float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cos and sin, each (1, length, head_dim), of the rotary angles of positions 0 to length - 1.

    The three MRoPE axes (time, height, width) carry the same positions in this model. So interleaved MRoPE equals the
    plain RoPE of Qwen3: angle = position * theta^(-2i / head_dim), with the halves repeated. The powers of theta come
    from the model, because libraries differ in their last bit, and position 2000 multiplies that error by 2000.
    """
    angles = np.arange(length, dtype=np.float32)[:, None] * np.array(inverse_frequencies, np.float32)[None, :]
    angles = np.concatenate([angles, angles], axis=-1)[None]
    return np.cos(angles), np.sin(angles)


def window_mask(real: int, frames: int, window: int) -> NDArray[np.float32]:
    """(1, 1, frames, frames) additive mask: 0 within an attention window of real frames, `MASKED` elsewhere.

    Args:
        real: number of real frames; the others are padding, to which no real frame attends.
        frames: frames of the package's input.
        window: frames of one attention window: 104, which is 8 s.
    """
    index = np.arange(frames)
    same_window = index[:, None] // window == index[None, :] // window
    mask = np.where(same_window & (index[None, :] < real), np.float32(0.0), np.float32(MASKED))
    return mask[None, None].astype(np.float32)


def row_mask(real: int, frames: int) -> NDArray[np.float32]:
    """(1, 1, 1, frames) additive mask: 0 at the first `real` frames, `MASKED` at the padding behind them."""
    return np.where(np.arange(frames) < real, np.float32(0.0), np.float32(MASKED))[None, None, None]


def frames_per_call(frames: int, window: int) -> int:
    """Real frames in one call of an audio transformer of `frames`: as many whole windows as fit; 0 if none fits."""
    return frames // window * window


def choose_length(needed: int, lengths: list[int]) -> int:
    """The shortest decoder length of at least `needed` tokens. Nothing is ever truncated.

    Raises:
        UserError: all lengths are shorter, with the option that converts a longer one where there is one.
    """
    fitting = [length for length in lengths if length >= needed]
    if needed > MAX_DECODER_LENGTH:
        raise UserError(
            f"the prompt has {needed} tokens, more than the {MAX_DECODER_LENGTH} of the longest decoder that can be "
            "converted: cut the recording and its transcript into parts"
        )
    if not fitting:
        longer = min(-(-needed // 1024) * 1024, MAX_DECODER_LENGTH)
        raise UserError(
            f"the prompt has {needed} tokens, but the longest converted decoder takes {max(lengths)}; convert a "
            f"longer one: convert-coreml.py --decoder-lengths {','.join(map(str, [*lengths, longer]))}"
        )
    return min(fitting)
