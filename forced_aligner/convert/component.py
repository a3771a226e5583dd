"""Converts one component of a checkpoint into one package."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import coremltools as ct

from forced_aligner.checkpoint.lazy_weights import LazyModel
from forced_aligner.convert.description import describe
from forced_aligner.convert.function import FunctionConverter
from forced_aligner.convert.gptq.store import QuantizedWeights
from forced_aligner.convert.options import ROUNDED, Options
from forced_aligner.convert.stitching import multifunction, stitch
from forced_aligner.convert.tracing import Settings
from forced_aligner.convert.weight_store import WeightStore
from forced_aligner.package.bundle import package_digest, package_size
from forced_aligner.package.contract import MAIN
from forced_aligner.package.metadata import BundleMetadata, Calibration, ComponentRecord
from forced_aligner.package.reproducible import make_reproducible, share
from individual_components import Component, Sizes


def convert_component(
    component: Component,
    model: LazyModel,
    metadata: BundleMetadata,
    options: Options,
    folder: Path,
    calibration: Calibration | None = None,
    quantized: QuantizedWeights | None = None,
) -> ComponentRecord:
    """Convert `component` of `model` into its package in `folder`.

    Args:
        component: its row of the table.
        model: the checkpoint's model.
        metadata: of the whole conversion; it has the dimensions and sizes.
        options: of the whole conversion.
        folder: where the package is written.
        calibration: of the component; its `kept_float32` ops stay in FP32.
        quantized: the weights that were compressed with calibration clips.
    """
    precision = options.component_precision(component.key)
    sizes = _function_sizes(component, metadata)
    preset = options.presets[component.key]
    wrapper = component.wrapper(model.module).eval()
    package = folder / component.package
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        by_clips = None if component.key in ROUNDED else quantized
        store = WeightStore(Path(scratch) / "weights", preset, by_clips)
        functions = {}
        for name, size in sizes.items():
            function_dir = Path(scratch) / name
            function_dir.mkdir()
            settings = Settings(precision, options.deployment_target, options.optimize, calibration, name)
            instances = FunctionConverter(component, size, model, settings, function_dir).convert(wrapper)
            functions[name] = stitch(instances, [tensor.name for tensor in component.outputs], store)
        spec = functions[MAIN] if MAIN in functions else multifunction(functions)
        describe(spec, component, precision, metadata)
        store.close()
        ct.utils.save_spec(spec, str(package), weights_dir=str(store.folder))
    make_reproducible(package)
    share(package)
    return ComponentRecord(
        package=component.package,
        precision=precision,
        functions={name: getattr(size, component.varies) if component.varies else None for name, size in sizes.items()},
        size_bytes=package_size(package),
        sha256=package_digest(package),
        compression=preset,
        calibration=calibration,
    )


def _function_sizes(component: Component, metadata: BundleMetadata) -> dict[str, Sizes]:
    """The names of a component's functions, each with its sizes."""
    largest = Sizes(metadata.dimensions, metadata.audio_frames[-1], metadata.decoder_lengths[-1])
    if metadata.deployment_target != "iOS17" and component.varies == "frames":
        return {f"frames_{frames}": replace(largest, frames=frames) for frames in metadata.audio_frames}
    if metadata.deployment_target != "iOS17" and component.varies == "length":
        return {f"length_{length}": replace(largest, length=length) for length in metadata.decoder_lengths}
    return {MAIN: largest}


@contextmanager
def existing_objects_frozen() -> Iterator[None]:
    """Within the block, the garbage collector skips the objects that exist before it, such as imported modules.

    coremltools collects after each converted template, and each time the collector would walk all of them.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
