"""Simulated rooms: impulse responses of boxes of random size, by image sources."""

import math

import numpy as np
from jaxtyping import Float32

from jaxspk import _checks
from jaxspk.data._sounds import Sound
from jaxspk.errors import MissingExtraError

SPEED_OF_SOUND = 343.0
"""Metres a second."""

_LOWEST, _HIGHEST = np.array([3.0, 3.0, 2.4]), np.array([10.0, 8.0, 4.0])
"""Length, width and height of a room, in metres."""
_FROM_WALLS = 0.5
"""Metres that speaker and microphone stand from a wall, at least."""
_APART = 0.3
"""Metres between them, at least."""
_LEAD = 40
"""Samples kept before the direct sound, as measured responses have them."""


def simulated_rooms(
    count: int, sample_rate: int, *, seed: int, reverberation_seconds: tuple[float, float] = (0.15, 0.6)
) -> tuple[Sound, ...]:
    r"""Impulse responses of rooms with a speaker and a microphone anywhere in them, to augment with.

    Rooms are boxes of 3 to 10 by 3 to 8 by 2.4 to 4 m with walls that absorb alike. The absorption follows from the
    reverberation time T by Sabine's formula, :math:`\alpha = 24 \ln 10\, V / (c\, S\, T)`, at most 1; image sources
    count until the echo has decayed by 40 dB. A room takes some hundredths of a second to make.

    Args:
      count: how many rooms.
      sample_rate: of the responses, in Hz.
      seed: decides all; room i does not depend on ``count``.
      reverberation_seconds: range of the time in which the echo decays by 60 dB, drawn uniformly.

    Raises:
      MissingExtraError: pyroomacoustics is not installed.
      ArgumentError: a number is outside its range.

    References:
      Allen and Berkley, *Image method for efficiently simulating small-room acoustics*, JASA 1979; computed by
      Scheibler et al., *Pyroomacoustics*, ICASSP 2018.
    """
    _checks.check_range("count", count, low=1)
    _checks.check_range("seed", seed, low=0)
    shortest, longest = reverberation_seconds
    _checks.check_range("reverberation_seconds[0]", shortest, low=0.05, high=2.0)
    _checks.check_range("reverberation_seconds[1]", longest, low=shortest, high=2.0)
    return tuple(
        Sound(f"simulated-{number}", f"simulated-{number}", _response(number, sample_rate, seed, shortest, longest))
        for number in range(count)
    )


def _response(
    number: int, sample_rate: int, seed: int, shortest: float, longest: float
) -> Float32[np.ndarray, " taps"]:
    try:
        import pyroomacoustics
    except ImportError:
        raise MissingExtraError("Simulating rooms", "augment") from None
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    size = rng.uniform(_LOWEST, _HIGHEST)
    decay = rng.uniform(shortest, longest)
    speaker, microphone = rng.uniform(_FROM_WALLS, size - _FROM_WALLS, (2, 3))
    while np.linalg.norm(speaker - microphone) < _APART:
        microphone = rng.uniform(_FROM_WALLS, size - _FROM_WALLS)

    volume, surface = math.prod(size), 2 * (size[0] * size[1] + size[0] * size[2] + size[1] * size[2])
    absorption = min(1.0, 24 * math.log(10) * volume / (SPEED_OF_SOUND * surface * decay))
    # In the time of 40 dB sound goes back and forth between the nearest walls so often.
    order = math.ceil(SPEED_OF_SOUND * decay * 40 / 60 / min(size))
    room = pyroomacoustics.ShoeBox(
        size, fs=sample_rate, materials=pyroomacoustics.Material(absorption), max_order=order
    )
    room.add_source(speaker)
    room.add_microphone(microphone)
    room.compute_rir()
    response = np.asarray(room.rir[0][0])
    direct = int(np.argmax(np.abs(response)))
    response = response[max(0, direct - _LEAD) :]
    return np.asarray(0.9 * response / np.abs(response).max(), np.float32)
