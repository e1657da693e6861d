"""Distances between Gaussians, each told by mean and covariance; float64, batched."""

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray

from jaxspk import _checks
from jaxspk.errors import ArgumentError


def trace_distance(
    mean_1: Float[ndarray, "*#batch dim"],
    covariance_1: Float[ndarray, "*#batch dim dim"],
    mean_2: Float[ndarray, "*#batch dim"],
    covariance_2: Float[ndarray, "*#batch dim dim"],
) -> Float64[ndarray, "*batch"]:
    r"""Distance of the means, measured by both covariances.

    .. math:: \operatorname{tr}\bigl[(\Sigma_1^{-1} + \Sigma_2^{-1})\, \delta \delta^\top\bigr],
        \qquad \delta = \mu_1 - \mu_2

    Twice the share of the means in :func:`kullback_leibler_distance`.

    Args:
      mean_1: of the first Gaussian; batch axes may broadcast.
      covariance_1: of the first, positive definite.
      mean_2: of the second.
      covariance_2: of the second.

    Returns:
      One number a pair, not negative.

    Raises:
      ArgumentError: shapes do not fit, or a covariance is not positive definite.
    """
    difference, first, second = _prepare(mean_1, covariance_1, mean_2, covariance_2)
    return np.asarray(_measured_by(difference, first) + _measured_by(difference, second))


def kullback_leibler_distance(
    mean_1: Float[ndarray, "*#batch dim"],
    covariance_1: Float[ndarray, "*#batch dim dim"],
    mean_2: Float[ndarray, "*#batch dim"],
    covariance_2: Float[ndarray, "*#batch dim dim"],
) -> Float64[ndarray, "*batch"]:
    r"""Symmetric Kullback-Leibler divergence of two Gaussians, that of either from the other added.

    .. math:: \tfrac12 \operatorname{tr}\bigl[(\Sigma_1 - \Sigma_2)(\Sigma_2^{-1} - \Sigma_1^{-1})\bigr]
        + \tfrac12 \operatorname{tr}\bigl[(\Sigma_1^{-1} + \Sigma_2^{-1})\, \delta \delta^\top\bigr]

    Arguments, result and errors are those of :func:`trace_distance`.
    """
    difference, first, second = _prepare(mean_1, covariance_1, mean_2, covariance_2)
    means = _measured_by(difference, first) + _measured_by(difference, second)
    across = [np.trace(np.linalg.solve(a, b), axis1=-2, axis2=-1) for a, b in ((first, second), (second, first))]
    # Two positive definite matrices that differ by rounding only may come out a little below 0.
    return np.asarray(np.maximum(0.5 * (across[0] + across[1]) - difference.shape[-1], 0.0) + 0.5 * means)


def bhattacharyya_distance(
    mean_1: Float[ndarray, "*#batch dim"],
    covariance_1: Float[ndarray, "*#batch dim dim"],
    mean_2: Float[ndarray, "*#batch dim"],
    covariance_2: Float[ndarray, "*#batch dim dim"],
) -> Float64[ndarray, "*batch"]:
    r"""Minus the logarithm of the overlap of two Gaussians.

    .. math:: \tfrac18\, \delta^\top \Sigma^{-1} \delta
        + \tfrac12 \ln \frac{\det \Sigma}{\sqrt{\det \Sigma_1 \det \Sigma_2}},
        \qquad \Sigma = \tfrac12 (\Sigma_1 + \Sigma_2)

    Arguments, result and errors are those of :func:`trace_distance`.
    """
    difference, first, second = _prepare(mean_1, covariance_1, mean_2, covariance_2)
    between = 0.5 * (first + second)
    logarithms = [np.linalg.slogdet(matrix)[1] for matrix in (between, first, second)]
    spread = 0.5 * (logarithms[0] - 0.5 * (logarithms[1] + logarithms[2]))
    return np.asarray(np.maximum(spread, 0.0) + 0.125 * _measured_by(difference, between))


def _measured_by(difference: ndarray, covariance: ndarray) -> ndarray:
    """The squared Mahalanobis length."""
    solved = np.linalg.solve(covariance, difference[..., None])[..., 0]
    return np.asarray(np.sum(difference * solved, axis=-1))


def _prepare(mean_1: ndarray, covariance_1: ndarray, mean_2: ndarray, covariance_2: ndarray) -> tuple[ndarray, ...]:
    for number, mean, covariance in ((1, mean_1, covariance_1), (2, mean_2, covariance_2)):
        dim = mean.shape[-1:]
        _checks.check_shape(f"covariance_{number}", covariance, (*covariance.shape[:-2], *dim, *dim), "one a mean")
    if mean_1.shape[-1] != mean_2.shape[-1]:
        raise ArgumentError(f"`mean_1` and `mean_2` must be of one length, got {mean_1.shape} and {mean_2.shape}.")
    covariances = []
    for number, covariance in ((1, covariance_1), (2, covariance_2)):
        covariance = np.asarray(covariance, np.float64)
        try:
            np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            raise ArgumentError(
                f"`covariance_{number}` must be positive definite; give more frames than units, or shrink it."
            ) from None
        covariances.append(covariance)
    difference = np.asarray(mean_1, np.float64) - np.asarray(mean_2, np.float64)
    return difference, *covariances
