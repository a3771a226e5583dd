"""The model card and the notice of a published folder."""

from __future__ import annotations

import re
from pathlib import Path

from forced_aligner.base.text import visible
from forced_aligner.base.version import PROJECT, version_string
from forced_aligner.jobs.benchmark.tables import (
    CLIP_COLUMNS,
    FUNCTION_COLUMNS,
    calls_note,
    clip_cells,
    function_cells,
    measured_on,
)
from forced_aligner.package.contract import layout_of
from forced_aligner.package.metadata import BundleMetadata, ComponentRecord
from forced_aligner.package.provenance import APACHE, Provenance
from forced_aligner.runtime.measurements import BenchmarkReport
from forced_aligner.score.records import ParityReport
from forced_aligner.score.tables import percent_text
from individual_components import COMPONENTS, Component, Sizes, TensorSpec

CARD_TEMPLATE = Path(__file__).with_name("model_card.md.jinja")


def text(value: str) -> str:
    """The text of others as one line of Markdown that shows it: no link, markup or table cell begins in it."""
    return re.sub(r"[\\`*_\[\]<>|&#!~$]", r"\\\g<0>", visible(value))


def code(value: str) -> str:
    """The text of others as a code span, which may stand in a table's cell."""
    line = visible(value).replace("|", "\\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    padding = " " if "`" in line else ""
    return f"{fence}{padding}{line}{padding}{fence}"


def license_notice(origin: Provenance, metadata: BundleMetadata) -> str:
    """The notice that section 4 of the Apache licence asks for: whose work it is, and that it was changed."""
    if origin.is_demo:
        work = f"The weights are those of the demo aligner of {PROJECT}, Apache License 2.0 (LICENSE)."
    elif origin.license == APACHE:
        work = f"The weights are those of {origin.base_model} by the Qwen team, Apache License 2.0 (LICENSE)."
    else:
        work = f"The weights are those of {origin.base_model or 'a checkpoint'}, under its own licence."
    change = (
        f"Changed: converted from PyTorch to Core ML by {PROJECT} {version_string()}, "
        f"precision {metadata.precision}, compression {metadata.compress}."
    )
    return f"{work}\n{change}\nSHA-256 of the checkpoint's config and weights: {metadata.checkpoint_fingerprint}\n"


def model_card(
    origin: Provenance,
    metadata: BundleMetadata,
    parity: ParityReport | None,
    why_unmeasured: str,
    speed: BenchmarkReport | None,
    why_untimed: str,
    *,
    is_compiled: bool,
    has_kit: bool = False,
) -> str:
    """The card: YAML front matter and Markdown, every figure from `metadata`, `parity` and `speed`."""
    from huggingface_hub import ModelCard, ModelCardData

    # No pipeline_tag: the hub has no task of forced alignment, and speech recognition needs no transcript.
    data = ModelCardData(
        library_name="coreml",
        license=origin.license,
        base_model=origin.base_model,
        language=list(origin.languages) if origin.languages else None,
        tags=["forced-alignment", "word-timestamps", "speech", "audio", "mlpackage"],
    )
    card = ModelCard.from_template(
        data,
        template_path=str(CARD_TEMPLATE),
        text=text,
        code=code,
        project=PROJECT,
        version=version_string(),
        title=origin.title,
        is_demo=origin.is_demo,
        languages=list((origin.languages or {}).values()),
        license_name="Apache-2.0" if origin.license == APACHE else None,
        metadata=metadata,
        layout=layout_of(metadata.package_sha256).name,
        packages=_package_rows(metadata),
        token_table=metadata.token_table,
        is_multifunction=metadata.deployment_target != "iOS17",
        compiled=is_compiled,
        has_kit=has_kit,
        parity=parity,
        why_unmeasured=why_unmeasured,
        measured=_measured_rows(parity, metadata) if parity else [],
        speed=speed,
        why_untimed=why_untimed,
        tables=_speed_tables(speed) if speed else [],
        timed_on=text(measured_on(speed)) if speed else "",
        calls_note=text(calls_note(speed.clips)) if speed else "",
    )
    return f"{card}\n"


def _measured_rows(parity: ParityReport, metadata: BundleMetadata) -> list[tuple[str, str]]:
    """What was measured, under which thresholds, on what, and against which reference."""
    environment, reference, gate = parity.environment, parity.reference, parity.gate
    duration_s = sum(sample.duration_s for sample in parity.samples)
    made_with = f"torch {reference.environment.torch}, {reference.environment.dtype}, {reference.environment.device}"
    rows = [
        ("files", f"{parity.files}, {duration_s:.1f} s"),
        ("boundaries (two a word)", f"{parity.boundaries}"),
        ("moved to another bin", f"{parity.moved}"),
        ("beyond 80 ms, beyond 160 ms", f"{parity.beyond_80ms}, {parity.beyond_160ms}"),
        (f"in the same {metadata.timestamp_segment_ms:g} ms bin", f"{percent_text(parity.bin_exact_percent)} %"),
        ("mean error (AAS)", f"{parity.aas_ms:.2f} ms"),
        ("largest error", f"{parity.max_error_ms:.0f} ms"),
        ("within 20 ms", f"{percent_text(parity.within_20ms_percent)} %"),
        ("within 80 ms", f"{percent_text(parity.within_80ms_percent)} %"),
        ("within 160 ms", f"{percent_text(parity.within_160ms_percent)} %"),
        ("thresholds", f"AAS {gate.max_aas_ms:g} ms, {gate.min_within_20ms_percent:g} % within 20 ms"),
        ("files that could not be measured", f"{len(parity.failed)} (by PyTorch: {reference.failed})"),
        ("choice of the files", text(reference.choice or "all that were given")),
        ("measured on", text(f"{environment.system}, {environment.chip}")),
        (
            "compute units" if environment.compute_units else "device",
            text(environment.compute_units or environment.device or ""),
        ),
        ("reference", text(f"SHA-256 {reference.sha256[:12]}, {made_with}")),
    ]
    if true_error := parity.truth_aas_ms:
        value = f"{true_error.packages:.2f} ms (PyTorch: {true_error.pytorch:.2f} ms)"
        rows.append(("mean error against the true times", value))
    return rows


def _speed_tables(speed: BenchmarkReport) -> list[tuple[list[str], list[list[str]]]]:
    """The headings and rows of the clips' table and of the functions' table."""
    return [
        ([*CLIP_COLUMNS], [[text(cell) for cell in clip_cells(timing)] for timing in speed.clips]),
        ([*FUNCTION_COLUMNS], [[text(cell) for cell in function_cells(timing)] for timing in speed.functions]),
    ]


def _package_rows(metadata: BundleMetadata) -> list[list[str]]:
    """A row for each package, and one for the token table."""
    rows = [_package_row(COMPONENTS[key], record, metadata) for key, record in metadata.components.items()]
    if table := metadata.token_table:
        rows.append([code(table.file), "", "", table.encoding, "", f"{table.size_bytes / 1e6:.2f} MB"])
    return rows


def _package_row(component: Component, record: ComponentRecord, metadata: BundleMetadata) -> list[str]:
    sizes = Sizes(metadata.dimensions, metadata.audio_frames[-1], metadata.decoder_lengths[-1])

    def cell(tensors: tuple[TensorSpec, ...]) -> str:
        return ", ".join(_tensor(tensor, sizes) for tensor in tensors)

    size = f"{record.size_bytes / 1e6:.2f} MB"
    return [
        code(record.package),
        cell(component.inputs),
        cell(component.outputs),
        record.precision,
        record.compression,
        size,
    ]


def _tensor(spec: TensorSpec, sizes: Sizes) -> str:
    """Name, shape and type: L is the decoder's length, F the frames, N the chunks of F, and `seq` is flexible."""
    axes = []
    for axis, size in zip(spec.shape, sizes.resolve(spec), strict=True):
        axes.append({"length": "L", "frames": "F", "chunks": "N"}.get(str(axis), "seq" if size is None else str(size)))
    return f"`{spec.name}` [{', '.join(axes)}] {str(spec.dtype).removeprefix('torch.')}"
