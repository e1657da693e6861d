"""Where and how loud somebody speaks: the active-speech level of ITU-T P.56, and activity by energy.

Recordings have any length, so this runs in NumPy on the host, where nothing is compiled for each.
"""

import math
from typing import NamedTuple

import numpy as np
import scipy.signal
from jaxtyping import Bool, Float, Int

from jaxspk import _checks
from jaxspk.errors import ArgumentError

MARGIN_DB = 15.9
"""P.56: the active level lies so far above the threshold that decides what is active."""
TIME_CONSTANT_SECONDS = 0.03
HANGOVER_SECONDS = 0.2


class SpeechLevel(NamedTuple):
    """What P.56 measures.

    Attributes:
      active_level: root of the mean square over the active time, linear, full scale is 1; 0 for silence.
      activity: the active share of the time, in [0, 1].
      level: root of the mean square over all the time.
    """

    active_level: float
    activity: float
    level: float


def active_level(
    waveform: Float[np.ndarray, " samples"], sample_rate: int, *, high_pass_hz: float | int | None = None
) -> float:
    """Active-speech level of ITU-T P.56, a linear amplitude; 0 for silence. See :func:`speech_level`."""
    return speech_level(waveform, sample_rate, high_pass_hz=high_pass_hz).active_level


def speech_level(
    waveform: Float[np.ndarray, " samples"], sample_rate: int, *, high_pass_hz: float | int | None = None
) -> SpeechLevel:
    r"""Measures the level of speech while it is active, as ITU-T P.56 (method B) defines it.

    The rectified signal is smoothed twice by :math:`g = e^{-1/(0.03\,\mathrm{s}\, f_s)}`:

    .. math:: p_i = g\, p_{i-1} + (1 - g) |x_i|, \qquad q_i = g\, q_{i-1} + (1 - g)\, p_i .

    For a threshold :math:`c` a sample is active while :math:`q_i \ge c` and for a hangover of 0.2 s after.
    With :math:`a(c)` active samples and :math:`E = \sum x_i^2`, the active level is :math:`\sqrt{E / a(c)}`
    at the threshold that lies 15.9 dB below it:

    .. math:: 10 \log_{10} \frac{E}{a(c)} - 20 \log_{10} c = 15.9\ \mathrm{dB} .

    The standard's meter counts for fifteen fixed thresholds 6 dB apart and interpolates between two; here the
    threshold itself is sought, by halving to 0.001 dB, so the measure scales exactly with the signal.

    Args:
      waveform: one channel without offset.
      sample_rate: Hz.
      high_pass_hz: measure only what lies above, as Voicebox's ``activlev`` does from 200 Hz on (a Chebyshev filter of
        the second kind and fifth order, down by 0.25 dB here and by 50 dB below). None takes all.

    Returns:
      Level, activity and long-term level. A click too short to reach the margin is as active as its hangover.

    Raises:
      ArgumentError: not one axis, no samples, values that are not finite, or a band beyond the sample rate.

    References:
      ITU-T Recommendation P.56, *Objective measurement of active speech level* (12/2011), clause 7.
    """
    x = np.asarray(waveform, np.float64)
    if x.ndim != 1 or x.size == 0:
        raise ArgumentError(f"`waveform` must be [samples] with at least one, got shape {x.shape}.")
    _checks.check_range("sample_rate", sample_rate, low=1)
    peak = float(np.abs(x).max())
    if not math.isfinite(peak):
        raise ArgumentError("`waveform` must be finite, got NaN or infinity.")
    if peak == 0:
        return SpeechLevel(0.0, 0.0, 0.0)
    x = x / peak  # Squares of tiny samples would underflow.
    if high_pass_hz is not None:
        x = _high_passed(x, sample_rate, high_pass_hz)
    energy = float(np.square(x).sum())
    if energy == 0:
        return SpeechLevel(0.0, 0.0, 0.0)
    envelope = _envelope(np.abs(x), sample_rate)
    hangover = math.ceil(HANGOVER_SECONDS * sample_rate)

    def excess_db(threshold_db: float) -> float:
        active = _active_samples(envelope, 10 ** (threshold_db / 20), hangover)
        return 10 * math.log10(energy / active) - threshold_db - MARGIN_DB

    # No threshold below this has a negative excess, for no more than all samples are active.
    low = high = 10 * math.log10(energy / x.size) - MARGIN_DB
    highest = 20 * math.log10(float(envelope.max())) - 1e-6  # Reached, whatever the logarithm rounds.
    while high < highest and excess_db(high) > 0:
        low, high = high, min(high + 1, highest)
    while high - low > 0.001 and excess_db(high) <= 0:
        middle = (low + high) / 2
        low, high = (middle, high) if excess_db(middle) > 0 else (low, middle)
    active = _active_samples(envelope, 10 ** (min(high, highest) / 20), hangover)
    return SpeechLevel(peak * math.sqrt(energy / active), active / x.size, peak * math.sqrt(energy / x.size))


def voice_activity(
    waveform: Float[np.ndarray, " samples"],
    *,
    threshold_db: float = 60.0,
    frame_length: int = 2048,
    hop_length: int = 512,
) -> Bool[np.ndarray, " frames"]:
    r"""Which frames are loud enough, relative to the loudest.

    Frame t is active where the mean square of the ``frame_length`` samples centred on ``t * hop_length``
    (zeros beyond the ends) lies less than ``threshold_db`` below that of the loudest frame.

    Args:
      waveform: one channel, at least one sample.
      threshold_db: positive.
      frame_length: samples.
      hop_length: samples.

    Returns:
      ``1 + samples // hop_length`` values (even ``frame_length``); all false for silence.

    Raises:
      ArgumentError: not one axis, no samples, or an argument outside its range.
    """
    x = np.asarray(waveform, np.float64)
    if x.ndim != 1 or x.size == 0:
        raise ArgumentError(f"`waveform` must be [samples] with at least one, got shape {x.shape}.")
    _checks.check_range("threshold_db", threshold_db, low=0, low_open=True)
    _checks.check_range("frame_length", frame_length, low=1)
    _checks.check_range("hop_length", hop_length, low=1)
    squares = np.pad(np.square(x), frame_length // 2)
    power = np.lib.stride_tricks.sliding_window_view(squares, frame_length)[::hop_length].mean(-1)
    return np.asarray(power > power.max() * 10 ** (-threshold_db / 10))


def active_intervals(
    waveform: Float[np.ndarray, " samples"],
    *,
    threshold_db: float = 60.0,
    frame_length: int = 2048,
    hop_length: int = 512,
) -> Int[np.ndarray, "intervals 2"]:
    """Runs of active frames of :func:`voice_activity`: a row is its first sample and the one after its last.

    Silence has no interval. Arguments and errors are those of :func:`voice_activity`.

    Example:
      >>> import numpy as np
      >>> active_intervals(np.repeat([0.0, 0.5, 0.0], 8192)).tolist()
      [[7680, 17408]]
    """
    active = voice_activity(waveform, threshold_db=threshold_db, frame_length=frame_length, hop_length=hop_length)
    edges = np.flatnonzero(np.diff(active, prepend=False, append=False)) * hop_length
    return np.minimum(edges, len(waveform)).reshape(-1, 2)


def _high_passed(
    x: Float[np.ndarray, " samples"], sample_rate: int, edge_hz: float | int
) -> Float[np.ndarray, " samples"]:
    """What lies above an edge, where the filter is down by 0.25 dB."""
    _checks.check_range("high_pass_hz", edge_hz, low=0, low_open=True, high=0.49 * sample_rate)
    order, edge_db, stop_db = 5, 0.25, 50
    # SciPy wants the edge of the stop band: the Chebyshev polynomial takes the loss from the one edge to the other.
    ratio = math.cosh(math.acosh(math.sqrt((10 ** (stop_db / 10) - 1) / (10 ** (edge_db / 10) - 1))) / order)
    stop_hz = sample_rate / math.pi * math.atan(math.tan(math.pi * edge_hz / sample_rate) / ratio)
    sections = scipy.signal.cheby2(order, stop_db, stop_hz, "highpass", output="sos", fs=sample_rate)
    return np.asarray(scipy.signal.sosfilt(sections, x))


def _envelope(rectified: Float[np.ndarray, " samples"], sample_rate: int) -> Float[np.ndarray, " samples"]:
    """Both smoothings of P.56 as one filter of second order."""
    g = math.exp(-1 / (TIME_CONSTANT_SECONDS * sample_rate))
    return np.asarray(scipy.signal.lfilter([(1 - g) ** 2], [1, -2 * g, g * g], rectified))


def _active_samples(envelope: Float[np.ndarray, " samples"], threshold: float, hangover: int) -> int:
    """Samples where the envelope reaches the threshold or did within the hangover before; at least 1."""
    reached = np.flatnonzero(envelope >= threshold)
    gaps = np.diff(reached, append=len(envelope))
    return max(1, int(np.minimum(gaps, hangover + 1).sum()))
