"""Writes recordings: WAV by itself, FLAC through libsndfile."""

import os
import struct
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from jaxspk import _checks
from jaxspk._files import write_whole
from jaxspk.audio._files import SAMPLE_RATES, check_floating, flac_bytes, printable
from jaxspk.errors import ArgumentError, AudioError

_BITS = {"FLOAT": 32, "PCM_16": 16, "PCM_24": 24}


def write_audio(
    path: str | os.PathLike[str],
    waveform: Float[np.ndarray, " samples"] | Float[np.ndarray, "samples channels"],
    sample_rate: int,
    *,
    subtype: Literal["FLOAT", "PCM_16", "PCM_24"] = "FLOAT",
) -> int:
    r"""Writes a WAV or FLAC file, whole or not at all.

    The file is written beside under another name and renamed into place. The same samples give the same
    bytes. PCM is :math:`\lfloor 2^{b-1} x + 1/2 \rfloor`, without dither; what leaves the range is clipped,
    never wrapped round.

    Args:
      path: ends in ``.wav`` or ``.flac``; its folder exists.
      waveform: ``[samples]`` or ``[samples, channels]``, floating, full scale is 1.
      sample_rate: Hz.
      subtype: ``FLOAT`` (32 bits, never clipped, not for FLAC), ``PCM_16`` or ``PCM_24``.

    Returns:
      How many samples were clipped: those outside [-1, 1], 0 for ``FLOAT``.

    Raises:
      AudioError: the name or folder will not do, the samples are not finite, or they do not fit the
        container.
      ArgumentError: wrong axes, rate or subtype.
      ArgumentTypeError: ``waveform`` is not floating.
    """
    name = printable(path)
    waveform = np.asarray(waveform)
    _checks.check_choice("subtype", subtype, tuple(_BITS))
    _checks.check_range("sample_rate", sample_rate, low=SAMPLE_RATES[0], high=SAMPLE_RATES[1])
    check_floating("waveform", waveform)
    if waveform.ndim not in (1, 2) or waveform.size == 0:
        raise ArgumentError(f"`waveform` must be [samples] or [samples, channels], got shape {waveform.shape}.")
    if not np.isfinite(waveform).all():
        raise AudioError(f"{name}: not written: the waveform holds values that are not finite.")
    samples, clipped = quantized(waveform.reshape(len(waveform), -1), subtype)
    match Path(path).suffix.lower():
        case ".wav":
            content = _wav_bytes(samples, sample_rate, subtype, name)
        case ".flac":
            if subtype == "FLOAT":
                raise AudioError(f"{name}: not written: FLAC holds no floats; take subtype='PCM_24', or a .wav.")
            content = flac_bytes(samples, sample_rate, name)
        case suffix:
            raise AudioError(f"{name}: not written: recordings are written as .wav or .flac, not {suffix!r}.")
    try:
        write_whole(Path(path), content)
    except OSError as error:
        raise AudioError(f"{name}: cannot be written: {error.strerror}.") from None
    return clipped


def quantized(waveform: np.ndarray, subtype: str) -> tuple[np.ndarray, int]:
    """float32, int16 or (24 bits) int32, and how many samples were clipped."""
    if subtype == "FLOAT":
        return waveform.astype("<f4"), 0
    steps = 2.0 ** (_BITS[subtype] - 1)
    clipped = int(np.count_nonzero(np.abs(waveform) > 1))
    codes = np.clip(np.floor(waveform.astype(np.float64) * steps + 0.5), -steps, steps - 1)
    return codes.astype("<i2" if subtype == "PCM_16" else "<i4"), clipped


def _wav_bytes(samples: np.ndarray, sample_rate: int, subtype: str, name: str) -> bytes:
    """A canonical RIFF file; libsndfile would put the time of day into a float file's PEAK chunk."""
    length, channels = samples.shape
    before, after = wav_frame(length, channels, sample_rate, subtype, name)
    return before + sample_bytes(samples, subtype) + after


def sample_bytes(samples: np.ndarray, subtype: str) -> bytes:
    """The samples of :func:`quantized` as they stand in a WAV file."""
    if subtype == "PCM_24":
        return samples.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    return samples.tobytes()


def wav_frame(length: int, channels: int, sample_rate: int, subtype: str, name: str) -> tuple[bytes, bytes]:
    """What stands before and after the samples of a WAV file: RIFF, and RF64 (EBU Tech 3306) from 4 GiB on."""
    width = _BITS[subtype] // 8
    block = channels * width
    content = length * block
    if block > 0xFFFF or block * sample_rate > 0xFFFFFFFF:
        raise AudioError(f"{name}: not written: {channels} channels at {sample_rate} Hz do not fit into a WAV.")
    is_float = subtype == "FLOAT"
    layout = struct.pack("<HHIIHH", 3 if is_float else 1, channels, sample_rate, sample_rate * block, block, 8 * width)
    chunks = _chunk(b"fmt ", layout + b"\0\0" * is_float)  # A coding other than PCM tells the size of its extension.
    if is_float:
        chunks += _chunk(b"fact", struct.pack("<I", min(length, 0xFFFFFFFF)))
    padding = b"\0" * (content % 2)
    size = len(b"WAVE") + len(chunks) + 8 + content + len(padding)
    if size <= 0xFFFFFF00:
        return b"RIFF" + struct.pack("<I", size) + b"WAVE" + chunks + b"data" + struct.pack("<I", content), padding
    sizes = _chunk(b"ds64", struct.pack("<QQQI", size + 36, content, length, 0))
    unknown = b"\xff\xff\xff\xff"  # Too large for the place here; ds64 has it.
    return b"RF64" + unknown + b"WAVE" + sizes + chunks + b"data" + unknown, padding


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
