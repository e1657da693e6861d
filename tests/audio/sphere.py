"""Writes NIST SPHERE files for tests, plain or packed by shorten: the packing written out sample by sample."""

import itertools
from collections.abc import Sequence

import numpy as np

QLPC, ZERO = 7, 8


def sphere(content: bytes, **fields: object) -> bytes:
    """A header of 1024 bytes with these fields, and the content."""
    lines = ["NIST_1A", "   1024"]
    for name, value in fields.items():
        kind = "-i" if isinstance(value, int) else f"-s{len(str(value))}"
        lines.append(f"{name} {kind} {value}")
    return "\n".join([*lines, "end_head", ""]).encode().ljust(1024) + content


def plain(samples: np.ndarray, rate: int = 16_000, **fields: object) -> bytes:
    """Integers ``[samples]`` or ``[samples, channels]`` as 16-bit PCM, as TIMIT has it."""
    samples = samples.reshape(len(samples), -1)
    described = {
        "channel_count": samples.shape[1], "sample_count": len(samples), "sample_rate": rate, "sample_n_bytes": 2,
        "sample_byte_format": "01",
    }  # fmt: skip
    return sphere(samples.astype("<i2").tobytes(), **described | fields)


def shortened(samples: np.ndarray, rate: int = 16_000, *, fields: dict[str, object] | None = None, **packing) -> bytes:
    """The same, packed by shorten, as WSJ0 has it."""
    samples = samples.reshape(len(samples), -1)
    described = {
        "channel_count": samples.shape[1], "sample_count": len(samples), "sample_rate": rate, "sample_n_bytes": 2,
        "sample_byte_format": "01", "sample_checksum": int(samples.sum()) & 0xFFFF,
        "sample_coding": "pcm,embedded-shorten-v2.00",
    }  # fmt: skip
    return sphere(pack(samples, **packing), **described | (fields or {}))


class Bits:
    """A growing string of bits."""

    def __init__(self) -> None:
        self.text: list[str] = []

    def unsigned(self, value: int, width: int) -> None:
        low = f"{value % 2**width:0{width}b}" if width else ""
        self.text.append("0" * (value // 2**width) + "1" + low)

    def signed(self, value: int, width: int) -> None:
        self.unsigned(2 * value if value >= 0 else -2 * value - 1, width + 1)

    def long(self, value: int) -> None:
        width = value.bit_length()
        self.unsigned(width, 2)
        self.unsigned(value, width)

    def to_bytes(self) -> bytes:
        text = "".join(self.text)
        return bytes(int(text[k : k + 8].ljust(8, "0"), 2) for k in range(0, len(text), 8))


def toward_zero(number: int, by: int) -> int:
    return int(np.fix(number / by))


def pack(
    samples: np.ndarray,
    *,
    version: int = 2,
    kind: int = 5,
    block: int = 256,
    means: int = 4,
    shift: int = 0,
    commands: Sequence[int] = (1, 0, 2, 3),
    coefficients: Sequence[int] = (),
    declared_channels: int | None = None,
) -> bytes:
    """Packs integers ``[samples, channels]``, block after block with each of the commands in turn."""
    channels = samples.shape[1]
    bits = Bits()
    for number in (kind, declared_channels or channels, block, len(coefficients), means, 0):
        bits.long(number)
    if shift:
        bits.unsigned(6, 2)
        bits.unsigned(shift, 2)
    past = [[0] * max(3, len(coefficients)) for _ in range(channels)]
    recent = [[0] * means for _ in range(channels)]
    turns = itertools.cycle(commands)
    for start in range(0, len(samples), block):
        piece = samples[start : start + block]
        if len(piece) < block:
            bits.unsigned(5, 2)
            bits.long(len(piece))
        command = next(turns)
        for channel in range(channels):
            values = [int(value) >> shift for value in piece[:, channel]]
            offset = 0
            if means:
                offset = toward_zero(sum(recent[channel]) + (means // 2 if version > 1 else 0), means)
                offset = offset >> shift if version > 1 else offset
            history = past[channel] + values
            begin = len(past[channel])
            residuals = []
            for k in range(begin, len(history)):
                x = history[k]
                if command == 0:
                    residuals.append(x - offset)
                elif command == 1:
                    residuals.append(x - history[k - 1])
                elif command == 2:
                    residuals.append(x - 2 * history[k - 1] + history[k - 2])
                elif command == 3:
                    residuals.append(x - 3 * history[k - 1] + 3 * history[k - 2] - history[k - 3])
                elif command == QLPC:
                    around = [history[k - j - 1] - offset for j in range(len(coefficients))]
                    predicted = sum(c * a for c, a in zip(coefficients, around, strict=True))
                    residuals.append(x - offset - ((predicted + (32 if version > 1 else 0)) >> 5))
            bits.unsigned(command, 2)
            if command != ZERO:
                width = max(0, int(np.log2(np.mean(np.abs(residuals)) + 1)))
                bits.unsigned(width, 3)
                if command == QLPC:
                    bits.unsigned(len(coefficients), 2)
                    for coefficient in coefficients:
                        bits.signed(coefficient, 5)
                for residual in residuals:
                    bits.signed(residual, width)
            if means:
                total = sum(values) + (len(values) // 2 if version > 1 else 0)
                mean = toward_zero(total, len(values))
                recent[channel] = [*recent[channel][1:], mean << shift if version > 1 else mean]
            past[channel] = history[-begin:]
    bits.unsigned(4, 2)
    return b"ajkg" + bytes([version]) + bits.to_bytes() + bytes(4)
