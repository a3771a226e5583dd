"""The main job in one go, on the bundled aligner: convert, reference, run the packages, score, draw."""

from __future__ import annotations

from pathlib import Path

from forced_aligner import checkpoint, conversion, datasets, features, parity, plotting, reference
from forced_aligner.aligner import Aligner
from forced_aligner.backends import BackendName, make_backend
from forced_aligner.bundle import Bundle
from forced_aligner.console import log
from forced_aligner.paths import PARITY_FILE, REFERENCE_FILE
from forced_aligner.schemas import ParityReport, Reference, write_json
from individual_components import DEFAULT_COMPONENTS

MODEL_FOLDER = "forced-aligner"
PICTURE_FILE = "alignment.png"
PICTURE_S = 5.0  # the clip nearest to this length is drawn


def run(folder: Path, backend_name: BackendName) -> ParityReport:
    """Do everything in `folder`: packages, reference, parity report and picture.

    Raises:
        UserError: `folder` cannot be written, or the repository is incomplete.
    """
    found = checkpoint.resolve(checkpoint.DEMO_MODEL_ID)
    log("1/4  convert the demo aligner")
    conversion.convert(found, folder / MODEL_FOLDER, conversion.Options(DEFAULT_COMPONENTS, force=True))
    log("2/4  PyTorch reference")
    clips = datasets.load_clips("demo", None, is_demo_model=True, language=None)
    made = reference.make_reference(found, clips, folder / REFERENCE_FILE)
    log("3/4  run the saved packages and score them")
    bundle = Bundle.open(folder / MODEL_FOLDER)
    backend = make_backend(backend_name, bundle)
    report, alignments = parity.compare(Aligner(bundle, backend), backend.name, made, folder, parity.Gate())
    write_json(report, folder / PARITY_FILE)
    log("4/4  draw")
    drawn = _nearest(made)
    sample = made.samples[drawn]
    plotting.plot_alignment(
        features.load_audio(folder / sample.audio),
        {"packages": alignments[drawn].words, "PyTorch": sample.alignments, "truth": sample.true_alignments or []},
        f"{Path(sample.audio).name}: {sample.transcript}",
        folder / PICTURE_FILE,
    )
    log(f"packages, {REFERENCE_FILE}, {PARITY_FILE} and {PICTURE_FILE} are in {folder}")
    return report


def _nearest(made: Reference) -> int:
    return min(range(len(made.samples)), key=lambda index: abs(made.samples[index].duration_s - PICTURE_S))
