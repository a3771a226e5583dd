"""Align recordings and write their word times. A failure does not stop the others, and no file is half-written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forced_aligner.align.audio import load_clip
from forced_aligner.align.chain import Aligner, Alignment
from forced_aligner.align.long_recording import align_recording
from forced_aligner.base.console import log_always, log_progress, warn
from forced_aligner.base.errors import IncompleteError, UserError
from forced_aligner.base.files import MayReplace, always, file_size, is_there, never, printable, require_writable
from forced_aligner.base.outputs import Outputs
from forced_aligner.base.reading import require_audio_file
from forced_aligner.data.records import Clip
from forced_aligner.data.spoken import SpokenText, has_words, spoken_text
from forced_aligner.jobs.each import ERROR_LOG, Done, Work, failed_clips, for_each
from forced_aligner.jobs.workers.crew import Crew
from forced_aligner.output.cues import MIN_WORD_MS, CueOptions, count_words_without_length
from forced_aligner.output.doubts import doubts
from forced_aligner.output.formats import FORMATS, PAGE, SUFFIXES
from forced_aligner.output.limits import WEAK
from forced_aligner.output.records import Stretch, TimedFile, TimedWord
from forced_aligner.output.remarks import not_found_ranges, remarks, require_complete
from forced_aligner.output.spelling import written_words
from forced_aligner.score.records import FailedClip

PLOT = "plot"
SILENCE_PEAK = 1e-4  # -80 dBFS
SHOWN_CHARS = 40  # of what is not aligned


@dataclass(frozen=True)
class Output:
    """Where and how results are written."""

    folder: Path
    formats: list[str]
    cues: CueOptions
    min_confidence: float = WEAK
    plot: bool = False
    skip_existing: bool = False
    overwrite: bool = False
    piece_s: float | None = None
    strict: bool = False
    keep_brackets: bool = False
    audio_link: bool = False
    file: Path | None = None  # of the one recording and the one format

    def targets(self, clip: Clip) -> dict[str, Path]:
        """The file of each format, and of the picture if one is drawn, for one recording."""
        if self.file is not None:
            return {self.formats[0]: self.file}
        stem = Path(clip.audio).stem
        suffixes = {name: SUFFIXES[name] for name in self.formats} | ({PLOT: ".png"} if self.plot else {})
        return {name: self.folder / clip.subfolder / f"{stem}{suffix}" for name, suffix in suffixes.items()}

    @property
    def may_replace(self) -> MayReplace:
        """Whether files that are there already are replaced."""
        return always if self.overwrite else never


def align_file(
    aligner: Aligner, clip: Clip, min_confidence: float, piece_s: float | None = None, *, keep_brackets: bool = False
) -> tuple[TimedFile, Alignment, NDArray[np.float32]]:
    """Align one recording: its words as they were written, the bare alignment, and (samples,) of 16 kHz audio.

    `piece_s` is the longest piece into which a long recording is cut; see `align_recording`.
    What is not spoken, such as speaker labels, is not aligned, unless `keep_brackets`; see `data.spoken`.

    Raises:
        UserError: the recording or its transcript cannot be used.
    """
    samples = load_clip(clip)
    spoken = require_spoken(clip, keep_brackets)
    alignment = align_recording(aligner, samples, spoken.text, clip.language, piece_s, log_progress)
    words = _timed_words(clip.transcript, spoken, alignment, min_confidence)
    file = TimedFile(
        audio=printable(clip.audio),
        language=clip.language,
        duration_s=round(alignment.duration_s, 4),
        words=words,
        not_found=not_found_ranges([word for word in words if word.word is not None]),
        untranscribed=[Stretch(start_s=start_s, end_s=end_s) for start_s, end_s in alignment.untranscribed_s],
    )
    for warning in [*_warnings(samples, alignment), *remarks(file, min_confidence)]:
        warn(f"{clip.audio}: {warning}")
    return file, alignment, samples


def require_spoken(clip: Clip, keep_brackets: bool) -> SpokenText:
    """What the aligner gets of a clip's transcript. What it does not get is told.

    Raises:
        UserError: by the rules of `data.marks`, nothing of it is spoken.
    """
    spoken = spoken_text(clip.transcript, keep_brackets=keep_brackets)
    if spoken.marks:
        kinds = Counter(mark.kind for mark in spoken.marks)
        counts = ", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in kinds.items())
        first = " ".join(clip.transcript[spoken.marks[0].start : spoken.marks[0].end].split())
        found = f"{counts}, such as {first[:SHOWN_CHARS]}"
        if not has_words(spoken.text):
            raise UserError(f"the transcript has no spoken words, only {found}; --keep-brackets aligns them")
        log_always(f"not aligned in {clip.audio}: {found}")
    return spoken


def _timed_words(text: str, spoken: SpokenText, alignment: Alignment, min_confidence: float) -> list[TimedWord]:
    found, words = [], alignment.words_within
    heard = alignment.heard
    doubt_of = dict(zip(heard, doubts([words[index] for index in heard]), strict=True))
    for written in written_words(text, [word.text for word in words], spoken):
        place = TimedWord(
            text=written.text,
            mark=written.mark,
            no_space_before=written.no_space_before,
            begins_line=written.begins_line,
        )
        if written.word is None:
            found.append(place)
            continue
        word, confidence = words[written.word], alignment.confidences[written.word]
        if written.word in alignment.not_found:
            found.append(place.model_copy(update={"word": word.text, "status": "not-found"}))
            continue
        heard_word = {
            "word": word.text,
            "start_time_ms": word.start_time_ms,
            "end_time_ms": word.end_time_ms,
            "confidence": round(confidence, 4),
            "weak": confidence < min_confidence,
            "doubtful": doubt_of[written.word],
        }
        found.append(place.model_copy(update=heard_word))
    return found


def _warnings(samples: NDArray[np.float32], alignment: Alignment) -> list[str]:
    found = list[str]()
    heard = [alignment.confidences[index] for index in alignment.heard]
    if max(samples.max(), -samples.min()) < SILENCE_PEAK:  # without a copy: a recording may have hours
        found.append("the audio is silent; the times mean nothing")
    elif not heard:
        found.append(f"none of its {len(alignment.words)} words was found: does the transcript belong to the audio?")
    elif float(np.mean(heard)) < WEAK:
        found.append(f"mean confidence {np.mean(heard):.2f}: does the transcript belong to the audio?")
    return found


def align_all(
    aligner: Aligner,
    clips: list[Clip],
    output: Output,
    inputs: Sequence[Path] = (),
    crew: Crew[Aligner] | None = None,
) -> list[FailedClip]:
    """Align every recording and write its files.

    Args:
        aligner: the model.
        clips: the recordings.
        output: where and how results are written.
        inputs: files and folders that are never overwritten, beside what the clips were read from.
        crew: who aligns. (default: this process, with `aligner`)

    Returns:
        The recordings that failed.

    Raises:
        UserError: the folder cannot be written.
    """
    require_writable(output.folder / ERROR_LOG)
    read = [Path(file) for clip in clips for file in (clip.audio, *clip.sources)]
    option = "--output-dir" if output.file is None else "--output"
    outputs = Outputs([*read, *inputs], f"give --overwrite or --skip-existing, or choose another {option}")
    jobs = [_Job(clip, f"recording {number}, {clip.audio}", output, outputs) for number, clip in enumerate(clips, 1)]
    work = Work(
        audio_of=lambda job: job.clip.audio,
        prepare=_Job.prepare,
        compute=make_files,
        finish=_Job.write,
        length_of=lambda job: file_size(Path(job.clip.audio)),
        name_of=lambda job: str(Path(job.clip.subfolder, Path(job.clip.audio).name)),
    )
    _, failures = for_each(jobs, work, crew or Crew.of(aligner), output.folder / ERROR_LOG)
    return failed_clips(failures)


def content(
    name: str,
    file: TimedFile,
    samples: NDArray[np.float32],
    clip: Clip,
    cues: CueOptions,
    folder: Path,
    *,
    link: bool = False,
) -> str:
    """What a file of the format `name` in `folder` holds; see `recording_page` for `link`.

    `clip` is the recording, and `file` and `samples` are what `align_file` gave for it.
    """
    if name == PAGE:
        from forced_aligner.jobs.recording_page import recording_page
        from forced_aligner.jobs.recording_picture import spectrogram_of

        return recording_page(file, samples, spectrogram_of(samples), Path(clip.audio), folder, link=link)
    return FORMATS[name].write(file, replace(cues, sheet=clip.cues))


@dataclass(frozen=True)
class FilesTask:
    """A recording, and the files to make of it, by format or `PLOT`."""

    clip: Clip
    targets: dict[str, Path]
    output: Output


@dataclass(frozen=True)
class MadeFiles:
    """What the files of a recording hold, a few words on it, and with `--strict` why it is incomplete."""

    contents: dict[str, str | bytes]
    note: str
    incomplete: IncompleteError | None


def make_files(aligner: Aligner, task: FilesTask) -> MadeFiles:
    """Align a recording, and make what its files hold.

    Raises:
        UserError: the recording or its transcript cannot be used.
    """
    output, contents = task.output, dict[str, str | bytes]()
    file, alignment, samples = align_file(
        aligner, task.clip, output.min_confidence, output.piece_s, keep_brackets=output.keep_brackets
    )
    for name, path in task.targets.items():
        if name == PLOT:
            from forced_aligner.jobs.recording_picture import plot_recording

            plot_recording(file, samples, path, lambda _, picture: contents.update({PLOT: picture}))
        else:
            contents[name] = content(name, file, samples, task.clip, output.cues, path.parent, link=output.audio_link)
    incomplete = None
    if output.strict:
        try:
            require_complete(file)
        except IncompleteError as error:
            incomplete = error
    return MadeFiles(contents, _note(file, alignment, output.formats), incomplete)


def _note(file: TimedFile, alignment: Alignment, formats: list[str]) -> str:
    weak = sum(word.weak for word in file.words)
    missing, doubtful = len(file.spoken) - len(file.timed), sum(word.doubtful is not None for word in file.words)
    notes = [f"{len(file.timed)} words", f"{file.duration_s:.1f} s in {alignment.latency_ms / 1000:.1f} s"]
    counts = {"not found": missing, "doubtful": doubtful, "weak": weak}
    notes += [f"{count} {what}" for what, count in counts.items() if count]
    return ", ".join(notes + lengthened(file, formats))


class _Job:
    """One recording of a run, under the name `owner`."""

    def __init__(self, clip: Clip, owner: str, output: Output, outputs: Outputs) -> None:
        """Keep the names of the files, before any recording is done: the first recording of a name has it."""
        self.clip, self.owner, self.output, self.outputs = clip, owner, output, outputs
        self.targets = output.targets(clip)
        self.clash: UserError | None = None
        try:
            for path in self.targets.values():
                outputs.claim(path, owner)
        except UserError as error:
            self.clash = error

    def prepare(self) -> FilesTask | Done:
        """What is to be made of the recording.

        Raises:
            UserError: it cannot be read, or a file that it needs belongs to another.
        """
        if self.clash:
            raise self.clash
        targets = self.targets
        if self.output.skip_existing:
            targets = {name: path for name, path in targets.items() if not self._is_done(path)}
            if not targets:
                return Done("there already")
        self.clip.check()
        require_audio_file(Path(self.clip.audio))
        for path in targets.values():
            self.outputs.check(path, self.owner, self.output.may_replace)
        return FilesTask(self.clip, targets, self.output)

    def write(self, made: MadeFiles) -> tuple[None, str]:
        """Write the files.

        Raises:
            UserError: one cannot be written, or with `--strict` the recording is incomplete.
        """
        for name, content in made.contents.items():
            self.outputs.write(self.targets[name], content, self.owner, self.output.may_replace)
        if made.incomplete:
            raise made.incomplete
        return None, made.note

    def _is_done(self, path: Path) -> bool:
        return is_there(path) and not self.outputs.was_written_for_another(path, self.owner)


def lengthened(file: TimedFile, formats: list[str]) -> list[str]:
    """A note on how many words the `formats` make longer than they are; none where all keep their times."""
    needs_length = any(name in FORMATS and FORMATS[name].needs_length for name in formats)
    count = count_words_without_length(file) if needs_length else 0
    return [f"{count} lengthened to {MIN_WORD_MS:.0f} ms"] if count else []
