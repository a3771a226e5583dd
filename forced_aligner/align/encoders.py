"""From log-mel to audio tokens: one class for each way to split the work among packages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.mel import mel_chunks
from forced_aligner.align.packages import Packages
from forced_aligner.align.positions import frames_per_call, row_mask
from forced_aligner.package.contract import MAIN
from forced_aligner.package.metadata import Dimensions

# (real frames, frames of the input, frames of a window) -> additive mask (1, 1, frames, frames)
Mask = Callable[[int, int, int], NDArray[np.float32]]


class Encoder(Protocol):
    """Audio tokens of one clip."""

    def takes(self, tokens: int) -> bool:
        """Whether the functions can encode a clip of so many audio tokens."""
        ...

    def load(self, tokens: int) -> None:
        """Load the functions that a clip of so many audio tokens needs."""
        ...

    def encode(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """(bins, frames) log-mel -> (audio tokens, hidden)."""
        ...


class MonolithicEncoder:
    """`audio_encoder`, chunk by chunk."""

    def __init__(self, packages: Packages) -> None:
        self._packages = packages

    def takes(self, tokens: int) -> bool:
        """Any."""
        return True

    def load(self, tokens: int) -> None:
        """The only function."""
        self._packages.load("audio_encoder")

    def encode(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """(bins, frames) log-mel -> (audio tokens, hidden)."""
        return _encode_chunks(
            self._packages, "audio_encoder", "audio_embeddings", self._packages.dimensions.hidden, mel
        )


class SplitEncoder:
    """`audio_conv` chunk by chunk, then `audio_transformer` over groups of whole attention windows."""

    def __init__(self, packages: Packages, mask: Mask) -> None:
        self._packages, self._mask = packages, mask
        self._functions = packages.by_size("audio_transformer")
        self._groups = WindowGroups(self._functions, packages.dimensions)

    def takes(self, tokens: int) -> bool:
        """See `WindowGroups.take`."""
        return self._groups.take(tokens)

    def load(self, tokens: int) -> None:
        """The convolutions, and the transformers of the groups."""
        self._packages.load("audio_conv")
        for frames in {frames for _, frames in self._groups.of(tokens)}:
            self._packages.load("audio_transformer", self._functions[frames])

    def encode(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """(bins, frames) log-mel -> (audio tokens, hidden)."""
        width = self._packages.dimensions.audio_hidden
        features = _encode_chunks(self._packages, "audio_conv", "conv_features", width, mel)
        groups = self._groups.of(len(features))
        return np.concatenate([self._transform(features[group], frames) for group, frames in groups])

    def _transform(self, group: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
        """Run the function for `frames` on whole windows: (n, audio_hidden) -> (n, hidden)."""
        dimensions = self._packages.dimensions
        inputs = {
            "features": np.pad(group, ((0, frames - len(group)), (0, 0)))[None],
            "attention_mask": self._mask(len(group), frames, dimensions.window_tokens),
        }
        shapes = {"audio_embeddings": (1, frames, dimensions.hidden)}
        function = self._functions[frames]
        (embeddings,) = self._packages.predict("audio_transformer", function, inputs, shapes, len(group))
        return embeddings[0]


class JointEncoder:
    """`audio` over groups of whole attention windows."""

    def __init__(self, packages: Packages) -> None:
        self._packages = packages
        self._functions = packages.by_size("audio")
        self._groups = WindowGroups(self._functions, packages.dimensions)

    def takes(self, tokens: int) -> bool:
        """See `WindowGroups.take`."""
        return self._groups.take(tokens)

    def load(self, tokens: int) -> None:
        """The functions of the groups."""
        for frames in {frames for _, frames in self._groups.of(tokens)}:
            self._packages.load("audio", self._functions[frames])

    def encode(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """(bins, frames) log-mel -> (audio tokens, hidden)."""
        dimensions = self._packages.dimensions
        chunks = np.concatenate(mel_chunks(mel, dimensions.chunk_frames))  # (chunks, bins, chunk_frames)
        tokens, size = dimensions.audio_tokens(mel.shape[1]), dimensions.chunk_tokens
        return np.concatenate(
            [
                self._encode(chunks[group.start // size : group.stop // size], min(group.stop, tokens) - group.start, n)
                for group, n in self._groups.of(tokens)
            ]
        )

    def _encode(self, chunks: NDArray[np.float32], real: int, frames: int) -> NDArray[np.float32]:
        """Run the function for `frames` on (n, bins, chunk_frames), of which `real` rows are no padding."""
        dimensions = self._packages.dimensions
        missing = frames // dimensions.chunk_tokens - len(chunks)
        inputs = {
            "mel_chunks": np.pad(chunks, ((0, missing), (0, 0), (0, 0))),
            "row_mask": row_mask(real, frames),
        }
        shapes = {"audio_embeddings": (1, frames, dimensions.hidden)}
        (embeddings,) = self._packages.predict("audio", self._functions[frames], inputs, shapes, real)
        return embeddings[0]


class WindowGroups:
    """Cuts audio tokens into groups of whole attention windows, and picks the function of each.

    Args:
        sizes: frames of the functions.
        dimensions: of the model.
    """

    def __init__(self, sizes: Iterable[int], dimensions: Dimensions) -> None:
        self._sizes, self._window = sorted(sizes), dimensions.window_tokens
        self._largest = frames_per_call(self._sizes[-1], self._window) or self._sizes[-1]

    def take(self, tokens: int) -> bool:
        """Whether they can be cut. A calibration may convert functions that are shorter than one window."""
        return self._largest >= self._window or tokens <= self._largest

    def of(self, tokens: int) -> list[tuple[slice, int]]:
        """The groups of so many audio tokens, each with the frames of its function: the fewest that hold it."""
        return [
            (
                slice(start, start + self._largest),
                next(size for size in self._sizes if size >= min(self._largest, tokens - start)),
            )
            for start in range(0, tokens, self._largest)
        ]


def _encode_chunks(
    packages: Packages, component: str, output: str, width: int, mel: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Run a component on each chunk of (bins, frames), without the padding of the last one: (audio tokens, width)."""
    dimensions = packages.dimensions
    tokens, chunk_tokens = dimensions.audio_tokens(mel.shape[1]), dimensions.chunk_tokens
    shapes, rows = {output: (1, chunk_tokens, width)}, []
    for number, chunk in enumerate(mel_chunks(mel, dimensions.chunk_frames)):
        real = tokens - number * chunk_tokens
        (encoded,) = packages.predict(component, MAIN, {"mel_input": chunk}, shapes, real)
        rows.append(encoded[0])
    return np.concatenate(rows)
