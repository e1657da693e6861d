"""Clusters of embeddings whose number is given, or estimated: by eigengap, silhouette, or what falls together.

On the host, by scikit-learn and SciPy: the number of points and of clusters differs from call to call, and each pair
of them would be another program to compile.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int
from numpy import ndarray

from jaxspk import _checks
from jaxspk.errors import ArgumentError

ClusterMethod = Literal["kmeans", "agglomerative", "spectral"]
CountMethod = Literal["eigengap", "silhouette", "agglomerative", "hdbscan"]

COUNT_METHODS: Mapping[str, str] = {
    "eigengap": "largest gap between eigenvalues of the graph of nearest neighbours, its density chosen by itself",
    "silhouette": "the number of clusters whose mean silhouette is highest",
    "agglomerative": "what merges below a distance, by average linkage",
    "hdbscan": "the dense regions that HDBSCAN finds",
}
"""How a number of clusters is estimated."""

# More rows than this are thinned out before eigenvalues are sought, which takes their cube.
_GRAPH = 500
_NEIGHBOURS = (2, 3, 5, 7, 10, 15, 20, 30, 50)
_RESTARTS = 10


class EmbeddingClusters(NamedTuple):
    """A clustering.

    Attributes:
      labels: cluster of each point, from 0 on in order of first appearance.
      clusters: how many.
      scores: what decided on the number: by number of clusters, higher is better; empty where it was given or fell
        out of the method.
    """

    labels: Int[ndarray, " points"]
    clusters: int
    scores: Mapping[int, float]


def cluster_embeddings(
    embeddings: Float[ndarray, "points dim"],
    clusters: int | Literal["auto"] = "auto",
    *,
    method: ClusterMethod = "kmeans",
    count: CountMethod = "eigengap",
    fewest: int = 1,
    most: int = 20,
    distance: Literal["euclidean", "cosine"] = "euclidean",
    threshold: float = 1.0,
    restarts: int = _RESTARTS,
    seed: int = 0,
) -> EmbeddingClusters:
    """Puts embeddings into clusters.

    Args:
      embeddings: one a row, finite.
      clusters: how many, or "auto" to estimate it by ``count``.
      method: how points are put into a known number of clusters.
      count: how the number is estimated, one of :data:`COUNT_METHODS`. "agglomerative" and "hdbscan" make their
        clusters themselves, and ``method`` is not used, unless the number they find lies outside the bounds.
      fewest: clusters, where the number is estimated.
      most: likewise; never more than points.
      distance: what is near. "cosine" looks at directions only: rows are scaled to unit length first.
      threshold: of "agglomerative": the mean distance at which clusters are no longer merged; of unit vectors it is
        1 at an angle of 60 degrees and the root of 2 at a right one.
      restarts: of k-means.
      seed: of what is random.

    Raises:
      ArgumentError: there are no points, they are not finite, or there are more clusters than points.
    """
    points = _points(embeddings, distance)
    _checks.check_choice("method", method, ("kmeans", "agglomerative", "spectral"))
    if clusters != "auto":
        _checks.check_range("clusters", clusters, low=1, high=len(points))
        return _ordered(_split(points, clusters, method, restarts, seed), {})
    _checks.check_choice("count", count, COUNT_METHODS)
    _checks.check_range("fewest", fewest, low=1, high=len(points))
    _checks.check_range("most", most, low=fewest)
    most = min(most, len(points))
    if fewest == most:
        return _ordered(_split(points, fewest, method, restarts, seed), {})
    if count in ("agglomerative", "hdbscan"):
        labels = _merged(points, threshold) if count == "agglomerative" else _dense(points)
        found = len(np.unique(labels))
        if not fewest <= found <= most:
            labels = _split(points, min(max(found, fewest), most), method, restarts, seed)
        return _ordered(labels, {})
    scores = _eigengaps(points, fewest, most) if count == "eigengap" else {}
    if count == "silhouette":
        splits = {number: _split(points, number, method, restarts, seed) for number in range(max(fewest, 2), most + 1)}
        scores = {number: _silhouette(points, labels, seed) for number, labels in splits.items()}
    best = max(scores, key=lambda number: (scores[number], -number))
    return _ordered(_split(points, best, method, restarts, seed), scores)


def mean_by_group(
    embeddings: Float[ndarray, "points dim"], groups: Int[ndarray, " points"]
) -> Float64[ndarray, "groups dim"]:
    """Mean embedding of each group, from the least number on: of frames to segments, of segments to recordings.

    Args:
      embeddings: one a row.
      groups: a number for each row; equal numbers are one group.

    Raises:
      ArgumentError: there is not one number a row.

    Example:
      >>> mean_by_group(np.array([[0.0], [2.0], [7.0]]), np.array([4, 4, 9])).tolist()
      [[1.0], [7.0]]
    """
    _checks.check_shape("groups", groups, (len(embeddings),), "one a row of `embeddings`")
    _, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.zeros((len(sizes), embeddings.shape[1]))
    np.add.at(sums, inverse, embeddings)
    means: Float64[ndarray, "groups dim"] = sums / sizes[:, None]
    return means


def nearest_neighbour_eigengap(
    embeddings: Float[ndarray, "points dim"],
    *,
    fewest: int = 1,
    most: int = 20,
    neighbours: Sequence[int] | None = None,
) -> dict[int, float]:
    r"""How large the gap behind each number of small eigenvalues is; the largest tells the number of clusters.

    The graph joins each point with its p most similar ones by cosine. Its Laplacian has an eigenvalue of 0 for each
    part without connection; between k clusters and more the eigenvalues jump:

    .. math:: L = D - \tfrac12 (A_p + A_p^\top), \qquad g_k = (\lambda_{k+1} - \lambda_k) / \lambda_{\max}

    The number of neighbours p is that for which :math:`p / \max_k g_k` is least: few neighbours and a large gap.

    Args:
      embeddings: one a row; more than some hundreds are thinned out evenly.
      fewest: clusters.
      most: clusters.
      neighbours: numbers p to choose from; those not below the number of points count as all the others. None takes
        numbers from 5 to 50, of few points from a quarter of them on.

    Returns:
      :math:`g_k` by k.

    References:
      Park et al., `Auto-tuning spectral clustering for speaker diarization using normalized maximum eigengap
      <https://arxiv.org/abs/2003.02405>`_, IEEE Signal Processing Letters 2020.
    """
    return _eigengaps(_points(embeddings, "cosine"), fewest, most, neighbours)


def _points(embeddings: Float[ndarray, "points dim"], distance: str) -> Float64[ndarray, "points dim"]:
    _checks.check_choice("distance", distance, ("euclidean", "cosine"))
    points = np.asarray(embeddings, np.float64)
    if points.ndim != 2 or not len(points) or not np.isfinite(points).all():
        raise ArgumentError(
            f"`embeddings` must be finite, [points, dim] with at least one point, got shape {points.shape}"
            f"{'' if np.isfinite(points).all() else ' with values that are not finite'}."
        )
    return points if distance == "euclidean" else _unit(points)


def _unit(points: Float64[ndarray, "points dim"]) -> Float64[ndarray, "points dim"]:
    unit: Float64[ndarray, "points dim"] = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    return unit


def _split(points: ndarray, clusters: int, method: str, restarts: int, seed: int) -> ndarray:
    if clusters == 1 or len(points) == 1:
        return np.zeros(len(points), int)
    if clusters == len(points):
        return np.arange(len(points))
    from sklearn.cluster import AgglomerativeClustering, KMeans

    made: Any
    if method == "agglomerative":
        made = AgglomerativeClustering(clusters, linkage="average").fit(points)
    elif method == "spectral":
        made = KMeans(clusters, n_init=restarts, random_state=seed).fit(_spectral_rows(points, clusters))
    else:
        made = _quietly(KMeans(clusters, n_init=restarts, random_state=seed), points)
    return np.asarray(made.labels_, int)


def _quietly(estimator: Any, points: ndarray) -> Any:
    """Fits it; that points may be equal, so that there are fewer clusters than asked for, is no news."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(points)


def _merged(points: ndarray, threshold: float) -> ndarray:
    from sklearn.cluster import AgglomerativeClustering

    _checks.check_range("threshold", threshold, low=0.0, low_open=True)
    if len(points) == 1:
        return np.zeros(1, int)
    made = AgglomerativeClustering(None, linkage="average", distance_threshold=threshold).fit(points)
    return np.asarray(made.labels_, int)


def _dense(points: ndarray) -> ndarray:
    """HDBSCAN's clusters; what it calls noise goes to the nearest of their means."""
    from sklearn.cluster import HDBSCAN

    if len(points) < 4:
        return np.zeros(len(points), int)
    smallest = max(2, min(5, len(points) // 4))
    labels = np.asarray(HDBSCAN(min_cluster_size=smallest, allow_single_cluster=True, copy=True).fit(points).labels_)
    if (labels < 0).all():
        return np.zeros(len(points), int)
    means = mean_by_group(points[labels >= 0], labels[labels >= 0])
    nearest = np.argmin(np.linalg.norm(points[:, None] - means, axis=-1), axis=1)
    return np.asarray(np.where(labels < 0, nearest, labels))


def _silhouette(points: ndarray, labels: ndarray, seed: int) -> float:
    found = len(np.unique(labels))
    if not 2 <= found < len(points):
        return -1.0
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(points, labels, sample_size=min(len(points), 5000), random_state=seed))


def _eigengaps(points: ndarray, fewest: int, most: int, neighbours: Sequence[int] | None = None) -> dict[int, float]:
    chosen = points if len(points) <= _GRAPH else points[np.linspace(0, len(points) - 1, _GRAPH).astype(int)]
    similar = _unit(chosen) @ _unit(chosen).T
    most = min(most, len(chosen) - 1)
    if most < fewest:
        return {fewest: 0.0}
    if neighbours is None:
        # With fewer the graph falls apart by chance.
        lowest = min(5, max(2, len(chosen) // 4))
        neighbours = [number for number in _NEIGHBOURS if number >= lowest]
    best: dict[int, float] = {}
    least = np.inf
    for number in sorted({min(number, len(chosen) - 1) for number in neighbours}):
        eigenvalues = _eigenvalues(similar, number)
        gaps = np.diff(eigenvalues)[fewest - 1 : most] / max(eigenvalues[-1], 1e-12)
        ratio = number / max(float(gaps.max()), 1e-12)
        if ratio < least:
            least, best = ratio, {fewest + place: float(gap) for place, gap in enumerate(gaps)}
    return best


def _eigenvalues(similar: ndarray, number: int) -> ndarray:
    graph = _neighbour_graph(similar, number)
    return np.asarray(np.linalg.eigvalsh(np.diag(graph.sum(1)) - graph))


def _neighbour_graph(similar: ndarray, number: int) -> ndarray:
    """Half an edge from each point to each of its nearest others, and half from them."""
    others = similar.copy()
    np.fill_diagonal(others, -np.inf)
    graph = np.zeros_like(similar)
    np.put_along_axis(graph, np.argpartition(-others, number - 1, axis=1)[:, :number], 1.0, axis=1)
    return np.asarray((graph + graph.T) / 2)


def _spectral_rows(points: ndarray, clusters: int) -> ndarray:
    """Unit rows of the eigenvectors of the smallest eigenvalues of the normalised Laplacian."""
    import scipy.linalg

    number = min(max(10, len(points) // 10), len(points) - 1)
    graph = _neighbour_graph(_unit(points) @ _unit(points).T, number)
    degree = 1 / np.sqrt(np.maximum(graph.sum(1), 1e-12))
    normalized = np.eye(len(points)) - degree[:, None] * graph * degree
    _, vectors = scipy.linalg.eigh(normalized, subset_by_index=(0, clusters - 1))
    return _unit(np.asarray(vectors))


def _ordered(labels: ndarray, scores: Mapping[int, float]) -> EmbeddingClusters:
    """Clusters numbered in order of first appearance."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return EmbeddingClusters(rank[inverse], len(first), scores)
