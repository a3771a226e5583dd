"""Speech of known times: the ten clips of `demo/clips`, the 120 of `demo/clips-120`, and any number of fresh ones.

`python -m demo.clips` writes `demo/clips`, with `--fresh 120` `demo/clips-120`. Voices are never training voices, and
each word has an even chance of coming from the words that training never saw. The 120 are kept as Ogg Vorbis, since
espeak-ng does not repeat all voices to the bit: made anew, they would be other samples.

`python -m demo.clips --fresh 64 --calibration` writes `demo/clips-calibration`, to calibrate with: other words, in
voices of the training, so that neither a clip nor a voice of it is among those that are scored.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soundfile
import typer

from demo.speech import SAMPLE_RATE_HZ, Synthesizer, Utterance, Voice
from demo.words import LANGUAGE, TRAINING_VOICES, UNSEEN_VOICES, load_words

DEMO = Path(__file__).parent
CLIPS_SEED = 21
FRESH_SEED = 5000  # of `demo/clips-120`; nothing else uses it
CALIBRATION_SEED = 7000  # of `demo/clips-calibration`
VORBIS_LEVEL = 0.5  # of 0 (largest files) to 1
MOST_TRIES = 1000
UNSEEN_PROBABILITY = 0.5
FREQUENT_WORDS, FREQUENT_PROBABILITY = 2000, 0.5
SENTENCE_WORDS = (4, 12)
EDGE_SILENCE_S = (0.05, 0.6)
PEAK_DB = (-15.0, -1.0)  # of the loudest sample, relative to full scale
NOISE_DB = (-80.0, -50.0)  # white noise, relative to full scale

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Recipe:
    """The properties of a clip to draw.

    Attributes:
        words: how many words.
        words_per_minute: nominal speaking rate.
        commas: probability of a comma, and so of a pause, after a word.
        longest_s, shortest_s: limits on the clip's duration.
    """

    words: int
    words_per_minute: int
    commas: float = 0.12
    shortest_s: float = 0.0
    longest_s: float = 30.0


TEN = (
    Recipe(1, 150, longest_s=0.95),
    Recipe(3, 190),
    Recipe(5, 160),
    Recipe(6, 120, commas=0.4),
    Recipe(9, 210),
    Recipe(12, 180),
    Recipe(20, 170, shortest_s=8.2, longest_s=12.0),
    Recipe(24, 140, commas=0.2, shortest_s=8.2, longest_s=16.0),
    Recipe(52, 185, shortest_s=20.2, longest_s=25.0),
    Recipe(44, 155, commas=0.2, shortest_s=25.2, longest_s=29.5),
)


@dataclass(frozen=True)
class Clip:
    """One held-out clip: (samples,) float32 at 16 kHz, its text, and the true time of each word in seconds."""

    audio: np.ndarray
    transcript: str
    words: list[str]
    starts_s: np.ndarray
    ends_s: np.ndarray
    voice: Voice

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.audio) / SAMPLE_RATE_HZ


class ClipMaker:
    """Draws clips. The same seed gives the same words, voices and times.

    The samples are the same too, except for a few variants such as `victor`, for which espeak-ng's output varies
    slightly between processes.
    """

    def __init__(self, seed: int, voices: Sequence[str] = UNSEEN_VOICES) -> None:
        self.voices = voices
        self.rng = np.random.default_rng((seed, 1))  # independent of the training streams
        self.synthesizer = Synthesizer()
        self.seen, self.unseen = load_words()

    def clip(self, recipe: Recipe, voice_name: str | None = None) -> Clip:
        """Draw until a clip fits its recipe."""
        for _ in range(MOST_TRIES):
            name = voice_name or self.voices[int(self.rng.integers(len(self.voices)))]
            voice = Voice(name, recipe.words_per_minute, int(self.rng.integers(30, 71)))
            words, text = self.text(recipe)
            utterance = self.synthesizer.speak(words, text, voice)
            if utterance is None or np.abs(utterance.audio).max() < 0.01:
                continue
            clip = self._recorded(utterance, text, voice)
            if recipe.shortest_s <= clip.duration_s <= recipe.longest_s:
                return clip
        raise RuntimeError(f"espeak-ng gave no clip like {recipe} in {MOST_TRIES} tries")

    def clip_of(self, duration_s: float, words_per_minute: int, commas: float = 0.12) -> Clip:
        """Draw until a clip fits `duration_s`, to the sample: its words fill it but for the silences at the edges."""
        words = max(1, round((duration_s - sum(EDGE_SILENCE_S)) * words_per_minute / 60))
        for _ in range(MOST_TRIES):
            voice = Voice(
                self.voices[int(self.rng.integers(len(self.voices)))], words_per_minute, int(self.rng.integers(30, 71))
            )
            spoken, text = self.text(Recipe(words, words_per_minute, commas))
            utterance = self.synthesizer.speak(spoken, text, voice)
            if utterance is None or np.abs(utterance.audio).max() < 0.01:
                continue
            speech_s = float(utterance.ends_s[-1] - utterance.starts_s[0])
            if 2 * EDGE_SILENCE_S[0] <= duration_s - speech_s <= 2 * EDGE_SILENCE_S[1]:
                return self._recorded(utterance, text, voice, duration_s)
            words = max(1, round(words * (duration_s - sum(EDGE_SILENCE_S)) / speech_s))
        raise RuntimeError(f"espeak-ng gave no clip of {duration_s} s in {MOST_TRIES} tries")

    def random_recipe(self) -> Recipe:
        """A recipe of a random length: from one word to about half a minute."""
        speed = int(self.rng.integers(120, 211))
        longest = int(0.28 * speed)  # words that are safely spoken in 30 s, pauses included
        low, high = ((1, 3), (3, 13), (13, 26), (26, longest))[self.rng.choice(4, p=(0.1, 0.5, 0.25, 0.15))]
        return Recipe(int(self.rng.integers(low, high)), speed, self.rng.uniform(0, 0.25))

    def _word(self) -> str:
        pool = self.unseen if self.rng.random() < UNSEEN_PROBABILITY else self.seen
        frequent = self.rng.random() < FREQUENT_PROBABILITY
        return pool[int(self.rng.integers(min(FREQUENT_WORDS, len(pool)) if frequent else len(pool)))]

    def text(self, recipe: Recipe) -> tuple[list[str], str]:
        """Random words in sentences, with commas, that nobody has spoken yet: the words, and the text."""
        words, text, remaining = [], "", 0  # words of the sentence
        for index in range(recipe.words):
            word = self._word()
            if remaining == 0:
                remaining = int(self.rng.integers(*SENTENCE_WORDS))
                word = word.capitalize()
            remaining -= 1
            last = remaining == 0 or index == recipe.words - 1
            words.append(word)
            text += word + (". " if last else ", " if self.rng.random() < recipe.commas else " ")
        return words, text.strip()

    def _recorded(self, utterance: Utterance, text: str, voice: Voice, duration_s: float | None = None) -> Clip:
        """The utterance between two silences, with a random level and white noise, in whole 16-bit steps.

        The silences are as long as `duration_s` wants them, or of random lengths.
        """
        begin_s = float(utterance.starts_s[0])
        speech = utterance.audio[int(begin_s * SAMPLE_RATE_HZ) : int(utterance.ends_s[-1] * SAMPLE_RATE_HZ) + 80]
        lead, tail = (int(self.rng.uniform(*EDGE_SILENCE_S) * SAMPLE_RATE_HZ) for _ in range(2))
        if duration_s is not None:
            silence = max(0, round(duration_s * SAMPLE_RATE_HZ) - len(speech))
            lead = silence * lead // (lead + tail)
            tail = silence - lead
        audio = np.concatenate([np.zeros(lead), speech, np.zeros(tail)])
        audio *= 10 ** (self.rng.uniform(*PEAK_DB) / 20) / np.abs(audio).max()
        audio += self.rng.standard_normal(len(audio)) * 10 ** (self.rng.uniform(*NOISE_DB) / 20)
        audio = (np.round(np.clip(audio, -1, 1) * 32767) / 32768).astype(np.float32)
        shift_s = lead / SAMPLE_RATE_HZ - begin_s
        return Clip(audio, text, utterance.words, utterance.starts_s + shift_s, utterance.ends_s + shift_s, voice)


def fresh_clips(count: int, seed: int, voices: Sequence[str] = UNSEEN_VOICES) -> list[Clip]:
    """`count` clips of random recipes."""
    maker = ClipMaker(seed, voices)
    return [maker.clip(maker.random_recipe()) for _ in range(count)]


def sample_of(clip: Clip, name: str) -> dict[str, Any]:
    """The clip's entry in the manifest; times in milliseconds."""
    times = zip(clip.words, clip.starts_s, clip.ends_s, strict=True)
    return {
        "audio": name,
        "transcript": clip.transcript,
        "language": LANGUAGE,
        "duration_s": round(clip.duration_s, 6),
        "voice": clip.voice.name,
        "words_per_minute": clip.voice.words_per_minute,
        "alignments": [
            {"text": word, "start_time_ms": round(1000 * start, 2), "end_time_ms": round(1000 * end, 2)}
            for word, start, end in times
        ],
    }


def ten_clips(seed: int) -> list[Clip]:
    """The clips of `demo/clips`, one of each recipe in `TEN`."""
    maker, clips = ClipMaker(seed), []
    variants = len({name.split("+")[1] for name in UNSEEN_VOICES})
    for number, recipe in enumerate(TEN):
        # Step through the variants, and through the accents with another stride, so that no voice repeats.
        accents = len(UNSEEN_VOICES) // variants
        voice = UNSEEN_VOICES[number % variants * accents + (3 * number + number // variants) % accents]
        clips.append(maker.clip(recipe, voice))
    return clips


@app.command()
def main(
    fresh: Annotated[int, typer.Option(help="So many clips of random recipes instead of the ten, as Ogg Vorbis.")] = 0,
    calibration: Annotated[bool, typer.Option(help="The fresh ones in voices of the training.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the clips and manifest.json.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the words, voices and noise.")] = None,
) -> None:
    """Write the ten clips, or fresh ones, and their manifest."""
    if calibration and not fresh:
        raise typer.BadParameter("--calibration is for fresh clips: give --fresh with it")
    out = out or DEMO / ("clips-calibration" if calibration else f"clips-{fresh}" if fresh else "clips")
    out.mkdir(parents=True, exist_ok=True)
    if calibration:
        clips = fresh_clips(fresh, seed or CALIBRATION_SEED, TRAINING_VOICES)
    else:
        clips = fresh_clips(fresh, seed or FRESH_SEED) if fresh else ten_clips(seed or CLIPS_SEED)
    suffix, how = ("ogg", {"compression_level": VORBIS_LEVEL}) if fresh else ("flac", {})
    samples = []
    for number, clip in enumerate(clips, start=1):
        name = f"clip-{number:0{len(str(len(clips)))}d}.{suffix}"
        soundfile.write(out / name, (clip.audio * 32768).astype(np.int16), SAMPLE_RATE_HZ, **how)
        samples.append(sample_of(clip, name))
    manifest = {"schema_version": 1, "samples": samples}
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    app()
