"""Whether a recording is good enough to tell whose voice it is: how much speech, how noisy, how clipped.

Recordings have any length, so this runs in NumPy on the host, where nothing is compiled for each.
"""

import dataclasses
import math

import numpy as np
import scipy.ndimage
import scipy.signal
from jaxtyping import Float

from jaxspk.audio._activity import speech_level

_FRAME_SECONDS = 0.032
_QUANTILE, _SMOOTHED_FRAMES = 0.25, 3
_FLOOR_SHARE = 0.568
"""What the lower quartile is of the mean, for steady noise: measured on white noise, a minute of it."""
_SILENT = 1e-9
"""Frames so far below the loudest are digital silence: padding, that says nothing about the noise."""
_NEAR_PEAK = 0.98
MAX_SNR_DB = 60.0
"""Higher is not told apart from silence."""


@dataclasses.dataclass(frozen=True)
class RecordingQuality:
    """What :func:`recording_quality` finds.

    Attributes:
      seconds: duration.
      speech_seconds: of it, while somebody speaks (ITU-T P.56, with its hangover of 0.2 s).
      snr_db: speech over steady noise, decibels, at most 60; -inf for silence. A coarse estimate: noise that comes and
        goes is taken for speech in part.
      clipped: share of the samples within 2 % of the highest amplitude, in [0, 1]. Natural speech stays below 0.001.
    """

    seconds: float
    speech_seconds: float
    snr_db: float
    clipped: float


def recording_quality(waveform: Float[np.ndarray, " samples"], sample_rate: int) -> RecordingQuality:
    """Measures what decides whether a voice can be recognised.

    The noise is the lower quartile over time of the power of each frequency (frames of 32 ms, smoothed over three),
    divided by what that quartile is for steady noise: in the pauses and between the harmonics of speech it is reached
    even where somebody speaks all the time. Frames of digital silence do not count.

    Args:
      waveform: one channel.
      sample_rate: Hz.

    Raises:
      ArgumentError: not one axis, no samples, or values that are not finite.

    References:
      Minimum statistics for the noise: Martin, *Noise power spectral density estimation based on optimal smoothing and
      minimum statistics*, IEEE Transactions on Speech and Audio Processing 9, 2001; here with a quantile instead.
    """
    level = speech_level(waveform, sample_rate)
    seconds = len(waveform) / sample_rate
    if level.active_level == 0:
        return RecordingQuality(seconds, 0.0, -math.inf, 0.0)
    x = np.asarray(waveform, np.float64)
    magnitudes = np.abs(x)
    return RecordingQuality(
        seconds,
        level.activity * seconds,
        _snr_db(x / magnitudes.max(), sample_rate, level.activity),
        float(np.mean(magnitudes >= _NEAR_PEAK * magnitudes.max())),
    )


def _snr_db(x: Float[np.ndarray, " samples"], sample_rate: int, activity: float) -> float:
    length = max(16, 2 * round(_FRAME_SECONDS * sample_rate / 2))
    padded = np.pad(x, (0, max(0, length - len(x))))
    _, _, spectrum = scipy.signal.stft(padded, nperseg=length, noverlap=length // 2, boundary=None, padded=False)
    power = np.square(np.abs(spectrum))
    loudness = power.sum(0)
    power = power[:, loudness > _SILENT * loudness.max()]
    smoothed = scipy.ndimage.uniform_filter1d(power, _SMOOTHED_FRAMES, axis=1, mode="nearest")
    noise = float(np.quantile(smoothed, _QUANTILE, axis=1).sum()) / _FLOOR_SHARE
    active = float(power.sum()) / (max(activity, 1e-3) * len(loudness))
    if noise <= active * 10 ** (-MAX_SNR_DB / 10):
        return MAX_SNR_DB
    return 10 * math.log10(max(active - noise, 1e-3 * active) / noise)
