#!/usr/bin/env -S uv run
"""Run the converted packages: align a recording, compare with PyTorch, or show the whole job on the demo."""

from forced_aligner.base.stopping import exit_on_signals

if __name__ == "__main__":
    exit_on_signals()  # before the imports that take long

from pathlib import Path
from typing import Annotated

import typer

from forced_aligner.base.cli import (
    ClusterOption,
    JobsOption,
    JsonOption,
    QuietOption,
    ThreadsOption,
    VersionOption,
    make_app,
)
from forced_aligner.base.console import log, log_always, run_app, write_result
from forced_aligner.base.errors import EXIT_THRESHOLD_MISSED
from forced_aligner.base.paths import (
    BENCHMARK_FILE,
    BENCHMARK_PAGE,
    BENCHMARK_PICTURE,
    DEFAULT_BUNDLE,
    DEFAULT_DEMO,
    DEFAULT_REFERENCE,
    DEFAULT_SWEEP,
)
from forced_aligner.convert.defaults import PRESETS
from forced_aligner.jobs.workers.options import Workers
from forced_aligner.output.limits import WEAK
from forced_aligner.output.reading import LEAST_CUE_S, LONGEST_CUE_S, MAX_LINES, by_language
from forced_aligner.package.contract import LayoutName
from forced_aligner.runtime.options import BackendName, ComputeUnitsName, DeviceName, RuntimeOptions

app = make_app(no_args_is_help=True)

ModelDir = Annotated[Path, typer.Option(help="The converted folder.")]
BackendOption = Annotated[BackendName, typer.Option(help="coreml: macOS only; mil: anywhere; auto: the best there is.")]
DeviceOption = Annotated[DeviceName, typer.Option(help="Where the MIL runtime computes; cuda: an NVIDIA GPU.")]
UnitsOption = Annotated[
    ComputeUnitsName | None, typer.Option("--compute-units", help="Where Core ML computes. (default: the folder's own)")
]
NoCacheOption = Annotated[
    bool, typer.Option("--no-cache", help="Compile for Core ML anew, and keep nothing in the user's cache.")
]


@app.callback()
def main(quiet: QuietOption = False, version: VersionOption = False) -> None:
    """Run the converted packages: align recordings, compare with PyTorch, measure."""


@app.command(short_help="Give each word of a transcript its times.")
def infer(
    audio_file: Annotated[Path | None, typer.Option(help="One recording: wav, flac, ogg or mp3, of any rate.")] = None,
    text: Annotated[str | None, typer.Option(help="Its transcript.")] = None,
    text_file: Annotated[
        Path | None, typer.Option(help="Its transcript, in a file: text, subtitles (srt, vtt, ass), or Whisper's JSON.")
    ] = None,
    keep_brackets: Annotated[
        bool, typer.Option("--keep-brackets", help="Align speaker labels, [directions] and headings as well.")
    ] = False,
    files: Annotated[
        Path | None,
        typer.Option(help="Many: a folder of pairs (talk.wav + talk.txt or .lab), or a manifest (.jsonl or .csv)."),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Take the pairs in the folder's subfolders too.")
    ] = False,
    language: Annotated[str | None, typer.Option(help="Name or code, such as English or en.")] = None,
    output_dir: Annotated[Path | None, typer.Option(help="Write files there, named after the recordings.")] = None,
    output_file: Annotated[
        Path | None, typer.Option("--output", help="Write there, for one recording and one format.")
    ] = None,
    formats: Annotated[
        str, typer.Option("--format", help="Some of json, srt, vtt, ass, textgrid, ctm, audacity, tsv, html.")
    ] = "json",
    audio_link: Annotated[
        bool,
        typer.Option("--audio-link", help="Link from html to the recording. (default: if longer than 60 minutes)"),
    ] = False,
    max_line_chars: Annotated[
        int | None,
        typer.Option(min=1, max=200, help=f"Widest subtitle line. (default: {by_language('line_chars')})"),
    ] = None,
    max_lines: Annotated[int, typer.Option(min=1, max=10, help="Most lines of a subtitle cue.")] = MAX_LINES,
    max_cue_s: Annotated[
        float, typer.Option(min=0.1, max=60, help="Longest subtitle cue, unless one word lasts longer.")
    ] = LONGEST_CUE_S,
    min_cue_s: Annotated[
        float | None,
        typer.Option(min=0, help=f"Shortest subtitle cue, where there is room. (default: {LEAST_CUE_S:g})"),
    ] = None,
    max_cps: Annotated[
        float | None,
        typer.Option(
            min=1,
            help=f"Most characters of a cue per second, where there is room. (default: {by_language('chars_per_s')})",
        ),
    ] = None,
    cue_per_line: Annotated[
        bool, typer.Option("--cue-per-line", help="A subtitle cue for each line of the transcript.")
    ] = False,
    karaoke: Annotated[bool, typer.Option("--karaoke", help="Mark each word's time inside vtt and ass cues.")] = False,
    min_confidence: Annotated[float, typer.Option(min=0, max=1, help="Mark words below it as weak.")] = WEAK,
    plot: Annotated[bool, typer.Option("--plot", help="Draw a PNG of each recording as well.")] = False,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave out what is written already.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there already.")] = False,
    piece_s: Annotated[
        float | None,
        typer.Option(min=4, help="Longest piece of a long recording. (default: what the model takes)"),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 1 if words are not found, or sound has no words.")
    ] = False,
    model_dir: ModelDir = DEFAULT_BUNDLE,
    backend: BackendOption = "auto",
    device: DeviceOption = "cpu",
    compute_units: UnitsOption = None,
    no_cache: NoCacheOption = False,
    jobs: JobsOption = 1,
    threads: ThreadsOption = None,
    cluster: ClusterOption = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Time of each stage on stderr.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Give every word of a transcript a start and an end time: on stdout, in --output, or in files in --output-dir."""
    workers = Workers(jobs, threads, cluster)
    runtime = RuntimeOptions(backend, device, compute_units, not no_cache, threads)
    from forced_aligner.base.errors import UserError
    from forced_aligner.data.clips import input_clips
    from forced_aligner.output.cues import CueOptions
    from forced_aligner.output.formats import PAGE, parse_formats

    names = parse_formats(formats)
    cues = CueOptions(
        max_line_chars, max_lines, max_cue_s, min_cue_s, max_cps, cue_per_line=cue_per_line, karaoke=karaoke
    )
    clips = input_clips(audio_file, text, text_file, files, language, recursive=recursive)
    if skip_existing and overwrite:
        raise UserError("--skip-existing leaves files as they are and --overwrite replaces them: give one of them")
    if skip_existing and strict:
        raise UserError("--strict judges every recording and --skip-existing leaves some out: give one of them")
    if output_dir is None and (files is not None or plot or len(names) > 1):
        raise UserError("--files, --plot and several formats need --output-dir")
    if output_file is not None and output_dir is not None:
        raise UserError("--output names one file and --output-dir a folder: give one of them")
    if karaoke and not {"vtt", "ass"} & set(names):
        raise UserError("--karaoke marks words inside vtt and ass: give --format vtt or ass with it")
    if workers.are_others and output_dir is None:
        raise UserError("--jobs and --cluster are for many recordings: give --files and --output-dir")
    if audio_link and PAGE not in names:
        raise UserError("--audio-link is for pages: give --format html with it")

    # These take long. Whatever a look at the options can tell is told before.
    from forced_aligner.align.clock import stage_line
    from forced_aligner.jobs.each import list_failures
    from forced_aligner.jobs.infer import Output, align_all, align_file, content, lengthened
    from forced_aligner.jobs.open_model import aligning_crew, open_aligner
    from forced_aligner.output.remarks import require_complete
    from forced_aligner.package.bundle import files_of

    aligner = open_aligner(model_dir, runtime)
    folder = output_dir if output_file is None else output_file.parent
    if folder is not None:
        output = Output(
            folder,
            names,
            cues,
            min_confidence,
            plot,
            skip_existing,
            overwrite,
            piece_s,
            strict,
            keep_brackets,
            audio_link,
            output_file,
        )
        with aligning_crew(aligner, model_dir, runtime, workers) as crew:
            failed = align_all(aligner, clips, output, files_of(model_dir, aligner.metadata), crew)
        list_failures(failed, len(clips))
        return
    file, alignment, samples = align_file(aligner, clips[0], min_confidence, piece_s, keep_brackets=keep_brackets)
    write_result(content(names[0], file, samples, clips[0], cues, Path(), link=audio_link))
    for note in lengthened(file, names):
        log(f"{len(file.timed)} words, {note}")
    if verbose:
        log_always(stage_line(alignment.stage_ms))
    if strict:
        require_complete(file)


@app.command(short_help="Score the packages against PyTorch.")
def compare(
    model_dir: Annotated[
        list[Path] | None, typer.Option(help=f"The converted folder; several for a table. (default: {DEFAULT_BUNDLE})")
    ] = None,
    reference: Annotated[Path, typer.Option(help="Made by compare-models.py.")] = DEFAULT_REFERENCE,
    num_files: Annotated[
        int | None, typer.Option(min=1, help="At most so many files, drawn as compare-models.py draws. (default: all)")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="(default: parity.json in the model folder)")] = None,
    page: Annotated[
        Path | None, typer.Option(help="Write the report as a page too, with the sound of boundaries that moved.")
    ] = None,
    backend: BackendOption = "auto",
    device: DeviceOption = "cpu",
    compute_units: UnitsOption = None,
    no_cache: NoCacheOption = False,
    jobs: JobsOption = 1,
    threads: ThreadsOption = None,
    cluster: ClusterOption = None,
    max_aas: Annotated[float, typer.Option(help="Highest mean boundary error, ms.")] = 5.0,
    min_within_20ms: Annotated[float, typer.Option(help="Lowest share of boundaries within 20 ms, %.")] = 95.0,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew, instead of going on where a run was stopped.")
    ] = False,
    as_json: JsonOption = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Time of each stage on stderr.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Run the packages on the reference's clips and score every word boundary. Exit code 1: a threshold is missed."""
    workers = Workers(jobs, threads, cluster)
    runtime = RuntimeOptions(backend, device, compute_units, not no_cache, threads)
    from forced_aligner.align.clock import stage_line
    from forced_aligner.base.errors import UserError
    from forced_aligner.base.paths import PARITY_FILE
    from forced_aligner.base.records import read_json, to_json
    from forced_aligner.data.choice import announce_choice, choose
    from forced_aligner.jobs.compare import compare_and_write
    from forced_aligner.jobs.each import list_failures
    from forced_aligner.jobs.open_model import aligning_crew, open_aligner
    from forced_aligner.score.gate import Gate
    from forced_aligner.score.records import Reference
    from forced_aligner.score.report import sweep_row
    from forced_aligner.score.tables import print_report, print_rows

    folders = model_dir or [DEFAULT_BUNDLE]
    if report is not None and len(folders) > 1:
        raise UserError("--report takes one model folder; without it each folder gets its own parity.json")
    if page is not None and len(folders) > 1:
        raise UserError("--page takes one model folder: run compare for each folder that is to have a page")
    known = read_json(Reference, reference, "make it with compare-models.py")
    chosen = choose(known.samples, num_files)
    known = known.cut_to(chosen, announce_choice(chosen, known.samples))
    gate = Gate(max_aas, min_within_20ms)
    reports, rows, failed = [], [], []
    for folder in folders:
        aligner = open_aligner(folder, runtime)
        output = report or folder / PARITY_FILE
        with aligning_crew(aligner, folder, runtime, workers) as crew:
            scores, alignments = compare_and_write(
                aligner, folder, known, reference, output, gate, restart=restart, page=page, crew=crew
            )
        reports.append(scores)
        if not as_json:
            print_report(scores)
        if verbose:
            for sample, alignment in zip(scores.samples, alignments, strict=True):
                log_always(f"{Path(sample.audio).name}: {stage_line(alignment.stage_ms)}")
        rows.append(sweep_row(str(folder), aligner.metadata, scores, {}))
        failed += scores.failed
    if as_json:
        write_result(to_json(*reports))
    elif len(rows) > 1:
        print_rows(rows, f"{known.model_id}: {known.num_samples} files against PyTorch")
    list_failures(failed, known.num_samples * len(folders))
    if not all(row.passed for row in rows):
        raise typer.Exit(EXIT_THRESHOLD_MISSED)


@app.command(short_help="Convert in every preset, and score each.")
def sweep(
    model_id: Annotated[str | None, typer.Option(help="As convert-coreml.py takes it.")] = None,
    output_dir: Annotated[
        Path, typer.Option(help="Where the folders, the table, the picture and the page go.")
    ] = DEFAULT_SWEEP,
    presets: Annotated[
        str | None,
        typer.Option(help=f"Some of {', '.join(PRESETS)}; calibrated: as --calibrate fits them. (default: all)"),
    ] = None,
    decoder_lengths: Annotated[
        str | None, typer.Option(help="As convert-coreml.py takes them. (default: the same)")
    ] = None,
    audio_frames: Annotated[
        str | None, typer.Option(help="As convert-coreml.py takes them. (default: the same)")
    ] = None,
    layout: Annotated[LayoutName, typer.Option(help="As convert-coreml.py takes it.")] = "five",
    calibrate: Annotated[int, typer.Option(min=1, help="Clips that the calibrated presets are fitted to.")] = 64,
    calibration_dataset: Annotated[str, typer.Option(help="As convert-coreml.py takes it.")] = "auto",
    dataset: Annotated[str, typer.Option(help="As compare-models.py takes it.")] = "auto",
    dataset_dir: Annotated[Path | None, typer.Option(help="As compare-models.py takes it.")] = None,
    subset: Annotated[str | None, typer.Option(help="As compare-models.py takes it.")] = None,
    download: Annotated[bool, typer.Option("--download", help="As compare-models.py takes it.")] = False,
    language: Annotated[str | None, typer.Option(help="Of a folder of pairs: name or code.")] = None,
    num_files: Annotated[
        int | None, typer.Option(min=1, help="At most so many files, drawn as compare-models.py draws. (default: all)")
    ] = None,
    backend: BackendOption = "auto",
    compute_units: UnitsOption = None,
    no_cache: NoCacheOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Convert a checkpoint in every preset, score each, and measure each component: table, picture and page."""
    runtime = RuntimeOptions(backend, "cpu", compute_units, not no_cache)
    from forced_aligner.base.model_ids import DEMO_MODEL_ID
    from forced_aligner.checkpoint.find import announce_fallback, find_checkpoint
    from forced_aligner.convert.defaults import DEFAULT_FRAMES, DEFAULT_LENGTHS
    from forced_aligner.convert.options import parse_sizes
    from forced_aligner.data.choice import announce_choice, choose
    from forced_aligner.data.clips import load_clips
    from forced_aligner.jobs.sweep_options import SweepOptions

    lengths = parse_sizes("--decoder-lengths", decoder_lengths) or DEFAULT_LENGTHS["iOS18"]
    frames = parse_sizes("--audio-frames", audio_frames) or DEFAULT_FRAMES["iOS18"]
    names = tuple(PRESETS) if presets is None else tuple(name.strip() for name in presets.split(","))
    options = SweepOptions(names, lengths, frames, runtime, layout, calibrate, calibration_dataset)
    options.validate()
    checkpoint = find_checkpoint(model_id)
    announce_fallback(checkpoint)
    is_demo = checkpoint.model_id == DEMO_MODEL_ID
    clips = load_clips(dataset, dataset_dir, is_demo_model=is_demo, language=language, subset=subset, download=download)
    chosen = choose(clips, num_files)
    announce_choice(chosen, clips)

    # These take long. Whatever a look at the options can tell is told before.
    from forced_aligner.base.records import to_json
    from forced_aligner.jobs.each import list_failures
    from forced_aligner.jobs.sweep import run_sweep, sweep_title
    from forced_aligner.score.tables import print_rows

    result = run_sweep(checkpoint, chosen, output_dir, options)
    if as_json:
        write_result(to_json(result))
    elif result.rows:
        print_rows(result.rows, sweep_title(result))
    announce_fallback(checkpoint)
    list_failures(result.failed, len(chosen) + len(names), "recordings and presets")


@app.command(short_help="Measure loading, calls and whole clips.")
def benchmark(
    model_dir: ModelDir = DEFAULT_BUNDLE,
    backend: BackendOption = "auto",
    device: DeviceOption = "cpu",
    compute_units: Annotated[
        str | None,
        typer.Option(help="Core ML's, some of all,cpu,cpu-and-gpu,cpu-and-ne. (default: the folder's own)"),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Everything is measured so often, in rounds.")] = 3,
    calls: Annotated[int, typer.Option(min=1, help="Measured calls of each function in a round.")] = 10,
    output_dir: Annotated[
        Path | None, typer.Option(help="Where benchmark.json, .png and .html go. (default: the model folder)")
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure what loading and running costs: each function alone, and whole clips of 5 to 60 s."""
    from forced_aligner.jobs.benchmark.options import BenchmarkOptions, runtimes

    asked = runtimes(backend, device, compute_units)

    # These take long. Whatever a look at the options can tell is told before.
    from forced_aligner.base.records import to_json
    from forced_aligner.jobs.benchmark.run import benchmark_and_write, require_all
    from forced_aligner.jobs.benchmark.tables import print_benchmark

    output = output_dir or model_dir
    report = benchmark_and_write(model_dir, asked, output, BenchmarkOptions(rounds, calls))
    if as_json:
        write_result(to_json(report))
    else:
        print_benchmark(report)
    log(f"{BENCHMARK_FILE}, {BENCHMARK_PICTURE} and {BENCHMARK_PAGE} are in {output}")
    require_all(report)


@app.command("check-host", short_help="Check another host, stage by stage.")
def check_host(
    kit: Annotated[Path, typer.Option(help="Made by convert-coreml.py --host-kit, or host/ in a published folder.")],
    host_output: Annotated[
        Path, typer.Option(help="What another host gave: CLIP.safetensors, CLIP/STAGE.npy or CLIP.json, of any stages.")
    ],
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Compare another host with the kit's golden vectors, stage by stage. Exit code 1: a stage departs."""
    from forced_aligner.base.records import to_json
    from forced_aligner.jobs.check_host import check_host
    from forced_aligner.score.host_check import print_host_report

    found = check_host(kit, host_output)
    if as_json:
        write_result(to_json(found))
    else:
        print_host_report(found)
    if not found.passed:
        raise typer.Exit(EXIT_THRESHOLD_MISSED)


@app.command(short_help="Do the whole job on the demo aligner.")
def demo(
    output_dir: Annotated[Path, typer.Option(help="Where everything goes.")] = DEFAULT_DEMO,
    backend: BackendOption = "auto",
    compute_units: UnitsOption = None,
    no_cache: NoCacheOption = False,
    quiet: QuietOption = False,
) -> None:
    """The whole job on the bundled aligner: convert, reference, run the packages, score, draw. No network."""
    runtime = RuntimeOptions(backend, "cpu", compute_units, not no_cache)
    from forced_aligner.jobs.demo import run_demo
    from forced_aligner.jobs.each import list_failures
    from forced_aligner.score.tables import print_report

    scores = run_demo(output_dir, runtime)
    print_report(scores)
    list_failures(scores.failed, scores.files + len(scores.failed))
    if not scores.passed:
        raise typer.Exit(EXIT_THRESHOLD_MISSED)


if __name__ == "__main__":
    run_app(app)
