"""Where to decide: operating points, and the error rates to expect there."""

import dataclasses
import math

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from jaxspk._checks import check_range
from jaxspk.errors import ArgumentError
from jaxspk.metrics import det_curve

RATIO_GRID: tuple[float, ...] = tuple(step / 4 for step in range(-60, 61))
"""Log-likelihood ratios at which error rates are kept, from -15 to 15; between them they are interpolated."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ErrorRates:
    """How often decisions at each log-likelihood ratio were wrong on held-out trials.

    Attributes:
      targets: how many of the trials were of the same speaker.
      nontargets: how many of different speakers.
      misses: share of the first that scored below each ratio of :data:`RATIO_GRID`.
      false_alarms: share of the second that reached it.

    Raises:
      ArgumentError: there are no trials, or the shares are not two rows of fractions, rising and falling.
    """

    targets: int
    nontargets: int
    misses: tuple[float, ...]
    false_alarms: tuple[float, ...]

    def __post_init__(self) -> None:
        check_range("targets", self.targets, low=1)
        check_range("nontargets", self.nontargets, low=1)
        for name, sign in (("misses", 1), ("false_alarms", -1)):
            shares = np.array(getattr(self, name), float)
            if shares.shape != (len(RATIO_GRID),) or not ((shares >= 0) & (shares <= 1)).all():
                raise ArgumentError(f"`{name}` must be {len(RATIO_GRID)} fractions, one for each ratio of the grid.")
            if (sign * np.diff(shares) < 0).any():
                raise ArgumentError(f"`{name}` must never {'fall' if sign > 0 else 'rise'} as the threshold rises.")

    @classmethod
    def measure(cls, ratios: Float64[ndarray, " trials"], labels: ndarray) -> "ErrorRates":
        """Counts the errors of calibrated trials.

        Raises:
          ArgumentError: for trials see :mod:`jaxspk.metrics`.
        """
        curve = det_curve(ratios, labels)
        # Trials of at least the threshold are accepted: the first distinct score that is not below it.
        at = np.searchsorted(curve.thresholds, RATIO_GRID)
        same = np.asarray(labels).astype(bool)
        return cls(
            targets=int(same.sum()),
            nontargets=int((~same).sum()),
            misses=tuple(curve.miss_rates[at].tolist()),
            false_alarms=tuple(np.maximum(curve.false_alarm_rates[at], 0).tolist()),
        )

    def at(self, ratio: float | int) -> tuple[float, float]:
        """Miss and false-alarm rate where trials of at least this ratio are accepted."""
        miss, false_alarm = (float(np.interp(ratio, RATIO_GRID, rates)) for rates in (self.misses, self.false_alarms))
        return miss, false_alarm

    def threshold(self, false_alarm_rate: float) -> float:
        """The lowest ratio with no more false alarms than this.

        Raises:
          ArgumentError: the trials are too few to promise so low a rate, or none of the ratios kept reaches it.
        """
        if not 0 < false_alarm_rate < 1:
            raise ArgumentError(f"`false_alarm_rate` must lie between 0 and 1, got {false_alarm_rate!r}.")
        if false_alarm_rate * self.nontargets < 1:
            raise ArgumentError(
                f"`false_alarm_rate` of {false_alarm_rate:g} cannot be promised from {self.nontargets:,} trials of "
                f"different speakers; at least {1 / self.nontargets:.2g} can."
            )
        rates = np.array(self.false_alarms)
        reached = int(np.argmax(rates <= false_alarm_rate))
        if rates[reached] > false_alarm_rate:
            raise ArgumentError(f"`false_alarm_rate` of {false_alarm_rate:g} is reached at no threshold that is kept.")
        if reached == 0:
            return RATIO_GRID[0]
        above, below = rates[reached - 1], rates[reached]
        share = (above - false_alarm_rate) / (above - below)
        return float(RATIO_GRID[reached - 1] + share * (RATIO_GRID[reached] - RATIO_GRID[reached - 1]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    r"""What a decision is made for.

    Two recordings are taken for one speaker's where the log-likelihood ratio reaches Bayes's threshold
    :math:`\log \frac{C_\text{fa} (1 - p)}{C_\text{miss}\, p}`, or, with ``false_alarm_rate``, the lowest threshold
    that had no more false alarms than that on held-out trials.

    Attributes:
      prior: how often the two are of one speaker, before anything is heard; between 0 and 1.
      cost_miss: of taking one speaker for two, above 0.
      cost_false_alarm: of taking two speakers for one, above 0.
      false_alarm_rate: decide by this rate of false alarms instead.

    Raises:
      ArgumentError: a value is out of range.

    Example:
      >>> OperatingPoint(prior=0.5).threshold(), round(OperatingPoint(prior=0.01).threshold(), 3)
      (0.0, 4.595)
    """

    prior: float = 0.5
    cost_miss: float = 1.0
    cost_false_alarm: float = 1.0
    false_alarm_rate: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.prior < 1:
            raise ArgumentError(f"`prior` must lie between 0 and 1, got {self.prior!r}.")
        for name in ("cost_miss", "cost_false_alarm"):
            check_range(name, getattr(self, name), low=0, low_open=True, high=1e9)
        if self.false_alarm_rate is not None and not 0 < self.false_alarm_rate < 1:
            raise ArgumentError(f"`false_alarm_rate` must lie between 0 and 1, got {self.false_alarm_rate!r}.")

    def threshold(self, errors: ErrorRates | None = None) -> float:
        """The log-likelihood ratio from which on two recordings are taken for one speaker's.

        Args:
          errors: on held-out trials; needed for a ``false_alarm_rate``.

        Raises:
          ArgumentError: a false-alarm rate is asked for that ``errors`` does not give.
        """
        if self.false_alarm_rate is None:
            return math.log(self.cost_false_alarm / self.cost_miss) - log_odds(self.prior)
        if errors is None:
            raise ArgumentError("`false_alarm_rate` needs error rates on held-out trials, and there are none.")
        return errors.threshold(self.false_alarm_rate)


def log_odds(probability: float) -> float:
    """Natural logarithm of p / (1 - p)."""
    return math.log(probability) - math.log1p(-probability)
