"""Compresses the weights of a checkpoint, a block of modules at a time, with the inputs that calibration clips give it.

Each block gets its inputs from the compressed blocks before it. Only its weights are in memory, and those of what was
compressed are in the store.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from forced_aligner.base.console import log
from forced_aligner.checkpoint.lazy_weights import LazyModel
from forced_aligner.convert.compression import ConstexprOp, compress
from forced_aligner.convert.gptq.grids import constexpr_of, grid_of
from forced_aligner.convert.gptq.passes import Sides, State, all_inputs, input_groups, inputs_of, run
from forced_aligner.convert.gptq.solver import Moments, Solver
from forced_aligner.convert.gptq.store import QuantizedWeights
from forced_aligner.package.metadata import Compression
from forced_aligner.runtime.mil.ops.compressed_weights import constexpr_blockwise_shift_scale, constexpr_lut_to_dense
from individual_components import Audio, DecoderPrefill, LMHead

TIMESTAMP_WEIGHT = 4.0  # of the decoder's rows whose scores are read, against the other rows of the prompt
CHUNKS_AT_ONCE = 8  # through the convolutions
_UNPACK = {op.__name__: op for op in (constexpr_blockwise_shift_scale, constexpr_lut_to_dense)}


@dataclass(frozen=True)
class CalibrationClip:
    """What a host gives to the packages for one clip.

    Attributes:
        mel_chunks: (chunks, bins, 100) float32.
        audio_tokens: how many frames of the chunks are no padding.
        token_ids: (n,) int32, the prompt.
        position_cos, position_sin: (1, length, head_dim) float32, with a length of n or more that a decoder takes.
    """

    mel_chunks: NDArray[np.float32]
    audio_tokens: int
    token_ids: NDArray[np.int32]
    position_cos: NDArray[np.float32]
    position_sin: NDArray[np.float32]


@dataclass(frozen=True)
class Presets:
    """How the weights of each part of the model are compressed."""

    conv: Compression = "none"
    transformer: Compression = "none"
    embedding: Compression = "none"
    decoder: Compression = "none"
    head: Compression = "none"


@dataclass(frozen=True)
class Quantizer:
    """Compresses the weights of a model.

    Attributes:
        model: the checkpoint's model.
        presets: of its parts.
        clips: give the inputs.
        store: gets the weights. What is there already is not computed again.
        only: names of the blocks that are compressed; None: all.
    """

    model: LazyModel
    presets: Presets
    clips: Sequence[CalibrationClip]
    store: QuantizedWeights
    only: Collection[str] | None = None

    def compress_all(self) -> None:
        """Compress all that the presets say, in the order in which a clip goes through it.

        The embedding is not in the store: each of its rows is an output of its own, so rounding is the best for it.
        """
        sides = self.audio()
        if self.presets.decoder == self.presets.head == "none":
            return
        sides = self.decoder(sides)
        if self.presets.head != "none":
            self._block("head", LMHead(self.model.module), self.presets.head, sides.both(self._at_timestamps))

    def audio(self) -> Sides:
        """Compress the audio encoder. The states after it are (1, audio tokens, hidden)."""
        audio = Audio(self.model.module)
        chunks = [torch.from_numpy(clip.mel_chunks).split(CHUNKS_AT_ONCE) for clip in self.clips]
        pieces: list[State] = [(piece,) for clip in chunks for piece in clip]
        sides = self._block("conv", audio.first.get_submodule("conv"), self.presets.conv, Sides(pieces, pieces))
        sides = sides.both(partial(self._rows, [len(clip) for clip in chunks]))
        for index, layer in enumerate(audio.layers):
            sides = self._block(f"audio_{index:02d}", layer, self.presets.transformer, sides)
        return self._block("projector", audio.last, self.presets.transformer, sides.both(_without_rest))

    def _rows(self, pieces: Sequence[int], states: list[State]) -> list[State]:
        """The states of each clip's pieces -> one of (1, audio tokens, hidden), and a mask that hides no row."""
        features = iter(states)
        clips = [torch.cat([rows for (rows,) in islice(features, count)]).flatten(0, 1) for count in pieces]
        rows = [joined[None, : clip.audio_tokens] for joined, clip in zip(clips, self.clips, strict=True)]
        return [(clip, torch.zeros(1, 1, 1, clip.shape[1])) for clip in rows]

    def _prompts(self, sides: Sides) -> Sides:
        """States of (1, length, hidden) embedded prompts with the audio in them, zero-padded on the right."""
        vocabulary = self.model.read(self.model.module.get_input_embeddings().weight)
        exact = self._with_audio(vocabulary, sides.exact)
        if self.presets.embedding == "none" and sides.compressed is sides.exact:
            return Sides(exact, exact)
        if self.presets.embedding != "none":
            vocabulary = unpacked(compress(vocabulary.half().numpy(), self.presets.embedding))
        return Sides(exact, self._with_audio(vocabulary, sides.compressed))

    def _with_audio(self, vocabulary: Tensor, states: list[State]) -> list[State]:
        hidden: list[State] = []
        for clip, (audio,) in zip(self.clips, states, strict=True):
            filled = vocabulary[torch.from_numpy(clip.token_ids).long()]
            filled[torch.from_numpy(clip.token_ids == self.model.module.config.audio_token_id)] = audio[0]
            padding = clip.position_cos.shape[1] - len(filled)
            hidden.append((nn.functional.pad(filled, (0, 0, 0, padding))[None],))
        return hidden

    def decoder(self, sides: Sides) -> Sides:
        """Compress the decoder, with the states after `audio`. Those after it are (1, length, hidden)."""
        decoder = DecoderPrefill(self.model.module)
        sides = self._prompts(sides)
        exact = self._started(decoder.first, sides.exact)
        if sides.compressed is sides.exact:
            sides = Sides(exact, exact)
        else:  # all but the first tensor is the same on both sides
            rest = [state[1:] for state in exact]
            sides = Sides(exact, [(*state, *other) for state, other in zip(sides.compressed, rest, strict=True)])
        weights = [self._row_weights(clip) for clip in self.clips]
        for index, layer in enumerate(decoder.layers):
            sides = self._block(f"decoder_{index:02d}", layer, self.presets.decoder, sides, weights)
        return sides.both(_without_rest)

    def _started(self, first: nn.Module, states: list[State]) -> list[State]:
        positions = [[torch.from_numpy(c) for c in (clip.position_cos, clip.position_sin)] for clip in self.clips]
        with torch.inference_mode():
            return [first(*state, *angles) for state, angles in zip(states, positions, strict=True)]

    def _row_weights(self, clip: CalibrationClip) -> Tensor:
        """(length,) how much each row of a prompt counts: `TIMESTAMP_WEIGHT`, 1, or 0 for the padding."""
        weights = torch.zeros(clip.position_cos.shape[1])
        weights[: len(clip.token_ids)] = 1.0
        weights[: len(clip.token_ids)][torch.from_numpy(self._is_timestamp(clip))] = TIMESTAMP_WEIGHT
        return weights

    def _at_timestamps(self, states: list[State]) -> list[State]:
        return [
            (hidden[:, np.flatnonzero(self._is_timestamp(clip))],)
            for (hidden,), clip in zip(states, self.clips, strict=True)
        ]

    def _is_timestamp(self, clip: CalibrationClip) -> NDArray[np.bool_]:
        return clip.token_ids == self.model.module.config.timestamp_token_id

    def _block(
        self,
        name: str,
        block: nn.Module,
        preset: Compression,
        sides: Sides,
        row_weights: Sequence[Tensor] | None = None,
    ) -> Sides:
        """Compress the weights of a block, and take the states of both sides through it.

        Args:
            name: of its file in the store.
            block: as its parameters are in the checkpoint.
            preset: "none" leaves it as it is.
            sides: the block's inputs.
            row_weights: how much each row of a state counts; None: all the same.
        """
        with self.model.loaded(block):
            if preset == "none" or (self.only is not None and name not in self.only):
                exact = run(block, sides.exact)
                return Sides(exact, exact if sides.compressed is sides.exact else run(block, sides.compressed))
            started, compressed = time.perf_counter(), copy.deepcopy(block)
            done = self.store.block(name)
            if done is None:
                exact, done = self._compress(block, compressed, preset, sides, row_weights)
                weights = {key: block.get_parameter(f"{key}.weight") for key in done}
                self.store.put(name, {key: (weights[key], op) for key, op in done.items()})
                how = f"{time.perf_counter() - started:.1f} s"
            else:
                for key, op in done.items():
                    _replace(compressed, key, op)
                exact, how = run(block, sides.exact), "from an earlier run"
            sides = Sides(exact, run(compressed, sides.compressed))
            log(f"calibration: {name}: {len(done)} weights, output off by {100 * sides.difference():.2g} %, {how}")
            return sides

    @staticmethod
    def _compress(
        exact: nn.Module,
        compressed: nn.Module,
        preset: Compression,
        sides: Sides,
        row_weights: Sequence[Tensor] | None,
    ) -> tuple[list[State], dict[str, ConstexprOp]]:
        """Compress the weights of `compressed`, a copy of the block `exact`.

        A weight gets its inputs from those of the block that are compressed before it.

        Returns:
            The float model's states after the block, and the weights by name.
        """
        groups = input_groups(exact, sides.exact[0])
        seen = [all_inputs(exact, [group[0] for group in groups], state) for state in sides.exact]
        made: dict[str, ConstexprOp] = {}
        for first, *others in groups:
            moments = Moments(exact.get_parameter(f"{first}.weight")[0].numel())
            for index, ((exact_inputs, _), state) in enumerate(zip(seen, sides.compressed, strict=True)):
                pair = inputs_of(compressed, first, state), exact_inputs.pop(first)
                moments.add(*(pair if row_weights is None else _weighted(pair, row_weights[index])))
            solver = Solver(moments)
            for key in (first, *others):
                made[key] = _compressed(exact.get_parameter(f"{key}.weight"), solver, preset)
                _replace(compressed, key, made[key])
        return [after for _, after in seen], made


def _weighted(inputs: tuple[Tensor, ...], weights: Tensor) -> tuple[Tensor, ...]:
    """(rows, columns) inputs whose squares count as the (rows,) weights say; without the rows that do not count."""
    counted = weights > 0
    roots = weights[counted].sqrt().unsqueeze(1)
    return tuple(rows[counted] * roots for rows in inputs)


def _compressed(weight: Tensor, solver: Solver, preset: Compression) -> ConstexprOp:
    target = solver.moved(weight.flatten(1))
    grid = grid_of(target, solver.importance, preset, weight.shape)
    return constexpr_of(grid, solver.codes(target, grid), weight.shape)


def unpacked(op: ConstexprOp) -> Tensor:
    """The weight that a constexpr op gives, in float32."""
    arguments = {name: torch.from_numpy(np.array(parameter.array)) for name, parameter in op.parameters.items()}
    return _UNPACK[op.op](**arguments).float()


def _replace(block: nn.Module, key: str, op: ConstexprOp) -> None:
    """Give the module `key` of a block the weight of `op`."""
    block.get_submodule(key).weight = nn.Parameter(unpacked(op), requires_grad=False)


def _without_rest(states: list[State]) -> list[State]:
    """The first tensor of each state alone."""
    return [state[:1] for state in states]
