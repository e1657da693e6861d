r"""The contrastive loss :math:`L_D` as a function of the code layer's total input :math:`u`, by either gradient rule.

Of drawn pairs it is the paper's loss and Eq. A.1 to A.3 as :mod:`jaxspk.losses` has them. Where every first segment of
a batch is compared with many second ones, statistics are computed once a segment, and the closed form adds up over
pairs: with :math:`\kappa_{ij}` the derivative of the weighted loss in the distance of first segment i and second
segment j,

.. math::
    \frac{\partial L_D}{\partial u_{it}} = \Bigl[\tfrac{2}{T} \sum_j \kappa^m_{ij} (\mu_i - \mu_j)
    + \tfrac{4}{T - 1} \sum_j \kappa^S_{ij} (\Sigma_i - \Sigma_j)(c_{it} - \mu_i)\Bigr] \odot c_{it} (1 - c_{it}),

and likewise for second segments, the sums over i.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxspk import losses
from jaxspk.models import logistic


def drawn_pairs_loss(
    preactivations_1: Float[Array, "pairs frames units"],
    preactivations_2: Float[Array, "pairs frames units"],
    same_speaker: Bool[Array, " pairs"],
    lambda_mean: Float[Array, ""],
    lambda_cov: Float[Array, ""],
    speaker_units: int,
) -> Float[Array, " pairs"]:
    """L_D of each pair, differentiated at the code layer by the paper's closed form, with its zero block."""
    return _drawn_wired(preactivations_1, preactivations_2, same_speaker, lambda_mean, lambda_cov, speaker_units)


def drawn_pairs_loss_plain(
    preactivations_1: Float[Array, "pairs frames units"],
    preactivations_2: Float[Array, "pairs frames units"],
    same_speaker: Bool[Array, " pairs"],
    lambda_mean: Float[Array, ""],
    lambda_cov: Float[Array, ""],
    speaker_units: int,
) -> Float[Array, " pairs"]:
    """The same with no custom rule."""
    codes_1, codes_2 = (logistic(sums[..., :speaker_units]) for sums in (preactivations_1, preactivations_2))
    return losses.siamese_discrimination_loss_plain(
        codes_1, codes_2, same_speaker, lambda_mean=lambda_mean, lambda_cov=lambda_cov
    )


_drawn_wired = jax.custom_vjp(drawn_pairs_loss_plain, nondiff_argnums=(5,))


def _drawn_forward(
    sums_1: Array, sums_2: Array, same: Array, lambda_mean: Array, lambda_cov: Array, units: int
) -> tuple[Array, tuple[Array, ...]]:
    arguments = sums_1, sums_2, same, lambda_mean, lambda_cov
    return drawn_pairs_loss_plain(*arguments, units), arguments


def _drawn_backward(units: int, residuals: tuple[Array, ...], cotangent: Array) -> tuple[Array | None, ...]:
    sums_1, sums_2, same, lambda_mean, lambda_cov = residuals
    of_1, of_2 = losses.siamese_preactivation_grad(
        sums_1, sums_2, same, units=units, lambda_mean=lambda_mean, lambda_cov=lambda_cov, cotangent=cotangent
    )
    return of_1, of_2, None, None, None


_drawn_wired.defvjp(_drawn_forward, _drawn_backward)


# --- Every first segment against every second one. ---


def every_pair_loss(
    preactivations_1: Float[Array, "first frames units"],
    preactivations_2: Float[Array, "second frames units"],
    same_speaker: Bool[Array, "first second"],
    weights: Float[Array, "first second"],
    lambda_mean: Float[Array, ""],
    lambda_cov: Float[Array, ""],
    speaker_units: int,
    scale: float,
) -> Float[Array, ""]:
    r"""The weighted sum of L_D over pairs of a first and a second segment, by the closed form.

    Args:
      preactivations_1: of all code units, for each first segment.
      preactivations_2: for each second segment.
      same_speaker: which pairs are of one speaker.
      weights: of the pairs.
      lambda_mean: λ_m, of the scaled distance.
      lambda_cov: λ_S, likewise.
      speaker_units: how many of the first units are compared.
      scale: :math:`s`; distances count as :math:`s D_m` and :math:`s^2 D_S`, those of codes multiplied by its root.
    """
    arguments = preactivations_1, preactivations_2, same_speaker, weights, lambda_mean, lambda_cov
    return _every_wired(*arguments, speaker_units, scale)


def every_pair_loss_plain(
    preactivations_1: Float[Array, "first frames units"],
    preactivations_2: Float[Array, "second frames units"],
    same_speaker: Bool[Array, "first second"],
    weights: Float[Array, "first second"],
    lambda_mean: Float[Array, ""],
    lambda_cov: Float[Array, ""],
    speaker_units: int,
    scale: float,
) -> Float[Array, ""]:
    """The same with no custom rule."""
    segments = [_statistics(sums[..., :speaker_units]) for sums in (preactivations_1, preactivations_2)]
    terms = (_contrast(segments[0].mean, segments[1].mean, same_speaker, weights, lambda_mean, scale),
             _contrast(segments[0].flat, segments[1].flat, same_speaker, weights, lambda_cov, scale**2))  # fmt: skip
    return terms[0].loss + terms[1].loss


class _Statistics(NamedTuple):
    """Of each segment: codes less their mean, the mean, and the covariance as one row."""

    centred: Float[Array, "segments frames units"]
    mean: Float[Array, "segments units"]
    flat: Float[Array, "segments entries"]


class _Contrast(NamedTuple):
    """The weighted sum of one of both terms over all pairs, and its derivative in each distance."""

    loss: Float[Array, ""]
    slope: Float[Array, "first second"]


def _statistics(sums: Float[Array, "segments frames units"]) -> _Statistics:
    codes = logistic(sums)
    mean = codes.mean(-2)
    centred = codes - mean[:, None]
    covariance = jnp.swapaxes(centred, -1, -2) @ centred / (codes.shape[-2] - 1)
    return _Statistics(centred, mean, covariance.reshape(len(covariance), -1))


def _contrast(
    first: Float[Array, "first dim"],
    second: Float[Array, "second dim"],
    same: Bool[Array, "first second"],
    weights: Float[Array, "first second"],
    tolerance: Float[Array, ""],
    scale: float,
) -> _Contrast:
    """Of squared distances of rows, times ``scale``."""
    lengths = [jnp.sum(jnp.square(rows), -1) for rows in (first, second)]
    # Where rows are nearly equal rounding may leave a little below 0.
    distance = scale * jnp.maximum(lengths[0][:, None] + lengths[1] - 2 * first @ second.T, 0)
    near = jnp.exp(-distance / tolerance)
    loss = jnp.sum(weights * jnp.where(same, distance, near))
    return _Contrast(loss, scale * weights * jnp.where(same, jnp.ones_like(near), -near / tolerance))


class _Residuals(NamedTuple):
    """What the gradient needs again: inputs, statistics of both sides, slopes of both terms, pairs as they are."""

    sums: tuple[Array, Array]
    statistics: tuple[_Statistics, _Statistics]
    slopes: tuple[Array, Array]


_every_wired = jax.custom_vjp(every_pair_loss_plain, nondiff_argnums=(6, 7))


def _every_forward(
    sums_1: Array, sums_2: Array, same: Array, weights: Array, lambda_mean: Array, lambda_cov: Array,
    units: int, scale: float,
) -> tuple[Array, _Residuals]:  # fmt: skip
    one, other = (_statistics(sums[..., :units]) for sums in (sums_1, sums_2))
    of_means = _contrast(one.mean, other.mean, same, weights, lambda_mean, scale)
    of_covariances = _contrast(one.flat, other.flat, same, weights, lambda_cov, scale**2)
    residuals = _Residuals((sums_1, sums_2), (one, other), (of_means.slope, of_covariances.slope))
    return of_means.loss + of_covariances.loss, residuals


def _every_backward(units: int, scale: float, residuals: _Residuals, cotangent: Array) -> tuple[Array | None, ...]:
    one, other = residuals.statistics
    of_means, of_covariances = (cotangent * slope for slope in residuals.slopes)
    first = _segment_grad(residuals.sums[0], one, other, of_means, of_covariances)
    second = _segment_grad(residuals.sums[1], other, one, of_means.T, of_covariances.T)
    return first, second, None, None, None, None


_every_wired.defvjp(_every_forward, _every_backward)


def _segment_grad(
    sums: Float[Array, "segments frames all_units"],
    own: _Statistics,
    others: _Statistics,
    of_means: Float[Array, "segments others"],
    of_covariances: Float[Array, "segments others"],
) -> Float[Array, "segments frames all_units"]:
    """The sum over pairs, in the letters of the module's formula; 0 for the units beyond those compared."""
    frames, units = own.centred.shape[-2:]
    apart = of_means.sum(1, keepdims=True) * own.mean - of_means @ others.mean
    spread = (of_covariances.sum(1, keepdims=True) * own.flat - of_covariances @ others.flat).reshape(-1, units, units)
    of_codes = 2 / frames * apart[:, None] + 4 / (frames - 1) * own.centred @ spread
    codes = own.centred + own.mean[:, None]
    of_sums = of_codes * codes * (1 - codes)
    return jnp.pad(of_sums, ((0, 0), (0, 0), (0, sums.shape[-1] - units)))
