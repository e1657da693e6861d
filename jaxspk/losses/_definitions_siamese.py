"""The regularized siamese losses as the paper writes them, sum by sum, in NumPy: the measure of all else."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Floats, or whatever numbers a proof calculates with.
Number = Any
Numbers = NDArray[Any]


def mean_distance_definition(
    codes_1: ArrayLike, codes_2: ArrayLike, *, where_1: ArrayLike | None = None, where_2: ArrayLike | None = None
) -> Numbers:
    """D_m."""
    c1, c2 = _segments(codes_1, where_1), _segments(codes_2, where_2)
    values = [sum((a - b) ** 2 for a, b in zip(_mean(x), _mean(y), strict=True)) for x, y in zip(c1, c2, strict=True)]
    return _like_batch(values, codes_1)


def covariance_distance_definition(
    codes_1: ArrayLike, codes_2: ArrayLike, *, where_1: ArrayLike | None = None, where_2: ArrayLike | None = None
) -> Numbers:
    """D_S, over all entries of the covariances."""
    values = []
    for x, y in zip(_segments(codes_1, where_1), _segments(codes_2, where_2), strict=True):
        s1, s2 = _covariance(x), _covariance(y)
        units = range(len(s1))
        values.append(sum((s1[j][k] - s2[j][k]) ** 2 for j in units for k in units))
    return _like_batch(values, codes_1)


def siamese_discrimination_definition(
    codes_1: ArrayLike,
    codes_2: ArrayLike,
    same_speaker: ArrayLike,
    *,
    lambda_mean: float,
    lambda_cov: float,
    where_1: ArrayLike | None = None,
    where_2: ArrayLike | None = None,
) -> Numbers:
    """L_D."""
    masks = {"where_1": where_1, "where_2": where_2}
    same = np.asarray(same_speaker, np.float64)
    d_m = mean_distance_definition(codes_1, codes_2, **masks)
    d_s = covariance_distance_definition(codes_1, codes_2, **masks)
    l_m = same * d_m + (1 - same) * np.exp(-d_m / lambda_mean)
    l_s = same * d_s + (1 - same) * np.exp(-d_s / lambda_cov)
    return np.asarray(l_m + l_s)


def reconstruction_definition(
    inputs: ArrayLike, reconstructions: ArrayLike, *, where: ArrayLike | None = None
) -> Numbers:
    """L_R, the mean over frames and dimensions."""
    values = []
    for x, r in zip(_segments(inputs, where), _segments(reconstructions, where), strict=True):
        errors = [(x[t][d] - r[t][d]) ** 2 for t in range(len(x)) for d in range(len(x[t]))]
        values.append(sum(errors) / len(errors) if errors else 0.0)
    return _like_batch(values, inputs)


def regularized_siamese_definition(
    inputs_1: ArrayLike,
    inputs_2: ArrayLike,
    reconstructions_1: ArrayLike,
    reconstructions_2: ArrayLike,
    codes_1: ArrayLike,
    codes_2: ArrayLike,
    same_speaker: ArrayLike,
    *,
    alpha: float,
    lambda_mean: float,
    lambda_cov: float,
    where_1: ArrayLike | None = None,
    where_2: ArrayLike | None = None,
) -> Numbers:
    """L."""
    l_1 = reconstruction_definition(inputs_1, reconstructions_1, where=where_1)
    l_2 = reconstruction_definition(inputs_2, reconstructions_2, where=where_2)
    l_d = siamese_discrimination_definition(
        codes_1, codes_2, same_speaker, lambda_mean=lambda_mean, lambda_cov=lambda_cov, where_1=where_1,
        where_2=where_2
    )  # fmt: skip
    return np.asarray(alpha * (l_1 + l_2) + (1 - alpha) * l_d)


def _segments(values: ArrayLike, where: ArrayLike | None) -> list[list[Numbers]]:
    """The frames that count, segment by segment."""
    array = np.asarray(values, np.float64)
    mask = np.ones(array.shape[:-1], bool) if where is None else np.asarray(where, bool)
    flat = array.reshape(-1, *array.shape[-2:]), mask.reshape(-1, array.shape[-2])
    return [[frame for frame, counts in zip(*pair, strict=True) if counts] for pair in zip(*flat, strict=True)]


def _mean(frames: list[Numbers]) -> Numbers:
    return np.asarray(sum(frames) / len(frames))


def _covariance(frames: list[Numbers]) -> list[list[Number]]:
    mean, count = _mean(frames), len(frames)
    units = range(len(mean))
    if count < 2:
        return [[0.0 for _ in units] for _ in units]
    return [[sum((x[j] - mean[j]) * (x[k] - mean[k]) for x in frames) / (count - 1) for k in units] for j in units]


def _like_batch(values: list[Number], array: ArrayLike) -> Numbers:
    return np.array(values).reshape(np.shape(array)[:-2])
