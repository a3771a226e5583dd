"""A choice made by evidence: convert a checkpoint in every preset, score each, and measure each component."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from forced_aligner.base.console import log, log_always
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import is_file, require_writable
from forced_aligner.base.outputs import Outputs
from forced_aligner.base.paths import PARITY_FILE, REFERENCE_FILE
from forced_aligner.base.records import file_of, to_json, write_json
from forced_aligner.checkpoint.find import Checkpoint
from forced_aligner.data.records import Clip
from forced_aligner.jobs.calibration_clips import audio_digest, calibration_clips
from forced_aligner.jobs.compare import compare
from forced_aligner.jobs.component_scores import Call, measure_component, record_calls
from forced_aligner.jobs.convert import convert
from forced_aligner.jobs.open_model import open_aligner
from forced_aligner.jobs.reference import make_reference
from forced_aligner.jobs.sweep_options import CALIBRATED, SweepOptions
from forced_aligner.output.own_files import is_own_picture, is_own_results_page
from forced_aligner.output.results_page import Picture, results_page
from forced_aligner.output.size_picture import SizePoint, plot_sizes
from forced_aligner.package.bundle import Bundle
from forced_aligner.score.gate import Gate
from forced_aligner.score.records import FailedClip, ParityReport, Sweep, SweepRow
from forced_aligner.score.report import sweep_row
from forced_aligner.score.tables import rows_table

SWEEP_FILE = "sweep.json"
PICTURE_FILE = "sweep.png"
PAGE_FILE = "sweep.html"
IN_TABLE = "The table has the same figures."


def run_sweep(checkpoint: Checkpoint, clips: list[Clip], folder: Path, options: SweepOptions) -> Sweep:
    """Convert `checkpoint` in each preset below `folder`, score each on `clips`, and write the table, as `sweep.json`
    and as a page, and the picture.

    The packages of the first preset give the inputs that the components of all are measured with.

    Raises:
        UserError: an unknown preset, or a folder that cannot be written.
    """
    options.validate()
    outputs = Outputs()
    outputs.check(folder / SWEEP_FILE, "", file_of(Sweep))
    outputs.check(folder / PICTURE_FILE, "", is_own_picture)
    outputs.check(folder / PAGE_FILE, "", is_own_results_page)
    require_writable(folder / SWEEP_FILE)
    if any(preset.endswith(CALIBRATED) for preset in options.presets):
        _check_calibration(checkpoint, clips, options)
    log("PyTorch reference")
    reference = make_reference(checkpoint, clips, folder / REFERENCE_FILE)
    rows: list[SweepRow] = []
    calls: list[Call] = []
    failed = {clip.audio: clip for clip in reference.failed}
    for preset in options.presets:
        log(f"{preset}: convert and score")
        try:
            metadata = convert(checkpoint, folder / preset, options.conversion(preset))
            aligner = open_aligner(folder / preset, options.runtime)
            calls = calls or record_calls(checkpoint, Bundle.open(folder / preset), reference, folder)
            report, _ = compare(aligner, reference, folder, Gate())
        except UserError as error:  # such as scores that are not finite; the other presets are measured all the same
            log_always(f"{preset}: FAILED: {error}")
            failed[preset] = FailedClip(audio=preset, reason=str(error), unexpected=False)
            continue
        write_json(report, folder / preset / PARITY_FILE, file_of(ParityReport))
        scores = {key: measure_component(aligner.backend, calls, key) for key in metadata.components}
        rows.append(sweep_row(preset, metadata, report, scores))
        failed |= {clip.audio: clip for clip in report.failed}
    sweep = Sweep(
        model_id=checkpoint.model_id,
        checkpoint_fingerprint=reference.checkpoint_fingerprint,
        files=reference.num_samples,
        failed=list(failed.values()),
        rows=rows,
    )
    _write(sweep, folder, outputs)
    return sweep


def _write(sweep: Sweep, folder: Path, outputs: Outputs) -> None:
    """Write the table, the picture where there are rows, and the page."""
    outputs.write(folder / SWEEP_FILE, to_json(sweep), may_replace=file_of(Sweep))
    if sweep.rows:
        points, write = [size_point(row) for row in sweep.rows], partial(outputs.write, may_replace=is_own_picture)
        plot_sizes(points, sweep_title(sweep), folder / PICTURE_FILE, write=write)
    elif is_own_picture(folder / PICTURE_FILE):
        (folder / PICTURE_FILE).unlink()  # of an earlier sweep
    page = sweep_page(sweep, (folder / PICTURE_FILE).read_bytes() if sweep.rows else None)
    outputs.write(folder / PAGE_FILE, page, may_replace=is_own_results_page)


def sweep_page(sweep: Sweep, picture: bytes | None) -> str:
    """The page of a sweep: its table, what failed, and the picture where there is one."""
    return results_page(
        sweep_title(sweep),
        [rows_table(sweep.rows, "Every preset")] if sweep.rows else [],
        notes=[f"failed: {failed.audio}: {failed.reason}" for failed in sweep.failed],
        pictures=[Picture(picture, f"Size on disk against boundaries that moved. {IN_TABLE}")] if picture else [],
    )


def _check_calibration(checkpoint: Checkpoint, clips: list[Clip], options: SweepOptions) -> None:
    """Refuse a calibration set that cannot be used, before the conversions.

    Raises:
        UserError: it is not found, has too few clips, or has clips that are scored.
    """
    preset = next(preset for preset in options.presets if preset.endswith(CALIBRATED))
    fitted = {audio_digest(clip) for clip in calibration_clips(checkpoint, options.conversion(preset))}
    scored = [clip for clip in clips if is_file(Path(clip.audio)) and audio_digest(clip) in fitted]
    if scored:
        raise UserError(
            f"{len(scored)} of the {len(clips)} recordings to score are among those to calibrate with, such as "
            f"{scored[0].audio}: give another --dataset or --calibration-dataset"
        )


def sweep_title(sweep: Sweep) -> str:
    """The heading of the table and of the picture."""
    return f"{sweep.model_id}: {sweep.files} files against PyTorch"


def size_point(row: SweepRow) -> SizePoint:
    """A row as the picture shows it."""
    return SizePoint(row.name, row.size_bytes, 100 * row.moved / row.boundaries, row.passed)
