"""All numbers of one list of scored trials."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike

from jaxspk.errors import ArgumentError
from jaxspk.metrics._bootstrap import Interval, eer_interval
from jaxspk.metrics._verification import (
    checked_trials,
    cllr,
    cost_weights,
    curve_of,
    eer_of_curve,
    min_cllr_of,
    min_dcf_of_curve,
    tally,
)


@dataclasses.dataclass(frozen=True)
class VerificationSummary:
    """What :func:`summarize_verification` returns.

    Attributes:
      targets: number of trials of the same speaker.
      nontargets: number of trials of different speakers.
      eer: equal error rate, a fraction.
      eer_interval: its bootstrap confidence interval; None where no resamples were asked for.
      eer_threshold: the score at which it is reached.
      min_dcf: normalised minimal detection cost by the share of same-speaker trials.
      cllr: cost of the scores as log-likelihood ratios, bits; says something of calibrated scores only.
      min_cllr: the same after the best increasing map.
    """

    targets: int
    nontargets: int
    eer: float
    eer_interval: Interval | None
    eer_threshold: float
    min_dcf: Mapping[float, float]
    cllr: float
    min_cllr: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            **dataclasses.asdict(self),
            "eer_interval": None if self.eer_interval is None else list(self.eer_interval),
            "min_dcf": {f"{p_target:g}": cost for p_target, cost in self.min_dcf.items()},
        }


def summarize_verification(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    p_targets: Sequence[float] = (0.01, 0.05),
    resamples: int = 1000,
    seed: int = 0,
    clusters: ArrayLike | None = None,
) -> VerificationSummary:
    """Equal error rate with its 95 % interval, detection costs and costs of log-likelihood ratios.

    Args:
      scores: ``[trials]``, higher for more similar voices.
      labels: ``[trials]``, 1 for trials of the same speaker.
      p_targets: shares of same-speaker trials for :func:`~jaxspk.metrics.min_dcf`.
      resamples: of the bootstrap; 0 for no interval.
      seed: of the bootstrap.
      clusters: see :func:`~jaxspk.metrics.eer_interval`.

    Raises:
      ArgumentError: an argument is out of range; for trials see :mod:`jaxspk.metrics`.
      ArgumentTypeError: scores are no real numbers.

    Example:
      >>> summary = summarize_verification([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
      >>> summary.eer, summary.min_dcf[0.01], summary.min_cllr
      (0.0, 0.0, 0.0)
    """
    if resamples < 0:
        raise ArgumentError(f"`resamples` must be at least 0, got {resamples}.")
    values, same = checked_trials(scores, labels)
    tallied = tally(values, same)
    curve = curve_of(tallied)
    eer, threshold = eer_of_curve(curve)
    return VerificationSummary(
        targets=int(same.sum()),
        nontargets=int((~same).sum()),
        eer=eer,
        eer_interval=eer_interval(values, same, resamples=resamples, seed=seed, clusters=clusters)
        if resamples
        else None,
        eer_threshold=threshold,
        min_dcf={p_target: min_dcf_of_curve(curve, *cost_weights(p_target)) for p_target in p_targets},
        cllr=cllr(values, same),
        min_cllr=min_cllr_of(tallied),
    )
