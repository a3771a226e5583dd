"""A host of the converted aligner, to port from: samples and words in, word times out. It needs numpy alone.

It reads a kit, the folder `host/` that this file lies in, and calls the packages through a function of yours,
`predict(component, function, inputs) -> outputs`, with arrays by name. docs/host.md walks through it, stage by stage.
Words are split at spaces only: a transcript in Chinese, Japanese or Korean must come as a list of words.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
CONTRACTION = re.compile("'(?:s|t|re|ve|m|ll|d)", re.IGNORECASE)  # parts of a word, within which pieces are merged
PART = re.compile("'?L+|N|'+")
Predict = Callable[[str, str, dict[str, Array]], dict[str, Array]]


class Host:
    """A kit and its packages, ready to align many clips; `stages` keeps what each stage gave for the last one."""

    def __init__(self, kit: Path, predict: Predict) -> None:
        self.config = config = json.loads((kit / "config.json").read_text(encoding="utf-8"))
        files, sizes = config["files"], config["sizes"]
        self.filters = np.fromfile(kit / files["mel_filters"], "<f4").reshape(sizes["mel_bins"], -1)  # (128, 201)
        self.window = np.fromfile(kit / files["window"], "<f4")  # (400,)
        shape = (sizes["vocabulary"], sizes["hidden"])
        self.token_table = np.memmap(kit / files["token_table"], "<f2", "r", shape=shape)
        self.tokenizer = Tokenizer(kit / files["tokenizer"])
        self.predict = predict
        self.stages: dict[str, Array] = {}

    def align(self, samples: Array, words: Sequence[str]) -> list[tuple[str, int, int]]:
        """(samples,) of 16 kHz mono float32 audio, and its words -> (word, start, end) of each, in ms."""
        mel = self.config["mel"]
        if samples.ndim != 1 or not 0 < samples.size <= mel["max_s"] * mel["sample_rate_hz"] or not words:
            raise ValueError(f"expected mono samples, at most {mel['max_s']:g} s, and words")
        self.stages = {}
        audio = self.encode(self.log_mel(samples))
        ids = self.prompt(words, len(audio))
        logits = self.score(self.hidden_states(ids, audio), ids)
        classes = logits.argmax(-1)  # of equal scores the first
        raw_ms = (classes * self.config["head"]["segment_ms"]).tolist()
        times_ms = repair(raw_ms, self.config["repair"]["snapped_run"])
        self.stages |= {"samples": samples, "logits": logits, "classes": classes}
        self.stages |= {"raw_times_ms": np.array(raw_ms), "times_ms": np.array(times_ms)}
        return list(zip(words, times_ms[::2], times_ms[1::2], strict=True))

    def log_mel(self, samples: Array) -> Array:
        """(samples,) -> (128, samples // 160)."""
        mel, n_fft, hop = self.config["mel"], self.config["mel"]["n_fft"], self.config["mel"]["hop_samples"]
        samples = np.pad(samples, (0, max(0, mel["min_samples"] - samples.size)))
        padded = np.pad(samples, n_fft // 2, mode=mel["padding"])  # the STFT is centred
        frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
        frames = frames[: samples.size // hop]  # without the last one
        power = np.abs(np.fft.rfft(frames * self.window)) ** mel["power"]  # (frames, 201)
        log = np.log10(np.maximum(self.filters @ power.T, mel["log_floor"]))
        floored = np.maximum(log, log.max() - mel["dynamic_range"])  # over the whole clip
        self.stages["mel"] = ((floored + mel["log_offset"]) / mel["log_divisor"]).astype(np.float32)
        return self.stages["mel"]

    def encode(self, mel: Array) -> Array:
        """(128, frames) -> (audio tokens, hidden)."""
        audio = self.config["audio"]
        size, per_chunk, per_call = audio["chunk_frames"], audio["chunk_tokens"], audio["tokens_per_call"]
        whole, rest = divmod(mel.shape[1], size)
        for _ in range(audio["halvings"]):
            rest = -(-rest // 2)
        tokens = whole * per_chunk + rest
        padded = np.pad(mel, ((0, 0), (0, -mel.shape[1] % size)))  # zeros, which are not silence
        chunks = padded.reshape(len(mel), -1, size).swapaxes(0, 1)  # (chunks, 128, 100)
        conv = [self.predict("audio_conv", "main", {"mel_input": chunk[None]})["conv_features"][0] for chunk in chunks]
        features = np.concatenate(conv)[:tokens]  # without the padded rows of the last chunk
        self.stages |= {"chunks": chunks, "conv_features": features}
        groups = [self.transform(features[start : start + per_call], start) for start in range(0, tokens, per_call)]
        self.stages["audio_embeddings"] = np.concatenate(groups)
        return self.stages["audio_embeddings"]

    def transform(self, features: Array, start: int) -> Array:
        """(n, audio_hidden) of whole windows -> (n, hidden)."""
        real = len(features)
        function, size = self.function("audio_transformer", real)
        padded = np.pad(features, ((0, size - real), (0, 0)))[None]
        mask = self.window_mask(real, size)
        self.stages[f"mask.{start // self.config['audio']['tokens_per_call']}"] = mask
        inputs = {"features": padded, "attention_mask": mask[None, None]}
        return self.predict("audio_transformer", function, inputs)["audio_embeddings"][0, :real]

    def window_mask(self, real: int, size: int) -> Array:
        """(size, size): 0 where a row may attend to a column of its own window that is no padding."""
        window = np.arange(size) // self.config["audio"]["window_tokens"]
        attends = (window[:, None] == window) & (np.arange(size) < real)
        return np.where(attends, 0, self.config["audio"]["masked"]).astype(np.float32)

    def prompt(self, words: Sequence[str], audio_tokens: int) -> Array:
        """(n,) token ids. Nothing is before the audio, and there is no space between the words."""
        token = self.config["prompt"]["token_ids"]
        ids = [token["audio_start"], *[token["audio_pad"]] * audio_tokens, token["audio_end"]]
        for word in words:
            ids += [*self.tokenizer.ids(word), token["timestamp"], token["timestamp"]]
        self.stages["token_ids"] = np.array(ids, np.int32)
        return self.stages["token_ids"]

    def hidden_states(self, ids: Array, audio: Array) -> Array:
        """(n,) token ids, (audio tokens, hidden) -> (n, hidden): rows of the table, the audio in place of its pads."""
        hidden = self.token_table[ids].astype(np.float32)
        hidden[ids == self.config["prompt"]["token_ids"]["audio_pad"]] = audio
        self.stages["hidden_states"] = hidden
        return hidden

    def score(self, hidden: Array, ids: Array) -> Array:
        """(n, hidden), (n,) token ids -> (2 * words, classes)."""
        real = len(hidden)
        function, length = self.function("decoder_prefill", real)
        frequencies = np.array(self.config["rotary"]["inverse_frequencies"], np.float32)
        angles = np.tile(np.arange(length, dtype=np.float32)[:, None] * frequencies, 2)  # (length, head_dim)
        cos, sin = np.cos(angles), np.sin(angles)
        padded = np.pad(hidden, ((0, length - real), (0, 0)))[None]
        inputs = {"hidden_states": padded, "position_cos": cos[None], "position_sin": sin[None]}
        decoded = self.predict("decoder_prefill", function, inputs)["output_hidden"][0]
        states = decoded[np.flatnonzero(ids == self.config["prompt"]["token_ids"]["timestamp"])]
        self.stages |= {"cos": cos[:real], "sin": sin[:real], "decoder_states": states}
        return self.predict("lm_head", "main", {"hidden_states": states[None]})["logits"][0]

    def function(self, component: str, needed: int) -> tuple[str, int]:
        """The name and the size of the smallest function that takes `needed` rows. Nothing is ever truncated."""
        for function in self.config["components"][component]["functions"]:  # smallest first
            if function["size"] >= needed:
                return function["name"], function["size"]
        raise ValueError(f"{needed} rows are more than the largest function of {component} takes")


class Tokenizer:
    """Byte-level BPE for words of letters, numbers and apostrophes."""

    def __init__(self, path: Path) -> None:
        model = json.loads(path.read_text(encoding="utf-8"))["model"]
        pairs = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in model["merges"]]
        self.vocabulary, self.ranks = model["vocab"], {pair: rank for rank, pair in enumerate(pairs)}
        shown = [*range(33, 127), *range(161, 173), *range(174, 256)]  # bytes that are characters of their own
        others = [byte for byte in range(256) if byte not in shown]
        self.letters = {byte: chr(byte) for byte in shown} | {byte: chr(256 + i) for i, byte in enumerate(others)}

    def ids(self, word: str) -> list[int]:
        """The token ids of one word."""
        word = unicodedata.normalize("NFC", word)
        kinds = "".join("'" if c == "'" else unicodedata.category(c)[0] for c in word)  # L: letter, N: number
        ids: list[int] = []
        at = 0
        while at < len(word):
            part = CONTRACTION.match(word, at) or PART.match(kinds, at)
            end = part.end() if part else len(word)
            ids += [self.vocabulary[piece] for piece in self.pieces(word[at:end])]
            at = end
        return ids

    def pieces(self, text: str) -> list[str]:
        """Merge pairs, the one of the lowest rank first, until none has a rank."""
        pieces = [self.letters[byte] for byte in text.encode()]
        while len(pieces) > 1:
            pairs = [(pieces[i], pieces[i + 1]) for i in range(len(pieces) - 1)]
            at = min(range(len(pairs)), key=lambda i: self.ranks.get(pairs[i], len(self.ranks)))
            if pairs[at] not in self.ranks:
                break
            pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
        return pieces


def split_words(text: str) -> list[str]:
    """The words between spaces, of letters, numbers and apostrophes alone; not for Chinese, Japanese or Korean."""
    words = ["".join(c for c in word if c == "'" or unicodedata.category(c)[0] in "LN") for word in text.split()]
    return [word for word in words if word]


def repair(times_ms: Sequence[float], snapped_run: int) -> list[int]:
    """Keep the longest subsequence that does not fall, and put all other times between its neighbours."""
    count = len(times_ms)
    longest, before = [1] * count, [-1] * count
    for at in range(count):
        for earlier in range(at):
            if times_ms[earlier] <= times_ms[at] and longest[earlier] + 1 > longest[at]:
                longest[at], before[at] = longest[earlier] + 1, earlier
    kept: list[int] = []
    at = longest.index(max(longest))
    while at >= 0:
        kept.insert(0, at)
        at = before[at]
    result = list(times_ms)
    for left, right in zip([-1, *kept], [*kept, count], strict=True):  # what lies between is out of order
        for at in range(left + 1, right):
            if left < 0 or right == count:
                result[at] = times_ms[right if left < 0 else left]
            elif right - left - 1 <= snapped_run:
                result[at] = times_ms[left if at - left <= right - at else right]
            else:
                result[at] = times_ms[left] + (times_ms[right] - times_ms[left]) / (right - left) * (at - left)
    return [int(time) for time in result]
