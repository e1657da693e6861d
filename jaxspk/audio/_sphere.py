"""NIST SPHERE: a header of text, then samples, plain, by G.711, or packed by shorten.

libsndfile knows some of it, but neither shorten nor headers longer than usual; so all of it is read here.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from jaxtyping import Float32

from jaxspk.audio._shorten import ShortenError, unpacked_blocks

UNKNOWN_FRAMES = 1 << 62

_START = re.compile(rb"NIST_1A\s+(\d{1,7})\s")
_FIELD = re.compile(rb"(\w+) -(?:i|r|s\d+) (.*)")
_LONGEST_HEADER = 1 << 20
_MOST_CHANNELS = 1024
_SHOWN = 40
_PLAIN_NAMES = {"pcm": "PCM", "ulaw": "ULAW", "mu-law": "ULAW", "mulaw": "ULAW", "alaw": "ALAW", "a-law": "ALAW"}
_PLAIN_SUBTYPES = {1: "PCM_S8", 2: "PCM_16", 3: "PCM_24", 4: "PCM_32"}
_WAY_OUT = "convert it: sph2pipe -f wav IN OUT"


class SphereError(Exception):
    """A file that cannot be read; the message says why, for a caller who knows its name."""


class SphereFile:
    """An opened file, with as much of ``soundfile.SoundFile``'s interface as reading needs.

    Attributes:
      samplerate: Hz.
      channels: how many.
      frames: samples a channel, as declared.
      format: ``NIST``.
      subtype: ``PCM_16`` (or ``PCM_S8``, ``PCM_24``, ``PCM_32``), ``ULAW``, ``ALAW``, or ``SHORTEN``.

    Raises:
      SphereError: the header is damaged or names a coding that cannot be read, or samples are missing.
    """

    format = "NIST"

    def __init__(self, stream: BinaryIO, size: int) -> None:
        fields, start = _header(stream)
        self._stream = stream
        self.samplerate = _integer(fields, "sample_rate")
        self.channels = _integer(fields, "channel_count", low=1, high=_MOST_CHANNELS)
        coding, _, packing = fields.get("sample_coding", "pcm").lower().partition(",")
        name = _PLAIN_NAMES.get(coding.strip())
        shortened = packing.strip().startswith("embedded-shorten")
        if name is None or (packing and not shortened):
            raise SphereError(f"of the coding {fields['sample_coding'][:_SHOWN]!r}, which cannot be read; {_WAY_OUT}")
        self._significance = [0] if name != "PCM" else _significance(fields)
        self._table = None if name == "PCM" else _TABLES[name]()
        if fields.get("channels_interleaved", "").lower() == "false" and self.channels > 1:
            raise SphereError(
                f"its channels follow one another instead of alternating, which cannot be read; {_WAY_OUT}"
            )
        stream.seek(start)
        if shortened:
            self.subtype = "SHORTEN"
            self.frames = _integer(fields, "sample_count") if "sample_count" in fields else UNKNOWN_FRAMES
            self._unpacked = _Unpacked(stream, self.channels, self.frames, _checksum(fields))
        else:
            self.subtype = name if name != "PCM" else _PLAIN_SUBTYPES[len(self._significance)]
            self.frames = self._plain_frames(fields, size - start)

    def read(
        self, frames: int, dtype: str = "float32", always_2d: bool = True
    ) -> Float32[np.ndarray, "samples channels"]:
        """The next samples, at most ``frames`` a channel, none at the end."""
        del dtype, always_2d  # There is no other way; they are soundfile's.
        if self.subtype == "SHORTEN":
            return self._unpacked.take(frames).astype(np.float32) / np.float32(1 << 15)
        width = len(self._significance)
        content = self._stream.read(frames * self.channels * width)
        whole = len(content) - len(content) % (self.channels * width)
        codes = np.frombuffer(content[:whole], np.uint8)
        samples = self._table[codes] if self._table is not None else _from_bytes(codes, self._significance)
        return samples.reshape(-1, self.channels)

    def _plain_frames(self, fields: dict[str, str], there: int) -> int:
        block = len(self._significance) * self.channels
        if "sample_count" not in fields:
            return there // block
        frames = _integer(fields, "sample_count")
        if frames * block > there:
            raise SphereError(f"truncated: it declares {frames * block:,} bytes of samples and holds {max(there, 0):,}")
        return frames


class _Unpacked:
    """Unpacked samples in pieces of any length, held against the checksum in the header at their end."""

    def __init__(self, stream: BinaryIO, channels: int, frames: int, checksum: int | None) -> None:
        self._blocks = unpacked_blocks(stream, channels)
        self._left = np.zeros((0, channels), np.int16)
        self._frames, self._taken = frames, 0
        self._checksum, self._sum = checksum, 0

    def take(self, frames: int) -> np.ndarray:
        pieces, held = [self._left], len(self._left)
        while held < frames and (block := self._next()) is not None:
            pieces.append(block)
            held += len(block)
        joined = np.concatenate(pieces)
        taken, self._left = joined[:frames], joined[frames:]
        self._taken += len(taken)
        self._sum += int(taken.sum(dtype=np.int64))
        if self._checksum is not None and self._taken == self._frames and self._sum & 0xFFFF != self._checksum:
            raise SphereError("damaged: its samples do not add up to the checksum in its header")
        return taken

    def _next(self) -> np.ndarray | None:
        try:
            return next(self._blocks, None)
        except ShortenError as error:
            raise SphereError(str(error)) from None


# --- The header -------------------------------------------------------------------------------------------


def _header(stream: BinaryIO) -> tuple[dict[str, str], int]:
    """The fields, and where the samples begin."""
    stream.seek(0)
    start = _START.match(stream.read(64))
    if start is None or int(start[1]) > _LONGEST_HEADER:
        raise SphereError("damaged: its header does not tell its length")
    length = int(start[1])
    stream.seek(0)
    text = stream.read(length)
    if len(text) < length:
        raise SphereError("truncated: its header is cut")
    head, end, _ = text.partition(b"end_head")
    if not end:
        raise SphereError("damaged: its header has no end_head")
    return dict(_fields(head)), length


def _fields(head: bytes) -> Iterator[tuple[str, str]]:
    for line in head.splitlines()[2:]:
        field = _FIELD.match(line.strip())
        if field:
            yield field[1].decode("ascii", "replace"), field[2].decode("ascii", "replace").strip()


def _integer(fields: dict[str, str], name: str, *, low: int = 0, high: int = 1 << 40) -> int:
    text = fields.get(name)
    if text is None:
        raise SphereError(f"damaged: its header has no {name}")
    number = float(text) if re.fullmatch(r"\d{1,15}(\.\d*)?", text) else -1.0
    if not low <= number <= high or number != int(number):
        raise SphereError(f"damaged: {name} is {text[:20]!r} in its header")
    return int(number)


def _significance(fields: dict[str, str]) -> list[int]:
    """Of each byte of a sample, how many others are less significant: [0, 1] is little-endian."""
    width = _integer(fields, "sample_n_bytes", low=1, high=4)
    order = fields.get("sample_byte_format", "")
    if width == 1 or fields.get("sample_coding", "pcm").lower() != "pcm":
        return list(range(width))
    if not order.isdigit():
        found = f"by {order[:_SHOWN]!r}" if order else "in no order that its header tells"
        raise SphereError(f"its bytes are packed {found}, which cannot be read; {_WAY_OUT}")
    # Some write the order of two bytes whatever their number.
    spelled = {"01": "0123"[:width], "10": "3210"[-width:]}.get(order, order)
    significance = [int(digit) for digit in spelled]
    if sorted(significance) != list(range(width)):
        raise SphereError(f"damaged: its samples have {width} bytes in the order {order[:20]!r}")
    return significance


def _checksum(fields: dict[str, str]) -> int | None:
    return _integer(fields, "sample_checksum", high=0xFFFF) if "sample_checksum" in fields else None


# --- Samples ----------------------------------------------------------------------------------------------


def _from_bytes(codes: np.ndarray, significance: list[int]) -> Float32[np.ndarray, " samples"]:
    """Integers of one to four bytes, full scale at 1."""
    width = len(significance)
    wide = np.zeros((len(codes) // width, 4), np.uint8)
    wide[:, [4 - width + place for place in significance]] = codes.reshape(-1, width)
    return (wide.view("<i4")[:, 0] * 2.0**-31).astype(np.float32)


def _ulaw() -> Float32[np.ndarray, " codes"]:
    """ITU-T G.711, µ-law: three bits choose one of eight segments, four a step in it."""
    codes = ~np.arange(256, dtype=np.uint8)
    segment, step = codes.astype(int) >> 4 & 7, codes.astype(int) & 15
    magnitude = ((2 * step + 33) << segment) - 33
    return (np.where(codes & 0x80, -magnitude, magnitude) * 4 / 2**15).astype(np.float32)


def _alaw() -> Float32[np.ndarray, " codes"]:
    """ITU-T G.711, A-law; every other bit is inverted."""
    codes = np.arange(256, dtype=np.uint8) ^ np.uint8(0x55)
    segment, step = codes.astype(int) >> 4 & 7, codes.astype(int) & 15
    magnitude = np.where(segment > 0, (2 * step + 33) << np.maximum(segment - 1, 0), 2 * step + 1)
    return (np.where(codes & 0x80, magnitude, -magnitude) * 8 / 2**15).astype(np.float32)


_TABLES = {"ULAW": _ulaw, "ALAW": _alaw}
