#!/usr/bin/env -S uv run
"""Convert Qwen3-ForcedAligner to Core ML packages."""

from forced_aligner.base.stopping import exit_on_signals

if __name__ == "__main__":
    exit_on_signals()  # before the imports that take long

from pathlib import Path
from typing import Annotated, Literal

import typer

from forced_aligner.base.cli import QuietOption, VersionOption, make_app
from forced_aligner.base.console import log, run_app
from forced_aligner.base.paths import DEFAULT_BUNDLE
from forced_aligner.convert.defaults import DEFAULT_FRAMES, DEFAULT_LENGTHS, Target, help_text
from forced_aligner.package.contract import LayoutName

app = make_app()


@app.command()
def convert(
    model_id: Annotated[
        str | None,
        typer.Option(
            help="Hub id, local folder, or 'demo'. Without it: the full 0.6B model if it can be had, else 'demo'."
        ),
    ] = None,
    output_dir: Annotated[Path, typer.Option(help="The converted folder.")] = DEFAULT_BUNDLE,
    layout: Annotated[
        LayoutName, typer.Option(help="five: five packages; compact: two and a token table, for fewer calls.")
    ] = "five",
    components: Annotated[
        str | None, typer.Option(help="Comma-separated subset; default: all. With five, optional: audio_encoder.")
    ] = None,
    decoder_lengths: Annotated[
        str | None,
        typer.Option(help=f"Comma-separated token counts, multiples of 64. {help_text(DEFAULT_LENGTHS)}"),
    ] = None,
    audio_frames: Annotated[
        str | None,
        typer.Option(
            help=f"Comma-separated frames of 80 ms in one call of the audio transformer. {help_text(DEFAULT_FRAMES)}"
        ),
    ] = None,
    precision: Annotated[
        Literal["mixed", "float32", "float16"],
        typer.Option(help="mixed: FP16 for embedding, FP32 for the others."),
    ] = "mixed",
    deployment_target: Annotated[
        Target,
        typer.Option(help="iOS17: one decoder length, one count of frames."),
    ] = "iOS18",
    ane: Annotated[bool, typer.Option("--ane/--no-ane", help="Let Core ML use the Neural Engine.")] = True,
    optimize: Annotated[
        bool, typer.Option("--optimize/--no-optimize", help="Run coremltools' optimisation passes.")
    ] = True,
    compress: Annotated[
        str,
        typer.Option(help="none, int8, int6 or int4; for some: int8,decoder_prefill=int4. iOS18 only; not the head."),
    ] = "none",
    calibrate: Annotated[
        int,
        typer.Option(
            min=0,
            help="Run so many clips: --compress fits the weights to them, and FP32 keeps what comes near FP16's limit.",
        ),
    ] = 0,
    calibration_dataset: Annotated[
        str,
        typer.Option(
            help="Where they are from: auto, demo-calibration, a subset of LibriSpeech, a folder of pairs, a manifest."
        ),
    ] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace a converted folder.")] = False,
    package: Annotated[
        Path | None, typer.Option(help="Also lay out this folder for a model hub: packages, licence and model card.")
    ] = None,
    host_kit: Annotated[
        Path | None,
        typer.Option(
            help="Also write this folder: what a host in another language needs, as --package has it in host/."
        ),
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="For the card: the hub id of a --model-id that is a local folder.")
    ] = None,
    quiet: QuietOption = False,
    version: VersionOption = False,
) -> None:
    """Convert a checkpoint to Core ML packages, in one self-contained folder."""
    from forced_aligner.base.errors import UserError
    from forced_aligner.checkpoint.find import announce_fallback, find_checkpoint
    from forced_aligner.convert.options import Options, parse_components, parse_sizes
    from forced_aligner.jobs.convert import convert
    from forced_aligner.jobs.places import check_hub_folder, check_kit
    from forced_aligner.package.bundle import Bundle
    from forced_aligner.package.contract import DEFAULTS_OF

    options = Options(
        components=DEFAULTS_OF[layout] if components is None else parse_components(components),
        decoder_lengths=parse_sizes("--decoder-lengths", decoder_lengths) or DEFAULT_LENGTHS[deployment_target],
        audio_frames=parse_sizes("--audio-frames", audio_frames) or DEFAULT_FRAMES[deployment_target],
        precision=precision,
        deployment_target=deployment_target,
        ane=ane,
        optimize=optimize,
        compress=compress,
        calibrate=calibrate,
        calibration_dataset=calibration_dataset,
        force=force,
        layout=layout,
    )
    options.validate()
    if base_model is not None and package is None:
        raise UserError("--base-model is for the card that --package writes: give both")
    checkpoint = find_checkpoint(model_id)
    announce_fallback(checkpoint)
    if package is not None:
        check_hub_folder(package, output_dir, options.components, checkpoint.model_id, base_model)
    if host_kit is not None:
        check_kit(host_kit, options.components, output_dir, *([] if package is None else [package]))
    metadata = convert(checkpoint, output_dir, options)
    size_mb, table = metadata.size_bytes / 1e6, " and a token table" if metadata.token_table else ""
    log(f"{checkpoint.model_id}: {len(metadata.components)} packages{table}, {size_mb:.1f} MB, in {output_dir}")
    if package is not None:
        from forced_aligner.jobs.publish import lay_out

        lay_out(output_dir, package, base_model, checkpoint)
        log(f"ready for a model hub: {package}")
    if host_kit is not None:
        from forced_aligner.jobs.host_kit import write_kit

        write_kit(checkpoint, Bundle.open(output_dir), host_kit)
        log(f"host kit: {host_kit}")
    announce_fallback(checkpoint)


if __name__ == "__main__":
    run_app(app)
