r"""How many clusters there are: statistics of unit vectors, and rules that read a number off them.

A network that has learnt deep clustering sends the bins of one voice to one direction and those of two voices to two
orthogonal ones, so that the affinity matrix :math:`V V^\top / N` of :math:`N` bins has as many large eigenvalues as
there are voices. They are those of the small matrix :math:`V^\top V / N`, and add up to 1.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from jaxspk import _checks
from jaxspk.clustering._kmeans import kmeans
from jaxspk.errors import ArgumentError

MOST_CLUSTERS = 5
"""The statistics look for up to so many clusters; a rule can tell one fewer."""

STATISTICS: tuple[str, ...] = (
    *(f"log_eigenvalue_{k}" for k in range(1, MOST_CLUSTERS + 1)),
    *(f"log_inertia_{k}" for k in range(1, MOST_CLUSTERS + 1)),
    *(f"silhouette_{k}" for k in range(2, MOST_CLUSTERS + 1)),
    *(f"log_smallest_share_{k}" for k in range(2, MOST_CLUSTERS + 1)),
)
"""What :func:`cluster_statistics` returns, in its order."""

_POINTS = 4096
_SMALLEST = 1e-4  # Below it logarithms say nothing any more.
_LARGE_EIGENVALUE, _CLEARNESS = 0.1, 4.0


@dataclasses.dataclass(frozen=True)
class ClusterCount:
    """A number of clusters and how sure it is.

    Attributes:
      clusters: the number.
      confidence: its share among the numbers that were possible; a probability where ``calibrated``.
      shares: of every possible number; they sum to one.
      calibrated: whether the shares are probabilities, fitted to cases where the number was known.
    """

    clusters: int
    confidence: float
    shares: Mapping[int, float]
    calibrated: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class CountingRule:
    r"""Multinomial logistic regression on standardised statistics: :math:`p = \mathrm{softmax}(W z + b)`.

    Attributes:
      counts: the numbers of clusters that it tells apart, ascending.
      statistics: the names of what it looks at, of :data:`STATISTICS`.
      mean: of each statistic in the cases it was fitted to.
      std: likewise.
      weights: one row a number, one column a statistic.
      bias: one a number.
    """

    counts: tuple[int, ...]
    statistics: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in self.statistics:
            _checks.check_choice("a statistic of the counting rule", name, STATISTICS)
        shapes = {
            "mean": (len(self.mean), len(self.statistics)),
            "std": (len(self.std), len(self.statistics)),
            "weights": (len(self.weights), len(self.counts)),
            "bias": (len(self.bias), len(self.counts)),
            **{f"weights[{i}]": (len(row), len(self.statistics)) for i, row in enumerate(self.weights)},
        }
        for name, (found, expected) in shapes.items():
            if found != expected:
                raise ArgumentError(f"`{name}` of the counting rule must hold {expected} numbers, got {found}.")
        if not self.counts or sorted(set(self.counts)) != list(self.counts) or self.counts[0] < 1:
            raise ArgumentError(f"`counts` of the counting rule must be ascending from 1 on, got {self.counts}.")
        if not all(std > 0 and math.isfinite(std) for std in self.std):
            raise ArgumentError("`std` of the counting rule must be positive.")

    def logits(self, statistics: Float[np.ndarray, " statistics"]) -> Float[np.ndarray, " counts"]:
        """One number a count; the greatest is the likeliest."""
        chosen = np.asarray(statistics, np.float64)[[STATISTICS.index(name) for name in self.statistics]]
        standardised = (chosen - np.array(self.mean)) / np.array(self.std)
        found: np.ndarray = np.array(self.weights) @ standardised + np.array(self.bias)
        return found


def cluster_statistics(
    points: Float[Array, "points dim"] | Float[np.ndarray, "points dim"],
    *,
    weights: Num[np.ndarray, " points"] | None = None,
    seed: int = 0,
) -> Float[np.ndarray, " statistics"]:
    r"""What a rule for the number of clusters looks at, of a sample of points.

    The eigenvalues of :math:`V^\top V / N`; of k-means with 1 to 5 clusters the mean squared distance to the centre,
    the mean of the simplified silhouette :math:`(b - a) / \max(a, b)` (:math:`a` the distance to the own centre,
    :math:`b` that to the next) and the share of the smallest cluster.

    Args:
      points: unit vectors, one a row.
      weights: how likely a point is drawn into the sample, not negative, for instance the magnitudes of the bins: what
        is loud is mostly voice, what is soft mostly not. ``None`` draws all alike.
      seed: of the sample and of the k-means starts.

    Returns:
      As :data:`STATISTICS` names them, float64. Counts and logarithms are bounded below, so all are finite.

    Raises:
      ArgumentError: no point has a weight.
    """
    total = np.cumsum(np.ones(len(points)) if weights is None else np.asarray(weights, np.float64))
    if len(total) == 0 or not total[-1] > 0:
        raise ArgumentError("`weights` must be positive somewhere: there is no point to count clusters of.")
    # As many draws as ever, of few points and of many, so that all make one program; one from each equal stretch of
    # the total weight.
    drawn = (np.arange(_POINTS) + np.random.default_rng(seed).random(_POINTS)) * (total[-1] / _POINTS)
    chosen = np.minimum(np.searchsorted(total, drawn, side="right"), np.searchsorted(total, total[-1]))
    sample = points[chosen] if isinstance(points, np.ndarray) else np.asarray(jnp.take(points, chosen, axis=0))
    return np.asarray(_statistics(jnp.asarray(sample, jnp.float32), jnp.asarray(seed)), np.float64)


def count_clusters(
    statistics: Float[np.ndarray, " statistics"], counts: Sequence[int], rule: CountingRule | None = None
) -> ClusterCount:
    r"""The likeliest number of clusters among some.

    With a rule, by its probabilities, conditioned on the number being one of ``counts``. Without one by the
    eigenvalues: the number :math:`k` of those above a tenth, so that a voice is a direction that holds a tenth of all
    bins. What says :math:`k` are :math:`\lambda_2 \ldots \lambda_k` above the tenth and the next ones below it:

    .. math:: s_k = \prod_{i=2}^{k} \sigma(z_i) \prod_{i>k} \sigma(-z_i), \qquad z_i = 4 \ln(10\, \lambda_i)

    with :math:`\sigma` the logistic function; the share of :math:`s_k` among those of ``counts`` is the confidence. It
    tells how clearly the eigenvalues lie on their sides, and is no probability.

    Args:
      statistics: of :func:`cluster_statistics`.
      counts: what is possible.
      rule: fitted to the network that made the points.

    Raises:
      ArgumentError: nothing is possible, or a number that the rule does not know.
    """
    known = tuple(range(1, MOST_CLUSTERS)) if rule is None else rule.counts
    if not counts:
        raise ArgumentError("`counts` must hold at least one number.")
    for count in counts:
        if count not in known:
            raise ArgumentError(f"`counts` must be among {known}, the numbers that can be told apart, got {count}.")
    if rule is None:
        scores = np.array([_sides(statistics[1 : MOST_CLUSTERS - 1], count) for count in counts])
    else:
        logits = rule.logits(statistics)[[known.index(count) for count in counts]]
        scores = np.exp(logits - logits.max())
    shares = scores / scores.sum()
    best = int(np.argmax(shares))
    by_count = {count: float(share) for count, share in zip(counts, shares, strict=True)}
    return ClusterCount(counts[best], float(shares[best]), by_count, rule is not None)


def _sides(log_eigenvalues: Float[np.ndarray, " others"], count: int) -> float:
    """How clearly the second eigenvalue to the last of ``count`` lie above the threshold, and the others below."""
    signs = np.where(np.arange(2, 2 + len(log_eigenvalues)) <= count, 1, -1)
    return float(np.prod(1 / (1 + (np.exp(log_eigenvalues) / _LARGE_EIGENVALUE) ** (-_CLEARNESS * signs))))


def fit_counting_rule(
    statistics: Float[np.ndarray, "cases statistics"], counts: Int[np.ndarray, " cases"], *, penalty: float = 1.0
) -> CountingRule:
    """Fits a rule to cases whose number of clusters is known; each number weighs the same, however many its cases.

    Args:
      statistics: of :func:`cluster_statistics`, one row a case.
      counts: the true numbers.
      penalty: of squared weights; small sets of cases need one.

    Raises:
      ArgumentError: fewer than two different numbers, or a penalty that is not positive.
    """
    _checks.check_range("penalty", penalty, low=0.0, low_open=True)
    if len(np.unique(counts)) < 2:
        raise ArgumentError("`counts` must hold at least two different numbers to tell apart.")
    from sklearn.linear_model import LogisticRegression

    mean, std = statistics.mean(0), statistics.std(0)
    std = np.where(std > 0, std, 1.0)
    regression = LogisticRegression(C=1 / penalty, class_weight="balanced", max_iter=2000)
    regression.fit((statistics - mean) / std, counts)
    weights, bias = regression.coef_, regression.intercept_
    if len(weights) == 1:
        # Of two classes sklearn keeps the second's only.
        weights, bias = np.concatenate([0 * weights, weights]), np.concatenate([0 * bias, bias])
    return CountingRule(
        counts=tuple(int(count) for count in regression.classes_),
        statistics=STATISTICS,
        mean=_rounded(mean),
        std=_rounded(std),
        weights=tuple(_rounded(row) for row in weights),
        bias=_rounded(bias),
    )


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)


@functools.partial(jax.jit)
def _statistics(points: Float[Array, "points dim"], seed: Int[Array, ""]) -> Float[Array, " statistics"]:
    gram = jnp.matmul(points.T, points, precision="highest") / len(points)
    eigenvalues = jnp.linalg.eigvalsh(gram)[::-1][:MOST_CLUSTERS]
    eigenvalues = jnp.pad(eigenvalues, (0, MOST_CLUSTERS - len(eigenvalues)))
    inertias, silhouettes, shares = [], [], []
    for clusters in range(1, MOST_CLUSTERS + 1):
        found = kmeans(points, clusters=clusters, key=jax.random.fold_in(jax.random.key(seed), clusters))
        inertias.append(found.inertia / len(points))
        if clusters > 1:
            distances = jnp.linalg.norm(points[:, None] - found.centers, axis=-1)
            nearest = jnp.sort(distances, axis=-1)
            silhouettes.append(jnp.mean(1 - nearest[:, 0] / jnp.maximum(nearest[:, 1], _SMALLEST)))
            shares.append(jnp.min(jnp.bincount(found.labels, length=clusters)) / len(points))
    return jnp.concatenate(
        [
            _log(eigenvalues),
            _log(jnp.stack(inertias)),
            jnp.stack(silhouettes),
            _log(jnp.stack(shares)),
        ]
    )


def _log(values: Array) -> Array:
    return jnp.log(jnp.maximum(values, _SMALLEST))
