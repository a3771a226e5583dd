"""Mistakes that hosts are known to make, told by what their stages give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forced_aligner.package.host_kit.golden import Golden
from forced_aligner.package.host_kit.stages import MISTAKE, PACKAGES, REFERENCE, ROWS, STAGES, TIMES, Stage, key
from forced_aligner.score.mel_mistakes import mel_mistake

Array = NDArray[Any]
MAX_SHIFT = 4  # rows, columns or positions
STRIDES = (8, 16, 32, 64)  # numbers to whose multiples rows are padded
MASKED_STAGES = ("audio_embeddings", "hidden_states", "decoder_states", "logits")  # what a wrong mask can spoil
NOT_REPAIRED = "the times were not repaired: they may not go back"
SENTENCES = {  # of the golden vectors of wrong hosts
    "padding_attended": "the audio attends to the padding: attention_mask must shut out the columns of padded rows",
    "no_windows": "the audio attends across windows: attention_mask must be block-diagonal",
    "chat_prefix": "the times are those of a prompt with chat tokens before the audio: the prompt has no prefix",
}


def distance(stage: Stage, given: Array, expected: Array) -> float:
    """How far two arrays of one shape are apart, by the stage's measure; infinite where one is not finite."""
    if stage.measure == "count":
        return float((given != expected).sum())
    difference = np.subtract(given, expected, dtype=np.float64)
    if not np.isfinite(difference).all():
        return np.inf
    if stage.measure == "absolute":
        return float(np.abs(difference).max(initial=0.0))
    norms = np.linalg.norm(expected.astype(np.float64), axis=-1)
    return float((np.linalg.norm(difference, axis=-1) / np.maximum(norms, 1e-6)).max(initial=0.0))


def recognise(stage: Stage, given: Array, expected: Array, golden: Golden) -> str | None:
    """The known mistake that makes `given` of `expected`, in a sentence, or None.

    Args:
        stage: the stage.
        given: what the host gave, of any shape; its numbers may be NaN.
        expected: what it should have given.
        golden: the golden vectors of the clip.
    """
    own: dict[str, Callable[[Array, Array, Golden], str | None]] = {
        "mel": mel_mistake,
        "chunks": _chunks,
        "mask": _mask,
        "token_ids": _tokens,
        "hidden_states": _hidden,
        "cos": _rotary,
        "sin": _rotary,
        "raw_times_ms": _times,
        TIMES: _repaired_times,
    }
    if stage.name != "mask" and not np.isfinite(given).all():
        return _not_finite(stage, given)
    if stage.name in own and (found := own[stage.name](given, expected, golden)):
        return found
    if stage.measure != "count" and (found := _layout(stage, given, expected)):
        return found
    return _trace(stage, given, golden)


def _not_finite(stage: Stage, given: Array) -> str:
    found = f"it has {'NaN' if np.isnan(given).any() else 'infinite numbers'}"
    if stage.name in MASKED_STAGES:
        return f"{found}: a mask of -inf makes NaN where a whole row is masked, and FP16 ends at 65,504"
    return f"{found}: FP16 ends at 65,504" if stage.name == "conv_features" else found


def _trace(stage: Stage, given: Array, golden: Golden) -> str | None:
    """A mistake whose results the golden vectors have."""
    for name, sentence in SENTENCES.items():
        expected = golden.tensors.get(key(f"{MISTAKE}.{name}", stage.name))
        if expected is None:
            continue
        rows = golden.tensors.get(key(f"{MISTAKE}.{name}", ROWS)) if stage.name == "audio_embeddings" else None
        if rows is not None:
            is_whole = given.ndim == expected.ndim and given.shape[1:] == expected.shape[1:] and len(given) > rows.max()
            found = given[rows] if is_whole else given
        else:
            found = given
        if found.shape == expected.shape and distance(stage, found, expected) <= stage.tolerance:
            return sentence
    return None


def _layout(stage: Stage, given: Array, expected: Array) -> str | None:
    """What is the right numbers in the wrong places, or times a factor."""

    def equal(left: Array, right: Array) -> bool:
        return left.shape == right.shape and distance(stage, left, right) <= stage.tolerance

    if expected.ndim == 2 and given.size == expected.size:
        if equal(given, expected.T):
            return "it is transposed"
        if equal(given.reshape(expected.shape), np.ascontiguousarray(expected.T).reshape(expected.shape)):
            return "its memory is transposed: the last axis runs fastest"
        if stride := _stride(stage, given.reshape(expected.shape), expected):
            return (
                f"the stride was copied by count: rows of {expected.shape[1]} values lie {stride} apart, so copy each "
                "row by its stride"
            )
    if given.ndim != expected.ndim or given.shape[1:] != expected.shape[1:]:
        return None
    if len(given) > len(expected) and equal(given[: len(expected)], expected):
        return f"it has {len(given) - len(expected)} rows too many at its end: padded rows must be dropped"
    if len(given) < len(expected) and equal(given, expected[: len(given)]):
        return f"its last {len(expected) - len(given)} rows are missing"
    for shift in range(1, MAX_SHIFT + 1):
        count = min(len(given), len(expected)) - shift
        if count > shift and equal(given[shift:][:count], expected[:count]):
            return f"it is shifted by {shift}: row 0 is in place {shift}"
        if count > shift and equal(given[:count], expected[shift:][:count]):
            return f"it is shifted by {shift}: row {shift} is in place 0"
    if given.shape == expected.shape and (square := float((expected.astype(np.float64) ** 2).sum())):
        factor = float((given.astype(np.float64) * expected).sum()) / square
        if factor and equal(given / factor, expected):
            return f"it is {factor:.4g} times as large"
    return None


def _stride(stage: Stage, given: Array, expected: Array) -> int | None:
    """The distance of the rows in a padded buffer whose first values `given` is."""
    rows, width = expected.shape
    paddings = {-width % multiple for multiple in STRIDES} | set(STRIDES)
    for padding in sorted(paddings - {0}):
        buffer = np.pad(expected.astype(np.float64), ((0, 0), (0, padding)), constant_values=np.nan)
        flat = buffer.reshape(-1)[: rows * width].reshape(rows, width)
        is_known = np.isfinite(flat)
        if rows > 1 and distance(stage, np.where(is_known, given, 0), np.where(is_known, flat, 0)) <= stage.tolerance:
            return width + padding
    return None


def _chunks(given: Array, expected: Array, golden: Golden) -> str | None:
    """Chunks that are transposed, padded otherwise, or cut out of a wrong mel."""
    mel = golden.expected("mel")
    if mel is None or given.ndim != 3:
        return None
    if given.shape[1:] == expected.shape[:0:-1] != expected.shape[1:]:
        return "each chunk is transposed"
    whole = given.swapaxes(0, 1).reshape(given.shape[1], -1)
    if whole.shape[0] != len(mel):
        return None
    count = f"it has {len(given)} chunks and not {len(expected)}" if len(given) != len(expected) else None
    if whole.shape[1] < mel.shape[1]:
        return count
    frames, padding = whole[:, : mel.shape[1]], whole[:, mel.shape[1] :]
    if np.abs(frames - mel).max() > STAGES["mel"].tolerance:
        return mel_mistake(frames, mel, golden)
    return "the last chunk is padded with zeros, whatever silence is" if padding.any() else count


def _mask(given: Array, expected: Array, golden: Golden) -> str | None:
    """`given` is additive here; `expected` is 1 where a row attends, and may have the rows of real tokens alone."""
    if np.isneginf(given).any():
        return f"-inf mask: a row that is masked throughout gives NaN; use {golden.config.audio.masked:g}"
    if np.isnan(given).any():
        return "it has NaN: 0 times infinity is NaN, so do not multiply by -inf"
    values = np.unique(given[given != 0])
    if values.size and values.min() < np.finfo(np.float16).min:
        return f"{values.min():.3g} is beyond FP16: use {golden.config.audio.masked:g}"
    if values.size and values.max() > golden.config.audio.masked / 10:
        return f"{values.max():g} does not shut out anything: use {golden.config.audio.masked:g}"
    if given.ndim != 2 or given.shape[1] != expected.shape[1] or len(given) < len(expected):
        return None
    attends, real = given[: len(expected)] == 0, int(expected.any(0).sum())
    is_own = expected == 1
    if not attends[is_own].all():
        return "rows do not attend to all of their window"
    rows, columns = (np.arange(size) for size in expected.shape)
    window_tokens = golden.config.audio.window_tokens
    is_other_window = rows[:, None] // window_tokens != columns // window_tokens
    is_padding = np.broadcast_to(columns >= real, expected.shape)
    if attends[is_other_window & ~is_padding].any():
        return SENTENCES["no_windows"]
    return SENTENCES["padding_attended"] if attends[is_padding].any() else None


def _tokens(given: Array, expected: Array, golden: Golden) -> str | None:
    token, extra = golden.config.prompt.token_ids, given.size - expected.size
    given = given.reshape(-1)
    if extra > 0 and (given[extra:] == expected).all():
        return f"{extra} tokens stand before the audio ({', '.join(map(str, given[:extra][:8]))}): there is no prefix"
    start = np.flatnonzero(given == token.audio_start)
    if start.size and start[0] > 0:
        return f"{start[0]} tokens stand before the audio, and more differs: there is no prefix"
    if extra > 0 and (given[: expected.size] == expected).all():
        return f"{extra} tokens too many stand at the end: the prompt ends with a timestamp"
    for name, number in token.model_dump().items():
        found, right = int((given == number).sum()), int((expected == number).sum())
        if found != right:
            return f"it has {name} {found} times and not {right} times"
    common = min(given.size, expected.size)
    differing = np.flatnonzero(given[:common] != expected[:common])
    at = int(differing[0]) if differing.size else common
    word = int((expected[:at] == token.timestamp).sum()) // 2
    if word >= len(golden.words):
        return None
    pieces = ", ".join(golden.word_pieces[word])
    return f"it differs first at token {at}, in the word {golden.words[word]!r}, whose pieces are {pieces}"


def _hidden(given: Array, expected: Array, golden: Golden) -> str | None:
    is_pad = golden.tensors[key(REFERENCE, "token_ids")] == golden.config.prompt.token_ids.audio_pad
    if given.shape == expected.shape and is_pad.sum() > 1 and (given[is_pad] == given[is_pad][0]).all():
        return "the audio embeddings were not put in place of audio_pad"
    return None


def _rotary(given: Array, expected: Array, golden: Golden) -> str | None:
    half = expected.shape[-1] // 2
    if given.shape == (len(expected), half):
        return "it has one half: the angles are written twice, side by side"
    if given.shape != expected.shape:
        return None
    if np.abs(given - expected[:, :half].repeat(2, -1)).max() <= 1e-3:
        return "each angle is written twice in a row: write the whole half twice, side by side"
    other = {name: golden.tensors[key(REFERENCE, name)] for name in ("cos", "sin")}
    for name, values in other.items():
        if np.abs(given - values).max() <= 1e-3:
            return f"it is the {name}: cos and sin are exchanged"
    return None


def _times(given: Array, expected: Array, golden: Golden) -> str | None:
    if given.shape != expected.shape:
        return None
    if (np.round(given * 1000) == expected).all():
        return "it is in seconds, and not in milliseconds"
    later = given - expected
    if later.all() and (later == later[0]).all():
        return f"every time is {later[0]:+g} ms off"
    return f"{int((later != 0).sum())} of {later.size} times are others, by {later.mean():+.0f} ms on average"


def _repaired_times(given: Array, expected: Array, golden: Golden) -> str | None:
    """The same, with what the golden vectors have, unless `expected` follows from classes of the host's own."""
    own = golden.tensors[key(PACKAGES, TIMES)]
    if given.shape == own.shape and np.array_equal(expected, own):
        if (given == golden.expected("raw_times_ms")).all():
            return NOT_REPAIRED
        if found := _trace(STAGES[TIMES], given, golden):
            return found
    return _times(given, expected, golden)
