"""What the bytes of a recording say before anything is decoded: its container, and whether all is there.

libsndfile cuts the declared length of a truncated WAV, OGG or MP3 to what it finds and says nothing; hence
these.
"""

import os
import re
import struct
from collections.abc import Callable, Mapping
from typing import BinaryIO

FRAMES_PER_BYTE: Mapping[str, int] = {"FLAC": 8192, "OGG": 8192, "NIST": 1024}
"""At most so many samples a channel in a byte of file: packers spend a few bits or bytes on a block of silence."""
OTHER_FRAMES_PER_BYTE = 32
"""The same for all others: the leanest coding, MP3 at its lowest rate, has 24."""

_MAGIC = (
    (re.compile(rb"(RIFF|RIFX|RF64)....WAVE", re.DOTALL), "WAV"),
    (re.compile(rb"fLaC"), "FLAC"),
    (re.compile(rb"OggS"), "OGG"),
    (re.compile(rb"NIST_1A"), "NIST"),
    (re.compile(rb"ID3|\xff[\xe2-\xff]", re.DOTALL), "MP3"),
)
_STREAMED = 0x7FFF0000
"""A data chunk that declares this much or more was written to a pipe, its length not yet known."""
_MOST_CHUNKS = 10_000


def container_of(head: bytes) -> str | None:
    """The container by the first twelve bytes: ``WAV``, ``FLAC``, ``OGG``, ``NIST``, ``MP3`` or None."""
    return next((name for pattern, name in _MAGIC if pattern.match(head)), None)


def missing_part(file: BinaryIO, container: str) -> str | None:
    """What of the file is missing by its own account, or None where nothing is or where it does not say."""
    look = _LOOKS.get(container)
    return look(file, os.fstat(file.fileno()).st_size) if look else None


def _read_at(file: BinaryIO, position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count)


def _missing_from_wav(file: BinaryIO, size: int) -> str | None:
    """Compares what the data chunk declares with the bytes after it."""
    order = ">" if _read_at(file, 0, 4) == b"RIFX" else "<"
    long_size: int | None = None
    position = 12
    for _ in range(_MOST_CHUNKS):
        header = _read_at(file, position, 8)
        if len(header) < 8:
            return None  # No samples at all: the decoder says so better.
        name, declared = struct.unpack(f"{order}4sI", header)
        if name == b"ds64":
            sizes = file.read(16)
            long_size = struct.unpack("<8xQ", sizes)[0] if len(sizes) == 16 else None
        if name == b"data":
            if declared == 0xFFFFFFFF and long_size is not None:
                declared = long_size
            elif declared >= _STREAMED:
                return None
            return _shortfall(declared, size - position - 8)
        position += 8 + declared + declared % 2
    return f"it has more than {_MOST_CHUNKS} chunks before its samples"


def _shortfall(declared: int, there: int) -> str | None:
    if declared <= there:
        return None
    return f"it declares {declared:,} bytes of samples and holds {max(there, 0):,}"


def _missing_from_ogg(file: BinaryIO, size: int) -> str | None:
    """The last page must be whole and marked as the end of its stream."""
    tail = _read_at(file, max(0, size - 2 * 65_307), 2 * 65_307)  # A page has at most 65,307 bytes.
    start = tail.rfind(b"OggS")
    if start < 0:
        return None
    page = tail[start:]
    if len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]]):
        return "its last page is cut"
    return None if page[5] & 4 else "its last page is not marked as the end"


def _missing_from_mp3(file: BinaryIO, size: int) -> str | None:
    """Compares the length in the encoder's tag with the file's; without one the last frame must be whole."""
    position = _after_id3(file)
    header = _read_at(file, position, 4)
    tag = _read_at(file, position, 256)
    found = max(tag.find(b"Xing"), tag.find(b"Info"))
    if 0 < found <= len(tag) - 16:
        # The tag: 4 bytes name, 4 bytes flags, then the count of frames (flag 1), then that of bytes (flag
        # 2).
        flags = tag[found + 7]
        where = found + 8 + 4 * (flags & 1)
        if flags & 2 and (declared := int.from_bytes(tag[where : where + 4])):
            return _shortfall(declared, size - position)
    while length := _mp3_frame_length(header):
        position += length
        if position > size:
            return "its last frame is cut"
        header = _read_at(file, position, 4)
    return None


def _after_id3(file: BinaryIO) -> int:
    header = _read_at(file, 0, 10)
    if not header.startswith(b"ID3") or len(header) < 10:
        return 0
    length = 0
    for byte in header[6:10]:  # Seven bits of each byte count.
        length = length << 7 | byte & 0x7F
    return 10 + length + (10 if header[5] & 0x10 else 0)


_KILOBITS = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""By MPEG version (2 stands for 2.5 too) and layer; index 0: free format, whose frames tell no length."""


def _mp3_frame_length(header: bytes) -> int | None:
    """Bytes of the frame with this 4-byte header, or None where it is no header or does not tell."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version_bits, layer_bits = header[1] >> 3 & 3, header[1] >> 1 & 3
    rate_index, sample_rate_index, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version_bits == 1 or layer_bits == 0 or rate_index in (0, 15) or sample_rate_index == 3:
        return None
    version, layer = (1 if version_bits == 3 else 2), 4 - layer_bits
    sample_rate = (44_100, 48_000, 32_000)[sample_rate_index] >> {3: 0, 2: 1, 0: 2}[version_bits]
    bits_a_second = 1000 * _KILOBITS[version, layer][rate_index]
    if layer == 1:
        return 4 * (12 * bits_a_second // sample_rate + padding)
    samples = 576 if (version, layer) == (2, 3) else 1152
    return samples // 8 * bits_a_second // sample_rate + padding


_LOOKS: Mapping[str, Callable[[BinaryIO, int], str | None]] = {
    "WAV": _missing_from_wav,
    "OGG": _missing_from_ogg,
    "MP3": _missing_from_mp3,
}
