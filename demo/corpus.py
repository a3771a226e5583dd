"""The training corpus: many short utterances in one folder, read back as flat arrays.

A corpus folder holds `audio.i16` (all utterances, 16 kHz int16, one after the other) and `index.npz`.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demo.speech import SAMPLE_RATE_HZ, Synthesizer, Utterance, Voice
from demo.words import TRAINING_VOICES, load_words

PHONEME_CLASSES = 96  # more than the English espeak-ng voices use; further phonemes share the last class
WORDS_PER_UTTERANCE = (1, 12)
WORDS_PER_MINUTE = (110, 220)
PITCH = (25, 75)  # espeak-ng's scale of 0 to 100
COMMA_PROBABILITY = 0.12
CAPITAL_PROBABILITY = 0.3  # that the first word of an utterance is capitalised
FREQUENT_WORDS = 2000
FREQUENT_PROBABILITY = 0.3  # that a word is drawn from the `FREQUENT_WORDS` most frequent ones
MOST_TRIES = 1000
EDGE_S = 0.005  # kept before the first and after the last word


@dataclass(frozen=True)
class Corpus:
    """All utterances of a corpus, flat. Times are in seconds from the utterance's first sample.

    Attributes:
        audio: (samples,) int16 at 16 kHz.
        sample_offsets: (utterances + 1,) where each utterance starts in `audio`.
        voices: (utterances,) index of the voice.
        words: (words,) the words, as written in the prompt.
        starts_s, ends_s: (words,) their times.
        word_offsets: (utterances + 1,) where each utterance starts in `words`.
        phonemes: (phonemes,) class of each phoneme, 0 for silence.
        phoneme_starts_s: (phonemes,) when each starts.
        phoneme_offsets: (utterances + 1,) where each utterance starts in `phonemes`.
    """

    audio: np.ndarray
    sample_offsets: np.ndarray
    voices: np.ndarray
    words: np.ndarray
    starts_s: np.ndarray
    ends_s: np.ndarray
    word_offsets: np.ndarray
    phonemes: np.ndarray
    phoneme_starts_s: np.ndarray
    phoneme_offsets: np.ndarray

    @property
    def durations(self) -> np.ndarray:
        """(utterances,) lengths in samples."""
        return np.diff(self.sample_offsets)


def random_sentence(rng: np.random.Generator, words: list[str], count: int) -> tuple[list[str], str]:
    """Draw `count` words and join them, with some commas, to (words, text)."""
    drawn = []
    for _ in range(count):
        frequent = rng.random() < FREQUENT_PROBABILITY
        drawn.append(words[int(rng.integers(min(FREQUENT_WORDS, len(words)) if frequent else len(words)))])
    if rng.random() < CAPITAL_PROBABILITY:
        drawn[0] = drawn[0].capitalize()
    joints = np.where(rng.random(count - 1) < COMMA_PROBABILITY, ", ", " ")
    return drawn, "".join(word + joint for word, joint in zip(drawn, [*joints, "."], strict=True))


def random_utterance(
    rng: np.random.Generator, synthesizer: Synthesizer, words: list[str], voices: tuple[str, ...], count: int
) -> tuple[Utterance, Voice]:
    """Speak `count` random words with a random voice; draw again if espeak-ng joined two words."""
    for _ in range(MOST_TRIES):
        voice = Voice(
            voices[int(rng.integers(len(voices)))],
            int(rng.integers(*WORDS_PER_MINUTE)),
            int(rng.integers(*PITCH)),
        )
        utterance = synthesizer.speak(*random_sentence(rng, words, count), voice)
        if utterance is not None and np.abs(utterance.audio).max() > 0.01:
            return utterance, voice
    raise RuntimeError(f"espeak-ng spoke none of {MOST_TRIES} sentences of {count} words")


def trim(utterance: Utterance) -> Utterance:
    """Cut the silence before the first and after the last word, and bring the peak to 1."""
    begin_s = max(0.0, utterance.starts_s[0] - EDGE_S)
    end_s = utterance.ends_s[-1] + EDGE_S
    audio = utterance.audio[int(begin_s * SAMPLE_RATE_HZ) : int(end_s * SAMPLE_RATE_HZ)]
    return Utterance(
        audio / np.abs(audio).max(),
        utterance.words,
        utterance.starts_s - begin_s,
        utterance.ends_s - begin_s,
        [(name, max(0.0, time - begin_s)) for name, time in utterance.phonemes if time < end_s],
    )


def make_corpus(folder: Path, utterances: int, seed: int) -> None:
    """Synthesise `utterances` utterances of training words and voices into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    synthesizer, (words, _) = Synthesizer(), load_words()
    classes: dict[str, int] = {}
    samples, voices, spoken, phonemes, counts = [], [], [], [], []
    with (folder / "audio.part").open("wb") as stream:
        for index in range(utterances):
            count = int(rng.integers(WORDS_PER_UTTERANCE[0], WORDS_PER_UTTERANCE[1] + 1))
            raw, voice = random_utterance(rng, synthesizer, words, TRAINING_VOICES, count)
            utterance = trim(raw)
            (utterance.audio * 32767).astype(np.int16).tofile(stream)
            samples.append(len(utterance.audio))
            voices.append(TRAINING_VOICES.index(voice.name))
            spoken += list(zip(utterance.words, utterance.starts_s, utterance.ends_s, strict=True))
            phonemes += [(_phoneme_class(classes, name), time) for name, time in utterance.phonemes]
            counts.append((len(utterance.words), len(utterance.phonemes)))
            if (index + 1) % 1000 == 0:
                hours = sum(samples) / SAMPLE_RATE_HZ / 3600
                print(f"corpus: {index + 1}/{utterances} utterances, {hours:.1f} h", file=sys.stderr, flush=True)
    np.savez(
        folder / "index.npz",
        sample_offsets=_offsets(samples),
        voices=np.array(voices),
        words=np.array([word for word, _, _ in spoken]),
        starts_s=np.array([start for _, start, _ in spoken]),
        ends_s=np.array([end for _, _, end in spoken]),
        word_offsets=_offsets([word_count for word_count, _ in counts]),
        phonemes=np.array([kind for kind, _ in phonemes]),
        phoneme_starts_s=np.array([time for _, time in phonemes]),
        phoneme_offsets=_offsets([phoneme_count for _, phoneme_count in counts]),
    )
    (folder / "audio.part").rename(folder / "audio.i16")


def load_corpus(folder: Path) -> Corpus:
    """Open a corpus folder; the audio is mapped into memory, not read."""
    with np.load(folder / "index.npz") as index:
        arrays = {name: index[name] for name in index.files}
    return Corpus(audio=np.memmap(folder / "audio.i16", np.int16, mode="r"), **arrays)


def _offsets(lengths: list[int]) -> np.ndarray:
    """(n + 1,) running sums that start at 0."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _phoneme_class(classes: dict[str, int], name: str) -> int:
    """Class of a phoneme name without its stress marks; 0 is silence, and new names get the next number."""
    plain = name.lstrip("',%=")
    if not plain or plain.startswith("_"):
        return 0
    return min(classes.setdefault(plain, len(classes) + 1), PHONEME_CLASSES - 1)
