"""The clips that a conversion is calibrated with. It loads fast, so that a set that cannot be used is told at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from forced_aligner.base.errors import UserError
from forced_aligner.base.files import file_digest
from forced_aligner.base.journal import digest_of
from forced_aligner.base.model_ids import DEMO_MODEL_ID
from forced_aligner.base.reading import require_audio_file
from forced_aligner.checkpoint.find import Checkpoint
from forced_aligner.convert.options import Options
from forced_aligner.data.choice import choose
from forced_aligner.data.clips import load_calibration_clips
from forced_aligner.data.records import Clip


def calibration_clips(checkpoint: Checkpoint, options: Options) -> list[Clip]:
    """The clips that `--calibrate` and `--calibration-dataset` ask for: a seeded draw, spread over the speakers.

    Raises:
        UserError: the data set is not found, or has fewer.
    """
    is_demo = checkpoint.model_id == DEMO_MODEL_ID
    clips = load_calibration_clips(options.calibration_dataset, is_demo_model=is_demo)
    if len(clips) < options.calibrate:
        raise UserError(f"--calibrate {options.calibrate} asks for more than the {len(clips)} clips of the set")
    chosen = choose(clips, options.calibrate)
    for clip in chosen:
        clip.check()
        require_audio_file(Path(clip.audio))
    return chosen


def calibration_digest(clips: Sequence[Clip], audio: Sequence[str]) -> str:
    """SHA-256 (hex) over the recordings, transcripts and languages; `audio` are the recordings' own digests."""
    pairs = zip(clips, audio, strict=True)
    return digest_of(*(text for clip, sound in pairs for text in (sound, clip.transcript, clip.language or "")))


def audio_digest(clip: Clip) -> str:
    """SHA-256 (hex) of a recording's file."""
    return file_digest(Path(clip.audio))
