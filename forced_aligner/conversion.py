"""Conversion: trace the pieces of a wrapper, `ct.convert` them, stitch, describe and save the package."""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import coremltools as ct
import numpy as np
import torch
from coremltools.proto import Model_pb2
from torch import nn

from forced_aligner import bundle, checkpoint
from forced_aligner.console import log
from forced_aligner.errors import UserError
from forced_aligner.paths import METADATA_FILE
from forced_aligner.schemas import BundleMetadata, ComponentRecord, Precision, write_json
from forced_aligner.stitching import MAIN, Piece, Stage, WeightStore, distinct_copy, multifunction, stitch
from individual_components import COMPONENTS, LENGTH_STEP, Component, Layered, Sizes, TensorSpec

DEFAULT_LENGTHS: tuple[int, ...] = (256, 512, 1024, 2048)
Types = list[ct.TensorType]
TRACE_SEQUENCE = 8  # tokens that a flexible axis is traced with
IOS17_LENGTHS: tuple[int, ...] = (1024,)  # iOS 17 has no multifunction packages
AUTHOR = "Qwen team; converted by qwen3-forcedaligner-coreml"
LICENSE = "Apache-2.0"

# With --no-optimize no optimisation pass runs. FP16 still needs the pass that casts to it and the one that folds
# the cast of a weight into the weight; both are about the precision asked for, not about speed.
FP16_PASSES = ["common::dedup_op_and_var_names", "common::add_fp16_cast", "common::update_output_dtypes"]
FP16_FOLD_PASSES = ["common::const_elimination", "common::dead_code_elimination"]


@dataclass(frozen=True)
class Options:
    """What `convert-coreml.py` was asked for."""

    components: tuple[str, ...]
    decoder_lengths: tuple[int, ...] = DEFAULT_LENGTHS
    audio_frames: int = 256
    precision: Literal["mixed", "float32", "float16"] = "mixed"
    deployment_target: Literal["iOS17", "iOS18"] = "iOS18"
    ane: bool = True
    optimize: bool = True
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
        for length in self.decoder_lengths:
            if length < LENGTH_STEP or length % LENGTH_STEP:
                raise UserError(f"decoder length {length} is not a positive multiple of {LENGTH_STEP}")
        if self.deployment_target == "iOS17" and len(self.decoder_lengths) != 1:
            raise UserError(
                "iOS17 has no multifunction packages: give one decoder length, or --deployment-target iOS18"
            )


def convert(found: checkpoint.Checkpoint, output_dir: Path, options: Options) -> BundleMetadata:
    """Convert `found` into `output_dir`, which is complete afterwards or as it was before.

    A folder that was made from the same checkpoint with the same options is left alone.

    Raises:
        UserError: options that do not fit, a checkpoint that cannot be loaded, or a folder that cannot be written.
    """
    options.validate()
    config = checkpoint.load_config(found)
    dimensions = checkpoint.dimensions(config)
    if options.audio_frames < dimensions.window_tokens:
        raise UserError(f"--audio-frames {options.audio_frames} is less than one window of {dimensions.window_tokens}")
    processor = checkpoint.load_processor(found.folder)
    wanted = BundleMetadata(
        model_id=found.model_id,
        checkpoint_fingerprint=found.fingerprint(),
        dimensions=dimensions,
        token_ids=checkpoint.token_ids(processor, config),
        timestamp_segment_ms=processor.timestamp_segment_time,
        audio_frames=options.audio_frames,
        decoder_lengths=sorted(set(options.decoder_lengths)),
        precision=options.precision,
        deployment_target=options.deployment_target,
        compute_units="ALL" if options.ane else "CPU_AND_GPU",
        optimized=options.optimize,
        components={},
        processor_files={},
        tool_versions={name: version(name) for name in ("coremltools", "torch", "transformers", "numpy")},
    )
    if not options.force and (done := _already_done(wanted, options, output_dir)):
        log(f"{output_dir} holds this conversion already; --force makes it anew")
        return done
    with bundle.writing(output_dir, replace=options.force) as folder:
        model = checkpoint.load_model(found)
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
        write_json(metadata, folder / METADATA_FILE)
    return metadata


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


def _convert_component(
    component: Component, model: nn.Module, metadata: BundleMetadata, options: Options, folder: Path
) -> ComponentRecord:
    precision = options.component_precision(component)
    lengths = {MAIN: metadata.decoder_lengths[-1]}
    if component.by_length and options.deployment_target != "iOS17":
        lengths = {function_name(length): length for length in metadata.decoder_lengths}
    wrapper = component.wrapper(model).eval()
    package = folder / component.package
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        store = WeightStore(Path(scratch) / "weights")
        functions = {}
        for name, length in lengths.items():
            sizes = Sizes(metadata.dimensions, options.audio_frames, length)
            place = Path(scratch) / name
            place.mkdir()
            stages = _stages(component, wrapper, sizes, precision, options, place)
            functions[name] = stitch(stages, [tensor.name for tensor in component.outputs], store)
        spec = functions[MAIN] if MAIN in functions else multifunction(functions)
        _describe(spec, component, precision, metadata)
        store.close()
        ct.utils.save_spec(spec, str(package), weights_dir=str(store.folder))
    return ComponentRecord(
        package=component.package,
        precision=precision,
        functions={name: length if component.by_length else None for name, length in lengths.items()},
        size_bytes=bundle.package_size(package),
        sha256=bundle.package_digest(package),
    )


def function_name(length: int) -> str:
    """The name of the decoder's function for one sequence length."""
    return f"length_{length}"


def _stages(
    component: Component, wrapper: nn.Module, sizes: Sizes, precision: Precision, options: Options, place: Path
) -> list[Stage]:
    """The converted pieces of one function: a plain wrapper is one, a layered one three, of which one repeats."""
    inputs = [_tensor_type(spec, sizes) for spec in component.inputs]
    outputs = [ct.TensorType(dtype=np.float32) for _ in component.outputs]
    examples = tuple(_example(spec, sizes) for spec in component.inputs)

    def piece(
        name: str, module: nn.Module, examples: tuple[torch.Tensor, ...], taken: Types, made: Types, *, template: bool
    ) -> Piece:
        package = place / f"{name}.mlpackage"
        _trace_and_convert(module, examples, taken, made, precision, options, package)
        return Piece(package, dict(module.named_parameters()) if template else None)

    if not isinstance(wrapper, Layered):
        return [Stage("whole", piece("whole", wrapper, examples, inputs, outputs, template=False))]
    with torch.inference_mode():
        state = tuple(wrapper.first(*examples))
    inner = np.float16 if precision == "float16" else np.float32
    names = [f"state_{index}" for index in range(len(state))]
    taken = [ct.TensorType(name=name, shape=x.shape, dtype=inner) for name, x in zip(names, state, strict=True)]
    made = [ct.TensorType(dtype=inner) for _ in names]
    layer = piece("layer", distinct_copy(wrapper.layers[0]), state, taken, made[:1], template=True)
    layers = [Stage(f"layer_{i}", layer, dict(each.named_parameters())) for i, each in enumerate(wrapper.layers)]
    first = Stage("first", piece("first", wrapper.first, examples, inputs, made, template=False))
    last = Stage("last", piece("last", wrapper.last, state[:1], taken[:1], outputs, template=False))
    return [first, *layers, last]


def _trace_and_convert(
    module: nn.Module,
    examples: tuple[torch.Tensor, ...],
    inputs: Types,
    outputs: Types,
    precision: Precision,
    options: Options,
    package: Path,
) -> None:
    """Convert `module` into `package`, undescribed and with the single function `main`."""
    # coremltools and torch print progress bars and notes about pinned versions here; errors are exceptions.
    with torch.inference_mode(), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ct.convert(
            torch.jit.trace(module.eval(), examples, check_trace=False),
            convert_to="mlprogram",
            inputs=inputs,
            outputs=outputs,
            minimum_deployment_target=getattr(ct.target, options.deployment_target),
            compute_precision=getattr(ct.precision, precision.upper()),
            pass_pipeline=ct.PassPipeline.DEFAULT if options.optimize else _unoptimized(precision),
            skip_model_load=True,
            package_dir=str(package),
        )


def _unoptimized(precision: Precision) -> ct.PassPipeline:
    passes = [*FP16_PASSES, *FP16_FOLD_PASSES] if precision == "float16" else []
    return ct.PassPipeline(pass_names=passes, pipeline_name="unoptimized")


def _example(spec: TensorSpec, sizes: Sizes) -> torch.Tensor:
    shape = [size or TRACE_SEQUENCE for size in sizes.resolve(spec)]
    return torch.zeros(shape, dtype=spec.dtype)


def _tensor_type(spec: TensorSpec, sizes: Sizes) -> ct.TensorType:
    flexible = ct.RangeDim(1, sizes.length, default=TRACE_SEQUENCE)
    shape = [flexible if size is None else size for size in sizes.resolve(spec)]
    return ct.TensorType(name=spec.name, shape=shape, dtype=np.int32 if spec.dtype == torch.int32 else np.float32)


def _describe(spec: Model_pb2.Model, component: Component, precision: Precision, metadata: BundleMetadata) -> None:
    """Everything a package says of itself."""
    texts = {tensor.name: tensor.description for tensor in (*component.inputs, *component.outputs)}
    for function in spec.description.functions or [spec.description]:
        for feature in (*function.input, *function.output):
            feature.shortDescription = texts[feature.name]
    text = spec.description.metadata
    text.author, text.license, text.versionString = AUTHOR, LICENSE, version_string()
    text.shortDescription = component.description
    text.userDefined.update(
        {
            "source_checkpoint": metadata.model_id,
            "checkpoint_fingerprint": metadata.checkpoint_fingerprint,
            "precision": precision,
            **{f"{name}_version": number for name, number in metadata.tool_versions.items()},
        }
    )


def version_string() -> str:
    """The version of this project, from its pyproject.toml."""
    import tomllib

    pyproject = Path(__file__).resolve().parents[1] / "pyproject.toml"
    return str(tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["version"])
