"""AutoEmbedder's loss as the paper writes it, pair by pair, in NumPy: the measure of all else."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def autoembedder_definition(
    embeddings_1: ArrayLike,
    embeddings_2: ArrayLike,
    cannot_link: ArrayLike,
    *,
    alpha: float,
    clip_must_link: bool = True,
) -> NDArray[Any]:
    """(t - s)², one pair at a time."""
    e1, e2 = np.asarray(embeddings_1, np.float64), np.asarray(embeddings_2, np.float64)
    apart = np.asarray(cannot_link)
    values = np.zeros(apart.shape)
    for pair in np.ndindex(apart.shape):
        distance = math.sqrt(sum((a - b) ** 2 for a, b in zip(e1[pair], e2[pair], strict=True)))
        target = alpha if apart[pair] else 0.0
        capped = min(distance, alpha) if apart[pair] or clip_must_link else distance
        values[pair] = (target - capped) ** 2
    return values
