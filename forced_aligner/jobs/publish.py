"""A folder for a model hub: the packages, their licence, and a card with what was measured."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from forced_aligner.base.console import log, log_always
from forced_aligner.base.paths import BENCHMARK_FILE, METADATA_FILE, PARITY_FILE, ROOT
from forced_aligner.base.records import read_json, write_json
from forced_aligner.checkpoint.find import Checkpoint
from forced_aligner.jobs.host_kit import fill_kit
from forced_aligner.jobs.model_card import license_notice, model_card
from forced_aligner.jobs.places import CARD_FILE, LICENSE_FILE, NOTICE_FILE, missing_for_kit, require_own_hub_folder
from forced_aligner.package.bundle import Bundle, package_digest
from forced_aligner.package.contract import COMPILED_SUFFIX, compiled_name
from forced_aligner.package.folder import write_folder
from forced_aligner.package.host_kit.stages import HOST_FOLDER
from forced_aligner.package.metadata import BundleMetadata, CompiledRecord
from forced_aligner.package.provenance import APACHE, Provenance, find_provenance
from forced_aligner.runtime import options as runtime_options
from forced_aligner.runtime.compiled import compile_package
from forced_aligner.runtime.measurements import BenchmarkReport
from forced_aligner.runtime.refusal import explained
from forced_aligner.score.records import ParityReport

MeasuredT = TypeVar("MeasuredT", ParityReport, BenchmarkReport)


def lay_out(source: Path, folder: Path, base_model: str | None = None, checkpoint: Checkpoint | None = None) -> None:
    """Copy the converted folder `source` to `folder`, with licence, notice and model card; all of it or nothing.

    Args:
        source: a converted folder; its `parity.json` and `benchmark.json` go into the card if they are of the same
            packages.
        folder: a new folder, or one that was laid out before.
        base_model: hub id of the checkpoint, where it was converted from a local folder.
        checkpoint: what was converted, for the host kit, which is left out without it.

    Raises:
        UserError: `source` is damaged or lacks a component, `folder` was not made by `--package` or cannot be
            written, or `base_model` is no hub id.
    """
    bundle = Bundle.open(source)
    bundle.layout()  # a folder that cannot align is refused
    metadata = bundle.metadata
    origin = find_provenance(metadata.model_id, base_model)
    parity, why_unmeasured = read_parity(source, metadata)
    speed, why_untimed = read_benchmark(source, metadata)
    with write_folder(folder, require_own_hub_folder) as new:
        for record in metadata.components.values():
            hidden = shutil.ignore_patterns(".*")
            shutil.copytree(source / record.package, new / record.package, ignore=hidden)
        for name in metadata.files:
            shutil.copyfile(source / name, new / name)
        if parity is not None:
            write_json(parity, new / PARITY_FILE)
        if speed is not None:
            write_json(speed, new / BENCHMARK_FILE)
        if origin.license == APACHE:
            shutil.copyfile(ROOT / LICENSE_FILE, new / LICENSE_FILE)
        (new / NOTICE_FILE).write_text(license_notice(origin, metadata), encoding="utf-8")
        has_kit = checkpoint is not None and _add_kit(checkpoint, bundle, new / HOST_FOLDER)
        compiled = _compile(new, metadata)
        write_json(_with_compiled(metadata, compiled), new / METADATA_FILE)
        measured = (parity, why_unmeasured, speed, why_untimed)
        card = model_card(origin, metadata, *measured, is_compiled=bool(compiled), has_kit=has_kit)
        (new / CARD_FILE).write_text(card, encoding="utf-8")
    _announce(origin, metadata, parity, why_unmeasured, folder)


def _add_kit(checkpoint: Checkpoint, bundle: Bundle, folder: Path) -> bool:
    """Write the host kit into the new `folder`; whether there is one for these components."""
    if missing_for_kit(bundle.metadata.components):
        log_always(f"left out: {folder.name}/, since the host kit is for the five packages")
        return False
    folder.mkdir()
    fill_kit(checkpoint, bundle, folder)
    return True


def read_parity(source: Path, metadata: BundleMetadata) -> tuple[ParityReport | None, str]:
    """The parity report of the packages in `source`, or None and why there is none. It names no paths."""
    report, why = _measured(ParityReport, source / PARITY_FILE, metadata, "compare")
    if report is None:
        return None, why
    samples = [sample.model_copy(update={"audio": Path(sample.audio).name}) for sample in report.samples]
    failed = [clip.model_copy(update={"audio": Path(clip.audio).name, "reason": "left out"}) for clip in report.failed]
    return report.model_copy(update={"samples": samples, "failed": failed}), ""


def read_benchmark(source: Path, metadata: BundleMetadata) -> tuple[BenchmarkReport | None, str]:
    """The speed of the packages in `source`, or None and why there is none. It names no paths."""
    report, why = _measured(BenchmarkReport, source / BENCHMARK_FILE, metadata, "benchmark")
    if report is None:
        return None, why
    failed = [failure.model_copy(update={"reason": "left out"}) for failure in report.failed]
    # Core ML's reason may name the compiled package.
    no_plan = [missing.model_copy(update={"reason": "left out"}) for missing in report.no_plan]
    return report.model_copy(update={"failed": failed, "no_plan": no_plan}), ""


def _measured(
    record: type[MeasuredT], path: Path, metadata: BundleMetadata, command: str
) -> tuple[MeasuredT | None, str]:
    """The report at `path`, or None and why there is none of these packages."""
    if not path.is_file():
        return None, f"run_coreml_inference.py {command} was not run on them"
    report = read_json(record, path, f"run run_coreml_inference.py {command} again")
    if report.package_sha256 != metadata.package_sha256:
        return None, f"the {path.name} beside them is of other packages"
    return report, ""


def _compile(folder: Path, metadata: BundleMetadata) -> dict[str, CompiledRecord]:
    """Compile each package beside itself, by component; nothing but on macOS."""
    if not runtime_options.has_core_ml():
        log_always(
            f"left out: {COMPILED_SUFFIX}, since Core ML's compiler is on macOS only; run the same command there"
        )
        return {}
    for record in metadata.components.values():
        with explained("compile", record.package, metadata):
            compile_package(folder / record.package, folder / compiled_name(record.package))
    names = {key: compiled_name(record.package) for key, record in metadata.components.items()}
    return {key: CompiledRecord(name=name, sha256=package_digest(folder / name)) for key, name in names.items()}


def _with_compiled(metadata: BundleMetadata, compiled: Mapping[str, CompiledRecord]) -> BundleMetadata:
    """The metadata with the records of just these compiled packages."""
    components = {
        key: record.model_copy(update={"compiled": compiled.get(key)}) for key, record in metadata.components.items()
    }
    return metadata.model_copy(update={"components": components}).sealed()


def _announce(
    origin: Provenance, metadata: BundleMetadata, parity: ParityReport | None, why_unmeasured: str, folder: Path
) -> None:
    if parity is None:
        log_always(f"the card says that parity was not measured, since {why_unmeasured}")
    elif not parity.passed:
        log_always("the card says that the conversion missed the thresholds of its parity report")
    if origin.license is None:
        known = origin.base_model or f"{metadata.model_id}, a local folder (--base-model names its hub id)"
        log_always(f"the card names no licence, since that of {known} is not known here: add it before you upload")
    log(f"upload it by: hf upload <user>/<name> {folder}")
