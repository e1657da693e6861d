"""Damage to bytes, to text, and to values of JSON; every draw from the generator that is given."""

import copy
import math
from typing import Any

import numpy as np

EXTREMES = [
    0, 1, -1, 2, 255, 256, -(2**31), 2**31 - 1, 2**32, 2**53 + 1, 10**30, 10**400, 0.0, -0.0, 0.5, 1e-320, 1e308,
    -1e308,
]  # fmt: skip
STRANGE = [
    None, True, False, "", " ", "auto", "nan", "-1", "1e999", "\x00", "\ud800", "a\nb", "é" * 50, "x" * 5000, [], {},
    [[]], [None], {"a": {}}, math.nan, math.inf, -math.inf,
]  # fmt: skip
PIECES = [
    b",", b",,", b'"', b'""', b"\n", b"\r", b"\r\n", b"\n\n", b" ", b"\t", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf",
    b"nan", b"inf", b"-1", b"1e400", b"0", b"1", b"99999999999999999999", b"{", b"}", b"[", b"]", b":", b"null",
    b"\\u0000", b"\xc3\x28", b"\xed\xa0\x80", b"SPEAKER", b"target", b"../", b"/", b"<NA>", b";", b"'", b"\x1b[31m",
    b"\xe2\x80\xa8", b"\x85", b"\x0c", b"\x1c", b"/" + 300 * b"x", b"9" * 5000,
]  # fmt: skip


def damaged_bytes(data: bytes, rng: np.random.Generator, *, header: int = 0) -> bytes:
    """One to four times: bits, bytes, numbers, pieces cut, doubled, filled, or cut off.

    Args:
      data: what is damaged.
      rng: draws.
      header: half of the damage goes into so many first bytes, if any.
    """
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        if len(changed) < 2:
            break
        reach = min(len(changed), header) if header and rng.random() < 0.5 else len(changed)
        at = int(rng.integers(reach))
        run = int(rng.integers(1, 1 + min(64, len(changed) - at)))
        match rng.integers(8):
            case 0 | 1:
                changed[at] ^= 1 << int(rng.integers(8))
            case 2:
                changed[at] = int(rng.integers(256))
            case 3:
                width = int(rng.choice([1, 2, 4, 8]))
                changed[at : at + width] = (int(rng.choice([0, 1, 2**31, 2**63 - 1])) % (1 << 8 * width)).to_bytes(
                    width, "little"
                )
            case 4:
                del changed[at : at + run if rng.random() < 0.7 else None]
            case 5:
                changed[at:at] = changed[at : at + run] * int(rng.integers(1, 20))
            case 6:
                changed[at : at + run] = rng.bytes(run)
            case 7:
                changed[at : at + run] = bytes([int(rng.choice([0, 255]))]) * run
    return bytes(changed)


def damaged_text(data: bytes, rng: np.random.Generator) -> bytes:
    """One to four times: pieces that mean something put in, lines doubled, exchanged or cut, or mere bytes damaged."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(len(changed) + 1))
        match rng.integers(6):
            case 0 | 1:
                changed[at:at] = PIECES[int(rng.integers(len(PIECES)))]
            case 2:
                end = at + int(rng.integers(1, 12))
                changed[at:end] = PIECES[int(rng.integers(len(PIECES)))]
            case 3:
                lines = bytes(changed).split(b"\n")
                one, other = rng.integers(len(lines), size=2)
                lines[one], lines[other] = lines[other], lines[one] if rng.random() < 0.5 else lines[other]
                changed = bytearray(b"\n".join(lines))
            case 4:
                cells = bytes(changed).replace(b",", b" , ").split(b" ")
                del cells[int(rng.integers(len(cells)))]
                changed = bytearray(b" ".join(cells))
            case 5:
                changed = bytearray(damaged_bytes(bytes(changed), rng))
    return bytes(changed)


def damaged_values(value: Any, rng: np.random.Generator) -> Any:
    """A JSON value, one to three parts of it changed: extreme numbers, other types, keys gone or renamed."""
    for _ in range(rng.integers(1, 4)):
        value = _damaged_once(value, rng)
    return value


def _damaged_once(value: Any, rng: np.random.Generator) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = list(value)[int(rng.integers(len(value)))]
        if rng.random() < 0.8:
            return {**value, key: _damaged_once(value[key], rng)}
        kept = {name: one for name, one in value.items() if name != key}
        return {**kept, **({} if rng.random() < 0.5 else {f"{key}_": value[key]})}
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = int(rng.integers(len(value)))
        changed = [_damaged_once(one, rng) if number == place else one for number, one in enumerate(value)]
        return changed if rng.random() < 0.8 else changed + changed[:1]
    if isinstance(value, int | float) and rng.random() < 0.7:
        near = value + int(rng.integers(-3, 4)) if isinstance(value, int) else value * float(rng.uniform(-2, 2))
        return near if rng.random() < 0.4 else EXTREMES[int(rng.integers(len(EXTREMES)))]
    # A copy: what is made of it may be changed.
    return copy.deepcopy(STRANGE[int(rng.integers(len(STRANGE)))])
