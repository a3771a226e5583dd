"""The unoptimised baseline that the benchmarks compare with: the simplest conversion, whatever it costs.

    uv run benchmarks/plain.py CHECKPOINT FOLDER [--components audio_conv,lm_head]

It loads the whole model in float32, traces every component, and converts them in one process to FP32 packages. The
decoder has 1024 tokens and a stored causal mask. All shapes are fixed: every clip is padded to 256 audio frames and
1024 tokens, and all 1024 rows go through the head. So a clip may have at most 19.7 s of audio.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from forced_aligner.base.console import run_app

if TYPE_CHECKING:
    from forced_aligner.align.chain import Aligner

FRAMES = 256
LENGTH = 1024
COMPONENTS = "audio_conv,audio_transformer,embedding,decoder_prefill,lm_head"

app = typer.Typer(add_completion=False)


class BaselineDecoder(nn.Module):
    """The layers of Hugging Face, with the causal mask as a constant."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.layers = model.model.language_model.layers
        self.register_buffer("mask", torch.full((1, 1, LENGTH, LENGTH), -1e4).triu(1))

    def forward(self, hidden_states: Tensor, position_cos: Tensor, position_sin: Tensor) -> Tensor:
        """(1, 1024, 1024), (1, 1024, 128), (1, 1024, 128) -> (1, 1024, 1024)."""
        for layer in self.layers:
            hidden_states = layer(
                hidden_states, attention_mask=self.mask, position_embeddings=(position_cos, position_sin)
            )
        return hidden_states


def modules(model: Any) -> dict[str, tuple[nn.Module, list[tuple[str, tuple[int, ...], Any]]]]:
    """Each component's module, and the name, shape and type of its inputs."""
    from individual_components import AudioConv, AudioTransformer

    config = model.config
    hidden, audio = config.text_config.hidden_size, config.audio_config.d_model
    head_dim, bins = config.text_config.head_dim, config.audio_config.num_mel_bins
    rotary = (1, LENGTH, head_dim)
    return {
        "audio_conv": (AudioConv(model), [("mel_input", (1, bins, 100), np.float32)]),
        "audio_transformer": (
            AudioTransformer(model),
            [("features", (1, FRAMES, audio), np.float32), ("attention_mask", (1, 1, FRAMES, FRAMES), np.float32)],
        ),
        "embedding": (model.get_input_embeddings(), [("input_ids", (1, LENGTH), np.int32)]),
        "decoder_prefill": (
            BaselineDecoder(model),
            [
                ("hidden_states", (1, LENGTH, hidden), np.float32),
                ("position_cos", rotary, np.float32),
                ("position_sin", rotary, np.float32),
            ],
        ),
        "lm_head": (
            nn.Sequential(model.model.language_model.norm, model.score),
            [("hidden_states", (1, LENGTH, hidden), np.float32)],
        ),
    }


@app.command()
def convert(checkpoint: Path, folder: Path, components: Annotated[str, typer.Option()] = COMPONENTS) -> None:
    """Convert a checkpoint with the unoptimised baseline."""
    import coremltools as ct

    from forced_aligner.checkpoint.find import find_checkpoint
    from forced_aligner.checkpoint.weights import load_model

    model = load_model(find_checkpoint(str(checkpoint)))
    model.set_attn_implementation("eager")
    folder.mkdir(parents=True, exist_ok=True)
    for key in components.split(","):
        module, inputs = modules(model)[key]
        examples = tuple(
            torch.zeros(shape, dtype=torch.int32 if t == np.int32 else torch.float32) for _, shape, t in inputs
        )
        with torch.inference_mode():
            traced = torch.jit.trace(module.eval(), examples)
        converted = ct.convert(
            traced,
            convert_to="mlprogram",
            inputs=[ct.TensorType(name=name, shape=shape, dtype=t) for name, shape, t in inputs],
            outputs=[ct.TensorType(name="output", dtype=np.float32)],
            minimum_deployment_target=ct.target.iOS18,
            compute_precision=ct.precision.FLOAT32,
            skip_model_load=True,
        )
        converted.save(str(folder / f"{key}.mlpackage"))


class BaselineChain:
    """The packages of the unoptimised baseline on the MIL runtime, with their fixed shapes."""

    def __init__(self, folder: Path, aligner: "Aligner") -> None:
        """Open the packages in `folder`; `aligner`, of the same checkpoint, gives the prompt and the sizes."""
        from forced_aligner.runtime.mil.program import Program

        self._aligner = aligner
        self._programs = {key: Program(folder / f"{key}.mlpackage") for key in COMPONENTS.split(",")}

    def _run(self, key: str, **inputs: NDArray[Any]) -> NDArray[np.float32]:
        return self._programs[key].function()(inputs)["output"]

    def timestamp_logits(self, samples: NDArray[np.float32], words: list[str]) -> NDArray[np.float32]:
        """(1, 2 * words, classes) scores of the time classes, for clips that fit the shapes."""
        from forced_aligner.align.mel import log_mel, mel_chunks
        from forced_aligner.align.positions import rotary_embedding, window_mask

        metadata = self._aligner.metadata
        mel = log_mel(samples, metadata.dimensions.mel_bins)
        tokens = metadata.dimensions.audio_tokens(mel.shape[1])
        chunks = mel_chunks(mel, metadata.dimensions.chunk_frames)
        frames = np.concatenate([self._run("audio_conv", mel_input=chunk)[0] for chunk in chunks])[:tokens]
        padded = np.pad(frames, ((0, FRAMES - tokens), (0, 0)))[None]
        mask = window_mask(tokens, FRAMES, metadata.dimensions.window_tokens)
        audio = self._run("audio_transformer", features=padded, attention_mask=mask)[0, :tokens]
        ids = self._aligner.prompt.ids(words, tokens)
        hidden = self._run("embedding", input_ids=np.pad(ids, (0, LENGTH - ids.size))[None])
        hidden[0, np.flatnonzero(ids == metadata.token_ids.audio_pad)] = audio
        cos, sin = rotary_embedding(LENGTH, metadata.dimensions.inverse_frequencies)
        decoded = self._run("decoder_prefill", hidden_states=hidden, position_cos=cos, position_sin=sin)
        return self._run("lm_head", hidden_states=decoded)[:, np.flatnonzero(ids == metadata.token_ids.timestamp)]


if __name__ == "__main__":
    run_app(app)
