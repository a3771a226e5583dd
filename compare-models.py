#!/usr/bin/env -S uv run
"""Make the PyTorch reference that the Core ML packages are compared with."""

from forced_aligner.base.stopping import exit_on_signals

if __name__ == "__main__":
    exit_on_signals()  # before the imports that take long

from pathlib import Path
from typing import Annotated

import typer

from forced_aligner.base.cli import ClusterOption, JobsOption, QuietOption, ThreadsOption, VersionOption, make_app
from forced_aligner.base.console import log, run_app
from forced_aligner.base.paths import DEFAULT_REFERENCE
from forced_aligner.jobs.workers.options import Workers
from forced_aligner.runtime.options import DeviceName

app = make_app()


@app.command()
def make_reference(
    model_id: Annotated[
        str | None,
        typer.Option(
            help="Hub id, local folder, or 'demo'. Without it: the full 0.6B model if it can be had, else 'demo'."
        ),
    ] = None,
    num_files: Annotated[
        int, typer.Option(min=1, help="At most so many clips, drawn with a fixed seed and spread over the speakers.")
    ] = 10,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="auto, demo, demo-120, librispeech, or a folder of pairs such as talk.flac + talk.txt.",
            show_default="auto",
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
    jobs: JobsOption = 1,
    threads: ThreadsOption = None,
    cluster: ClusterOption = None,
    output: Annotated[Path, typer.Option(help="The reference file.")] = DEFAULT_REFERENCE,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew, instead of going on where a run was stopped.")
    ] = False,
    quiet: QuietOption = False,
    version: VersionOption = False,
) -> None:
    """Align clips with the PyTorch model, in float32, and write the word times as JSON."""
    from forced_aligner.base.errors import UserError
    from forced_aligner.base.model_ids import DEMO_MODEL_ID
    from forced_aligner.checkpoint.find import announce_fallback, find_checkpoint
    from forced_aligner.data.choice import announce_choice, choose
    from forced_aligner.data.clips import as_typed, load_clips
    from forced_aligner.data.records import Clip

    workers = Workers(jobs, threads, cluster)
    if (audio_file is None) != (text is None):
        raise UserError("--audio-file and --text go together: give both, or neither for a data set")
    if audio_file is not None and any((dataset, dataset_dir, subset, download)):
        raise UserError(
            "--audio-file is instead of a data set: leave out --dataset, --dataset-dir, --subset, --download"
        )
    checkpoint = find_checkpoint(model_id)
    announce_fallback(checkpoint)
    if audio_file is not None and text is not None:
        clips = [Clip(audio=str(audio_file), transcript=as_typed(text), language=language)]
    else:
        is_demo = checkpoint.model_id == DEMO_MODEL_ID
        clips = load_clips(
            dataset or "auto", dataset_dir, is_demo_model=is_demo, language=language, subset=subset, download=download
        )
    chosen = choose(clips, num_files)
    note = announce_choice(chosen, clips)

    # These take long. Whatever a look at the options can tell is told before.
    from forced_aligner.jobs.each import list_failures
    from forced_aligner.jobs.reference import make_reference

    reference = make_reference(checkpoint, chosen, output, device, choice=note, restart=restart, workers=workers)
    log(f"{reference.model_id}: {reference.num_samples} files, in {output}")
    announce_fallback(checkpoint)
    list_failures(reference.failed, len(chosen))


if __name__ == "__main__":
    run_app(app)
