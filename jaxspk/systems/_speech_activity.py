"""Where in a recording somebody speaks: where bands of sound rise above their background. Any length, little memory.

Energy alone (:func:`jaxspk.systems.find_speech`) does for quiet rooms. Here each of twenty bands is held against its
own background, so that steady noise, however loud, hides speech only where it lies.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator

import numpy as np
import scipy.ndimage
from jaxtyping import Float16, Float32, Int

from jaxspk import _checks

_WINDOW_SECONDS = 0.032
_STEP_SECONDS = 0.01
_BANDS = 20
_LOWEST_HZ, _HIGHEST_HZ = 100.0, 6000.0
_AT_ONCE = 4096

# Below the loudest of its band nothing is told apart from silence.
_RANGE_DB = 60.0
_SMOOTHED_FRAMES = 5
_BACKGROUND_QUANTILE = 0.1
_QUIET_PERCENTILE, _LOUD_PERCENTILE = 5.0, 95.0
# Fluctuations of steady noise stay below this.
_LEAST_RISE_DB = 7.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActivityConfig:
    """What counts as speech; chosen on conversations of speakers that train."""

    between: float = 0.3
    """Speech rises above the background by this share of what loud speech does."""
    bridge_seconds: float = 0.3
    """Pauses up to this length are part of the speech around them."""
    shortest_seconds: float = 0.15
    """Shorter stretches of sound are no speech."""

    def __post_init__(self) -> None:
        _checks.check_range("between", self.between, low=0.0, high=1.0)
        for name in ("bridge_seconds", "shortest_seconds"):
            _checks.check_range(name, getattr(self, name), low=0.0, high=60.0)


@dataclasses.dataclass(frozen=True, eq=False)
class BandLevels:
    """The power of a recording in bands, every hundredth of a second.

    Attributes:
      decibels: of each frame and band; 14 MB an hour.
      step: samples from one frame to the next.
      samples: of the recording.
      sample_rate: Hz.
    """

    decibels: Float16[np.ndarray, "frames bands"]
    step: int
    samples: int
    sample_rate: int


def band_levels(blocks: Iterable[Float32[np.ndarray, " _"]], sample_rate: int) -> BandLevels:
    """Measures a recording that comes in blocks.

    Args:
      blocks: of samples, one after another.
      sample_rate: Hz.
    """
    window, step = round(_WINDOW_SECONDS * sample_rate), round(_STEP_SECONDS * sample_rate)
    shape, filters = np.hanning(window + 1)[:-1].astype(np.float32), _filters(window, sample_rate)
    samples = 0
    waiting = np.zeros(window // 2, np.float32)
    made = [np.zeros((0, _BANDS), np.float16)]
    for block in _and_then(blocks, np.zeros(window // 2, np.float32)):
        samples += len(block)
        waiting = np.concatenate([waiting, block])
        count = max(0, 1 + (len(waiting) - window) // step)
        for first in range(0, count, _AT_ONCE):
            last = min(first + _AT_ONCE, count)
            piece = waiting[first * step : (last - 1) * step + window]
            frames = np.lib.stride_tricks.sliding_window_view(piece, window)[::step]
            powers = np.square(np.abs(np.fft.rfft(frames * shape, axis=1))) @ filters
            made.append((10 * np.log10(np.maximum(powers, 1e-14))).astype(np.float16))
        waiting = waiting[count * step :]
    return BandLevels(np.concatenate(made), step, samples - window // 2, sample_rate)


def active_stretches(levels: BandLevels, config: ActivityConfig | None = None) -> Int[np.ndarray, "stretches 2"]:
    r"""First sample, and the one after the last, of each stretch of speech.

    With :math:`L_b(t)` the level of a band in decibels, smoothed over 50 ms, and :math:`q_b` its 10th percentile, a
    frame rises above the background by

    .. math:: r(t) = \sqrt{\textstyle\frac1B \sum_b \max(L_b(t) - q_b, 0)^2}

    and is speech where :math:`r` exceeds its 5th percentile by a share of what lies between that and its 95th. The
    level of the recording does not matter.

    Args:
      levels: of the recording.
      config: which share, what is bridged and what dropped.
    """
    config = config or ActivityConfig()
    rise = _rise(levels)
    if not len(rise):
        return np.zeros((0, 2), int)
    quiet, loud = np.percentile(rise, [_QUIET_PERCENTILE, _LOUD_PERCENTILE])
    if loud < _LEAST_RISE_DB:
        return np.zeros((0, 2), int)
    speaks = rise > quiet + config.between * (loud - quiet)
    runs = np.flatnonzero(np.diff(speaks, prepend=False, append=False)).reshape(-1, 2)
    frames_a_second = levels.sample_rate / levels.step
    if len(runs):
        apart = np.flatnonzero(runs[1:, 0] - runs[:-1, 1] > config.bridge_seconds * frames_a_second)
        last = len(runs) - 1
        runs = np.stack([runs[np.append(0, apart + 1), 0], runs[np.append(apart, last), 1]], axis=1)
        runs = runs[np.diff(runs)[:, 0] >= config.shortest_seconds * frames_a_second]
    found: np.ndarray = np.minimum(runs * levels.step, levels.samples)
    return found[found[:, 1] > found[:, 0]]


def level_outline(levels: BandLevels, columns: int) -> Float32[np.ndarray, " columns"]:
    """How loud the recording is from the beginning to the end, for drawing: its highest amplitudes, over all bands."""
    if not len(levels.decibels):
        return np.zeros(0, np.float32)
    parts = np.array_split(levels.decibels, min(columns, len(levels.decibels)))
    power = np.array([float((10 ** (part.astype(np.float32) / 10)).sum(1).max()) for part in parts])
    outline: np.ndarray = np.sqrt(power).astype(np.float32)
    return outline


def _rise(levels: BandLevels) -> np.ndarray:
    """Decibels by which each frame rises above the background."""
    if not len(levels.decibels) or levels.decibels.max() <= -139:
        return np.zeros(0)
    total = np.zeros(len(levels.decibels))
    # Band by band: a recording may be hours long.
    for decibels in levels.decibels.T.astype(np.float32):
        power = 10 ** (np.maximum(decibels, decibels.max() - _RANGE_DB) / 10)
        smoothed = 10 * np.log10(scipy.ndimage.uniform_filter1d(power, _SMOOTHED_FRAMES, mode="nearest"))
        total += np.square(np.maximum(smoothed - np.quantile(smoothed, _BACKGROUND_QUANTILE), 0))
    rise: np.ndarray = np.sqrt(total / levels.decibels.shape[1])
    return rise


def _filters(window: int, sample_rate: int) -> Float32[np.ndarray, "bins bands"]:
    """Triangles, evenly spaced in mel."""
    lowest, highest = (2595 * math.log10(1 + hz / 700) for hz in (_LOWEST_HZ, min(_HIGHEST_HZ, 0.475 * sample_rate)))
    edges = 700 * (10 ** (np.linspace(lowest, highest, _BANDS + 2) / 2595) - 1)
    hertz = np.arange(window // 2 + 1)[:, None] * sample_rate / window
    rising, falling = (hertz - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - hertz) / np.diff(edges)[1:]
    triangles: np.ndarray = np.maximum(np.minimum(rising, falling), 0).astype(np.float32)
    return triangles


def _and_then(blocks: Iterable[np.ndarray], last: np.ndarray) -> Iterator[np.ndarray]:
    yield from blocks
    yield last
