"""Audio files: decoded block by block, mixed to mono, resampled to 16 kHz."""

from __future__ import annotations

import errno
import math
import mmap
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr  # type: ignore[import-untyped]
from numpy.typing import NDArray

from forced_aligner.align.audio_length import ReadToTheEnd, is_cut_ogg, is_mp3_of_unknown_length, promised_frames
from forced_aligner.base.console import warn
from forced_aligner.base.errors import UserError
from forced_aligner.base.reading import require_audio_file
from forced_aligner.data.records import DURATION_TOLERANCE_S, Clip

SAMPLE_RATE_HZ = 16_000
MIN_RATE_HZ, MAX_RATE_HZ = 2_000, 768_000  # below, speech is lost; above is no rate that a recorder has
MAX_DURATION_S = 12 * 3600.0
IN_MEMORY_BYTES = 1 << 28  # more, 70 minutes, is kept in a temporary file, and mapped
MAX_SAMPLE = 1e10  # full scale is 1, or 2^31 in a float file of integers; 1e16 and above overflow the power spectrum
BLOCK_SAMPLES = 1 << 20  # of all channels together


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A file that is read from its start to its end.

    `SoundFile.read` seeks after each block of a file that can be sought. That changes the samples of Opus, and fails
    in a FLAC file of unknown length.
    """

    def seekable(self) -> bool:
        return False


def load_clip(clip: Clip) -> NDArray[np.float32]:
    """The audio of a clip as (samples,) at 16 kHz, mono.

    Raises:
        UserError: the clip cannot be aligned (see `Clip.check`), its audio cannot be used (see `load_audio`), or its
            manifest says another duration than the audio has.
    """
    clip.check()
    samples = load_audio(Path(clip.audio))
    duration_s, declared_s = samples.size / SAMPLE_RATE_HZ, clip.declared_duration_s
    if declared_s is not None and abs(duration_s - declared_s) > DURATION_TOLERANCE_S:
        raise UserError(
            f"the manifest says that it lasts {declared_s:.2f} s, but the audio lasts {duration_s:.2f} s: "
            "parts of files are not read; cut the audio, or correct the duration"
        )
    return samples


def load_audio(path: Path) -> NDArray[np.float32]:
    """Decode `path` (wav, flac, ogg, mp3; any channels) to (samples,) at 16 kHz, mono.

    Where the header promises more than the file holds, a line on stderr says so.

    Raises:
        UserError: there is no such file, it is not audio, it has no samples or more than `MAX_DURATION_S` of them,
            its rate is not between `MIN_RATE_HZ` and `MAX_RATE_HZ`, or a sample is not finite or beyond `MAX_SAMPLE`.
    """
    require_audio_file(path)
    if path.suffix.lower() == ".raw":
        raise UserError(f"cannot decode {path} (raw samples have no header); expected wav, flac, ogg or mp3")
    try:
        with _Sequential(os.fsencode(path)) as file:
            if not is_mp3_of_unknown_length(path, file):
                return _decode(path, file)
        with ReadToTheEnd(path) as content, _Sequential(content) as file:
            return _decode(path, file)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            where = tempfile.gettempdir()
            raise UserError(f"{path} does not fit into {where} while it is decoded: free some space there") from None
        raise UserError(f"cannot decode {path} ({error}); expected wav, flac, ogg or mp3") from None
    except soundfile.SoundFileError as error:
        reason = str(error).removeprefix(f"Error opening {os.fsencode(path)!r}: ")
        raise UserError(f"cannot decode {path} ({reason}); expected wav, flac, ogg or mp3") from None
    except MemoryError:
        raise UserError(f"{path} does not fit into memory: cut it into parts") from None


def _decode(path: Path, file: _Sequential) -> NDArray[np.float32]:
    """The samples of an open file."""
    rate_hz = file.samplerate
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise UserError(
            f"{path} has {rate_hz} samples a second; expected {MIN_RATE_HZ} to {MAX_RATE_HZ}: export it again"
        )
    _check_length(path, (promised_frames(path, file) or 0) / rate_hz)
    resampler = None
    if rate_hz != SAMPLE_RATE_HZ:  # librosa.resample calls soxr's at this quality: the same samples, to the last bit
        resampler = soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="soxr_hq")
    frames = 0
    with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as decoded:
        for mono in _mono_blocks(path, file):
            frames += mono.size
            _check_length(path, frames / rate_hz)
            decoded.write((mono if resampler is None else resampler.resample_chunk(mono)).tobytes())
        if frames == 0:
            raise UserError(f"{path} holds no samples; expected a recording")
        if resampler is not None:
            decoded.write(resampler.resample_chunk(np.zeros(0, np.float32), last=True).tobytes())
        _warn_if_cut(path, file, frames)
        # A resampler rounds its last sample in another way, so the length is cut or padded.
        return _samples(decoded, math.ceil(frames * (float(SAMPLE_RATE_HZ) / rate_hz)))


def _samples(decoded: tempfile.SpooledTemporaryFile[bytes], count: int) -> NDArray[np.float32]:
    """The first (count,) samples of a file, with zeros where it holds fewer."""
    length_bytes = count * np.dtype(np.float32).itemsize
    if max(decoded.tell(), length_bytes) > IN_MEMORY_BYTES:
        decoded.truncate(length_bytes)
        decoded.flush()
        mapped = mmap.mmap(decoded.fileno(), length_bytes, access=mmap.ACCESS_COPY)  # outlives the open file
        return np.frombuffer(mapped, np.float32)
    content = bytearray(length_bytes)
    decoded.seek(0)
    decoded.readinto(content)
    return np.frombuffer(content, np.float32)


def _mono_blocks(path: Path, file: _Sequential) -> Iterator[NDArray[np.float32]]:
    """(samples,) of each block, the mean of the channels."""
    block_frames = max(1, BLOCK_SAMPLES // file.channels)
    while len(block := file.read(block_frames, dtype="float32", always_2d=True)):  # (samples, channels)
        if not (np.abs(block) <= MAX_SAMPLE).all():
            raise UserError(
                f"{path} holds samples that are NaN or infinite, or beyond {MAX_SAMPLE:.0e}; export it again"
            )
        yield np.mean(block.T, axis=0)


def _check_length(path: Path, duration_s: float) -> None:
    if duration_s > MAX_DURATION_S:
        hours = MAX_DURATION_S / 3600
        raise UserError(
            f"{path} is too long, or its header is damaged (it has more than {hours:.0f} hours, the most "
            "that is read): cut it into parts, or export it again"
        )


def _warn_if_cut(path: Path, file: _Sequential, frames: int) -> None:
    """Log a line if `frames` are fewer than the header promises, or an Ogg stream has no end."""
    promised_s, found_s = (promised_frames(path, file) or 0) / file.samplerate, frames / file.samplerate
    if promised_s - found_s > DURATION_TOLERANCE_S:
        warn(f"{path} is cut off: its header promises {promised_s:.1f} s, and it holds {found_s:.1f} s")
    elif file.format == "OGG" and is_cut_ogg(path):
        warn(f"{path} may be cut off: it holds {found_s:.1f} s, and no mark of the stream's end")


def check_duration(samples: NDArray[np.float32], end_s: float) -> None:
    """Refuse (samples,) of 16 kHz audio that is longer than `end_s`, the last time that the head can express (400 s).

    Raises:
        UserError: it is longer.
    """
    duration_s = samples.size / SAMPLE_RATE_HZ
    if duration_s > end_s:
        raise UserError(f"the audio lasts {duration_s:.1f} s, but the model's times end at {end_s:.0f} s: cut it there")
