"""The golden vectors of a kit, as they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from forced_aligner.package.host_kit.config import HostConfig
from forced_aligner.package.host_kit.stages import PACKAGES, REFERENCE, WORD_PIECES, WORDS, key

Array = NDArray[Any]
TIE = 0.02  # of the range of a row's scores: closer ones may change places


@dataclass(frozen=True)
class Golden:
    """The golden vectors of one clip."""

    config: HostConfig
    tensors: Mapping[str, Array]
    words: list[str]
    word_pieces: list[list[str]]

    @classmethod
    def read(cls, config: HostConfig, path: Path) -> Golden:
        """The golden vectors in `path`, a file whose digest is known."""
        with safe_open(path, "np") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
        return cls(config, tensors, json.loads(metadata[WORDS]), json.loads(metadata[WORD_PIECES]))

    def expected(self, name: str) -> Array | None:
        """What the packages give, or PyTorch for what a host computes itself; None if there is no such tensor."""
        if name == "chunks":
            return self._chunks()
        found = self.tensors.get(key(PACKAGES, name), self.tensors.get(key(REFERENCE, name)))
        return self.with_audio(PACKAGES) if name == "hidden_states" else found

    def _chunks(self) -> Array:
        """(chunks, mel bins, 100): all of them, cut out of the mel; the file has the first and the last."""
        mel, frames = self.tensors[key(REFERENCE, "mel")], self.config.audio.chunk_frames
        padded = np.pad(mel, ((0, 0), (0, -mel.shape[1] % frames)))
        return padded.reshape(len(mel), -1, frames).swapaxes(0, 1)

    def as_good_as_best(self) -> NDArray[np.bool_]:
        """(2 words, classes): the class of the packages, and those whose scores tie with it."""
        classes = self.tensors[key(PACKAGES, "classes")]
        tied = near_best(self.tensors[key(PACKAGES, "logits")])
        tied[np.arange(len(classes)), classes] = True
        return tied

    def with_audio(self, side: str) -> Array:
        """(tokens, hidden): the rows of the text that are kept, and the audio embeddings in place of the pads."""
        is_pad = self.tensors[key(REFERENCE, "token_ids")] == self.config.prompt.token_ids.audio_pad
        text = self.tensors[key(side, "hidden_states")]
        whole = np.zeros((len(is_pad), text.shape[1]), np.float32)
        whole[~is_pad], whole[is_pad] = text, self.tensors[key(side, "audio_embeddings")]
        return whole


def near_best(logits: Array) -> NDArray[np.bool_]:
    """(rows, classes): where a score is so near to the best of its row that rounding may exchange them."""
    scores = logits.astype(np.float32)
    best = scores.max(-1, keepdims=True)
    return best - scores <= TIE * (best - scores.min(-1, keepdims=True))
