"""Where there is speech in a recording, by its energy, and windows over it.

Any quiet recording near the microphone will do. :mod:`jaxspk.systems._speech_activity` finds speech in noise.
"""

import dataclasses

import numpy as np
from jaxtyping import Float32, Int

from jaxspk import _checks

_POWER_SECONDS = 0.025
_STEP_SECONDS = 0.01

# Between the level of the background and that of the voices: speech is above this share of the way.
_BETWEEN = 0.35
# Voices and background are nearer than this: nobody speaks, or nobody ever pauses.
_LEAST_CONTRAST_DB = 6.0
_MOST_CONTRAST_DB = 60.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimelineConfig:
    """What counts as speech."""

    bridge_seconds: float = 0.3
    """Pauses up to this length are part of the speech around them."""
    shortest_speech_seconds: float = 0.2
    """Shorter stretches of sound are no speech."""

    def __post_init__(self) -> None:
        for name in ("bridge_seconds", "shortest_speech_seconds"):
            _checks.check_range(name, getattr(self, name), low=0.0, high=60.0)


def find_speech(
    waveform: Float32[np.ndarray, " samples"], sample_rate: int, config: TimelineConfig | None = None
) -> Int[np.ndarray, "stretches 2"]:
    """First sample, and the one after the last, of each stretch of speech, by energy.

    The threshold lies between the level of the background (the 10th percentile of the power of 25 ms, in decibels) and
    that of the voices (the 95th), so that neither the level of the recording nor steady noise matters.

    Args:
      waveform: of any level.
      sample_rate: Hz.
      config: which stretches are bridged and which dropped.
    """
    config = config or TimelineConfig()
    length, step = round(_POWER_SECONDS * sample_rate), round(_STEP_SECONDS * sample_rate)
    if len(waveform) < length or not waveform.any():
        return np.zeros((0, 2), int)
    # Sums of squares by differences of running sums: no matrix of windows, for recordings may be hours long.
    energy = np.concatenate([[0.0], np.cumsum(np.square(waveform, dtype=np.float64))])
    starts = np.arange(0, len(waveform) - length + 1, step)
    power = (energy[starts + length] - energy[starts]) / length
    level = 10 * np.log10(np.maximum(power, power.max() * 10 ** (-_MOST_CONTRAST_DB / 10)))
    background, voices = np.percentile(level, [10, 95])
    contrast = voices - background
    threshold = background + _BETWEEN * contrast if contrast > _LEAST_CONTRAST_DB else voices - _LEAST_CONTRAST_DB
    edges = np.flatnonzero(np.diff(level > threshold, prepend=False, append=False)).reshape(-1, 2) * step
    stretches = np.stack([edges[:, 0], np.minimum(edges[:, 1] - step + length, len(waveform))], axis=1)
    bridged = _bridged(stretches, round(config.bridge_seconds * sample_rate))
    long: np.ndarray = bridged[np.diff(bridged)[:, 0] >= config.shortest_speech_seconds * sample_rate]
    return long


def window_spans(speech: Int[np.ndarray, "stretches 2"], window: int, hop: int) -> Int[np.ndarray, "windows 2"]:
    """First sample, and the one after the last, of windows that cover each stretch evenly; a short stretch is one.

    Example:
      >>> window_spans(np.array([[0, 10], [50, 53]]), 4, 3).tolist()
      [[0, 4], [3, 7], [6, 10], [50, 53]]
    """
    spans = []
    for first, last in speech.tolist():
        room = max(last - first - window, 0)
        starts = first + np.linspace(0, room, 1 + -(-room // hop)).round().astype(int)
        spans.append(np.stack([starts, np.minimum(starts + window, last)], axis=1))
    return np.concatenate([np.zeros((0, 2), int), *spans])


def _bridged(stretches: Int[np.ndarray, "stretches 2"], pause: int) -> Int[np.ndarray, "bridged 2"]:
    if not len(stretches):
        return stretches
    apart = np.flatnonzero(stretches[1:, 0] - stretches[:-1, 1] > pause)
    starts = stretches[np.concatenate([[0], apart + 1]), 0]
    return np.stack([starts, stretches[np.concatenate([apart, [len(stretches) - 1]]), 1]], axis=1)
