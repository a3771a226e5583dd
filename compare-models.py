"""Make the PyTorch reference that the Core ML packages are compared with."""

from pathlib import Path
from typing import Annotated

import typer

from forced_aligner import console
from forced_aligner.device import DeviceName
from forced_aligner.paths import DEFAULT_REFERENCE

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def make_reference(
    model_id: Annotated[
        str | None,
        typer.Option(
            help="Hub id, local folder, or 'demo'. Without it: the full 0.6B model if it can be had, else 'demo'."
        ),
    ] = None,
    num_files: Annotated[int, typer.Option(min=1, help="At most so many clips.")] = 10,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="auto, demo, librispeech, or a folder of pairs such as talk.flac + talk.txt.", show_default="auto"
        ),
    ] = None,
    dataset_dir: Annotated[Path | None, typer.Option(help="Where LibriSpeech lies. (default: data and others)")] = None,
    subset: Annotated[
        str | None,
        typer.Option(help="Of LibriSpeech: test-clean, test-other, dev-clean, and so on. (default: test-clean)"),
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the subset if it is not there.")] = False,
    audio_file: Annotated[Path | None, typer.Option(help="One recording instead of a data set; needs --text.")] = None,
    text: Annotated[str | None, typer.Option(help="Its transcript.")] = None,
    language: Annotated[str | None, typer.Option(help="Name or code, such as English or en.")] = None,
    device: Annotated[DeviceName, typer.Option(help="Where PyTorch computes; cuda: an NVIDIA GPU.")] = "cpu",
    output: Annotated[Path, typer.Option(help="The reference file.")] = DEFAULT_REFERENCE,
) -> None:
    """Align clips with the PyTorch model, in float32, and write the word times as JSON."""
    from forced_aligner import checkpoint, datasets, reference
    from forced_aligner.errors import UserError
    from forced_aligner.schemas import Clip

    if (audio_file is None) != (text is None):
        raise UserError("--audio-file and --text go together: give both, or neither for a data set")
    if audio_file is not None and any((dataset, dataset_dir, subset, download)):
        raise UserError(
            "--audio-file is instead of a data set: leave out --dataset, --dataset-dir, --subset, --download"
        )
    found = checkpoint.resolve(model_id)
    checkpoint.announce_fallback(found)
    if audio_file is not None and text is not None:
        clips = [Clip(audio=str(audio_file), transcript=text, language=language)]
    else:
        is_demo = found.model_id == checkpoint.DEMO_MODEL_ID
        clips = datasets.load_clips(
            dataset or "auto", dataset_dir, is_demo_model=is_demo, language=language, subset=subset, download=download
        )
    made = reference.make_reference(found, clips[:num_files], output, device)
    typer.echo(f"{made.model_id}: {made.num_samples} files, in {output}")
    checkpoint.announce_fallback(found)


if __name__ == "__main__":
    console.run(app)
