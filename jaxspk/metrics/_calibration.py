"""Scores that mean something: logistic calibration to log-likelihood ratios and probabilities."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray
from numpy.typing import ArrayLike

from jaxspk.errors import ArgumentError
from jaxspk.metrics._verification import checked_trials

_ITERATIONS = 200


@dataclasses.dataclass(frozen=True)
class Calibration:
    r"""The line that turns a score into a log-likelihood ratio of "same" to "different speaker", natural logarithm.

    .. math:: \operatorname{llr}(s) = \text{scale} \cdot s + \text{offset}

    Args:
      scale: above 0: a higher score is never evidence for different speakers.
      offset: of any sign.

    Raises:
      ArgumentError: a value is not finite, or ``scale`` is not above 0.

    Example:
      >>> calibration = Calibration(scale=10.0, offset=-4.0)
      >>> calibration.log_likelihood_ratio([0.2, 0.6]), calibration.probability(0.4).item()
      (array([-2.,  2.]), 0.5)
    """

    scale: float
    offset: float

    def __post_init__(self) -> None:
        for name in ("scale", "offset"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ArgumentError(f"`{name}` must be a finite number, got {value!r}.")
        if self.scale <= 0:
            raise ArgumentError(f"`scale` must be above 0, got {self.scale!r}.")

    @classmethod
    def fit(cls, scores: ArrayLike, labels: ArrayLike, *, prior: float = 0.5) -> "Calibration":
        r"""The line of least cross-entropy on trials whose answers are known.

        With :math:`x = \operatorname{llr}(s) + \log\frac{p}{1 - p}` it minimises

        .. math::
            p \operatorname{mean}_\text{same} \bigl[t_1 \log(1 + e^{-x}) + (1 - t_1) \log(1 + e^{x})\bigr]
            + (1 - p) \operatorname{mean}_\text{different} \bigl[t_0 \log(1 + e^{-x}) + (1 - t_0) \log(1 + e^{x})\bigr]

        for :math:`t_1 = \frac{n_1 + 1}{n_1 + 2}` and :math:`t_0 = \frac{1}{n_0 + 2}`, which :math:`n_1` trials of the
        same and :math:`n_0` of different speakers allow to believe (Laplace's rule): where scores separate all trials,
        the ratios stay finite and grow with the number of trials, and for many trials nothing changes.

        Args:
          scores: ``[trials]``, higher for more similar voices.
          labels: ``[trials]``, 1 for trials of the same speaker.
          prior: how often trials are of the same speaker where decisions are made, between 0 and 1: the region of
            scores that matters most. It is *not* in the ratios.

        Raises:
          ArgumentError: ``prior`` is out of range, scores are all equal, or those of the same speaker are not the
            higher ones on the whole; for trials see :mod:`jaxspk.metrics`.

        References:
          Brümmer and du Preez, *Application-independent evaluation of speaker detection*, Computer Speech & Language
          20, 2006; the targets: Platt, *Probabilistic outputs for support vector machines*, 1999.
        """
        _check_prior(prior)
        values, same = checked_trials(scores, labels)
        center, spread = float(values.mean()), float(values.std())
        if np.ptp(values) == 0 or spread == 0 or not math.isfinite(spread):
            raise ArgumentError("`scores` must differ from one another; equal ones cannot be calibrated.")
        slope, level = _least_cross_entropy((values - center) / spread, same, prior)
        if slope <= 0:
            raise ArgumentError(
                "`scores` must be higher for the same speaker on the whole; these are not, so that nothing can be "
                "calibrated. Are the labels or the sign of the scores exchanged?"
            )
        return cls(slope / spread, level - slope * center / spread)

    def log_likelihood_ratio(self, scores: ArrayLike | float) -> Float64[ndarray, "..."]:
        """Natural logarithm of how much likelier the scores are for one speaker than for two."""
        return np.asarray(self.scale * np.asarray(scores, np.float64) + self.offset)

    def probability(self, scores: ArrayLike | float, prior: float = 0.5) -> Float64[ndarray, "..."]:
        """Probability of the same speaker, where a share ``prior`` of the trials is of the same speaker.

        Raises:
          ArgumentError: ``prior`` does not lie between 0 and 1.
        """
        from scipy.special import expit

        _check_prior(prior)
        return np.asarray(expit(self.log_likelihood_ratio(scores) + _log_odds(prior)))

    def score(self, log_likelihood_ratio: float | int) -> float:
        """The score that has this log-likelihood ratio."""
        return (float(log_likelihood_ratio) - self.offset) / self.scale

    def to_dict(self) -> dict[str, float]:
        """Plain JSON values."""
        return {"scale": float(self.scale), "offset": float(self.offset)}

    @classmethod
    def from_dict(cls, described: Mapping[str, Any]) -> "Calibration":
        """The inverse of :meth:`to_dict`.

        Raises:
          ArgumentError: a value is missing, superfluous or wrong.
        """
        if set(described) != {"scale", "offset"}:
            raise ArgumentError(
                f"a calibration has scale and offset, got {', '.join(map(str, described)) or 'nothing'}."
            )
        return cls(described["scale"], described["offset"])


def _least_cross_entropy(
    z: Float64[ndarray, " trials"], same: Bool[ndarray, " trials"], prior: float
) -> tuple[float, float]:
    """Slope and level for standardised scores by Newton's method with backtracking; the cost is strictly convex."""
    from scipy.special import expit

    targets = int(same.sum())
    nontargets = len(same) - targets
    weights = np.where(same, prior / targets, (1 - prior) / nontargets)
    wanted = np.where(same, (targets + 1) / (targets + 2), 1 / (nontargets + 2))
    line = np.array([0.0, 0.0])

    def cost_and_logits(at: Float64[ndarray, " 2"]) -> tuple[float, Float64[ndarray, " trials"]]:
        x = at[0] * z + (at[1] + _log_odds(prior))
        # log(1 + e^x) - t x is both logarithms of the sum, weighed.
        return float(weights @ (np.logaddexp(0, x) - wanted * x)), x

    cost, x = cost_and_logits(line)
    for _ in range(_ITERATIONS):
        p = expit(x)
        residual, curvature = weights * (p - wanted), weights * p * (1 - p)
        gradient = np.array([residual @ z, residual.sum()])
        off = curvature @ z
        hessian = np.array([[curvature @ (z * z), off], [off, curvature.sum()]])
        # Where all trials are far out the curvature underflows; the ridge is nothing where it does not.
        step = np.linalg.solve(hessian + 1e-12 * np.eye(2), gradient)
        decrease = float(gradient @ step)
        if decrease < 1e-18:
            break
        size = 1.0
        while True:
            moved, logits = cost_and_logits(line - size * step)
            if moved <= cost - 1e-4 * size * decrease or size < 1e-10:
                break
            size /= 2
        line, cost, x = line - size * step, moved, logits
    return float(line[0]), float(line[1])


def _log_odds(prior: float) -> float:
    return math.log(prior) - math.log1p(-prior)


def _check_prior(prior: float) -> None:
    if not 0 < prior < 1:
        raise ArgumentError(f"`prior` must lie between 0 and 1, got {prior!r}.")
