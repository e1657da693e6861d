"""Recordings small enough for a page: MP3 of 24 kbit/s, made block by block, which every browser plays."""

import io
from collections.abc import Iterable

import numpy as np
import soundfile
from jaxtyping import Float

from jaxspk import _checks

COMPRESSED_RATE = 16_000
"""Hz, of which 24 kbit/s make good speech."""
COMPRESSED_BYTES = 3_015
"""A second."""

_BLOCK = 16_000


def compressed(blocks: Iterable[Float[np.ndarray, " _"]], *, gain: float = 1.0) -> bytes:
    """An MP3 file of a recording that comes in blocks at :data:`COMPRESSED_RATE`.

    Args:
      blocks: of samples; what exceeds full scale is clipped.
      gain: they are multiplied with it.
    """
    _checks.check_range("gain", gain, low=0.0)
    file = io.BytesIO()
    # A constant bit rate: players find any place in it at once.
    options = {"format": "MP3", "subtype": "MPEG_LAYER_III", "compression_level": 0.9, "bitrate_mode": "CONSTANT"}
    with soundfile.SoundFile(file, "w", samplerate=COMPRESSED_RATE, channels=1, **options) as writer:
        for block in blocks:
            for first in range(0, len(block), _BLOCK):
                writer.write(np.clip(np.float32(gain) * block[first : first + _BLOCK], -1, 1))
    return file.getvalue()
