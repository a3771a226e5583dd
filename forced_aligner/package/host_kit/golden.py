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
        found = self.tensors.get(key(PACKAGES, name), self.tensors.get(key(REFERENCE, name)))
        return self.with_audio(PACKAGES) if name == "hidden_states" else found

    def with_audio(self, side: str) -> Array:
        """(tokens, hidden): the rows of the text that are kept, and the audio embeddings in place of the pads."""
        is_pad = self.tensors[key(REFERENCE, "token_ids")] == self.config.prompt.token_ids.audio_pad
        text = self.tensors[key(side, "hidden_states")]
        whole = np.zeros((len(is_pad), text.shape[1]), np.float32)
        whole[~is_pad], whole[is_pad] = text, self.tensors[key(side, "audio_embeddings")]
        return whole
