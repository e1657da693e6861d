"""The metric-learning and classification losses as their sources write them: loops, float64, small sizes.

These share no code with the losses, and take the same arguments. Conventions where a formula says nothing: the cosine
with a zero vector is 0, a mean or maximum over nothing is 0.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector = NDArray[np.float64]
# A float, or whatever numbers a proof calculates with.
Number = Any
Scalar = float | ArrayLike


def softmax_definition(
    embeddings: ArrayLike, class_weights: ArrayLike, class_bias: ArrayLike, labels: ArrayLike
) -> Vector:
    """Chung et al. 2020: cross entropy of w x + b."""
    classes, biases = _matrix(class_weights), _matrix(class_bias)

    def logits(embedding: Vector, label: int) -> list[Number]:
        return [float(np.dot(row, embedding) + bias) for row, bias in zip(classes, biases, strict=True)]

    return _classified(embeddings, labels, logits)


def am_softmax_definition(
    embeddings: ArrayLike, class_weights: ArrayLike, labels: ArrayLike, *, margin: float, scale: float
) -> Vector:
    """Wang et al. 2018: the margin is taken off the target's cosine."""

    def logits(embedding: Vector, label: int) -> list[Number]:
        cosines = [_cosine(row, embedding) for row in _matrix(class_weights)]
        return [scale * (cosine - (margin if k == label else 0)) for k, cosine in enumerate(cosines)]

    return _classified(embeddings, labels, logits)


def aam_softmax_definition(
    embeddings: ArrayLike,
    class_weights: ArrayLike,
    labels: ArrayLike,
    *,
    margin: float,
    scale: float,
    easy_margin: bool = False,
) -> Vector:
    """Deng et al. 2019: the margin is added to the target's angle."""

    def phi(cosine: Number) -> Number:
        angle = math.acos(min(1.0, max(-1.0, cosine)))
        if easy_margin:
            return math.cos(angle + margin) if cosine > 0 else cosine
        return (
            math.cos(angle + margin)
            if cosine > math.cos(math.pi - margin)
            else (cosine - margin * math.sin(math.pi - margin))
        )

    def logits(embedding: Vector, label: int) -> list[Number]:
        cosines = [_cosine(row, embedding) for row in _matrix(class_weights)]
        return [scale * (phi(cosine) if k == label else cosine) for k, cosine in enumerate(cosines)]

    return _classified(embeddings, labels, logits)


def contrastive_definition(
    embeddings_1: ArrayLike, embeddings_2: ArrayLike, same_speaker: ArrayLike, *, margin: float, normalize: bool = True
) -> Vector:
    """Hadsell et al. 2006, without the factor one half."""

    def one(pair: tuple[Vector, Vector], same: bool) -> Number:
        first, second = (_unit(vector) if normalize else vector for vector in pair)
        distance = math.sqrt(_squared_distance(first, second))
        return distance**2 if same else max(0.0, margin - distance) ** 2

    same = np.asarray(same_speaker)
    pairs = zip(_vectors(embeddings_1), _vectors(embeddings_2), strict=True)
    return _shaped([one(pair, bool(s)) for pair, s in zip(pairs, same.reshape(-1), strict=True)], same.shape)


def triplet_definition(
    anchors: ArrayLike, positives: ArrayLike, negatives: ArrayLike, *, margin: float, normalize: bool = True
) -> Vector:
    """Schroff et al. 2015, eq. (2)."""

    def one(*triplet: Vector) -> Number:
        a, p, n = (_unit(vector) if normalize else vector for vector in triplet)
        return max(0, _squared_distance(a, p) - _squared_distance(a, n) + margin)

    triplets = zip(_vectors(anchors), _vectors(positives), _vectors(negatives), strict=True)
    return _shaped([one(*triplet) for triplet in triplets], _matrix(anchors).shape[:-1])


def semi_hard_triplet_definition(
    embeddings: ArrayLike, labels: ArrayLike, *, margin: float, chunk_size: Any = None
) -> Vector:
    """Schroff et al. 2015, eq. (4), averaged over each anchor's positives."""

    def one_batch(vectors: Vector, y: NDArray[Any]) -> list[Number]:
        u = [_unit(vector) for vector in vectors]
        losses = []
        for i in range(len(u)):
            terms = []
            for p in range(len(u)):
                if p == i or y[p] != y[i]:
                    continue
                to_positive = _squared_distance(u[i], u[p])
                to_negatives = [_squared_distance(u[i], u[n]) for n in range(len(u)) if y[n] != y[i]]
                # What the loss says it does not tell apart is not farther: 64 units of float64's rounding.
                beyond = [distance for distance in to_negatives if distance > to_positive + 64 * 2.0**-52]
                terms.append(max(0.0, to_positive - min(beyond) + margin) if beyond else 0.0)
            losses.append(_mean(terms))
        return losses

    batches, all_labels = _matrix(embeddings), np.asarray(labels)
    flat = batches.reshape(-1, *batches.shape[-2:]), all_labels.reshape(-1, all_labels.shape[-1])
    return _shaped([one_batch(*batch) for batch in zip(*flat, strict=True)], all_labels.shape)


def prototypical_definition(embeddings: ArrayLike, *, include_query: bool = False, chunk_size: Any = None) -> Vector:
    """Snell et al. 2017: minus the squared distances from the centroids are the logits."""

    def logits(query: Vector, centroids: list[Vector]) -> list[Number]:
        return [-_squared_distance(query, centroid) for centroid in centroids]

    return _prototypes(embeddings, include_query, False, logits)


def angular_prototypical_definition(
    embeddings: ArrayLike,
    scale: Scalar,
    bias: Scalar,
    *,
    centroid: str = "raw",
    include_query: bool = False,
    chunk_size: Any = None,
) -> Vector:
    """Chung et al. 2020: scaled cosines with the centroids are the logits."""

    def logits(query: Vector, centroids: list[Vector]) -> list[Number]:
        return [float(np.asarray(scale)) * _cosine(query, c) + float(np.asarray(bias)) for c in centroids]

    return _prototypes(embeddings, include_query, centroid == "normalized", logits)


def ge2e_softmax_definition(
    embeddings: ArrayLike,
    scale: Scalar,
    bias: Scalar,
    *,
    centroid: str = "raw",
    cosine_floor: float | None = None,
    chunk_size: Any = None,
) -> Vector:
    """Wan et al. 2018, eq. (6) with the similarities of eq. (9)."""
    return _ge2e(embeddings, scale, bias, centroid, cosine_floor, lambda logits, own: _cross_entropy(logits, own))


def ge2e_contrast_definition(
    embeddings: ArrayLike,
    scale: Scalar,
    bias: Scalar,
    *,
    centroid: str = "raw",
    cosine_floor: float | None = None,
    chunk_size: Any = None,
) -> Vector:
    """Wan et al. 2018, eq. (7) with the similarities of eq. (9)."""

    def one(logits: list[Number], own: int) -> Number:
        others = [_sigmoid(logit) for k, logit in enumerate(logits) if k != own]
        return 1 - _sigmoid(logits[own]) + max(others, default=0.0)

    return _ge2e(embeddings, scale, bias, centroid, cosine_floor, one)


def softmax_prototypical_definition(
    embeddings: ArrayLike,
    class_weights: ArrayLike,
    class_bias: ArrayLike,
    labels: ArrayLike,
    scale: Scalar,
    bias: Scalar,
    *,
    chunk_size: Any = None,
) -> Vector:
    """The public code's sum of softmax, over both utterances, and angular prototypical."""
    both = np.stack([np.asarray(labels)] * 2, axis=-1)
    classified = softmax_definition(embeddings, class_weights, class_bias, both)
    told_apart = angular_prototypical_definition(embeddings, scale, bias)
    return (classified[..., 0] + classified[..., 1]) / 2 + told_apart


# --- Parts. ---


def _classified(x: ArrayLike, labels: ArrayLike, logits: Any) -> Vector:
    y = np.asarray(labels)
    pairs = zip(_vectors(x), y.reshape(-1), strict=True)
    return _shaped([_cross_entropy(logits(vector, int(label)), int(label)) for vector, label in pairs], y.shape)


def _prototypes(x: ArrayLike, include_query: bool, normalized: bool, logits: Any) -> Vector:
    batches = _matrix(x)
    losses = []
    for speakers in batches.reshape(-1, *batches.shape[-3:]):
        averaged = [[_unit(v) if normalized else v for v in utterances] for utterances in speakers]
        centroids = [_centre(vectors if include_query else vectors[1:]) for vectors in averaged]
        losses.append([_cross_entropy(logits(u[0], centroids), j) for j, u in enumerate(speakers)])
    return _shaped(losses, batches.shape[:-2])


def _ge2e(x: ArrayLike, scale: Any, bias: Any, centroid: str, floor: Number | None, loss: Any) -> Vector:
    batches = _matrix(x)
    losses = []
    for speakers in batches.reshape(-1, *batches.shape[-3:]):
        averaged = [[_unit(v) if centroid == "normalized" else v for v in utterances] for utterances in speakers]
        for j, utterances in enumerate(speakers):
            for i, query in enumerate(utterances):
                without_query = averaged[j][:i] + averaged[j][i + 1 :]
                centroids = [_centre(without_query if k == j else vectors) for k, vectors in enumerate(averaged)]
                cosines = [_cosine(query, c) for c in centroids]
                cosines = cosines if floor is None else [max(floor, cosine) for cosine in cosines]
                losses.append(
                    loss([float(np.asarray(scale)) * cosine + float(np.asarray(bias)) for cosine in cosines], j)
                )
    return _shaped(losses, batches.shape[:-1])


def _cross_entropy(logits: list[Number], target: int) -> Number:
    highest = max(logits)
    return highest + math.log(sum(math.exp(logit - highest) for logit in logits)) - logits[target]


def _sigmoid(logit: Number) -> Number:
    return 1 / (1 + math.exp(-logit)) if logit > 0 else math.exp(logit) / (1 + math.exp(logit))


def _unit(vector: Vector) -> Vector:
    length = math.hypot(*vector)
    return vector / length if length > 0 else np.zeros_like(vector)


def _cosine(first: Vector, second: Vector) -> Number:
    return float(np.dot(_unit(first), _unit(second)))


def _squared_distance(first: Vector, second: Vector) -> Number:
    return float(sum((a - b) ** 2 for a, b in zip(first, second, strict=True)))


def _centre(vectors: list[Vector]) -> Vector:
    return np.asarray(sum(vectors) / len(vectors), dtype=np.float64)


def _mean(values: list[Number]) -> Number:
    return sum(values) / len(values) if values else 0.0


def _matrix(array: ArrayLike) -> Vector:
    return np.asarray(array, dtype=np.float64)


def _vectors(array: ArrayLike) -> Vector:
    matrix = _matrix(array)
    return matrix.reshape(-1, matrix.shape[-1])


def _shaped(values: Any, shape: tuple[int, ...]) -> Vector:
    return np.asarray(values, dtype=np.float64).reshape(shape)
