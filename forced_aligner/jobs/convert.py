"""Convert a checkpoint: options in, a whole folder of described packages out."""

from __future__ import annotations

from pathlib import Path

from forced_aligner.base.console import log
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import is_file
from forced_aligner.base.paths import METADATA_FILE
from forced_aligner.base.records import write_json
from forced_aligner.base.stopping import removed_temporaries
from forced_aligner.checkpoint.find import Checkpoint
from forced_aligner.checkpoint.processor import load_processor, save_processor
from forced_aligner.convert.metadata import expected_metadata
from forced_aligner.convert.options import Options
from forced_aligner.jobs.calibration_clips import audio_digest, calibration_clips, calibration_digest
from forced_aligner.jobs.places import check_converted_folder, refuse_or_replace
from forced_aligner.package.bundle import Bundle
from forced_aligner.package.contract import TOKEN_TABLE
from forced_aligner.package.folder import write_folder
from forced_aligner.package.metadata import BundleMetadata


def convert(checkpoint: Checkpoint, output_dir: Path, options: Options) -> BundleMetadata:
    """Convert `checkpoint` into `output_dir`, which is complete afterwards or as it was before.

    A folder that was made from the same checkpoint with the same options is left alone.

    Raises:
        UserError: options that do not fit, a checkpoint that cannot be loaded, or a folder that cannot be written.
    """
    with removed_temporaries():
        return _convert(checkpoint, output_dir, options)


def _convert(checkpoint: Checkpoint, output_dir: Path, options: Options) -> BundleMetadata:
    options.validate()
    check_converted_folder(output_dir, force=options.force)
    clips = calibration_clips(checkpoint, options) if options.calibrate else []
    processor = load_processor(checkpoint.folder)
    audio = [audio_digest(clip) for clip in clips]
    fitted_to = audio if options.fits else []
    digest = calibration_digest(clips, audio) if clips else None
    expected = expected_metadata(checkpoint, processor, options, digest, fitted_to)
    if (not options.force or options.keep_same) and (done := _already_done(expected, options, output_dir)):
        log(f"{output_dir} holds this conversion already" + ("" if options.force else "; --force makes it anew"))
        return done

    # These take long. Whatever can be told before is told, and a conversion that is there already needs none of them.
    from forced_aligner.checkpoint.lazy_weights import LazyModel
    from forced_aligner.convert.component import existing_objects_frozen
    from forced_aligner.convert.gptq.store import discard_store
    from forced_aligner.convert.lint import lint_package
    from forced_aligner.jobs.calibrate import quantize_weights
    from forced_aligner.jobs.conversion import Conversion

    with write_folder(output_dir, refuse_or_replace(force=options.force)) as folder, existing_objects_frozen():
        save_processor(processor, folder)
        model = LazyModel(checkpoint)
        quantized = quantize_weights(model, processor, expected, options, clips, output_dir) if fitted_to else None
        conversion = Conversion(model, options, folder, clips, quantized)
        metadata = conversion.convert_all(expected)
        if options.calibrate:
            metadata = conversion.calibrate(metadata)
        linted = {
            key: record.model_copy(update={"lint": lint_package(folder, key, record)})
            for key, record in metadata.components.items()
        }
        metadata = metadata.model_copy(update={"components": linted}).sealed()
        write_json(metadata, folder / METADATA_FILE)
        discard_store(output_dir)  # also what a run with other options has left
    return metadata


def _already_done(expected: BundleMetadata, options: Options, output_dir: Path) -> BundleMetadata | None:
    """The metadata in `output_dir` if it is of the same conversion; None if it holds none, or one to be replaced.

    Raises:
        UserError: it holds a damaged conversion, or another one, and `options.force` is not given.
    """
    if not is_file(output_dir / METADATA_FILE):
        return None
    try:
        present = Bundle.open(output_dir).metadata
    except UserError as error:
        if options.force:
            return None
        raise UserError(f"{error}, with --force") from None
    fields = BundleMetadata.model_fields.keys() - {"components", TOKEN_TABLE, "digest"}
    differing = sorted(field for field in fields if getattr(present, field) != getattr(expected, field))
    if present.package_sha256.keys() != set(options.components):
        differing = [*differing, "components"]
    if differing and options.force:
        return None
    if differing:
        raise UserError(
            f"{output_dir} is there already, with another conversion (other {', '.join(differing)}): give --force to "
            "replace it, or choose another --output-dir"
        )
    return present
