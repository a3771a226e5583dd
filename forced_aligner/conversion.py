"""Conversion: a checkpoint and options in, a whole folder of described packages out."""

from __future__ import annotations

import gc
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import coremltools as ct

from forced_aligner import bundle, calibration, checkpoint, compression, datasets, lint
from forced_aligner.console import log
from forced_aligner.defaults import DEFAULT_FRAMES, DEFAULT_LENGTHS, Target
from forced_aligner.errors import UserError
from forced_aligner.mapped import MappedModel
from forced_aligner.paths import METADATA_FILE
from forced_aligner.provenance import describe
from forced_aligner.schemas import MAIN, BundleMetadata, Calibration, ComponentRecord, Precision, write_json
from forced_aligner.stitching import multifunction, stitch
from forced_aligner.tracing import Settings, stages
from forced_aligner.weight_store import WeightStore
from individual_components import COMPONENTS, LENGTH_STEP, Component, Sizes


@dataclass(frozen=True)
class Options:
    """What `convert-coreml.py` was asked for."""

    components: tuple[str, ...]
    decoder_lengths: tuple[int, ...] = DEFAULT_LENGTHS["iOS18"]
    audio_frames: tuple[int, ...] = DEFAULT_FRAMES["iOS18"]
    precision: Literal["mixed", "float32", "float16"] = "mixed"
    deployment_target: Target = "iOS18"
    ane: bool = True
    optimize: bool = True
    compress: str = "none"  # see compression.parse
    calibrate: int = 0  # clips to run; 0: no calibration
    force: bool = False

    def component_precision(self, component: Component) -> Precision:
        """The precision of one component."""
        return component.mixed_precision if self.precision == "mixed" else self.precision

    def validate(self) -> None:
        """Check what can be checked without the model.

        Raises:
            UserError: an unknown component, or a length or a target that cannot be converted.
        """
        for key in self.components:
            if key not in COMPONENTS:
                raise UserError(f"no component {key!r}; expected some of {', '.join(COMPONENTS)}")
        if not self.components:
            raise UserError(f"no component to convert; expected some of {', '.join(COMPONENTS)}")
        for option, sizes in (("--decoder-lengths", self.decoder_lengths), ("--audio-frames", self.audio_frames)):
            if min(sizes, default=0) < 1:
                raise UserError(f"{option} takes numbers above 0, not {','.join(map(str, sizes))}")
            if self.deployment_target == "iOS17" and len(sizes) != 1:
                raise UserError(
                    f"iOS17 has no multifunction packages: give one size by {option}, or --deployment-target iOS18"
                )
        for length in self.decoder_lengths:
            if length % LENGTH_STEP:
                raise UserError(f"decoder length {length} is not a multiple of {LENGTH_STEP}")
        compressed = any(preset != "none" for preset in compression.parse(self.compress, self.components).values())
        if compressed and self.deployment_target == "iOS17":
            raise UserError("--compress needs the constexpr ops of iOS 18: give --deployment-target iOS18")
        if self.calibrate and self.precision == "float32":
            raise UserError("--calibrate finds what FP16 cannot hold: give --precision float16 or mixed with it")


def convert(found: checkpoint.Checkpoint, output_dir: Path, options: Options) -> BundleMetadata:
    """Convert `found` into `output_dir`, which is complete afterwards or as it was before.

    A folder that was made from the same checkpoint with the same options is left alone.

    Raises:
        UserError: options that do not fit, a checkpoint that cannot be loaded, or a folder that cannot be written.
    """
    options.validate()
    config = checkpoint.load_config(found)
    dimensions = checkpoint.dimensions(config)
    if max(options.audio_frames) < dimensions.window_tokens:
        raise UserError(
            f"--audio-frames {max(options.audio_frames)} is less than one window of {dimensions.window_tokens}"
        )
    processor = checkpoint.load_processor(found.folder)
    wanted = BundleMetadata(
        model_id=found.model_id,
        checkpoint_fingerprint=found.fingerprint(),
        dimensions=dimensions,
        token_ids=checkpoint.token_ids(processor, config),
        timestamp_segment_ms=processor.timestamp_segment_time,
        longest_clip_s=getattr(config, "longest_clip_s", None),
        audio_frames=sorted(set(options.audio_frames)),
        decoder_lengths=sorted(set(options.decoder_lengths)),
        precision=options.precision,
        deployment_target=options.deployment_target,
        compute_units="ALL" if options.ane else "CPU_AND_GPU",
        optimized=options.optimize,
        compress=options.compress,
        calibration_clips=options.calibrate,
        components={},
        processor_files={},
        tool_versions={name: version(name) for name in ("coremltools", "torch", "transformers", "numpy")},
    )
    if not options.force and (done := _already_done(wanted, options, output_dir)):
        log(f"{output_dir} holds this conversion already; --force makes it anew")
        return done
    with bundle.writing(output_dir, replace=options.force) as folder, _imports_left_alone():
        model = MappedModel(found)
        processor.save_pretrained(folder)
        components = {}
        for number, key in enumerate(options.components, 1):
            started = time.perf_counter()
            components[key] = _convert_component(COMPONENTS[key], model, wanted, options, folder)
            record = components[key]
            log(
                f"[{number}/{len(options.components)}] {record.package}  {record.precision}  "
                f"{record.size_bytes / 1e6:.1f} MB  {time.perf_counter() - started:.1f} s"
            )
        files = bundle.processor_digests(folder)
        metadata = wanted.model_copy(update={"components": components, "processor_files": files})
        if options.calibrate:
            metadata = _calibrated(metadata, model, options, folder)
        linted = {
            key: record.model_copy(update={"lint": lint.check(folder, key, record)})
            for key, record in metadata.components.items()
        }
        metadata = metadata.model_copy(update={"components": linted})
        write_json(metadata, folder / METADATA_FILE)
    return metadata


@contextmanager
def _imports_left_alone() -> Iterator[None]:
    """Within the block, the garbage collector, which coremltools calls for each piece, skips what is there before."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _already_done(wanted: BundleMetadata, options: Options, output_dir: Path) -> BundleMetadata | None:
    """The metadata in `output_dir` if it is of the same conversion."""
    if not (output_dir / METADATA_FILE).is_file():
        return None
    try:
        found = bundle.Bundle.open(output_dir).metadata
    except UserError as error:
        raise UserError(f"{error}, with --force") from None
    same = wanted.model_copy(update={"components": found.components, "processor_files": found.processor_files}) == found
    return found if same and found.components.keys() == set(options.components) else None


def _calibrated(metadata: BundleMetadata, model: MappedModel, options: Options, folder: Path) -> BundleMetadata:
    """Run clips through the packages, and convert those again that hold an op with too large a magnitude.

    What was converted again is measured again: nothing may be left in FP16 that comes near its limit.
    """
    is_demo = metadata.model_id == checkpoint.DEMO_MODEL_ID
    clips = datasets.load_clips("auto", None, is_demo_model=is_demo, language=None)[: options.calibrate]
    while True:
        found = calibration.measure(bundle.Bundle(folder, metadata), clips)
        components, again = dict(metadata.components), []
        for key, finding in found.items():
            before = components[key].calibration
            if len(finding.kept_float32) > len(before.kept_float32 if before else []):
                again.append(key)
            components[key] = components[key].model_copy(update={"calibration": finding})
        for key in again:
            shutil.rmtree(folder / components[key].package)
            components[key] = _convert_component(COMPONENTS[key], model, metadata, options, folder, found[key])
        metadata = metadata.model_copy(update={"components": components})
        if not again:
            calibration.announce(metadata)
            return metadata


def _convert_component(
    component: Component,
    model: MappedModel,
    metadata: BundleMetadata,
    options: Options,
    folder: Path,
    calibrated: Calibration | None = None,
) -> ComponentRecord:
    precision = options.component_precision(component)
    sizes = _function_sizes(component, metadata)
    preset = compression.parse(options.compress, options.components)[component.key]
    wrapper = component.wrapper(model.module).eval()
    package = folder / component.package
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        store = WeightStore(Path(scratch) / "weights", preset)
        functions = {}
        for name, size in sizes.items():
            place = Path(scratch) / name
            place.mkdir()
            settings = Settings(precision, options.deployment_target, options.optimize, calibrated, name)
            parts = stages(component, model, wrapper, size, settings, place)
            functions[name] = stitch(parts, [tensor.name for tensor in component.outputs], store)
        spec = functions[MAIN] if MAIN in functions else multifunction(functions)
        describe(spec, component, precision, metadata)
        store.close()
        ct.utils.save_spec(spec, str(package), weights_dir=str(store.folder))
    return ComponentRecord(
        package=component.package,
        precision=precision,
        functions={name: getattr(size, component.varies) if component.varies else None for name, size in sizes.items()},
        size_bytes=bundle.package_size(package),
        sha256=bundle.package_digest(package),
        compression=preset,
        calibration=calibrated,
    )


def _function_sizes(component: Component, metadata: BundleMetadata) -> dict[str, Sizes]:
    """The functions of a component by name, with what their shapes resolve to."""
    largest = Sizes(metadata.dimensions, metadata.audio_frames[-1], metadata.decoder_lengths[-1])
    if metadata.deployment_target != "iOS17" and component.varies == "frames":
        return {f"frames_{frames}": replace(largest, frames=frames) for frames in metadata.audio_frames}
    if metadata.deployment_target != "iOS17" and component.varies == "length":
        return {f"length_{length}": replace(largest, length=length) for length in metadata.decoder_lengths}
    return {MAIN: largest}
