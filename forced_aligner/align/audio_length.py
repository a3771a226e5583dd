"""What an audio file says of its own length, so that a file that was cut off is noticed."""

from __future__ import annotations

import io
import re
from pathlib import Path

import soundfile

UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's answer for FLAC from an encoder that could not go back to the header
UNKNOWN_BYTES = 0x7FFFF000  # sox writes this into the header of a stream; ffmpeg 0xFFFFFFFF, others 0x7FFFFFFF - 36
# libsndfile's log of a chunk whose header says more bytes than the file has, of wav, aiff and au
_SHORT_CHUNK = re.compile(r"^\s*(?:data|SSND|Data Size)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
_MP3_SEARCHED_BYTES = 4096  # from the end of an ID3v2 tag: the first frame is much shorter
_MP3_SURPLUS = 1000  # the longest frame is 60 times as long as the shortest
_OGG_SEARCHED_BYTES = 1 << 17  # from the end: a page has at most 65,307 bytes
_OGG_END_OF_STREAM = 4  # a flag in the byte after a page's version


def promised_frames(path: Path, file: soundfile.SoundFile) -> int | None:
    """The samples of each channel that the header promises; None where it does not know, or does not say.

    Args:
        path: the file.
        file: the same, open. Its `frames` are for some formats those that are there, for others those promised.
    """
    if file.frames >= UNKNOWN_FRAMES:
        return None
    if short := _SHORT_CHUNK.search(file.extra_info):
        promised_bytes, found_bytes = map(int, short.groups())
        is_known = found_bytes < promised_bytes < UNKNOWN_BYTES and found_bytes > 0
        return round(file.frames * promised_bytes / found_bytes) if is_known else None
    return None if is_mp3_of_unknown_length(path, file) else int(file.frames)


def is_cut_ogg(path: Path) -> bool:
    """Whether the last page of an Ogg file is not the last one of its stream."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _OGG_SEARCHED_BYTES))
        end = file.read()
    page = end.rfind(b"OggS")
    return not (0 <= page < len(end) - 5 and end[page + 5] & _OGG_END_OF_STREAM)


def is_mp3_of_unknown_length(path: Path, file: soundfile.SoundFile) -> bool:
    """Whether a file is MP3 without a table of its length: `file.frames` is an estimate from its first frame."""
    return file.format == "MP3" and not _has_frame_count(path)


class ReadToTheEnd(io.FileIO):
    """An MP3 file of unknown length that libsndfile reads to its end.

    libsndfile takes its estimate, which goes by the size of the file, for the length. Where the bit rate varies, the
    rest is lost. So the file gives a larger size. The samples that it decodes are the same.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._surplus = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        place = super().seek(offset, whence)
        self._surplus = place * _MP3_SURPLUS if (offset, whence) == (0, io.SEEK_END) else 0
        return place

    def tell(self) -> int:
        return super().tell() + self._surplus


def _has_frame_count(path: Path) -> bool:
    """Whether the first frame of an MP3 file is LAME's or Xing's table, which has the number of frames."""
    with path.open("rb") as file:
        tag = file.read(10)
        if tag[:3] == b"ID3":
            file.seek(sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=False)) + 10)
        else:
            file.seek(0)
        start = file.read(_MP3_SEARCHED_BYTES)
    table = max(start.find(b"Xing"), start.find(b"Info"))
    return 0 <= table < len(start) - 7 and bool(start[table + 7] & 1)
