"""What can be done to a sound: played faster, put into a room, noise laid under it; pure functions of arrays."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex64, Float, Float32

from jaxspk import audio
from jaxspk.data._sounds import Sound
from jaxspk.errors import ArgumentError

# Samples from the start of a stored impulse response to its direct sound, at most, in seconds.
_DIRECT_SECONDS = 0.004

_EQUALIZER_POINTS = 8


def check_sounds(name: str, share: float, sounds: Sequence[Sound]) -> None:
    """Refuses a share of something of which there is nothing."""
    if share > 0 and not sounds:
        raise ArgumentError(f"`{name}` must not be empty where {name.removesuffix('s')}_share is {share:g}; read some.")


def change_speed(
    waveform: Float32[np.ndarray, " samples"], speed: float, sample_rate: int
) -> Float32[np.ndarray, " changed"]:
    """The sound played so many times faster, by resampling: pitch and formants move with it."""
    played_at = _played_at(speed, sample_rate)
    if played_at == sample_rate:
        return waveform
    changed: np.ndarray = audio.resample(waveform, played_at, sample_rate)
    return changed


def samples_to_play(samples: int, speed: float, sample_rate: int) -> int:
    """How many samples are left with ``samples`` at least when they are played so fast."""
    played_at = _played_at(speed, sample_rate)
    # One more, for the length is rounded.
    return samples if played_at == sample_rate else math.ceil(samples * played_at / sample_rate) + 1


def reverberate(
    waveform: Float32[np.ndarray, " samples"], response: Float32[np.ndarray, " taps"]
) -> Float32[np.ndarray, " samples"]:
    """The sound in a room, of the same length, energy and start: the direct sound comes when it came."""
    import scipy.signal  # Reading a corpus need not wait for it.

    return _as_loud(waveform, scipy.signal.oaconvolve(waveform, response), _direct(response))


def reverberate_crop(
    waveform: Float32[np.ndarray, " samples"], room: Sound, *, tail_db: float, sample_rate: int
) -> Float32[np.ndarray, " samples"]:
    """:func:`reverberate` by :func:`at_distance`, for many sounds of one length: the room's spectra are kept.

    Args:
      waveform: the sound.
      room: whose impulse response it is convolved with.
      tail_db: level of the echo above the recorded one.
      sample_rate: in Hz.
    """
    import scipy.fft

    spectra = _room_spectra(room, len(waveform), sample_rate)
    response = spectra.direct + np.float32(10 ** (tail_db / 20)) * spectra.echo
    wet = scipy.fft.irfft(scipy.fft.rfft(waveform, spectra.length) * response, spectra.length)
    return _as_loud(waveform, wet, spectra.first)


def noise_at(
    voices: Float32[np.ndarray, " samples"], noise: Float32[np.ndarray, " noise"], snr_db: float, *, start: float
) -> Float32[np.ndarray, " samples"]:
    """A stretch of the noise, gone round where it is too short, so much softer than the voices in mean power.

    Args:
      voices: what it is to be added to.
      noise: not silent.
      snr_db: by how much softer.
      start: where in the noise the stretch begins, in [0, 1).
    """
    first = int(start * len(noise))
    stretch = np.take(noise, np.arange(first, first + len(voices)), mode="wrap")
    power = float(np.dot(stretch, stretch))
    if not power > 0:
        # This stretch of it happens to be silent.
        return np.zeros_like(voices)
    level = np.sqrt(float(np.dot(voices, voices)) / power) * 10 ** (-snr_db / 20)
    return np.asarray(stretch * level, np.float32)


def at_distance(
    response: Float32[np.ndarray, " taps"], tail_db: float, sample_rate: int
) -> Float32[np.ndarray, " taps"]:
    """The response with its echo louder or softer against the direct sound."""
    moved = np.array(response)
    moved[_early(response, sample_rate) :] *= np.float32(10 ** (tail_db / 20))
    return moved


def equalize(
    waveform: Float32[np.ndarray, " samples"], gains_db: Float[np.ndarray, " points"], sample_rate: int
) -> Float32[np.ndarray, " samples"]:
    """The sound through a filter without delay, of the same energy: another microphone, so to speak.

    Args:
      waveform: the sound.
      gains_db: of points evenly spaced on the mel scale from 0 to half the rate, two at least; a smooth curve goes
        through them.
      sample_rate: in Hz.
    """
    import scipy.fft

    length = scipy.fft.next_fast_len(2 * len(waveform), real=True)
    filtered = scipy.fft.irfft(
        scipy.fft.rfft(waveform, length) * _response(tuple(gains_db.tolist()), length, sample_rate), length
    )
    return _as_loud(waveform, filtered, 0)


def equalize_randomly(
    waveform: Float32[np.ndarray, " samples"], rng: np.random.Generator, deviation_db: float, sample_rate: int
) -> Float32[np.ndarray, " samples"]:
    """:func:`equalize` by independent normal gains at eight points."""
    return equalize(waveform, rng.normal(scale=deviation_db, size=_EQUALIZER_POINTS), sample_rate)


def _response(gains_db: tuple[float, ...], length: int, sample_rate: int) -> Float32[np.ndarray, " bins"]:
    """Gain of each bin of a transform."""
    import scipy.interpolate

    # The mel scale, but for its unit.
    bins = np.log1p(np.arange(length // 2 + 1) * (sample_rate / length) / 700)
    points = np.linspace(0.0, np.log1p(sample_rate / 2 / 700), len(gains_db))
    curve: np.ndarray = 10 ** (scipy.interpolate.CubicSpline(points, gains_db)(bins) / 20)
    return curve.astype(np.float32)


def _played_at(speed: float, sample_rate: int) -> int:
    """The rate that the samples are taken to have."""
    return round(sample_rate * speed)


class _RoomSpectra(NamedTuple):
    direct: Complex64[np.ndarray, " bins"]
    echo: Complex64[np.ndarray, " bins"]
    length: int
    """Points of the transform."""
    first: int
    """Sample at which the direct sound comes."""


@functools.lru_cache(maxsize=256)
def _room_spectra(room: Sound, samples: int, sample_rate: int) -> _RoomSpectra:
    import scipy.fft

    first = _direct(room.waveform)
    # What comes later than the sound's last sample is cut off anyway.
    response = room.waveform[: first + samples]
    length = scipy.fft.next_fast_len(samples + len(response), real=True)
    echo = np.array(response)
    echo[: _early(response, sample_rate)] = 0
    return _RoomSpectra(scipy.fft.rfft(response - echo, length), scipy.fft.rfft(echo, length), length, first)


def _direct(response: Float32[np.ndarray, " taps"]) -> int:
    return int(np.argmax(np.abs(response)))


def _early(response: Float32[np.ndarray, " taps"], sample_rate: int) -> int:
    """Taps that count as the direct sound."""
    return _direct(response) + round(_DIRECT_SECONDS * sample_rate)


def _as_loud(
    dry: Float32[np.ndarray, " samples"], wet: Float32[np.ndarray, " convolved"], first: int
) -> Float32[np.ndarray, " samples"]:
    """The stretch from ``first`` on that is as long as the dry sound, with its energy."""
    wet = wet[first : first + len(dry)]
    energy = float(np.dot(wet, wet))
    level = np.sqrt(float(np.dot(dry, dry)) / energy) if energy > 0 else 1.0
    return np.asarray(wet * level, np.float32)
