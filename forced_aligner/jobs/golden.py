"""Golden vectors: what each stage of an alignment gives, by PyTorch and by the packages, for clips of the demo."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save

from forced_aligner.align.audio import SAMPLE_RATE_HZ, load_clip
from forced_aligner.align.words import split_words
from forced_aligner.base.console import log_always
from forced_aligner.base.errors import UserError
from forced_aligner.data.clips import load_clips
from forced_aligner.package.contract import MASKED
from forced_aligner.package.host_kit.golden import near_best
from forced_aligner.package.host_kit.host import Host, Predict
from forced_aligner.package.host_kit.stages import (
    MISTAKE,
    PACKAGES,
    REFERENCE,
    ROWS,
    STAGES,
    TIMES,
    WORD_PIECES,
    WORDS,
    key,
    stage_of,
)
from forced_aligner.package.metadata import TokenIds
from forced_aligner.score.host_mistakes import distance

if TYPE_CHECKING:
    from transformers import Qwen3ASRForTokenClassification, Qwen3ASRProcessor

Tensors = dict[str, NDArray[Any]]
KEPT_ROWS = 4  # of the audio embeddings that a mistake gives
CUT = {
    "chunks": "the first and the last chunk; the others are cut out of mel",
    "mask.*": "uint8, 1 where a row attends",
    "hidden_states": "the rows of the text; those of audio_pad are audio_embeddings",
    "logits": "rounded to float16",
    f"{MISTAKE}.*.audio_embeddings": f"the {KEPT_ROWS} rows that it changes most, numbered in {MISTAKE}.*.{ROWS}",
    f"{PACKAGES}.*": f"without what a host computes itself, which {REFERENCE}.* has",
}
# Begins the prompt of the speech recognizer; before the aligner's it moves times (vllm-omni pull request 7240).
CHAT_PREFIX = "<|im_start|>user\n"


@dataclass(frozen=True)
class GoldenClip:
    """A clip of the demo, from its start to `end_s`, or all of it; the words are those that end before."""

    name: str
    audio: str
    end_s: float | None
    description: str

    @cached_property
    def _clip(self) -> Any:
        clips = load_clips("demo", None, is_demo_model=True, language=None)
        return next(clip for clip in clips if Path(clip.audio).name == self.audio)

    def samples(self) -> NDArray[np.float32]:
        """(samples,) at 16 kHz."""
        samples = load_clip(self._clip)
        return samples if self.end_s is None else samples[: round(self.end_s * SAMPLE_RATE_HZ)]

    def transcript(self) -> str:
        """The words, at least the first."""
        words = self._clip.transcript.split()
        if self.end_s is None:
            return self._clip.transcript
        spoken = sum(word.end_time_ms <= self.end_s * 1000 for word in self._clip.alignments)
        return " ".join(words[: max(1, spoken)])

    def words(self) -> list[str]:
        """The same, split."""
        return split_words(self.transcript(), self._clip.language)


GOLDEN_CLIPS = (
    GoldenClip("short", "clip-01.flac", 0.4, "below 0.5 s: padded with zeros to 8,000 samples"),
    GoldenClip("in-a-chunk", "clip-03.flac", None, "ends inside a chunk, and inside a window"),
    GoldenClip("two-windows", "clip-07.flac", None, "beyond 8 s: two attention windows"),
    GoldenClip("two-groups", "clip-09.flac", 17.0, "beyond 16 s: two calls of a transformer of two windows"),
)


def golden_file(
    clip: GoldenClip,
    reference: Mapping[str, NDArray[Any]],
    processor: Qwen3ASRProcessor,
    kit: Path,
    predict: Predict,
    token_ids: TokenIds,
) -> bytes:
    """The safetensors file of one clip, with words and word pieces in its metadata.

    Args:
        clip: the clip.
        reference: its stages in PyTorch, see `reference_stages`.
        processor: of the same checkpoint.
        kit: the folder of the kit, which has its config by now.
        predict: runs the packages.
        token_ids: the special tokens.

    Raises:
        UserError: the packages give numbers that are not finite.
    """
    samples, words = reference["samples"], clip.words()
    tensors = {key(REFERENCE, name): value for name, value in reference.items()}
    host = Host(kit, predict)
    host.align(samples, words)
    made = [name for name in host.stages if (stage := stage_of(name)) and stage.by_packages]
    for name in made:
        if not np.isfinite(host.stages[name]).all():
            raise UserError(
                f"the packages give {name} that are not finite, as where FP16 overflows: convert the model with "
                "--precision float32, or with --calibrate"
            )
    tensors |= {key(PACKAGES, name): host.stages[name] for name in made}
    for name, make in MISTAKES.items():
        wrong = make(kit, predict, processor)
        tokens = host.stages["token_ids"].size + len(wrong.prefix if isinstance(wrong, ChatPrefix) else ())
        if tokens > host.config["components"]["decoder_prefill"]["functions"][-1]["size"]:
            log_always(f"left out of the golden vectors: {name} of {clip.name}, whose {tokens} tokens no decoder takes")
            continue
        wrong.align(samples, words)
        tensors |= {key(f"{MISTAKE}.{name}", stage): value for stage, value in _traces(wrong, host)}
    pieces = [processor.tokenizer.tokenize(word) for word in words]
    is_text = tensors[key(REFERENCE, "token_ids")] != token_ids.audio_pad
    kept = {name: np.ascontiguousarray(_cut(name, value, is_text)) for name, value in tensors.items()}
    return save(kept, {WORDS: json.dumps(words), WORD_PIECES: json.dumps(pieces)})


def _traces(wrong: Host, right: Host) -> Iterator[tuple[str, NDArray[Any]]]:
    """What tells a mistake by its results, where they differ from right ones by more than another processor may."""
    classes = wrong.stages["classes"]
    is_tied = near_best(right.stages["logits"])[np.arange(len(classes)), classes]
    for stage in ("classes", TIMES):
        if not is_tied.all() and (wrong.stages[stage] != right.stages[stage]).any():
            yield stage, wrong.stages[stage]
    embeddings, expected = wrong.stages["audio_embeddings"], right.stages["audio_embeddings"]
    audio = STAGES["audio_embeddings"]
    if distance(audio, embeddings, expected) > 2 * audio.tolerance:  # so that nothing is near to both
        rows = np.argsort(-np.abs(embeddings - expected).sum(-1), kind="stable")[:KEPT_ROWS]
        yield ROWS, rows
        yield "audio_embeddings", embeddings[rows]


def _cut(name: str, value: NDArray[Any], is_text: NDArray[np.bool_]) -> NDArray[Any]:
    """What a golden file keeps of a tensor, see `CUT`."""
    side, stage = name.split(".")[:2]
    if side == MISTAKE:
        return value
    if stage == "chunks":
        return value[[0, -1]]
    if stage == "mask":
        return (value == 0).astype(np.uint8)
    if stage == "hidden_states":
        return value[is_text]
    return value.astype(np.float16) if stage == "logits" else value


def reference_stages(
    model: Qwen3ASRForTokenClassification, processor: Qwen3ASRProcessor, samples: NDArray[np.float32], words: list[str]
) -> Tensors:
    """The stages in PyTorch, taken from the modules of `transformers`; there is no mask, since it packs the windows."""
    inputs, _ = processor.prepare_forced_aligner_inputs(samples, " ".join(words), None)
    ids, timestamp = inputs["input_ids"][0], model.config.timestamp_token_id
    with _watched(model) as seen, torch.inference_mode():
        logits = model(**inputs).logits[0, ids == timestamp]
    mel_frames = int(inputs["input_features_mask"].sum())
    classes = logits.argmax(-1)
    raw_ms = classes * processor.timestamp_segment_time
    (items,) = processor.decode_forced_alignment(
        logits[None], torch.full((1, len(logits)), timestamp), [words], timestamp
    )
    times_ms = [round(item[side] * 1000) for item in items for side in ("start_time", "end_time")]
    stages = {
        "samples": torch.from_numpy(samples),
        "mel": inputs["input_features"][0, :, :mel_frames],
        "chunks": seen["chunks"][:, 0],
        "conv_features": seen["conv_features"],
        "audio_embeddings": seen["audio_embeddings"],
        "token_ids": ids.to(torch.int32),
        "hidden_states": seen["hidden_states"][0],
        "cos": seen["cos"][0],
        "sin": seen["sin"][0],
        "decoder_states": seen["decoder_states"][0, ids == timestamp],
        "logits": logits,
        "classes": classes,
        "raw_times_ms": raw_ms.double(),
        TIMES: torch.tensor(times_ms),
    }
    return {name: tensor.numpy() for name, tensor in stages.items()}


@contextmanager
def _watched(model: Qwen3ASRForTokenClassification) -> Iterator[dict[str, torch.Tensor]]:
    """Within the block, what goes through the modules of `model`, by stage."""
    seen: dict[str, torch.Tensor] = {}
    tower, decoder = model.model.audio_tower, model.model.language_model

    def keep_input(name: str) -> Callable[..., None]:
        def hook(_: Any, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
            seen[name] = (arguments[0] if arguments else named["inputs_embeds"]).clone()

        return hook

    def keep_rotary(_: Any, __: Any, output: tuple[torch.Tensor, torch.Tensor]) -> None:
        seen["cos"], seen["sin"] = output

    def keep_output(_: Any, __: Any, output: torch.Tensor) -> None:
        seen["audio_embeddings"] = output.clone()

    handles = [
        tower.conv2d1.register_forward_pre_hook(keep_input("chunks"), with_kwargs=True),
        tower.layers[0].register_forward_pre_hook(keep_input("conv_features"), with_kwargs=True),
        model.model.multi_modal_projector.register_forward_hook(keep_output),
        decoder.register_forward_pre_hook(keep_input("hidden_states"), with_kwargs=True),
        decoder.rotary_emb.register_forward_hook(keep_rotary),
        decoder.norm.register_forward_pre_hook(keep_input("decoder_states"), with_kwargs=True),
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


class PaddingAttended(Host):
    """A host whose mask does not shut out the padding."""

    def window_mask(self, real: int, size: int) -> NDArray[np.float32]:
        """As in `Host`, with all columns of the window."""
        return super().window_mask(size, size)


class NoWindows(Host):
    """A host that lets every token attend to all of its call."""

    def window_mask(self, real: int, size: int) -> NDArray[np.float32]:
        """As in `Host`, without windows."""
        return np.where(np.arange(size)[None] < real, 0, MASKED).repeat(size, 0).astype(np.float32)


class ChatPrefix(Host):
    """A host that puts the tokens of a chat before the audio."""

    prefix: tuple[int, ...] = ()

    def prompt(self, words: Any, audio_tokens: int) -> NDArray[np.int32]:
        """As in `Host`, with the prefix."""
        self.stages["token_ids"] = np.array([*self.prefix, *super().prompt(words, audio_tokens)], np.int32)
        return self.stages["token_ids"]


def _chat_prefix(kit: Path, predict: Predict, processor: Qwen3ASRProcessor) -> Host:
    host = ChatPrefix(kit, predict)
    host.prefix = tuple(processor.tokenizer(CHAT_PREFIX, add_special_tokens=False).input_ids)
    return host


# Wrong hosts, whose results are kept, so that a host that makes the same mistake can be told so.
MISTAKES: dict[str, Callable[[Path, Predict, Any], Host]] = {
    "padding_attended": lambda kit, predict, _: PaddingAttended(kit, predict),
    "no_windows": lambda kit, predict, _: NoWindows(kit, predict),
    "chat_prefix": _chat_prefix,
}
