"""The deep clustering cost as the paper writes it, pair by pair, in NumPy: the measure of all else."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def deep_clustering_definition(
    embeddings: ArrayLike,
    assignments: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    balance: str = "none",
    normalize: str = "none",
) -> NDArray[Any]:
    """The sum over all ordered pairs of bins, one pair at a time; for small sizes."""
    v, y = np.asarray(embeddings, np.float64), np.asarray(assignments, np.float64)
    w = np.ones(v.shape[:-1]) if weights is None else np.asarray(weights, np.float64)
    if v.ndim > 2:
        parts = [
            deep_clustering_definition(*example, balance=balance, normalize=normalize)
            for example in zip(v, y, w, strict=True)
        ]
        return np.array(parts)
    bins = range(len(v))
    r = w.copy()
    if balance == "partition":
        for i in bins:
            same = sum(y[i] @ y[j] for j in bins if w[j] > 0)
            r[i] = w[i] / np.sqrt(same) if same > 0 else 0.0
    cost = 0.0
    for i in bins:
        for j in bins:
            cost += r[i] * r[j] * (v[i] @ v[j] - y[i] @ y[j]) ** 2
    if normalize == "weights" and r.sum() > 0:
        cost /= r.sum() ** 2
    return np.array(cost)
