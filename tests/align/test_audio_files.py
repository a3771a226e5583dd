"""Decoding in blocks gives the samples of decoding at once; what is cut, endless or absurd is said in one sentence."""

import mmap
import os
import struct

import librosa
import numpy as np
import pytest
import soundfile

from forced_aligner.align import audio
from forced_aligner.align.audio import load_audio, load_clip
from forced_aligner.base.errors import UserError
from forced_aligner.data.records import Clip


def noise(frames, channels=1):
    return (0.1 * np.random.default_rng(frames).standard_normal((frames, channels))).astype(np.float32)


def loaded_at_once(path):
    """The samples as soundfile and librosa give them, with the whole file in memory."""
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return librosa.resample(librosa.to_mono(samples.T), orig_sr=rate_hz, target_sr=16_000, res_type="soxr_hq")


def write_unknown_length(path, samples, rate_hz):
    """A FLAC file whose header has 0 for the number of samples, as an encoder that writes into a pipe leaves it."""
    soundfile.write(path, samples, rate_hz)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)


@pytest.mark.parametrize("block_samples", [1 << 20, 5000])
@pytest.mark.parametrize(
    ("name", "rate_hz", "channels", "options"),
    [
        ("a.wav", 16_000, 2, {}),
        ("a.wav", 44_100, 1, {"subtype": "FLOAT"}),
        ("a.wav", 22_050, 8, {"subtype": "PCM_24"}),
        ("a.wav", 2_000, 1, {}),
        ("a.wav", 768_000, 1, {}),
        ("a.wav", 11_025, 3, {"subtype": "MS_ADPCM"}),
        ("a.flac", 48_000, 2, {}),
        ("a.ogg", 32_000, 2, {}),
        ("a.ogg", 48_000, 2, {"subtype": "OPUS"}),
        ("a.mp3", 44_100, 2, {}),
        ("a.aiff", 8_000, 1, {}),
    ],
)
def test_blocks_give_the_samples_of_the_whole_to_the_last_bit(
    tmp_path, monkeypatch, capfd, block_samples, name, rate_hz, channels, options
):
    if options.get("subtype") == "MS_ADPCM":
        channels = 2  # at most
    monkeypatch.setattr(audio, "BLOCK_SAMPLES", block_samples)
    path = tmp_path / name
    soundfile.write(path, noise(min(rate_hz * 2, 100_000) + 77, channels), rate_hz, **options)
    np.testing.assert_array_equal(load_audio(path), loaded_at_once(path))
    assert capfd.readouterr().err == ""  # nothing is missing


@pytest.mark.parametrize("frames", [1, 2, 159, 160, 161, 4999, 5000, 5001, 30_011])
def test_any_length_is_resampled_as_the_whole(tmp_path, monkeypatch, frames):
    monkeypatch.setattr(audio, "BLOCK_SAMPLES", 5000)
    path = tmp_path / "a.wav"
    for rate_hz in (12_345, 44_100):
        soundfile.write(path, noise(frames), rate_hz)
        np.testing.assert_array_equal(load_audio(path), loaded_at_once(path))


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 44_100, 96_000])
def test_a_resampled_sine_is_the_sine(tmp_path, rate_hz):
    """Against the formula, not against another resampler."""
    path = tmp_path / "sine.wav"
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz), rate_hz, subtype="FLOAT")
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    inner = slice(400, -400)  # at the ends there is silence on the other side
    np.testing.assert_allclose(load_audio(path)[inner], expected[inner], atol=1e-4)


def test_flac_of_unknown_length_is_read_to_its_end(tmp_path, monkeypatch, capfd):
    soundfile.write(tmp_path / "known.flac", noise(90_001, 2), 44_100)
    write_unknown_length(tmp_path / "stream.flac", noise(90_001, 2), 44_100)
    assert soundfile.info(tmp_path / "stream.flac").frames == 2**63 - 1
    for block_samples in (1 << 20, 1000):
        monkeypatch.setattr(audio, "BLOCK_SAMPLES", block_samples)
        np.testing.assert_array_equal(load_audio(tmp_path / "stream.flac"), load_audio(tmp_path / "known.flac"))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_what_is_long_is_kept_in_a_file_with_the_same_samples(tmp_path, monkeypatch, rate_hz):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, (rate_hz * 3 + 7, 2)), rate_hz)
    in_memory = load_audio(path)
    monkeypatch.setattr(audio, "IN_MEMORY_BYTES", 100_000)
    monkeypatch.setattr(audio, "BLOCK_SAMPLES", 5000)
    mapped = load_audio(path)
    assert isinstance(mapped.base.obj, mmap.mmap) and isinstance(in_memory.base.obj, bytearray)
    np.testing.assert_array_equal(mapped, in_memory)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cut.wav", {}),
        ("cut.wav", {"subtype": "FLOAT"}),
        ("cut.aiff", {}),
        ("cut.mp3", {}),
        ("cut.mp3", {"bitrate_mode": "VARIABLE"}),
    ],
)
def test_audio_that_was_cut_off_is_said_with_both_lengths(tmp_path, capsys, name, options):
    path = tmp_path / name
    soundfile.write(path, noise(44_100 * 4), 44_100, **options)
    load_audio(path)
    assert capsys.readouterr().err == ""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert load_audio(path).size / 16_000 == pytest.approx(2, abs=0.1)
    (line,) = capsys.readouterr().err.splitlines()
    start, found = line.split(", and it holds ")
    assert start == f"warning: {path} is cut off: its header promises 4.0 s"
    assert found in ("1.9 s", "2.0 s")


@pytest.mark.parametrize("tag", [b"", b"ID3\x04\0\0\0\0\x01\x00" + bytes(128)])
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_mp3_without_a_table_of_its_length_is_read_to_its_end(tmp_path, capfd, mode, tag):
    """The first frame's size tells nothing of the others: by its estimate the rest of the recording was lost."""
    path = tmp_path / "a.mp3"
    samples = noise(44_100 * 6)
    samples[44_100 * 3 :] *= 1e-4
    soundfile.write(path, samples, 44_100, bitrate_mode=mode)
    content = path.read_bytes()
    path.write_bytes(tag + content[content.find(content[:2], 10) :])  # the table is the first frame
    loaded = load_audio(path)
    assert loaded.size / 16_000 == pytest.approx(6, abs=0.1)
    assert capfd.readouterr().err == ""
    at_once = loaded_at_once(path)
    if mode == "VARIABLE":
        assert at_once.size < loaded.size / 2
    np.testing.assert_allclose(loaded[: at_once.size - 400], at_once[:-400], atol=1e-6)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_stream_without_its_end_is_said(tmp_path, capsys, subtype):
    path = tmp_path / "cut.ogg"
    soundfile.write(path, noise(48_000 * 4), 48_000, subtype=subtype)
    load_audio(path)
    assert capsys.readouterr().err == ""
    path.write_bytes(path.read_bytes()[:-20_000])
    load_audio(path)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {path} may be cut off: it holds ")
    assert line.endswith(" s, and no mark of the stream's end")


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF - 36, 0x7FFFF000])
def test_a_wav_stream_of_unknown_length_is_not_taken_for_cut(tmp_path, capsys, size):
    """Sizes that ffmpeg and sox leave in the header when they write into a pipe."""
    path = tmp_path / "stream.wav"
    soundfile.write(path, noise(16_000), 16_000)
    content = bytearray(path.read_bytes())
    content[4:8] = struct.pack("<I", min(size + 36, 0xFFFFFFFF))
    content[40:44] = struct.pack("<I", size)
    path.write_bytes(content)
    assert load_audio(path).size == 16_000
    assert capsys.readouterr().err == ""


def test_a_truncated_flac_of_unknown_length_is_refused(tmp_path):
    write_unknown_length(tmp_path / "cut.flac", noise(64_000), 16_000)
    content = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(content[:-10_000])
    with pytest.raises(UserError, match=r"cannot decode .*cut\.flac \(.+\); expected wav"):
        load_audio(tmp_path / "cut.flac")


@pytest.mark.parametrize("rate_hz", [1, 1999, 768_001, 2**31 - 1])
def test_a_rate_that_no_recording_has_is_refused_at_once(tmp_path, rate_hz):
    path = tmp_path / "rate.wav"
    soundfile.write(path, noise(1000), 16_000)
    content = bytearray(path.read_bytes())
    content[24:28] = struct.pack("<I", rate_hz)
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"has {rate_hz} samples a second; expected 2000 to 768000"):
        load_audio(path)


@pytest.mark.parametrize("is_known", [True, False])
def test_a_recording_beyond_the_limit_is_refused(tmp_path, monkeypatch, is_known):
    path = tmp_path / "long.flac"
    (soundfile.write if is_known else write_unknown_length)(path, noise(16_000 * 2), 16_000)
    monkeypatch.setattr(audio, "MAX_DURATION_S", 2.0)
    assert load_audio(path).size == 32_000
    monkeypatch.setattr(audio, "MAX_DURATION_S", 1.9)
    with pytest.raises(UserError, match=r"long\.flac is too long, or its header is damaged \(it has more"):
        load_audio(path)


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "endless.wav").symlink_to("/dev/zero")
    for name, kind in (("pipe.wav", "it is a pipe"), ("endless.wav", "it is a device")):
        with pytest.raises(UserError, match=rf"no audio file at .*{name} \({kind}\)"):
            load_audio(tmp_path / name)


def test_raw_samples_are_refused(tmp_path):
    (tmp_path / "talk.RAW").write_bytes(bytes(1000))
    with pytest.raises(UserError, match="raw samples have no header"):
        load_audio(tmp_path / "talk.RAW")


def test_a_clip_lasts_as_long_as_its_manifest_says(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(32_000), 16_000)
    clip = Clip(audio=str(path), transcript="one")
    for declared_s in (None, 2.0, 1.95, 2.09):
        np.testing.assert_array_equal(
            load_clip(clip.model_copy(update={"declared_duration_s": declared_s})), load_audio(path)
        )
    with pytest.raises(UserError, match=r"says that it lasts 1\.50 s, but the audio lasts 2\.00 s: parts of files are"):
        load_clip(clip.model_copy(update={"declared_duration_s": 1.5}))
    with pytest.raises(UserError, match="known"):
        load_clip(clip.model_copy(update={"problem": "known"}))
