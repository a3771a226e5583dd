"""The main job in one go, on the bundled aligner: convert, reference, run the packages, score, draw."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from forced_aligner.align.audio import load_audio
from forced_aligner.base.console import log
from forced_aligner.base.files import require_writable
from forced_aligner.base.model_ids import DEMO_MODEL_ID
from forced_aligner.base.outputs import Outputs
from forced_aligner.base.paths import PARITY_FILE, PARITY_PAGE, REFERENCE_FILE
from forced_aligner.base.records import file_of, write_json
from forced_aligner.checkpoint.find import find_checkpoint
from forced_aligner.convert.options import Options
from forced_aligner.data.clips import load_clips
from forced_aligner.jobs.compare import compare_clips, write_parity_page
from forced_aligner.jobs.convert import convert
from forced_aligner.jobs.open_model import open_aligner
from forced_aligner.jobs.places import check_converted_folder
from forced_aligner.jobs.reference import make_reference
from forced_aligner.output.own_files import is_own_parity_page, is_own_picture
from forced_aligner.package.contract import DEFAULT_COMPONENTS
from forced_aligner.runtime.options import RuntimeOptions
from forced_aligner.score.gate import Gate
from forced_aligner.score.records import ParityReport

MODEL_FOLDER = "forced-aligner"
PICTURE_FILE = "alignment.png"
PICTURE_S = 5.0  # the clip nearest to this length is drawn


def run_demo(folder: Path, runtime: RuntimeOptions) -> ParityReport:
    """Do everything in `folder`: packages, reference, parity report, picture and page.

    Raises:
        UserError: `folder` cannot be written, or the repository is incomplete.
    """
    check_converted_folder(folder / MODEL_FOLDER, force=True)
    outputs = Outputs()
    require_writable(folder / PICTURE_FILE)
    outputs.check(folder / PICTURE_FILE, "", is_own_picture)
    outputs.check(folder / PARITY_PAGE, "the page", is_own_parity_page)
    checkpoint = find_checkpoint(DEMO_MODEL_ID)
    log("1/4  convert the demo aligner")
    convert(checkpoint, folder / MODEL_FOLDER, Options(DEFAULT_COMPONENTS, force=True))
    log("2/4  PyTorch reference")
    clips = load_clips("demo", None, is_demo_model=True, language=None)
    reference = make_reference(checkpoint, clips, folder / REFERENCE_FILE)
    log("3/4  run the saved packages and score them")
    aligner = open_aligner(folder / MODEL_FOLDER, runtime)
    report, compared = compare_clips(aligner, reference, folder, Gate())
    # In the model folder, where `compare` writes it and `convert-coreml.py --package` looks for it.
    write_json(report, folder / MODEL_FOLDER / PARITY_FILE, file_of(ParityReport))
    log("4/4  draw")
    from forced_aligner.jobs.recording_picture import as_written, spectrogram_of
    from forced_aligner.output.alignment_picture import plot_alignment
    from forced_aligner.output.parity_page import PACKAGES, PYTORCH, TRUTH

    drawn = min(compared, key=lambda clip: abs(clip.sample.duration_s - PICTURE_S))
    sample = drawn.sample
    sides = {PACKAGES: drawn.alignment.words, PYTORCH: sample.alignments, TRUTH: sample.true_alignments or []}
    plot_alignment(
        spectrogram_of(load_audio(folder / sample.audio)),
        {name: as_written(sample.transcript, words) if words else [] for name, words in sides.items()},
        f"{Path(sample.audio).name}: {sample.transcript}",
        folder / PICTURE_FILE,
        write=partial(outputs.write, may_replace=is_own_picture),
    )
    write_parity_page(report, compared, folder, folder / PARITY_PAGE, outputs)
    log(f"{MODEL_FOLDER}/ with {PARITY_FILE}, {REFERENCE_FILE}, {PICTURE_FILE} and {PARITY_PAGE} are in {folder}")
    return report
