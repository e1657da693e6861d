"""How far an equal error rate would move, had other trials or other speakers been drawn: bootstrap intervals."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int, Shaped
from numpy import ndarray
from numpy.typing import ArrayLike

from jaxspk._checks import check_range
from jaxspk.errors import ArgumentError
from jaxspk.metrics._verification import checked_trials, tally

Counts = Int[ndarray, " points"]


class Interval(NamedTuple):
    """Ends of a confidence interval."""

    low: float
    high: float


def eer_interval(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    clusters: ArrayLike | None = None,
) -> Interval:
    """Percentile-bootstrap confidence interval of :func:`~jaxspk.metrics.equal_error_rate`.

    Without ``clusters`` the trials of each kind are drawn anew, with replacement, as many as there are. That takes
    trials for independent, which they are not where one voice is in many of them: the interval is then too narrow.
    With ``clusters`` the speakers are drawn anew; a trial counts as often as its speaker was drawn, a trial of two
    speakers as often as the product of both.

    Args:
      scores: ``[trials]``, higher for more similar voices.
      labels: ``[trials]``, 1 for trials of the same speaker.
      level: probability that the interval covers the rate, between 0 and 1.
      resamples: how many draws, at least 1.
      seed: of the draws; the same seed gives the same interval.
      clusters: the speaker of each trial ``[trials]``, or both speakers ``[trials, 2]``; names or numbers.

    Raises:
      ArgumentError: an argument is out of range, or ``clusters`` has another shape; for trials see
        :mod:`jaxspk.metrics`.

    Note:
      Time without clusters is n log n once and log n for each draw: of a resample only those counts are drawn that the
      search for the crossing looks at, each from its exact (binomial) law given those before. With clusters it is n
      for each draw.

    Example:
      >>> eer_interval([1.0, 2.0, 2.0, 3.0] * 50, [0, 0, 1, 1] * 50)
      Interval(low=0.21247058823529416, high=0.28491228070175434)

    References:
      Efron and Tibshirani, *An introduction to the bootstrap*, 1993, chapter 13; speakers as units: Poh and Bengio,
      *Performance generalization in biometric authentication using joint user-specific and sample bootstraps*,
      IEEE Transactions on Pattern Analysis and Machine Intelligence 29, 2007.
    """
    if not 0 < level < 1:
        raise ArgumentError(f"`level` must lie between 0 and 1, got {level!r}.")
    check_range("resamples", resamples, low=1)
    check_range("seed", seed, low=0)
    values, same = checked_trials(scores, labels)
    rng = np.random.default_rng(seed)
    if clusters is None:
        rates = _rates_over_trials(values, same, resamples, rng)
    else:
        rates = _rates_over_clusters(values, same, _both_sides(clusters, len(values)), resamples, rng)
    low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def _rates_over_trials(
    values: Float64[ndarray, " trials"], same: Bool[ndarray, " trials"], resamples: int, rng: np.random.Generator
) -> Float64[ndarray, " resamples"]:
    """Bisection for the crossing of all resamples at once, drawing the counts below a threshold as they are needed."""
    tallied = tally(values, same)
    kinds = [_below(counts) for counts in (tallied.targets, tallied.nontargets)]
    points = len(tallied.values)
    low, high = np.zeros(resamples, np.int64), np.full(resamples, points)
    drawn_low = [np.zeros(resamples, np.int64) for _ in kinds]
    drawn_high = [np.full(resamples, below[-1]) for below in kinds]
    for _ in range(math.ceil(math.log2(points)) + 1):
        # Where the two ends are neighbours, the middle is the lower one, and nothing moves.
        middle = (low + high) // 2
        drawn = [
            _draw_between(*sides, low, middle, high, rng) for sides in zip(kinds, drawn_low, drawn_high, strict=True)
        ]
        past = _gap(drawn, kinds) >= 0
        low, high = np.where(past, low, middle), np.where(past, middle, high)
        drawn_low = [np.where(past, old, new) for old, new in zip(drawn_low, drawn, strict=True)]
        drawn_high = [np.where(past, new, old) for old, new in zip(drawn_high, drawn, strict=True)]
    before, after = _gap(drawn_low, kinds), _gap(drawn_high, kinds)
    misses = [drawn[0] / kinds[0][-1] for drawn in (drawn_low, drawn_high)]
    rates: Float64[ndarray, " resamples"] = misses[0] - before / (after - before) * (misses[1] - misses[0])
    return rates


def _draw_between(
    below: Counts,
    drawn_low: Int[ndarray, " resamples"],
    drawn_high: Int[ndarray, " resamples"],
    low: Int[ndarray, " resamples"],
    middle: Int[ndarray, " resamples"],
    high: Int[ndarray, " resamples"],
    rng: np.random.Generator,
) -> Int[ndarray, " resamples"]:
    """How many resampled trials lie below the middle, given how many lie below both ends."""
    span, part = below[high] - below[low], below[middle] - below[low]
    drawn: Int[ndarray, " resamples"] = rng.binomial(drawn_high - drawn_low, part / np.maximum(span, 1))
    return np.asarray(drawn_low + drawn)


def _gap(drawn: list[Int[ndarray, " resamples"]], kinds: list[Counts]) -> Float64[ndarray, " resamples"]:
    """Miss rate less false-alarm rate."""
    gap: Float64[ndarray, " resamples"] = drawn[0] / kinds[0][-1] + drawn[1] / kinds[1][-1] - 1
    return gap


def _rates_over_clusters(
    values: Float64[ndarray, " trials"],
    same: Bool[ndarray, " trials"],
    sides: Int[ndarray, "trials 2"],
    resamples: int,
    rng: np.random.Generator,
) -> Float64[ndarray, " resamples"]:
    """Weighs every trial by how often its speakers were drawn."""
    tallied = tally(values, same)
    below = [_below(counts) for counts in (tallied.targets, tallied.nontargets)]
    order = np.argsort(values)
    sorted_sides = [sides[order[same[order] == kind]].T for kind in (True, False)]
    speakers = int(sides.max()) + 1
    rates: list[float] = []
    while len(rates) < resamples:
        drawn = np.bincount(rng.integers(speakers, size=speakers), minlength=speakers)
        weights = [np.concatenate([[0], np.cumsum(_weights(drawn, *of_kind))]) for of_kind in sorted_sides]
        # Speakers without any trial of a kind have no error rate: they are drawn again.
        if all(of_kind[-1] > 0 for of_kind in weights):
            rates.append(_crossing(weights, below))
    return np.array(rates)


def _weights(
    drawn: Int[ndarray, " speakers"], first: Int[ndarray, " trials"], second: Int[ndarray, " trials"]
) -> Int[ndarray, " trials"]:
    return np.asarray(np.where(first == second, drawn[first], drawn[first] * drawn[second]))


def _crossing(weights: list[Int[ndarray, " _"]], below: list[Counts]) -> float:
    """The equal error rate from running sums of weights, by bisection over thresholds."""

    def rates_at(point: int) -> tuple[float, float]:
        miss, correct = (float(of_kind[at[point]] / of_kind[-1]) for of_kind, at in zip(weights, below, strict=True))
        return miss, miss + correct - 1

    low, high = 0, len(below[0]) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if rates_at(middle)[1] >= 0 else (middle, high)
    (miss, gap), (next_miss, next_gap) = rates_at(low), rates_at(high)
    return miss - gap / (next_gap - gap) * (next_miss - miss)


def _below(counts: Int[ndarray, " values"]) -> Counts:
    """How many trials lie below each threshold, from accepting all to rejecting all."""
    return np.concatenate([[0], np.cumsum(counts)])


def _both_sides(clusters: ArrayLike, trials: int) -> Int[ndarray, "trials 2"]:
    """Numbers of the speakers of both sides."""
    names: Shaped[ndarray, ...] = np.asarray(clusters)
    if names.shape not in ((trials,), (trials, 2)):
        raise ArgumentError(
            f"`clusters` must name one speaker a trial or two, [{trials}] or [{trials}, 2], got shape {names.shape}."
        )
    numbers = np.unique(names, return_inverse=True)[1].reshape(names.shape)
    return np.stack([numbers, numbers], axis=-1) if numbers.ndim == 1 else numbers
