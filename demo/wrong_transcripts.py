"""Recordings whose transcripts are wrong, with the truth: which words are spoken and when, and what has no word.

A case is a long recording of held-out voices (`demo/recordings.py`) with edits of its transcript
(`demo/transcript_edits.py`) and sounds put into its audio (`demo/sounds.py`). All of it is seeded by the case's name.
"""

import zlib
from dataclasses import dataclass
from itertools import groupby, product

import numpy as np

from demo.recordings import WORDS_PER_MINUTE, Recording, long_recording
from demo.sounds import SILENCE, SOUNDS, sound
from demo.speech import SAMPLE_RATE_HZ
from demo.transcript_edits import (
    INSERTED,
    LEFT_OUT,
    MISSING,
    MOVED,
    REPEATED,
    REPLACED,
    SHORT_INSERTIONS,
    Edit,
    Editor,
    Entry,
)

SEED = 13
SOUND_S = (10.0, 90.0)
PLACES = {"start": (0.0, 0.0), "middle": (0.3, 0.7), "end": (1.0, 1.0)}
RIGHT_MINUTES = (2, 2, 3, 3, 4, 5, 8, 30)
RUN_MINUTES = {5: (2, 3, 4), 15: (2, 3, 5), 40: (2, 3, 4), 100: (3, 4, 5), 300: (6, 8, 10)}  # words of a run -> a place
SOUND_MINUTES = (2, 3, 2)
PASSAGE_MINUTES = {20: 2, 40: 3, 80: 4, 150: 6}  # words of a passage that is moved or repeated
ALL_OVER, ALL_OVER_MINUTES = {REPLACED: 0.05, LEFT_OUT: 0.05, SHORT_INSERTIONS: 0.0}, (2, 3, 4, 6)
SEVERAL_MINUTES = (3, 3, 4, 4, 5, 5, 8, 20)
CLIP_MINUTES, SENTENCE_WORDS = 0.25, (6, 11)
QUICK = (  # each kind of fault, within five minutes: a quick look
    *("right-3", "inserted-15-middle", "inserted-40-start", "missing-40-middle", "music-middle", "tone-start"),
    *("repeated-40", "moved-40", "replaced-2-minutes", "left-out-2-minutes", "short-insertions-2-minutes", "several-1"),
    *("clip-right-1", "clip-inserted-middle-1", "clip-missing-middle-1"),
)


@dataclass(frozen=True)
class Spec:
    """A case to make.

    Attributes:
        name: unique; it seeds everything.
        kind: the case's row in a table.
        minutes: least length of the speech.
        edits: the faults.
    """

    name: str
    kind: str
    minutes: float
    edits: tuple[Edit, ...] = ()

    @property
    def seed(self) -> int:
        """What everything in the case is drawn from."""
        return zlib.crc32(f"{SEED} {self.name}".encode())


@dataclass(frozen=True)
class Repeat:
    """A passage that is twice in the transcript and once in the audio: `count` words from `first` and from `second`."""

    first: int
    second: int
    count: int


@dataclass(frozen=True)
class Case:
    """A recording with a transcript that may be wrong.

    Attributes:
        name, kind: see `Spec`.
        audio: (samples,) float32 at 16 kHz.
        transcript: its words as written, with punctuation.
        labels: what becomes of each word, see `demo/transcript_edits.py`.
        times_ms: true start and end of each word that is spoken, a repeated or moved one too; None of the others.
        untranscribed_s: the stretches of speech, from start to end, that no word of the transcript stands for.
        sounds_s: the stretches of music, tones, noise and silence that were put in.
        repeats: the passages that are there twice.
    """

    name: str
    kind: str
    audio: np.ndarray
    transcript: list[str]
    labels: list[str]
    times_ms: list[tuple[float, float] | None]
    untranscribed_s: list[tuple[float, float]]
    sounds_s: list[tuple[float, float]]
    repeats: list[Repeat]

    @property
    def text(self) -> str:
        """The transcript as one text."""
        return " ".join(self.transcript)

    @property
    def duration_s(self) -> float:
        """Length of the audio in seconds."""
        return len(self.audio) / SAMPLE_RATE_HZ


def specs() -> list[Spec]:
    """All cases: 78 recordings of 2 to 30 minutes, and 16 clips."""
    made = [Spec(f"right-{number}", "right", minutes) for number, minutes in enumerate(RIGHT_MINUTES, 1)]
    for kind, (count, minutes), (number, place) in product((INSERTED, MISSING), RUN_MINUTES.items(), enumerate(PLACES)):
        made.append(_placed(f"{kind}-{count}-{place}", kind, minutes[number], kind, count, place))
    for kind, (number, place) in product((*SOUNDS, SILENCE), enumerate(PLACES)):
        name = f"{kind}-{place}"
        duration_s = float(_rng(name).uniform(*SOUND_S))
        made.append(_placed(name, "sound between", SOUND_MINUTES[number], kind, duration_s, place))
    for kind, (count, long) in product((REPEATED, MOVED), PASSAGE_MINUTES.items()):
        made.append(_placed(f"{kind}-{count}", kind, long, kind, count, "middle"))
    for (kind, share), long in product(ALL_OVER.items(), ALL_OVER_MINUTES):
        made.append(Spec(f"{kind.replace(' ', '-')}-{long}-minutes", kind, long, (Edit(kind, share),)))
    made += [_several(number, long) for number, long in enumerate(SEVERAL_MINUTES, 1)]
    return made + _clips()


def _rng(name: str) -> np.random.Generator:
    return np.random.default_rng((SEED, zlib.crc32(name.encode())))


def _placed(name: str, kind: str, minutes: float, fault: str, amount: float, place: str) -> Spec:
    return Spec(name, kind, minutes, (Edit(fault, amount, float(_rng(f"{name} at").uniform(*PLACES[place]))),))


def _several(number: int, minutes: float) -> Spec:
    """Three faults or more, one after another, each within its own part of the recording."""
    rng = _rng(f"several-{number}")
    count = int(rng.integers(3, 7))
    most = min(150.0, minutes * WORDS_PER_MINUTE[0] * 0.6 / count)  # words of one fault: it stays in its part
    edits = []
    pool = (INSERTED, MISSING, INSERTED, MISSING, REPEATED, MOVED, *rng.choice(list(SOUNDS), 2))
    for part, kind in enumerate(rng.permutation(pool)[:count].tolist()):
        words = int(np.exp(rng.uniform(np.log(5), np.log(most))))
        amount = float(rng.uniform(*SOUND_S)) if kind in SOUNDS else max(5, words // 4 if kind == MOVED else words)
        edits.append(Edit(kind, amount, (part + 0.4) / count))
    if number % 2 == 0:
        edits.append(Edit(REPLACED, 0.02))
    return Spec(f"several-{number}", "several", minutes, tuple(edits))


def _clips() -> list[Spec]:
    """Clips of one piece: right, or with a sentence too many or too few."""
    made = [Spec(f"clip-right-{number}", "clip, right", CLIP_MINUTES) for number in range(1, 5)]
    for kind, place, number in product((INSERTED, MISSING), PLACES, (1, 2)):
        name = f"clip-{kind}-{place}-{number}"
        made.append(
            _placed(name, f"clip, {kind}", CLIP_MINUTES, kind, int(_rng(name).integers(*SENTENCE_WORDS)), place)
        )
    return made


def make(spec: Spec) -> Case:
    """Make a case."""
    recording = long_recording(spec.minutes * 60, spec.seed)
    audio, times_ms, sounds_s = _with_sounds(recording, spec)
    editor = Editor(recording.transcript.split(), spec.seed)
    editor.apply([edit for edit in spec.edits if edit.kind not in (*SOUNDS, SILENCE)])
    entries = editor.entries
    spoken = {entry.spoken for entry in entries}
    runs = [list(run) for is_lost, run in groupby(range(len(times_ms)), lambda word: word not in spoken) if is_lost]
    return Case(
        spec.name,
        spec.kind,
        audio,
        [entry.token for entry in entries],
        [entry.label for entry in entries],
        [None if entry.spoken is None else _pair(times_ms[entry.spoken]) for entry in entries],
        [_pair(np.array([times_ms[run[0], 0], times_ms[run[-1], 1]]) / 1000) for run in runs],
        sounds_s,
        _repeats(entries),
    )


def _pair(times: np.ndarray) -> tuple[float, float]:
    return float(times[0]), float(times[1])


def _with_sounds(recording: Recording, spec: Spec) -> tuple[np.ndarray, np.ndarray, list[tuple[float, float]]]:
    """Put the sounds between clips: the audio, the words' times in ms, (words, 2), and the sounds' times in s."""
    rng = np.random.default_rng((spec.seed, 4))
    audio, times_ms = recording.audio, recording.times_ms.copy()
    firsts = np.cumsum([len(clip.words) for clip in recording.clips])[:-1]
    places = (recording.times_ms[firsts - 1, 1] + recording.times_ms[firsts, 0]) / 2 * SAMPLE_RATE_HZ / 1000
    places = np.array([0, *places, len(audio)]).astype(int)  # the start, the middles of the pauses, and the end
    sounds_s: list[tuple[float, float]] = []
    for edit in sorted((edit for edit in spec.edits if edit.kind in (*SOUNDS, SILENCE)), key=lambda edit: -edit.at):
        place = places[np.abs(places - edit.at * len(recording.audio)).argmin()]
        added = sound(edit.kind, edit.amount, rng)
        audio = np.concatenate([audio[:place], added, audio[place:]])
        at_s, added_s = float(place / SAMPLE_RATE_HZ), len(added) / SAMPLE_RATE_HZ
        times_ms[times_ms[:, 0] >= 1000 * at_s] += 1000 * added_s
        sounds_s = [(at_s, at_s + added_s), *((start + added_s, end + added_s) for start, end in sounds_s)]
    return audio, times_ms, sounds_s


def _repeats(entries: list[Entry]) -> list[Repeat]:
    """The passages that stand twice; a second copy follows the first."""
    found = []
    for is_copy, run in groupby(range(len(entries)), lambda index: entries[index].label == REPEATED):
        if is_copy:
            second, *others = run
            found.append(Repeat(second - len(others) - 1, second, len(others) + 1))
    return found
