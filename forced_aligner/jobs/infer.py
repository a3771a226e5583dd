"""Align recordings and write their word times. A failure does not stop the others, and no file is half-written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.audio import SAMPLE_RATE_HZ, load_audio
from forced_aligner.align.chain import Aligner, Alignment
from forced_aligner.align.long_recording import align_recording
from forced_aligner.align.mel import log_mel
from forced_aligner.base.console import log, log_progress, tracked
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import identity, is_there, printable, write_whole
from forced_aligner.data.records import Clip
from forced_aligner.output.alignment_picture import Spectrogram, plot_alignment
from forced_aligner.output.cues import MIN_WORD_MS, CueOptions, count_words_without_length
from forced_aligner.output.formats import FORMATS
from forced_aligner.output.records import TimedFile, TimedWord
from forced_aligner.output.spelling import written_words

WEAK_CLIP_CONFIDENCE = 0.5  # mean word confidence below which a transcript hardly fits its audio
PLOT = "plot"
SILENCE_PEAK = 1e-4  # -80 dBFS
PICTURE_MEL_BINS = 128


@dataclass(frozen=True)
class Output:
    """Where and how results are written."""

    folder: Path
    formats: list[str]
    cues: CueOptions
    min_confidence: float = 0.0
    plot: bool = False
    skip_existing: bool = False
    piece_s: float | None = None

    def targets(self, clip: Clip) -> dict[str, Path]:
        """The file of each format, and of the picture if one is drawn, for one recording."""
        stem = Path(clip.audio).stem
        suffixes = {name: FORMATS[name].suffix for name in self.formats} | ({PLOT: ".png"} if self.plot else {})
        return {name: self.folder / f"{stem}{suffix}" for name, suffix in suffixes.items()}


def align_file(
    aligner: Aligner, clip: Clip, min_confidence: float, piece_s: float | None = None
) -> tuple[TimedFile, Alignment, NDArray[np.float32]]:
    """Align one recording: its words as they were written, the bare alignment, and (samples,) of 16 kHz audio.

    `piece_s` is the longest piece into which a long recording is cut; see `align_recording`.

    Raises:
        UserError: the recording or its transcript cannot be used.
    """
    clip.check()
    samples = load_audio(Path(clip.audio))
    alignment = align_recording(aligner, samples, clip.transcript, clip.language, piece_s, log_progress)
    file = TimedFile(
        audio=printable(clip.audio),
        language=clip.language,
        duration_s=round(alignment.duration_s, 4),
        words=_timed_words(clip.transcript, alignment, min_confidence),
    )
    for warning in _warnings(samples, alignment):
        log(f"warning: {clip.audio}: {warning}")
    return file, alignment, samples


def _timed_words(text: str, alignment: Alignment, min_confidence: float) -> list[TimedWord]:
    found = []
    for written in written_words(text, [word.text for word in alignment.words]):
        if written.word is None:
            found.append(TimedWord(text=written.text, no_space_before=written.no_space_before))
            continue
        word, confidence = alignment.words[written.word], alignment.confidences[written.word]
        found.append(
            TimedWord(
                text=written.text,
                word=word.text,
                start_time_ms=word.start_time_ms,
                end_time_ms=word.end_time_ms,
                confidence=round(confidence, 4),
                weak=confidence < min_confidence,
                no_space_before=written.no_space_before,
            )
        )
    return found


def _warnings(samples: NDArray[np.float32], alignment: Alignment) -> list[str]:
    found = [*alignment.warnings]
    if float(np.abs(samples).max()) < SILENCE_PEAK:
        found.append("the audio is silent; the times mean nothing")
    elif float(np.mean(alignment.confidences)) < WEAK_CLIP_CONFIDENCE:
        found.append(f"mean confidence {np.mean(alignment.confidences):.2f}: does the transcript belong to the audio?")
    return found


def align_all(aligner: Aligner, clips: list[Clip], output: Output) -> list[str]:
    """Align every recording and write its files; returns one line for each that failed."""
    failures, taken = [], {identity(Path(clip.audio)): clip.audio for clip in clips}
    for number, clip in enumerate(tracked(clips), 1):
        label, targets = f"[{number}/{len(clips)}] {Path(clip.audio).name}", output.targets(clip)
        if output.skip_existing and all(is_there(path) for path in targets.values()):
            log(f"{label}  there already")
            continue
        try:
            for path in targets.values():
                other = taken.setdefault(identity(path), clip.audio)
                if other != clip.audio or identity(path) == identity(Path(clip.audio)):
                    raise UserError(f"{path} would overwrite what belongs to {other}: rename one, or run it by itself")
            log(f"{label}  {_align_and_write(aligner, clip, output, targets)}")
        except UserError as error:
            failures.append(f"{clip.audio}: {error}")
            log(f"{label}  FAILED")
    return failures


def _align_and_write(aligner: Aligner, clip: Clip, output: Output, targets: dict[str, Path]) -> str:
    file, alignment, samples = align_file(aligner, clip, output.min_confidence, output.piece_s)
    for name in output.formats:
        write_whole(targets[name], FORMATS[name].write(file, output.cues))
    if output.plot:
        sides = {"words": alignment.words}
        plot_alignment(spectrogram_of(samples), sides, Path(file.audio).name, targets[PLOT], alignment.confidences)
    weak = sum(word.weak for word in file.words)
    notes = [f"{len(file.timed)} words", f"{file.duration_s:.1f} s in {alignment.latency_ms / 1000:.1f} s"]
    notes += [f"{len(alignment.cuts_s) + 1} pieces"] if alignment.cuts_s else []
    notes += [f"{weak} weak"] if weak else []
    return ", ".join(notes + lengthened(file, output.formats))


def spectrogram_of(samples: NDArray[np.float32]) -> Spectrogram:
    """What a picture shows of (samples,) of 16 kHz audio."""

    def between(start_s: float, end_s: float) -> NDArray[np.float32]:
        return log_mel(samples[round(start_s * SAMPLE_RATE_HZ) : round(end_s * SAMPLE_RATE_HZ)], PICTURE_MEL_BINS)

    return Spectrogram(samples.size / SAMPLE_RATE_HZ, between)


def lengthened(file: TimedFile, formats: list[str]) -> list[str]:
    """A note on how many words the `formats` make longer than they are; none where all keep their times."""
    count = count_words_without_length(file) if any(FORMATS[name].needs_length for name in formats) else 0
    return [f"{count} lengthened to {MIN_WORD_MS:.0f} ms"] if count else []
