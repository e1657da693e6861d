"""How well clusters match speakers, whatever the clusters are called.

Labels and clusters are one value an item each, of any kind that sorts (numbers, strings). A value is a class like any
other: the -1 that some methods give to noise is one more cluster.

High mutual information alone says little where there are few items a class: clusters drawn at random then score high
too. Give a chance level, or the adjusted scores, beside it.
"""

import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Int
from numpy import ndarray
from numpy.typing import ArrayLike

from jaxspk._checks import check_choice
from jaxspk.errors import ArgumentError

Average = Literal["arithmetic", "geometric", "min", "max"]


def clustering_accuracy(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Share of items in the right cluster, when each cluster is given to at most one class in the best way.

    With more clusters than classes the items of those left over count as wrong, and likewise the other way round.

    Args:
      labels: ``[items]``, the true classes.
      clusters: ``[items]``.

    Returns:
      Above 0, up to 1.

    Raises:
      ArgumentError: lengths differ, or there are no items.

    Example:
      >>> clustering_accuracy(["ann", "ann", "bob", "bob"], [7, 7, 7, 3])
      0.75

    References:
      Kuhn, *The Hungarian method for the assignment problem*, Naval Research Logistics Quarterly 2, 1955.
    """
    from scipy.optimize import linear_sum_assignment

    true, found = _classes(labels, clusters)
    table = np.zeros((true.max() + 1, found.max() + 1), dtype=np.int64)
    np.add.at(table, (true, found), 1)
    return float(table[linear_sum_assignment(table, maximize=True)].sum() / len(true))


def normalized_mutual_information(labels: ArrayLike, clusters: ArrayLike, *, average: Average = "arithmetic") -> float:
    """Mutual information over a mean of the two entropies.

    Args:
      labels: ``[items]``, the true classes.
      clusters: ``[items]``.
      average: which mean. The arithmetic one is scikit-learn's default since 0.22; before that it was the geometric.

    Returns:
      From 0 (independent) to 1 (the same partition). 1 where both have one class only.

    Raises:
      ArgumentError: lengths differ, there are no items, or ``average`` is none of those above.

    Example:
      >>> round(normalized_mutual_information([0, 0, 1, 1], [5, 5, 2, 2]), 12)
      1.0
    """
    check_choice("average", average, ("arithmetic", "geometric", "min", "max"))
    from sklearn.metrics import normalized_mutual_info_score

    return _score(lambda *pair: normalized_mutual_info_score(*pair, average_method=average), labels, clusters)


def adjusted_mutual_information(labels: ArrayLike, clusters: ArrayLike, *, average: Average = "arithmetic") -> float:
    """Mutual information beyond that of random clusters of the same sizes, over the most there could be.

    Args:
      labels: ``[items]``, the true classes.
      clusters: ``[items]``.
      average: which mean of the two entropies is the most there could be.

    Returns:
      0 on average for random clusters (so also a little below), 1 for the same partition.

    Raises:
      ArgumentError: lengths differ, there are no items, or ``average`` is none of those above.

    Example:
      >>> adjusted_mutual_information([0, 0, 1, 1], [0, 1, 0, 1]) < 0
      True

    References:
      Vinh, Epps and Bailey, *Information theoretic measures for clusterings comparison*, JMLR 11, 2010.
    """
    check_choice("average", average, ("arithmetic", "geometric", "min", "max"))
    from sklearn.metrics import adjusted_mutual_info_score

    return _score(lambda *pair: adjusted_mutual_info_score(*pair, average_method=average), labels, clusters)


def adjusted_rand_index(labels: ArrayLike, clusters: ArrayLike) -> float:
    """Share of pairs of items that both keep together or both part, beyond that of random clusters of the same sizes.

    Args:
      labels: ``[items]``, the true classes.
      clusters: ``[items]``.

    Returns:
      0 on average for random clusters, 1 for the same partition, at least -0.5.

    Raises:
      ArgumentError: lengths differ, or there are no items.

    Example:
      >>> adjusted_rand_index([0, 0, 1, 1], [1, 1, 0, 0])
      1.0

    References:
      Hubert and Arabie, *Comparing partitions*, Journal of Classification 2, 1985.
    """
    from sklearn.metrics import adjusted_rand_score

    return _score(adjusted_rand_score, labels, clusters)


def _score(score: Callable[..., float], labels: ArrayLike, clusters: ArrayLike) -> float:
    classes = _classes(labels, clusters)
    with warnings.catch_warnings():
        # Many classes a few items each look like a regression's targets to scikit-learn, and it says so.
        warnings.simplefilter("ignore", UserWarning)
        return float(score(*classes))


def _classes(labels: ArrayLike, clusters: ArrayLike) -> tuple[Int[ndarray, " items"], Int[ndarray, " items"]]:
    """Both as numbers from 0."""
    true, found = np.asarray(labels), np.asarray(clusters)
    if true.ndim != 1 or true.shape != found.shape or true.size == 0:
        raise ArgumentError(
            "`labels` and `clusters` must have one value an item, [items], and at least one, "
            f"got {true.shape} and {found.shape}."
        )
    return np.unique(true, return_inverse=True)[1], np.unique(found, return_inverse=True)[1]
