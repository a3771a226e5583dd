"""The side of `qwen_asr_oracle.py` that runs qwen-asr, in an environment of its own, without any code of this project.

    python benchmarks/qwen_asr_side.py NATIVE MANIFEST OUT

NATIVE is a checkpoint that transformers 5 saved, and MANIFEST a JSON file that lists recordings. It writes
`OUT/checkpoint`, which qwen-asr's own classes save, and `OUT/times.json`: the word times of each clip, twice.

- `as_it_is`: `Qwen3ForcedAligner.align`, with all of its own code.
- `with_its_mask`: the same, but each layer of the audio encoder gets the mask of the 8 s windows. qwen-asr has the
  function that makes it, `_prepare_attention_mask`, and never calls it (QwenLM/Qwen3-ASR issue 213). Pull request 103
  there calls it in the same place.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

# transformers 5 -> qwen-asr. Written down here once more: the converter's own map is part of what is tested.
PREFIXES = {
    "model.multi_modal_projector.linear_1.": "thinker.audio_tower.proj1.",
    "model.multi_modal_projector.linear_2.": "thinker.audio_tower.proj2.",
    "model.audio_tower.": "thinker.audio_tower.",
    "model.language_model.": "thinker.model.",
    "score.": "thinker.lm_head.",
}
MARKS = {"audio_token": "<|audio_pad|>", "audio_bos_token": "<|audio_start|>", "audio_eos_token": "<|audio_end|>"}
SEGMENT_MS = 80
ALIGNER = "qwen3_forced_aligner"  # by this name qwen-asr makes a head of time classes
HEAD_DIM, MROPE_SECTION = 128, (24, 20, 20)  # of the 0.6B checkpoint


def legacy_key(key: str) -> str:
    """The name in qwen-asr of a weight of transformers; an unknown one stays, and loading refuses it."""
    for native, legacy in PREFIXES.items():
        if key.startswith(native):
            return legacy + key.removeprefix(native)
    return key


def legacy_config(native: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `Qwen3ASRConfig` of qwen-asr for a config of transformers 5."""
    text = dict(native["text_config"])
    rope = text.pop("rope_parameters")
    sections = [share * text["head_dim"] // HEAD_DIM for share in MROPE_SECTION]
    text["rope_theta"] = rope["rope_theta"]
    text["rope_scaling"] = {"rope_type": "default", "mrope_interleaved": True, "mrope_section": sections}
    for kinds in (text, audio := dict(native["audio_config"])):
        kinds.pop("model_type")
    return {
        "thinker_config": {
            "model_type": ALIGNER,
            "audio_config": audio,
            "text_config": text,
            "audio_token_id": native["audio_token_id"],
            "classify_num": len(native["id2label"]),
        },
        "timestamp_token_id": native["timestamp_token_id"],
        "timestamp_segment_time": SEGMENT_MS,
    }


def save_legacy(native: Path, folder: Path) -> None:
    """Save the weights of `native`, in float32, and its processor to `folder`, by `save_pretrained` of qwen-asr.

    Weights whose names or shapes are not those of qwen-asr are an error of `load_state_dict`.
    """
    from qwen_asr.core.transformers_backend import (  # type: ignore[import-not-found, unused-ignore]
        Qwen3ASRConfig,
        Qwen3ASRForConditionalGeneration,
        Qwen3ASRProcessor,
    )
    from transformers import Qwen2TokenizerFast, WhisperFeatureExtractor

    config = Qwen3ASRConfig(**legacy_config(json.loads((native / "config.json").read_text())))
    model = Qwen3ASRForConditionalGeneration(config).float()
    weights = load_file(native / "model.safetensors")
    model.load_state_dict({legacy_key(key): value.float() for key, value in weights.items()})
    model.save_pretrained(folder)
    saved = json.loads((folder / "config.json").read_text())
    saved["thinker_config"]["model_type"] = ALIGNER  # as in the published checkpoint: save_pretrained writes another
    (folder / "config.json").write_text(json.dumps(saved, indent=2) + "\n")
    tokenizer = Qwen2TokenizerFast(
        tokenizer_file=str(native / "tokenizer.json"), extra_special_tokens=MARKS, bos_token=None
    )
    features = WhisperFeatureExtractor(feature_size=config.thinker_config.audio_config.num_mel_bins)
    Qwen3ASRProcessor(features, tokenizer).save_pretrained(folder)


def use_window_mask(model: Any) -> None:
    """Give each layer of the audio encoder the mask that the encoder can make, and does not."""
    tower = model.thinker.audio_tower

    def add_mask(layer: Any, args: tuple[torch.Tensor, torch.Tensor], kwargs: dict[str, Any]) -> Any:
        return args, {**kwargs, "attention_mask": tower._prepare_attention_mask(*args)}

    for layer in tower.layers:
        layer.register_forward_pre_hook(add_mask, with_kwargs=True)


def align_all(aligner: Any, manifest: Path) -> list[list[dict[str, Any]]]:
    """The words of each clip of the manifest, with times in ms; qwen-asr gives seconds, rounded to 1 ms."""
    times = []
    for sample in json.loads(manifest.read_text())["samples"]:
        (words,) = aligner.align(sample["audio"], sample["transcript"], sample["language"])
        times.append(
            [
                {
                    "text": word.text,
                    "start_time_ms": round(word.start_time * 1000),
                    "end_time_ms": round(word.end_time * 1000),
                }
                for word in words
            ]
        )
    return times


def main(native: Path, manifest: Path, out: Path) -> None:
    """Save the checkpoint, align the clips in both ways, and write the times."""
    from qwen_asr import Qwen3ForcedAligner  # type: ignore[import-not-found, unused-ignore]

    save_legacy(native, out / "checkpoint")
    aligner = Qwen3ForcedAligner.from_pretrained(str(out / "checkpoint"), dtype=torch.float32, device_map="cpu")
    aligner.model.eval()
    as_it_is = align_all(aligner, manifest)
    use_window_mask(aligner.model)
    result = {
        "versions": {name: version(name) for name in ("qwen-asr", "transformers", "torch", "numpy")},
        "attention": aligner.model.thinker.audio_tower.config._attn_implementation,
        "as_it_is": as_it_is,
        "with_its_mask": align_all(aligner, manifest),
    }
    (out / "times.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
