"""How well clusters of embeddings are the true classes, beside what random ones reach under the same sampling.

ACC and NMI grow with the number of clusters and fall with the items a class: of two frames a class, as the code
published with the u-vectors draws them, noise already has an ACC of 0.4 and an NMI of 0.8 or more.
"""

import dataclasses
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxspk import _checks, metrics
from jaxspk.clustering import cluster_embeddings, mean_by_group
from jaxspk.errors import ArgumentError

Sampling = Literal["all", "ten", "released"]

SAMPLINGS: Mapping[Sampling, str] = {
    "all": "every item",
    "ten": "ten of each class, as the paper has it (2 s of each speaker)",
    "released": "two a class on average, drawn from all alike, as the code published with the paper does",
}
"""Which items are clustered and scored."""

SCORES = ("accuracy", "nmi", "ari", "ami")


class ClusterScores(NamedTuple):
    """Agreement of clusters with classes.

    Attributes:
      accuracy: ACC, share in the right cluster when clusters are given to classes in the best way.
      nmi: normalised mutual information, arithmetic mean.
      ari: adjusted Rand index, 0 for random clusters.
      ami: adjusted mutual information, 0 for random clusters.
    """

    accuracy: float
    nmi: float
    ari: float
    ami: float


@dataclasses.dataclass(frozen=True)
class ScoredClusters:
    """A row of a table: scores, and what noise reaches in their place.

    Attributes:
      sampling: which items were clustered, of :data:`SAMPLINGS`.
      items: how many.
      classes: how many are among them.
      clusters: how many were made.
      scores: of the embeddings.
      noise: mean scores of random embeddings of the same size and sampling.
    """

    sampling: Sampling
    items: int
    classes: int
    clusters: int
    scores: ClusterScores
    noise: ClusterScores

    def columns(self) -> dict[str, object]:
        """For a table; of the scores under the released sampling the names say so: they compare with no others."""
        mark = "_two_a_class" if self.sampling == "released" else ""
        return {
            "sampling": self.sampling,
            "items": self.items,
            "classes": self.classes,
            "clusters": self.clusters,
            **{f"{name}{mark}": getattr(self.scores, name) for name in SCORES},
            **{f"noise_{name}{mark}": getattr(self.noise, name) for name in SCORES},
        }


def score_clusters(labels: Int[np.ndarray, " items"], clusters: Int[np.ndarray, " items"]) -> ClusterScores:
    """All four scores.

    Args:
      labels: the true classes.
      clusters: what was found.
    """
    return ClusterScores(
        metrics.clustering_accuracy(labels, clusters),
        metrics.normalized_mutual_information(labels, clusters),
        metrics.adjusted_rand_index(labels, clusters),
        metrics.adjusted_mutual_information(labels, clusters),
    )


def draw_items(labels: Int[np.ndarray, " items"], sampling: Sampling, *, seed: int) -> Int[np.ndarray, " drawn"]:
    """Numbers of the items that a sampling takes, ascending; a class of fewer than ten gives all it has."""
    _checks.check_choice("sampling", sampling, SAMPLINGS)
    rng = np.random.default_rng(seed)
    count, classes = len(labels), len(np.unique(labels))
    if sampling == "all":
        return np.arange(count)
    shuffled = rng.permutation(count)
    if sampling == "released":
        return np.sort(shuffled[: min(2 * classes, count)])
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    rank = np.arange(count) - np.searchsorted(labels[order], labels[order])
    drawn: np.ndarray = np.sort(order[rank < 10])
    return drawn


def score_embeddings(
    embeddings: Float[np.ndarray, "items dim"],
    labels: Int[np.ndarray, " items"],
    *,
    sampling: Sampling = "all",
    clusters: int | Literal["auto"] | None = None,
    restarts: int = 10,
    noise_draws: int = 3,
    seed: int = 0,
) -> ScoredClusters:
    """Clusters embeddings by k-means and scores the clusters, and does the same with random ones.

    Args:
      embeddings: one a row.
      labels: true class of each.
      sampling: which items to take.
      clusters: how many; None is the number of classes among all items (those that were not drawn too, as in the
        published code), "auto" estimates it.
      restarts: of k-means.
      noise_draws: sets of random embeddings whose scores are averaged.
      seed: of all that is random.

    Raises:
      ArgumentError: there is not one label a row.
    """
    _checks.check_shape("labels", labels, (len(embeddings),), "one a row of `embeddings`")
    _checks.check_range("noise_draws", noise_draws, low=1)
    drawn = draw_items(labels, sampling, seed=seed)
    number = len(np.unique(labels)) if clusters is None else clusters
    found = cluster_embeddings(
        embeddings[drawn], number if number == "auto" else min(number, len(drawn)), restarts=restarts, seed=seed
    )
    noise = noise_floor(
        labels,
        dim=embeddings.shape[1],
        sampling=sampling,
        clusters=found.clusters if number == "auto" else number,
        restarts=min(restarts, 3),
        draws=noise_draws,
        seed=seed,
    )
    return ScoredClusters(
        sampling,
        len(drawn),
        len(np.unique(labels[drawn])),
        found.clusters,
        score_clusters(labels[drawn], found.labels),
        noise,
    )


def noise_floor(
    labels: Int[np.ndarray, " items"],
    *,
    dim: int = 12,
    sampling: Sampling = "all",
    clusters: int | None = None,
    restarts: int = 3,
    draws: int = 3,
    seed: int = 0,
) -> ClusterScores:
    """Mean scores of k-means on normal noise under a sampling: what embeddings that know nothing reach.

    Args:
      labels: true class of each item.
      dim: of the noise.
      sampling: which items to take.
      clusters: how many; None is the number of classes.
      restarts: of k-means.
      draws: of items and noise.
      seed: of all that is random.
    """
    number = len(np.unique(labels)) if clusters is None else clusters
    made = []
    for draw in range(draws):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(draw,)))
        items = draw_items(labels, sampling, seed=int(rng.integers(2**31)))
        noise = rng.standard_normal((len(items), dim))
        found = cluster_embeddings(noise, min(number, len(items)), restarts=restarts, seed=seed)
        made.append(score_clusters(labels[items], found.labels))
    return ClusterScores(*np.mean(made, axis=0).tolist())


def pool_items(
    embeddings: Float[np.ndarray, "items dim"], labels: Int[np.ndarray, " items"], groups: Int[np.ndarray, " items"]
) -> tuple[Float[np.ndarray, "groups dim"], Int[np.ndarray, " groups"]]:
    """Means of the embeddings of segments or recordings, and the class of each.

    Args:
      embeddings: of frames.
      labels: true class of each.
      groups: the segment or recording of each.

    Raises:
      ArgumentError: a group is of two classes.
    """
    means = mean_by_group(embeddings, groups)
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    of_group = labels[first]
    mixed = np.flatnonzero(of_group[inverse] != labels)
    if len(mixed):
        raise ArgumentError(f"`groups` must each be of one class, got group {groups[mixed[0]]} of two.")
    return means, of_group
