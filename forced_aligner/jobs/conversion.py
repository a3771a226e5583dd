"""A conversion under way: the components that were asked for, one after the other."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from forced_aligner.base.console import log
from forced_aligner.checkpoint.lazy_weights import LazyModel
from forced_aligner.convert.calibration import announce
from forced_aligner.convert.component import convert_component
from forced_aligner.convert.gptq.store import QuantizedWeights
from forced_aligner.convert.options import Options
from forced_aligner.convert.token_table import convert_token_table
from forced_aligner.data.records import Clip
from forced_aligner.jobs.calibrate import measure_magnitudes
from forced_aligner.package.bundle import Bundle
from forced_aligner.package.contract import TOKEN_TABLE
from forced_aligner.package.metadata import BundleMetadata, Calibration, ComponentRecord
from individual_components import COMPONENTS


@dataclass(frozen=True)
class Conversion:
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
