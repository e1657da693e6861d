"""Gradients that are public but belong to no loss of the table: rows for the suite like all others."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Num

from jaxspk import losses
from jaxspk._numerics import at_least_float32


def siamese_preactivation(
    preactivations_1: Float[Array, "*batch frames_1 all_units"],
    preactivations_2: Float[Array, "*batch frames_2 all_units"],
    same_speaker: Num[Array, "*batch"] | Bool[Array, "*batch"],
    *,
    units: int,
    lambda_mean: float,
    lambda_cov: float,
) -> Float[Array, "*batch"]:
    """L_D as a function of the total input of the code layer, whose first ``units`` units enter it."""
    codes = _codes(preactivations_1, preactivations_2, units)
    return losses.siamese_discrimination_loss(*codes, same_speaker, lambda_mean=lambda_mean, lambda_cov=lambda_cov)


def siamese_preactivation_plain(
    preactivations_1: Float[Array, "*batch frames_1 all_units"],
    preactivations_2: Float[Array, "*batch frames_2 all_units"],
    same_speaker: Num[Array, "*batch"] | Bool[Array, "*batch"],
    *,
    units: int,
    lambda_mean: float,
    lambda_cov: float,
) -> Float[Array, "*batch"]:
    """The same by the plain form."""
    codes = _codes(preactivations_1, preactivations_2, units)
    plain = losses.LOSSES["siamese_discrimination_loss"].plain
    return plain(*codes, same_speaker, lambda_mean=lambda_mean, lambda_cov=lambda_cov)


def _codes(first: Array, second: Array, units: int) -> tuple[Array, Array]:
    wide = [u[..., :units].astype(at_least_float32(u.dtype)) for u in (first, second)]
    return jax.nn.sigmoid(wide[0]), jax.nn.sigmoid(wide[1])


def siamese_preactivation_definition(
    preactivations_1: Any,
    preactivations_2: Any,
    same_speaker: Any,
    *,
    units: int,
    lambda_mean: float,
    lambda_cov: float,
) -> Any:
    """The appendix's formulas, frame by frame and unit by unit."""
    first, second = np.asarray(preactivations_1, np.float64), np.asarray(preactivations_2, np.float64)
    if first.ndim > 2:
        parts = [
            siamese_preactivation_definition(*part, units=units, lambda_mean=lambda_mean, lambda_cov=lambda_cov)
            for part in zip(first, second, same_speaker, strict=True)
        ]
        return np.array(parts)
    statistics = []
    for u in (first, second):
        codes = [[1 / (1 + np.exp(-entry)) for entry in frame[:units]] for frame in u]
        frames = len(codes)
        mean = [sum(code[j] for code in codes) / frames for j in range(units)]
        covariance = [
            sum((code[j] - mean[j]) * (code[k] - mean[k]) for code in codes) / (frames - 1)
            for j in range(units)
            for k in range(units)
        ]
        statistics.append((mean, covariance))
    distances = [sum((a - b) ** 2 for a, b in zip(*pair, strict=True)) for pair in zip(*statistics, strict=True)]
    if same_speaker:
        return np.array(sum(distances))
    return np.array(sum(np.exp(-d / scale) for d, scale in zip(distances, (lambda_mean, lambda_cov), strict=True)))


MORE_ROWS: Mapping[str, losses.LossEntry] = {
    "siamese_preactivation": losses.LossEntry(
        loss=siamese_preactivation,
        plain=siamese_preactivation_plain,
        grad=losses.siamese_preactivation_grad,
        definition=siamese_preactivation_definition,
        differentiable=("preactivations_1", "preactivations_2"),
        reference="Chen and Salman 2011, appendix, eq. (5) and (A.1) to (A.3) whole",
        domain="all real preactivations; two frames at least",
        family="regularized_siamese",
    ),
}
"""By the name of the function."""
