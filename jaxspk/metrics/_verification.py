r"""Scores of speaker verification: of trials, each a score and whether the two voices were the same speaker's.

A trial is accepted where its score reaches a threshold. *Misses* are same-speaker trials that are rejected, *false
alarms* different-speaker trials that are accepted, both as fractions of their kind. Trials with equal scores are
accepted or rejected together, so no value depends on the order of the trials. All take n log n time.

Scores are higher for more similar voices; labels are 1 (same speaker) and 0, or booleans. For all functions:
:class:`~jaxspk.errors.ArgumentError` where lengths differ, a label is another value, a score is not a number, or one
of the two kinds of trials is absent; :class:`~jaxspk.errors.ArgumentTypeError` where scores are not real numbers.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int
from numpy import ndarray
from numpy.typing import ArrayLike

from jaxspk._checks import check_range
from jaxspk.errors import ArgumentError, ArgumentTypeError


class DetCurve(NamedTuple):
    """Error rates at every threshold that tells trials apart, from accepting all to rejecting all."""

    miss_rates: Float64[ndarray, " points"]
    """Rises from 0 to 1."""
    false_alarm_rates: Float64[ndarray, " points"]
    """Falls from 1 to 0."""
    thresholds: Float64[ndarray, " points"]
    """Trials of at least this score are accepted; the last is infinite."""


class EqualErrorRate(NamedTuple):
    """What :func:`equal_error_rate` returns."""

    eer: float
    """A fraction."""
    threshold: float
    """The score at which it is reached."""


def det_curve(scores: ArrayLike, labels: ArrayLike) -> DetCurve:
    """Detection error trade-off: miss and false-alarm rates at every distinct score.

    Args:
      scores: ``[trials]``, higher for more similar voices.
      labels: ``[trials]``, 1 for trials of the same speaker.

    Example:
      >>> curve = det_curve([1.0, 2.0, 3.0], [0, 0, 1])
      >>> curve.miss_rates, curve.false_alarm_rates
      (array([0., 0., 0., 1.]), array([1. , 0.5, 0. , 0. ]))
    """
    return curve_of(tally(*checked_trials(scores, labels)))


def equal_error_rate(scores: ArrayLike, labels: ArrayLike) -> EqualErrorRate:
    """The error rate at the threshold where misses and false alarms are equally frequent.

    Between two neighbouring points of :func:`det_curve` both rates and the threshold are interpolated linearly.

    Args:
      scores: ``[trials]``, higher for more similar voices.
      labels: ``[trials]``, 1 for trials of the same speaker.

    Returns:
      The rate, a fraction, and the threshold. 0 where some threshold separates all trials, 0.5 where all scores are
      equal.

    Example:
      >>> equal_error_rate([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
      EqualErrorRate(eer=0.5, threshold=0.4)
    """
    return eer_of_curve(det_curve(scores, labels))


def min_dcf(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    p_target: float,
    cost_miss: float | int = 1,
    cost_false_alarm: float | int = 1,
) -> float:
    r"""Smallest detection cost over all thresholds, normalised.

    .. math::
        \min_\tau \frac{C_\text{miss}\, p\, P_\text{miss}(\tau) + C_\text{fa} (1 - p) P_\text{fa}(\tau)}
        {\min\bigl(C_\text{miss}\, p,\; C_\text{fa} (1 - p)\bigr)}

    Args:
      scores: ``[trials]``, higher for more similar voices.
      labels: ``[trials]``, 1 for trials of the same speaker.
      p_target: how often trials are of the same speaker where the system will be used, between 0 and 1; 0.01 and
        0.05 are common.
      cost_miss: of a miss, above 0.
      cost_false_alarm: of a false alarm, above 0.

    Returns:
      Between 0 and 1, which accepting or rejecting everything costs.

    Raises:
      ArgumentError: ``p_target`` or a cost is out of range; for trials see the top of this module.

    Example:
      >>> min_dcf([1.0, 2.0, 3.0, 4.0], [0, 1, 0, 1], p_target=0.5)
      0.5

    References:
      NIST, *Speaker recognition evaluation plan*, 2016, section 3.
    """
    weights = cost_weights(p_target, cost_miss, cost_false_alarm)
    return min_dcf_of_curve(det_curve(scores, labels), *weights)


def actual_dcf(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    p_target: float,
    threshold: float | int | None = None,
    cost_miss: float | int = 1,
    cost_false_alarm: float | int = 1,
) -> float:
    r"""Detection cost at one threshold, on the scale of :func:`min_dcf`: what decisions do cost.

    Args:
      scores: ``[trials]``, higher for more similar voices.
      labels: ``[trials]``, 1 for trials of the same speaker.
      p_target: as in :func:`min_dcf`.
      threshold: trials of at least this score are accepted. ``None`` takes scores for natural-logarithm likelihood
        ratios, whose threshold is Bayes's, :math:`\log \frac{C_\text{fa} (1 - p)}{C_\text{miss}\, p}`.
      cost_miss: of a miss, above 0.
      cost_false_alarm: of a false alarm, above 0.

    Returns:
      At least :func:`min_dcf`; 1 is what accepting or rejecting everything costs.

    Raises:
      ArgumentError: ``p_target`` or a cost is out of range; for trials see the top of this module.

    Example:
      >>> actual_dcf([-1.0, 1.0, -1.0, 1.0], [0, 1, 0, 0], p_target=0.5)
      0.3333333333333333
    """
    miss, false_alarm = cost_weights(p_target, cost_miss, cost_false_alarm)
    values, same = checked_trials(scores, labels)
    if threshold is None:
        threshold = float(np.log(false_alarm / miss))
    accepted = values >= threshold
    return float(miss * np.mean(~accepted[same]) + false_alarm * np.mean(accepted[~same]))


def cllr(scores: ArrayLike, labels: ArrayLike) -> float:
    r"""Cost of log-likelihood ratios, in bits: how good scores are as probabilities, at all thresholds at once.

    .. math::
        \frac{1}{2 \log 2} \Bigl[\operatorname{mean}_\text{same} \log(1 + e^{-s})
        + \operatorname{mean}_\text{different} \log(1 + e^{s})\Bigr]

    Args:
      scores: ``[trials]``, natural-logarithm likelihood ratios of "same" to "different speaker"; may be infinite.
      labels: ``[trials]``, 1 for trials of the same speaker.

    Returns:
      0 for certain and right; 1 for saying nothing (all scores 0); more where scores mislead, up to infinity.

    Example:
      >>> cllr([0.0, 0.0], [0, 1])
      1.0

    References:
      Brümmer and du Preez, *Application-independent evaluation of speaker detection*, Computer Speech & Language 20,
      2006, eq. (37).
    """
    values, same = checked_trials(scores, labels, infinite=True)
    missed, alarmed = np.logaddexp(0, -values[same]), np.logaddexp(0, values[~same])
    return float((missed.mean() + alarmed.mean()) / (2 * np.log(2)))


def min_cllr(scores: ArrayLike, labels: ArrayLike) -> float:
    """:func:`cllr` after the best increasing map of the scores: what is left is lost discrimination, not calibration.

    The map is found on the trials themselves, by isotonic regression (pool adjacent violators).

    Args:
      scores: ``[trials]``, higher for more similar voices, on any scale.
      labels: ``[trials]``, 1 for trials of the same speaker.

    Returns:
      From 0, where some threshold separates all trials, to 1.

    Example:
      >>> min_cllr([-5.0, -4.0, 7.0], [0, 0, 1])
      0.0
    """
    return min_cllr_of(tally(*checked_trials(scores, labels)))


# --- On trials that are checked and sorted, for those who need several of the numbers. ---


class Tally(NamedTuple):
    """Trials by score."""

    values: Float64[ndarray, " values"]
    """The distinct scores in rising order."""
    targets: Int[ndarray, " values"]
    """How many trials of the same speaker have each."""
    nontargets: Int[ndarray, " values"]


def tally(scores: Float64[ndarray, " trials"], same: Bool[ndarray, " trials"]) -> Tally:
    """Sorts checked trials, the only n log n step of all."""
    order = np.argsort(scores)
    ordered = scores[order]
    lasts = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    targets = np.diff(np.cumsum(same[order])[lasts], prepend=0)
    return Tally(ordered[lasts], targets, np.diff(lasts, prepend=-1) - targets)


def curve_of(tallied: Tally) -> DetCurve:
    """See :func:`det_curve`."""
    misses, correct = (np.concatenate([[0], np.cumsum(counts)]) for counts in (tallied.targets, tallied.nontargets))
    return DetCurve(
        miss_rates=misses / misses[-1],
        false_alarm_rates=1 - correct / correct[-1],
        thresholds=np.append(tallied.values, np.inf),
    )


def min_dcf_of_curve(curve: DetCurve, miss: float, false_alarm: float) -> float:
    """See :func:`min_dcf`; the costs are :func:`cost_weights`."""
    return float(np.min(miss * curve.miss_rates + false_alarm * curve.false_alarm_rates))


def min_cllr_of(tallied: Tally) -> float:
    """See :func:`min_cllr`."""
    from scipy.optimize import isotonic_regression

    targets, nontargets = tallied.targets, tallied.nontargets
    counts = targets + nontargets
    posterior = isotonic_regression(targets / counts, weights=counts).x
    with np.errstate(divide="ignore"):
        ratios = np.log(posterior) - np.log1p(-posterior) - np.log(targets.sum() / nontargets.sum())
    # Values that no trial of a kind has cost nothing there, however far out they are.
    missed, alarmed = np.logaddexp(0, -ratios[targets > 0]), np.logaddexp(0, ratios[nontargets > 0])
    bits = missed @ targets[targets > 0] / targets.sum() + alarmed @ nontargets[nontargets > 0] / nontargets.sum()
    return float(bits / (2 * np.log(2)))


def eer_of_curve(curve: DetCurve) -> EqualErrorRate:
    """The point of a curve where both rates are equal; between two of its points all is linear."""
    gaps = curve.miss_rates - curve.false_alarm_rates
    # From -1 to 1, and never down: the first point that is not below 0 is at or just past the crossing.
    after = int(np.searchsorted(gaps, 0))
    before = after - 1
    share = -gaps[before] / (gaps[after] - gaps[before])
    rate = curve.miss_rates[before] + share * (curve.miss_rates[after] - curve.miss_rates[before])
    # Rejecting all begins just above the highest score.
    low, high = curve.thresholds[before], min(curve.thresholds[after], np.nextafter(curve.thresholds[-2], np.inf))
    return EqualErrorRate(float(rate), float(low + share * (high - low)))


def cost_weights(p_target: float, cost_miss: float | int = 1, cost_false_alarm: float | int = 1) -> tuple[float, float]:
    """What a miss rate and a false-alarm rate of 1 cost, on the normalised scale."""
    if not 0 < p_target < 1:
        raise ArgumentError(f"`p_target` must lie between 0 and 1, got {p_target!r}.")
    check_range("cost_miss", cost_miss, low=0, low_open=True)
    check_range("cost_false_alarm", cost_false_alarm, low=0, low_open=True)
    miss, false_alarm = cost_miss * p_target, cost_false_alarm * (1 - p_target)
    return miss / min(miss, false_alarm), false_alarm / min(miss, false_alarm)


def checked_trials(
    scores: ArrayLike, labels: ArrayLike, *, infinite: bool = False
) -> tuple[Float64[ndarray, " trials"], Bool[ndarray, " trials"]]:
    """Checked scores, and which trials are of the same speaker."""
    values, same = np.asarray(scores), np.asarray(labels)
    if values.dtype.kind == "b" or not np.can_cast(values.dtype, np.float64, "same_kind"):
        raise ArgumentTypeError(f"`scores` must hold real numbers, got dtype {values.dtype}.")
    if values.ndim != 1 or same.shape != values.shape:
        raise ArgumentError(
            f"`scores` and `labels` must have one value a trial, [trials], got {values.shape} and {same.shape}."
        )
    values = values.astype(np.float64)
    if not (~np.isnan(values) if infinite else np.isfinite(values)).all():
        raise ArgumentError(f"`scores` must be {'numbers' if infinite else 'finite'}, got NaN or infinity.")
    if same.dtype.kind not in "biuf" or not ((same == 0) | (same == 1)).all():
        raise ArgumentError("`labels` must be 1 (same speaker) or 0 (different speakers), got other values.")
    same = same.astype(bool)
    if same.all() or not same.any():
        missing = "different speakers" if same.all() else "the same speaker"
        raise ArgumentError(f"`labels` must hold trials of both kinds, got none of {missing}.")
    return values, same
