r"""Unpacks shorten, the lossless packing in the NIST SPHERE files of WSJ0 and other corpora.

A stream is the letters ``ajkg``, a version, and then nothing but codes. A code of width :math:`w` counts zero bits up
to the first one and takes :math:`w` more bits: its value is :math:`2^w \cdot` zeros :math:`+` bits. Signed numbers
are folded, 0, -1, 1, -2, ... A header is followed by commands; most are blocks of residuals of one channel, the
channels in turn. What a residual adds to is the sample before (or the two or three before, extrapolated), a linear
prediction, or the mean of recent blocks.

Damage shows as a wrong command, an impossible number, samples outside of 16 bits, or an early end. Memory stays with
the window of the stream that is looked at and the longest block.

References:
  T. Robinson, *SHORTEN: Simple lossless and near-lossless waveform compression*, Technical report
  CUED/F-INFENG/TR.156, Cambridge University, 1994.
"""

import operator
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from jaxtyping import Int16, Int64

MAGIC = b"ajkg"

_CHUNK = 1 << 16
_LARGEST_WINDOW = 1 << 20
"""Bytes; no sane block of residuals takes nearly as many."""
_LARGEST_BLOCK = 65_535
_LARGEST_ORDER = 64
_LARGEST_MEAN = 1 << 15
_LARGEST_WIDTH = 32
_LARGEST_SHIFT = 15

# Widths of codes, in bits.
_COMMAND, _ENERGY, _SHIFT, _ORDER, _COEFFICIENT, _VERBATIM_COUNT, _VERBATIM_BYTE, _SKIPPED_BYTE = 2, 3, 2, 2, 5, 5, 8, 7

_QUIT, _BLOCK_LENGTH, _BIT_SHIFT, _LINEAR, _ZERO, _VERBATIM = 4, 5, 6, 7, 8, 9
_DIFFERENCES = (0, 1, 2, 3)
_WORDS_OF_16_BITS = (3, 5)
"""Types of samples that can be unpacked: signed, of either byte order."""


class ShortenError(Exception):
    """A stream that cannot be unpacked; the message says why, for a caller who knows the file's name."""


def unpacked_blocks(stream: BinaryIO, channels: int) -> Iterator[Int16[np.ndarray, "samples channels"]]:
    """Unpacks a stream of 16-bit samples, one block after the other.

    Args:
      stream: stands at the letters ``ajkg``.
      channels: as many as the file around it declares.

    Raises:
      ShortenError: it is damaged, truncated, or holds other than ``channels`` channels of 16 bits.
    """
    head = stream.read(5)
    if head[:4] != MAGIC:
        raise ShortenError("damaged: it does not hold the packed samples that its header announces")
    version = head[4] if len(head) == 5 else 0
    if version not in (1, 2, 3):
        raise ShortenError(f"packed by version {version} of shorten, of which 1 to 3 can be read")
    bits = _Bits(stream)
    kind, packed_channels = bits.long(), bits.long()
    if kind not in _WORDS_OF_16_BITS:
        raise ShortenError("packed by shorten, but not of 16-bit samples; unpack it: sph2pipe -f wav IN OUT")
    if packed_channels != channels:
        raise ShortenError(f"damaged: it declares {channels} channels and packs {packed_channels}")
    block_length = _within(bits.long(), 1, _LARGEST_BLOCK)
    order, means = _within(bits.long(), 0, _LARGEST_ORDER), _within(bits.long(), 0, _LARGEST_MEAN)
    for _ in range(bits.long()):
        bits.unsigned(_SKIPPED_BYTE)
    states = [_Channel(version, order, means) for _ in range(channels)]
    shift = 0
    blocks: list[Int64[np.ndarray, " samples"]] = []
    while (command := bits.unsigned(_COMMAND)) != _QUIT:
        if command == _BLOCK_LENGTH:
            block_length = _within(bits.long(), 1, _LARGEST_BLOCK)
        elif command == _BIT_SHIFT:
            shift = _within(bits.unsigned(_SHIFT), 0, _LARGEST_SHIFT)
        elif command == _VERBATIM:
            for _ in range(bits.unsigned(_VERBATIM_COUNT)):
                bits.unsigned(_VERBATIM_BYTE)
        elif command in (*_DIFFERENCES, _LINEAR, _ZERO):
            blocks.append(states[len(blocks)].block(bits, command, block_length, shift) << shift)
            if len(blocks) == channels:
                yield _interleaved(blocks)
                blocks = []
        else:
            raise ShortenError(f"damaged: it holds a command {command}, and there are 10")


class _Channel:
    """What a block needs of those before it: the last samples, and the means of the last blocks."""

    def __init__(self, version: int, order: int, means: int) -> None:
        self._version = version
        self._order = order
        self._past = np.zeros(max(order, 3), np.int64)
        self._means = deque([0] * means, maxlen=means)

    def block(self, bits: "_Bits", command: int, length: int, shift: int) -> Int64[np.ndarray, " samples"]:
        """The samples of a block, without the bits that all of them lack at the bottom (``shift``)."""
        samples = np.zeros(length, np.int64) if command == _ZERO else self._predicted(bits, command, length, shift)
        if self._means:
            rounding = length // 2 if self._version >= 2 else 0
            mean = _divided(rounding + int(samples.sum()), length)
            self._means.append(mean << shift if self._version >= 2 else mean)
        self._past = np.concatenate([self._past, samples])[-len(self._past) :]
        return samples

    def _predicted(self, bits: "_Bits", command: int, length: int, shift: int) -> Int64[np.ndarray, " samples"]:
        width = _within(bits.unsigned(_ENERGY), 0, _LARGEST_WIDTH - 1)
        if command == _LINEAR:
            return self._linear(bits, length, width, self._offset(shift))
        residuals = bits.signed_block(length, width)
        if command == 0:
            return residuals + self._offset(shift)
        # Summing up undoes differencing, one order after the other.
        for order in reversed(range(command)):
            residuals = np.cumsum(residuals) + np.diff(self._past, order)[-1]
        return residuals

    def _linear(self, bits: "_Bits", length: int, width: int, offset: int) -> Int64[np.ndarray, " samples"]:
        order = _within(bits.unsigned(_ORDER), 0, self._order)
        coefficients = [bits.signed(_COEFFICIENT) for _ in range(order)]
        rounding = 1 << _COEFFICIENT if self._version >= 2 else 0
        recent = deque((self._past[::-1][:order] - offset).tolist(), maxlen=order)  # The latest first.
        samples = []
        for residual in bits.signed_block(length, width).tolist():
            predicted = rounding + sum(map(operator.mul, coefficients, recent))
            sample = residual + (predicted >> _COEFFICIENT)
            # A damaged stream would grow its numbers without end.
            samples.append(_within(sample, -(1 << 31), 1 << 31))
            recent.appendleft(sample)
        return np.array(samples, np.int64) + offset

    def _offset(self, shift: int) -> int:
        """The mean that a block is coded around."""
        count = len(self._means)
        if count == 0:
            return 0
        if self._version < 2:
            return _divided(sum(self._means), count)
        return _divided(count // 2 + sum(self._means), count) >> shift


class _Bits:
    """Codes of bits, most significant first, of a stream of which a window is held at a time.

    Where each code ends is known only when it is read, but for every bit one can tell beforehand where the next one
    bit is. Codes are then found by hopping from one to the next, and their values taken all at once.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._bytes = b""
        self._count = 0
        self._position = 0
        self._next_one = np.zeros(1, np.int32).data

    def unsigned(self, width: int) -> int:
        """One number."""
        while True:
            one = self._next_one[self._position]
            end = one + 1 + width
            if end <= self._count:
                break
            self._look_further()
        zeros, self._position = one - self._position, end
        tail = int.from_bytes(self._bytes[(one + 1) >> 3 : (end + 7) >> 3]) >> (-end & 7)
        return zeros << width | tail & ((1 << width) - 1)

    def signed(self, width: int) -> int:
        """One number that may be negative."""
        folded = self.unsigned(width + 1)
        return ~(folded >> 1) if folded & 1 else folded >> 1

    def long(self) -> int:
        """One number of a header, whose width comes before it."""
        return self.unsigned(_within(self.unsigned(2), 0, _LARGEST_WIDTH))

    def signed_block(self, count: int, width: int) -> Int64[np.ndarray, " count"]:
        """Many numbers of one width that may be negative."""
        width += 1
        ones = self._hop(count, width)
        ends = ones + (1 + width)
        starts = np.concatenate([[self._position], ends[:-1]])
        folded = (ones - starts) << width | self._bits_at(ones + 1, width)
        self._position = int(ends[-1])
        return np.asarray(np.where(folded & 1, ~(folded >> 1), folded >> 1))

    def _hop(self, count: int, width: int) -> Int64[np.ndarray, " count"]:
        """Where the one bit of each of the next codes is."""
        step = 1 + width
        while True:
            position, next_one = self._position, self._next_one
            ones = []
            try:
                for _ in range(count):
                    one = next_one[position]
                    ones.append(one)
                    position = one + step
            except IndexError:  # Beyond the window.
                position = self._count + 1
            if position <= self._count:
                return np.array(ones, np.int64)
            self._look_further()

    def _bits_at(self, starts: Int64[np.ndarray, " count"], width: int) -> Int64[np.ndarray, " count"]:
        """The ``width`` bits (at most 33) from each of these on: they lie within five bytes, or six."""
        padded = np.frombuffer(self._bytes + bytes(6), np.uint8)
        places = (starts >> 3)[:, None] + np.arange(6)
        words = padded[places].astype(np.int64) @ (1 << np.arange(40, -1, -8))
        return np.asarray(words >> (48 - width - (starts & 7)) & ((1 << width) - 1))

    def _look_further(self) -> None:
        """Drops what is read and takes in the next piece of the stream."""
        chunk = self._stream.read(_CHUNK)
        if not chunk:
            raise ShortenError("truncated: its packed samples end in the middle of a block")
        done = self._position >> 3
        self._bytes = self._bytes[done:] + chunk
        if len(self._bytes) > _LARGEST_WINDOW:
            raise ShortenError("damaged: a block of its packed samples has no end")
        self._position -= 8 * done
        bits = np.unpackbits(np.frombuffer(self._bytes, np.uint8))
        self._count = len(bits)
        # One place more: there is no one bit behind the last.
        places = np.full(self._count + 1, self._count, np.int32)
        np.copyto(places[:-1], np.arange(self._count, dtype=np.int32), where=bits.astype(bool))
        self._next_one = np.ascontiguousarray(np.minimum.accumulate(places[::-1])[::-1]).data


def _interleaved(blocks: list[Int64[np.ndarray, " samples"]]) -> Int16[np.ndarray, "samples channels"]:
    if len({len(block) for block in blocks}) > 1:
        raise ShortenError("damaged: its channels are of different length")
    samples = np.stack(blocks, axis=1)
    if samples.min() < -(1 << 15) or samples.max() >= 1 << 15:
        raise ShortenError("damaged: it unpacks to samples beyond 16 bits")
    return samples.astype(np.int16)


def _within(number: int, low: int, high: int) -> int:
    if not low <= number <= high:
        raise ShortenError(f"damaged: its packed samples name the number {number:.4g}, expected {low} to {high}")
    return number


def _divided(number: int, by: int) -> int:
    """Integer division as in C, towards zero."""
    return number // by if number >= 0 else -(-number // by)
