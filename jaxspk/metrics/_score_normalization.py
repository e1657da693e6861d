"""Scores of voices relative to those against strangers: adaptive symmetric normalisation with a cohort."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int
from numpy import ndarray
from numpy.typing import ArrayLike

from jaxspk.errors import ArgumentError, ArgumentTypeError


class CohortStatistics(NamedTuple):
    """How a voice scores against its nearest strangers."""

    mean: Float64[ndarray, " voices"]
    deviation: Float64[ndarray, " voices"]


def cohort_statistics(cohort_scores: ArrayLike, *, top: int) -> CohortStatistics:
    """Mean and standard deviation of the ``top`` highest scores of each voice against a cohort.

    Args:
      cohort_scores: ``[voices, cohort]``, each voice against every speaker of the cohort.
      top: how many of the highest count, at least 2; the whole cohort where it is larger. 200 to 400 is common.

    Raises:
      ArgumentError: not two axes, fewer than 2 in the cohort, ``top`` below 2, values that are not finite, or a voice
        whose highest scores are all equal.
      ArgumentTypeError: the scores are no real numbers.

    Example:
      >>> cohort_statistics([[0.0, 1.0, 3.0]], top=2)
      CohortStatistics(mean=array([2.]), deviation=array([1.]))
    """
    values = np.asarray(cohort_scores)
    if values.dtype.kind not in "iuf":
        raise ArgumentTypeError(f"`cohort_scores` must hold real numbers, got dtype {values.dtype}.")
    if values.ndim != 2 or values.shape[1] < 2:
        raise ArgumentError(
            f"`cohort_scores` must be [voices, cohort] with a cohort of at least 2, got shape {values.shape}."
        )
    if top < 2:
        raise ArgumentError(f"`top` must be at least 2, got {top}.")
    if not np.isfinite(values).all():
        raise ArgumentError("`cohort_scores` must be finite, got NaN or infinity.")
    values = values.astype(np.float64)
    if top < values.shape[1]:
        values = np.partition(values, -top, axis=1)[:, -top:]
    mean, deviation = values.mean(1), values.std(1)
    if (deviation == 0).any():
        voice = int(np.argmin(deviation))
        raise ArgumentError(f"voice {voice} scores the same against its whole cohort, so that nothing can be scaled.")
    return CohortStatistics(mean, deviation)


def adaptive_s_norm(
    scores: ArrayLike,
    enrol_cohort: ArrayLike,
    test_cohort: ArrayLike,
    *,
    top: int = 300,
    enrol: ArrayLike | None = None,
    test: ArrayLike | None = None,
) -> Float64[ndarray, " trials"]:
    r"""AS-norm: how far a score lies above those of either voice against the strangers nearest to it.

    .. math::
        \tfrac12 \left(\frac{s - \mu_\text{enrol}}{\sigma_\text{enrol}}
        + \frac{s - \mu_\text{test}}{\sigma_\text{test}}\right)

    with mean and deviation over the ``top`` cohort speakers that score highest (:func:`cohort_statistics`). The cohort
    must hold none of the speakers of the trials.

    Args:
      scores: ``[trials]``.
      enrol_cohort: ``[voices, cohort]``, scores of the enrolled voices against the cohort; a row a trial, or a row a
        voice with ``enrol``.
      test_cohort: likewise for the other side.
      top: see :func:`cohort_statistics`.
      enrol: ``[trials]``, the row of ``enrol_cohort`` of each trial; ``None`` takes them in order.
      test: likewise for ``test_cohort``.

    Returns:
      ``[trials]``, a score in deviations.

    Raises:
      ArgumentError: shapes or indices do not fit, and what :func:`cohort_statistics` raises.
      ArgumentTypeError: scores are no real numbers, or indices no integers.

    References:
      Matějka et al., *Analysis of score normalization in multilingual speaker recognition*, Interspeech 2017.
    """
    values = np.asarray(scores)
    if values.ndim != 1:
        raise ArgumentError(f"`scores` must be [trials], got shape {values.shape}.")
    if values.dtype.kind not in "iuf":
        raise ArgumentTypeError(f"`scores` must hold real numbers, got dtype {values.dtype}.")
    total = np.zeros(len(values))
    for side, cohort, index in (("enrol", enrol_cohort, enrol), ("test", test_cohort, test)):
        mean, deviation = cohort_statistics(cohort, top=top)
        rows = _rows(side, index, len(values), len(mean))
        total += (values - mean[rows]) / deviation[rows]
    return total / 2


def _rows(side: str, index: ArrayLike | None, trials: int, voices: int) -> Int[ndarray, " trials"]:
    if index is None:
        if voices != trials:
            raise ArgumentError(
                f"`{side}_cohort` must have a row a trial, {trials}, got {voices}; or say with `{side}` which row each "
                "trial has."
            )
        return np.arange(trials)
    rows = np.asarray(index)
    if rows.dtype.kind not in "iu":
        raise ArgumentTypeError(f"`{side}` must hold integers, got dtype {rows.dtype}.")
    if rows.shape != (trials,) or (trials and not (0 <= rows.min() and rows.max() < voices)):
        raise ArgumentError(f"`{side}` must be [{trials}], rows from 0 to {voices - 1} of `{side}_cohort`.")
    return rows
