"""The host's mel equals the processor's, and the usual mistakes of hosts in other languages change it."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from threadpoolctl import ThreadpoolController

from forced_aligner.align.audio import load_audio
from forced_aligner.align.mel import log_mel, mel_chunks, mel_filters, stft_window
from forced_aligner.base.errors import UserError

MEL_ATOL = 1e-4


def tone(duration_s, rate_hz=16_000):
    """(samples,) of a pulsed tone and noise, as loud as speech."""
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    noise = np.random.default_rng(0).standard_normal(time_s.size)
    return (0.2 * np.sin(2 * np.pi * 220 * time_s) * (time_s % 0.5 < 0.3) + 0.01 * noise).astype(np.float32)


def processor_mel(processor, samples):
    extracted = processor.feature_extractor(samples, sampling_rate=16_000, padding=True, return_attention_mask=True)
    return extracted["input_features"][0, :, : int(extracted["attention_mask"].sum())].numpy()


@pytest.mark.parametrize("duration_s", [0.01, 0.3, 0.5, 1.0, 3.456, 12.3, 31.7])
def test_host_mel_equals_the_processors(demo_processor, duration_s):
    samples = tone(duration_s)
    actual, expected = log_mel(samples, 128), processor_mel(demo_processor, samples)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, atol=MEL_ATOL)


def test_host_mel_equals_the_processors_on_speech(demo_processor, demo_clips):
    for clip in demo_clips:
        samples = load_audio(Path(clip.audio))
        np.testing.assert_allclose(log_mel(samples, 128), processor_mel(demo_processor, samples), atol=MEL_ATOL)


LIBROSA = {"sr": 16_000, "n_fft": 400, "hop_length": 160, "pad_mode": "reflect", "fmax": 8000, "norm": "slaney"}


def librosa_mel(samples, bins, **changes):
    """The same by librosa, with one thread: the order of a sum depends on their number."""
    with ThreadpoolController().limit(limits=1):
        power = librosa.feature.melspectrogram(y=samples, n_mels=bins, **LIBROSA | {"htk": False} | changes)
    logarithm = np.log10(np.maximum(power[:, : samples.size // 160], 1e-10))
    return ((np.maximum(logarithm, logarithm.max() - 8) + 4) / 4).astype(np.float32)


@pytest.mark.parametrize("bins", [8, 40, 80, 128])
@pytest.mark.parametrize("duration_s", [0.5, 1.00009, 3.456, 12.3, 90.01])
def test_host_mel_equals_librosas_to_the_last_bit(duration_s, bins):
    samples = tone(duration_s)
    np.testing.assert_array_equal(log_mel(samples, bins), librosa_mel(samples, bins))


def test_numpy_multiplies_with_one_thread_in_the_mel_alone(monkeypatch):
    """A second one would wait without sleeping, on the core that PyTorch's second thread needs."""

    def blas_threads():
        return [pool["num_threads"] for pool in ThreadpoolController().select(internal_api="openblas").info()]

    einsum, seen = np.einsum, []

    def spy(*arguments, **options):
        seen.extend(blas_threads())
        return einsum(*arguments, **options)

    monkeypatch.setattr(np, "einsum", spy)
    with ThreadpoolController().limit(limits=2):
        if set(before := blas_threads()) != {2}:
            pytest.skip("numpy has no OpenBLAS that takes two threads")
        log_mel(tone(1.0), 128)
        assert blas_threads() == before
    assert set(seen) == {1}


@pytest.mark.parametrize("bins", [8, 40, 80, 128])
def test_filters_and_window_equal_librosas_to_the_last_bit(bins):
    np.testing.assert_array_equal(mel_filters(bins), librosa.filters.mel(sr=16_000, n_fft=400, n_mels=bins))
    np.testing.assert_array_equal(stft_window(), librosa.filters.get_window("hann", 400).astype(np.float32))


@pytest.mark.parametrize(
    ("trap", "changes"), [("HTK instead of Slaney mel", {"htk": True}), ("uncentred STFT", {"center": False})]
)
def test_a_host_with_another_mel_is_far_off(trap, changes, demo_processor):
    samples = tone(3.0)
    actual, expected = librosa_mel(samples, 128, **changes), processor_mel(demo_processor, samples)
    frames = min(actual.shape[1], expected.shape[1])
    assert np.abs(actual[:, :frames] - expected[:, :frames]).max() > 100 * MEL_ATOL, trap


def test_the_last_chunk_is_zero_padded():
    parts = mel_chunks(np.ones((128, 250), np.float32), 100)
    assert [part.shape for part in parts] == [(1, 128, 100)] * 3
    assert parts[2][0, :, 50:].max() == 0
    assert parts[2][0, :, :50].min() == 1


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000, 192_000])
def test_audio_of_any_rate_and_format_is_decoded(tmp_path, suffix, rate_hz):
    if rate_hz == 192_000 and suffix in ("ogg", "mp3"):
        rate_hz = 32_000  # these formats have no 192 kHz
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(1.5, rate_hz), rate_hz)
    samples = load_audio(path)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert abs(samples.size / 16_000 - 1.5) < 0.1  # mp3 pads


@pytest.mark.parametrize("channels", [2, 8])
def test_channels_are_averaged(tmp_path, channels):
    mono = tone(0.6)
    path = tmp_path / "channels.wav"
    soundfile.write(path, np.stack([mono * (1 + k) for k in range(channels)], axis=1), 16_000, subtype="FLOAT")
    np.testing.assert_allclose(load_audio(path), mono * (1 + channels) / 2, atol=1e-5)


def write_bytes(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "absent.wav", "no audio file at"),
        (lambda folder: folder, "is a folder; expected an audio file"),
        (lambda folder: write_bytes(folder / "text.wav", b"this is not audio"), "cannot decode"),
        (lambda folder: write_bytes(folder / "empty.wav", b""), "cannot decode"),
    ],
)
def test_bad_audio_is_one_clear_sentence(tmp_path, make, message):
    with pytest.raises(UserError, match=message) as caught:
        load_audio(make(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_truncated_flac_is_refused(tmp_path):
    path = tmp_path / "cut.flac"
    soundfile.write(path, tone(4.0), 16_000)
    path.write_bytes(path.read_bytes()[:-10_000])
    with pytest.raises(UserError, match=r"cannot decode .*cut\.flac"):
        load_audio(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_refused(tmp_path, value):
    path = tmp_path / "bad.wav"
    soundfile.write(path, np.full(1000, value, np.float32), 16_000, subtype="FLOAT")
    with pytest.raises(UserError, match="NaN or infinite"):
        load_audio(path)


def test_audio_without_samples_is_refused(tmp_path):
    path = tmp_path / "none.wav"
    soundfile.write(path, np.zeros(0, np.float32), 16_000)
    with pytest.raises(UserError, match="holds no samples"):
        load_audio(path)
