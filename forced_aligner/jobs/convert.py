"""Convert a checkpoint: options in, a whole folder of described packages out."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from forced_aligner.align.prompt import Prompt
from forced_aligner.base.console import log
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import is_file
from forced_aligner.base.journal import JOURNAL_SUFFIX
from forced_aligner.base.paths import (
    BENCHMARK_FILE,
    BENCHMARK_PAGE,
    BENCHMARK_PICTURE,
    METADATA_FILE,
    PARITY_FILE,
    PARITY_PAGE,
)
from forced_aligner.base.records import file_of, write_json
from forced_aligner.base.stopping import removed_temporaries
from forced_aligner.checkpoint.find import Checkpoint
from forced_aligner.checkpoint.lazy_weights import LazyModel
from forced_aligner.checkpoint.processor import load_processor, save_processor
from forced_aligner.convert.calibration import announce
from forced_aligner.convert.component import convert_component, existing_objects_frozen
from forced_aligner.convert.gptq.store import QuantizedWeights, discard_store
from forced_aligner.convert.lint import lint_package
from forced_aligner.convert.metadata import expected_metadata
from forced_aligner.convert.options import Options
from forced_aligner.convert.token_table import convert_token_table
from forced_aligner.data.records import Clip
from forced_aligner.jobs.calibrate import (
    audio_digest,
    calibration_clips,
    calibration_digest,
    measure_magnitudes,
    quantize_weights,
)
from forced_aligner.output.figure import is_own_picture
from forced_aligner.output.parity_page import is_own_parity_page
from forced_aligner.output.results_page import is_own_results_page
from forced_aligner.package.bundle import Bundle, require_own_files
from forced_aligner.package.contract import TOKEN_TABLE
from forced_aligner.package.folder import refuse_existing, write_folder
from forced_aligner.package.metadata import BundleMetadata, Calibration, ComponentRecord
from forced_aligner.runtime.measurements import BenchmarkReport
from forced_aligner.score.records import ParityReport
from individual_components import COMPONENTS


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
    processor = load_processor(checkpoint.folder)
    clips = calibration_clips(checkpoint, options) if options.calibrate else []
    audio = [audio_digest(clip) for clip in clips]
    fitted_to = audio if options.fits else []
    digest = calibration_digest(clips, audio) if clips else None
    expected = expected_metadata(checkpoint, processor, options, digest, fitted_to)
    if (not options.force or options.keep_same) and (done := _already_done(expected, options, output_dir)):
        log(f"{output_dir} holds this conversion already" + ("" if options.force else "; --force makes it anew"))
        return done
    check = _require_replaceable if options.force else refuse_existing
    with write_folder(output_dir, check) as folder, existing_objects_frozen():
        save_processor(processor, folder)
        model = LazyModel(checkpoint)
        prompt = Prompt(processor.tokenizer.backend_tokenizer, expected.token_ids)
        quantized = quantize_weights(model, prompt, expected, options, clips, output_dir) if fitted_to else None
        conversion = _Conversion(model, options, folder, clips, quantized)
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


def _require_replaceable(folder: Path) -> None:
    """Refuse to replace a folder that holds anything but a conversion and what was measured of it."""
    remedy = "choose another --output-dir, or remove it yourself"
    made_by_us = {
        PARITY_FILE: file_of(ParityReport),
        BENCHMARK_FILE: file_of(BenchmarkReport),
        BENCHMARK_PICTURE: is_own_picture,
        BENCHMARK_PAGE: is_own_results_page,
        PARITY_PAGE: is_own_parity_page,
    }
    measured = [name for name, is_own in made_by_us.items() if is_own(folder / name)]
    require_own_files(folder, [*measured, PARITY_FILE + JOURNAL_SUFFIX], remedy=remedy)


@dataclass(frozen=True)
class _Conversion:
    """A conversion under way.

    Attributes:
        model: its weights.
        options: what was asked for.
        folder: unfinished, where the packages go to.
        clips: to calibrate with.
        quantized: the weights that were compressed with them.
    """

    model: LazyModel
    options: Options
    folder: Path
    clips: list[Clip]
    quantized: QuantizedWeights | None

    def convert_all(self, metadata: BundleMetadata) -> BundleMetadata:
        """Convert the components that were asked for, with a line of progress for each; the metadata with them."""
        records, table = dict[str, ComponentRecord](), None
        presets = self.options.presets
        for number, key in enumerate(self.options.components, 1):
            started = time.perf_counter()
            if key == TOKEN_TABLE:
                table = convert_token_table(self.model, presets[key], self.folder)
                made, size_bytes = f"{table.file}  {table.encoding}", table.size_bytes
            else:
                record = self._convert(key, metadata)
                records[key] = record
                made, size_bytes = f"{record.package}  {record.precision}", record.size_bytes
            log(
                f"[{number}/{len(self.options.components)}] {made}  {size_bytes / 1e6:.1f} MB  "
                f"{time.perf_counter() - started:.1f} s"
            )
        return metadata.model_copy(update={"components": records, TOKEN_TABLE: table})

    def _convert(self, key: str, metadata: BundleMetadata, calibration: Calibration | None = None) -> ComponentRecord:
        return convert_component(
            COMPONENTS[key], self.model, metadata, self.options, self.folder, calibration, self.quantized
        )

    def calibrate(self, metadata: BundleMetadata) -> BundleMetadata:
        """Run clips through the packages, and convert those again that hold an op with too large a magnitude.

        What was converted again is measured again: nothing may be left in FP16 that comes near its limit.
        """
        while True:
            measured = measure_magnitudes(Bundle(self.folder, metadata), self.clips)
            components, too_large = dict(metadata.components), []
            for key, calibration in measured.items():
                before = components[key].calibration
                if len(calibration.kept_float32) > len(before.kept_float32 if before else []):
                    too_large.append(key)
                components[key] = components[key].model_copy(update={"calibration": calibration})
            for key in too_large:
                shutil.rmtree(self.folder / components[key].package)
                components[key] = self._convert(key, metadata, measured[key])
            metadata = metadata.model_copy(update={"components": components})
            if not too_large:
                announce(metadata)
                return metadata
