"""Speakers as Gaussians of their codes: mean and covariance of a stretch of speech, and distances between two."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64

from jaxspk import _checks, metrics
from jaxspk.errors import ArgumentError

DistanceName = Literal["trace", "kullback_leibler", "bhattacharyya"]

# Of codes between 0 and 1: what a unit that never moves is taken to vary by.
_LEAST_VARIANCE = 1e-8


@dataclasses.dataclass(frozen=True, eq=False)
class SpeakerStatistics:
    """The Gaussian of a stretch of speech.

    Attributes:
      mean: of the codes.
      covariance: of the codes, shrunk, positive definite.
      frames: how many codes it was measured on.
    """

    mean: Float64[np.ndarray, " units"]
    covariance: Float64[np.ndarray, "units units"]
    frames: int


def speaker_statistics(
    codes: Float[np.ndarray, "frames units"],
    *,
    shrinkage: float = 0.1,
    target: Float[np.ndarray, "units units"] | None = None,
) -> SpeakerStatistics:
    r"""Mean and covariance of codes, the covariance drawn towards a simpler one.

    .. math:: \hat\Sigma = (1 - s)\, \Sigma + s\, \Sigma_0

    Of fewer frames than units a covariance is singular, and its smallest variances are always too small; without
    shrinkage no distance that inverts it can be told.

    Args:
      codes: one a frame; give the subset that is compared, ``codes[:, :speaker_units]``. Two frames at least.
      shrinkage: :math:`s`, above 0, at most 1.
      target: :math:`\Sigma_0`, positive definite; None is the mean variance on the diagonal and 0 elsewhere.

    Raises:
      ArgumentError: fewer than two frames, values that are not finite, or an argument outside its range.
    """
    _checks.check_range("shrinkage", shrinkage, low=0.0, high=1.0, low_open=True)
    if codes.ndim != 2 or len(codes) < 2 or not codes.shape[1]:
        raise ArgumentError(f"`codes` must be [frames, units] with two frames at least, got shape {codes.shape}.")
    codes = codes.astype(np.float64)
    mean = codes.mean(0)
    if not np.isfinite(mean).all():
        raise ArgumentError("`codes` must be finite, got NaN or infinity.")
    moved = codes - mean
    covariance = moved.T @ moved / (len(codes) - 1)
    if target is None:
        target = max(float(np.trace(covariance)) / len(mean), _LEAST_VARIANCE) * np.eye(len(mean))
    _checks.check_shape("target", target, covariance.shape, "one a unit of `codes`")
    return SpeakerStatistics(mean, (1 - shrinkage) * covariance + shrinkage * target, len(codes))


def trace_distance(one: SpeakerStatistics, other: SpeakerStatistics) -> float:
    """Of the means, measured by both covariances; see :func:`jaxspk.metrics.trace_distance`."""
    return float(metrics.trace_distance(one.mean, one.covariance, other.mean, other.covariance))


def kullback_leibler_distance(one: SpeakerStatistics, other: SpeakerStatistics) -> float:
    """Symmetric divergence, both ways added; see :func:`jaxspk.metrics.kullback_leibler_distance`."""
    return float(metrics.kullback_leibler_distance(one.mean, one.covariance, other.mean, other.covariance))


def bhattacharyya_distance(one: SpeakerStatistics, other: SpeakerStatistics) -> float:
    """Minus the logarithm of the overlap; see :func:`jaxspk.metrics.bhattacharyya_distance`."""
    return float(metrics.bhattacharyya_distance(one.mean, one.covariance, other.mean, other.covariance))


DISTANCES: Mapping[DistanceName, Callable[[SpeakerStatistics, SpeakerStatistics], float]] = {
    "trace": trace_distance,
    "kullback_leibler": kullback_leibler_distance,
    "bhattacharyya": bhattacharyya_distance,
}
"""Distances of two stretches of speech by name."""


def distance_table(
    statistics: Sequence[SpeakerStatistics], distance: DistanceName = "trace"
) -> Float64[np.ndarray, "stretches stretches"]:
    """Distances of every stretch from every other one, as products of matrices: symmetric, 0 on the diagonal.

    Args:
      statistics: of the stretches.
      distance: a key of :data:`DISTANCES`.
    """
    _checks.check_choice("distance", distance, DISTANCES)
    means = np.stack([one.mean for one in statistics])
    covariances = np.stack([one.covariance for one in statistics])
    made = {"trace": _traces, "kullback_leibler": _divergences, "bhattacharyya": _overlaps}[distance](
        means, covariances
    )
    np.fill_diagonal(made, 0.0)
    return made


def _traces(means: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    one_way = np.zeros((len(means), len(means)))
    for row, precision in enumerate(np.linalg.inv(covariances)):
        moved = means - means[row]
        one_way[row] = np.einsum("nd,nd->n", moved @ precision, moved)
    return one_way + one_way.T


def _divergences(means: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    stretches, dim = means.shape
    precisions = np.linalg.inv(covariances)
    across = covariances.reshape(stretches, -1) @ precisions.reshape(stretches, -1).T
    spread = np.maximum(0.5 * (across + across.T) - dim, 0.0)
    return np.asarray(spread + 0.5 * _traces(means, covariances))


def _overlaps(means: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    made = np.zeros((len(means), len(means)))
    for row in range(len(means) - 1):
        rest = slice(row + 1, None)
        made[row, rest] = metrics.bhattacharyya_distance(means[row], covariances[row], means[rest], covariances[rest])
    return made + made.T
