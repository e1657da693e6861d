r"""Spectral clustering of unit vectors by their inner products, without the matrix of affinities.

The affinities of :math:`N` embeddings are :math:`A = V V^\top`, of rank :math:`K` at most. So the degrees
:math:`d = V (V^\top \mathbf 1)` and the leading eigenvectors of :math:`D^{-1/2} A D^{-1/2}` come from matrices of
:math:`K` columns: they are the left singular vectors of :math:`\tilde V = D^{-1/2} V`, which the eigenvectors of the
:math:`K \times K` matrix :math:`\tilde V^\top \tilde V` give. Time is :math:`O(N K^2)`, memory that of :math:`V`.

Degrees may be negative: see :func:`spectral_embedding`.
"""

import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Num

from jaxspk import _checks, _numerics
from jaxspk.clustering._kmeans import kmeans

DegreeRule = Literal["clamped", "shifted", "raw"]

DEGREE_RULES: tuple[DegreeRule, ...] = ("clamped", "shifted", "raw")
"""What can be done about degrees that are negative or small, see :func:`spectral_embedding`."""


class SpectralEmbedding(NamedTuple):
    """Where the points lie in the space of the leading eigenvectors."""

    coordinates: Float[Array, "points vectors"]
    """Rows of unit length (of length 0 for a point that is 0)."""
    singular_values: Float[Array, " vectors"]
    """Falling; the first is 1 where all affinities are non-negative."""
    degrees: Float[Array, " points"]
    """Of the affinity that was used, before any clamping: look here for ``degrees <= 0``."""


class SpectralClustering(NamedTuple):
    """A clustering of the points, and the space that it was made in."""

    labels: Int[Array, " points"]
    embedding: SpectralEmbedding


def spectral_embedding(
    points: Float[Array, "points dim"],
    *,
    vectors: int,
    weights: Num[Array, " points"] | None = None,
    degrees: DegreeRule = "clamped",
    floor: float = 0.05,
) -> SpectralEmbedding:
    r"""Rows of the leading left singular vectors of :math:`D^{-1/2} V`, scaled to unit length.

    With the degrees :math:`d = V V^\top \mathbf 1`, :math:`D = \mathrm{diag}(d)`; the matrix of affinities
    :math:`V V^\top` is never made. Time is :math:`O(N K^2)`, memory that of the points.

    **The trap.** A degree is a sum of inner products. Logistic embeddings keep it above 1; with tanh ones it may be
    negative, and its inverse root makes every eigenvector NaN, or nearly zero, and its point fills an eigenvector
    alone. Of random rows half the degrees are negative, of two groups of 98 and 2 % about one in a hundred. ``degrees``
    says what is done about them. Where k-means finds two groups (70 and 30 %, or 90 and 10 %, spread 0.3 in 20
    dimensions) to 99 %, so does the map with clamped degrees; the shifted affinity finds 98 and 81 %, because it moves
    groups at right angles to each other from an affinity of 0 to one of 1/2.

    Args:
      points: :math:`V`, one a row, of unit length.
      vectors: how many singular vectors; as many as clusters are looked for.
      weights: how much a point counts, non-negative: degrees and eigenvectors are those of a set in which it stands
        so many times. Points of weight 0 shape nothing and get the coordinates that a copy of theirs would have.
        ``None``, and weights that are all 0, count every point alike.
      degrees: what to do about degrees that are negative or small. ``"clamped"`` raises them to ``floor`` times the
        mean degree (and to the mean weight of a point, its affinity to itself, where that is more). ``"shifted"``
        takes the affinity :math:`(1 + \langle v_i, v_j \rangle) / 2` in [0, 1], which is that of the rows
        :math:`[v_i, 1] / \sqrt 2`, which is never negative. ``"raw"`` does
        nothing: the paper's formula, for non-negative (logistic) rows; NaN where a degree is negative.
      floor: of ``"clamped"``.

    Returns:
      Coordinates, singular values and degrees, in at least float32.

    Raises:
      ArgumentError: wrong shapes, no points, or more vectors than ``dim`` (``dim + 1`` if shifted).
      ArgumentTypeError: ``points`` is not floating.

    References:
      Hershey et al., `Deep clustering <https://arxiv.org/abs/1508.04306>`_, ICASSP 2016, which does not say how
      it dealt with negative degrees; Ng, Jordan, Weiss, *On spectral clustering*, NIPS 2001.
    """
    weights = _checked(points, weights, degrees, vectors)
    _checks.check_range("floor", floor, low=0.0, high=1.0)
    result: SpectralEmbedding = _embed(points, weights, floor, vectors, degrees)
    return result


def spectral_clustering(
    points: Float[Array, "points dim"],
    *,
    clusters: int,
    key: Key[Array, ""],
    weights: Num[Array, " points"] | None = None,
    vectors: int | None = None,
    degrees: DegreeRule = "clamped",
    floor: float = 0.05,
    restarts: int = 8,
    iterations: int = 50,
    max_points: int | None = 131_072,
) -> SpectralClustering:
    """:func:`kmeans` on the rows of :func:`spectral_embedding`; runs under ``jit`` and ``vmap``.

    Args:
      points: one a row, of unit length.
      clusters: how many.
      key: decides the starts of k-means; the same key gives the same labels.
      weights: as in :func:`spectral_embedding`; k-means weighs the points alike.
      vectors: singular vectors to keep, ``clusters`` if None.
      degrees: as in :func:`spectral_embedding`.
      floor: as in :func:`spectral_embedding`.
      restarts: as in :func:`kmeans`.
      iterations: as in :func:`kmeans`.
      max_points: as in :func:`kmeans`; eigenvectors are always those of all points.

    Returns:
      Labels, and the embedding that they were found in.

    Raises:
      ArgumentError: as :func:`spectral_embedding` and :func:`kmeans`.
      ArgumentTypeError: ``points`` is not floating.
    """
    _checks.check_range("clusters", clusters, low=1)
    embedding = spectral_embedding(
        points, vectors=clusters if vectors is None else vectors, weights=weights, degrees=degrees, floor=floor
    )
    found = kmeans(
        embedding.coordinates,
        clusters=clusters,
        key=key,
        weights=weights,
        restarts=restarts,
        iterations=iterations,
        max_points=max_points,
    )
    return SpectralClustering(found.labels, embedding)


def _checked(points: Array, weights: Array | None, degrees: DegreeRule, vectors: int) -> Array:
    _checks.check_floating("points", points)
    _checks.check_rank("points", points, 2, "points, dim")
    _checks.check_choice("degrees", degrees, DEGREE_RULES)
    count, dim = points.shape
    _checks.check_range("points.shape[0]", count, low=1)
    _checks.check_range("vectors", vectors, low=1, high=dim + (degrees == "shifted"))
    if weights is None:
        weights = jnp.ones(count, points.dtype)
    _checks.check_shape("weights", weights, (count,), "one a point")
    return weights


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _embed(points: Array, weights: Array, floor: float, vectors: int, rule: DegreeRule) -> SpectralEmbedding:
    dtype = _numerics.at_least_float32(points.dtype)
    rows, weights = points.astype(dtype), weights.astype(dtype)
    weights = jnp.where(jnp.any(weights > 0), weights, jnp.ones_like(weights))
    if rule == "shifted":
        rows = jnp.concatenate([rows, jnp.ones_like(rows[:, :1])], axis=1) / jnp.asarray(2, dtype) ** 0.5
    degrees = jnp.matmul(rows, weights @ rows, precision="highest")
    floored = degrees
    if rule == "clamped":
        total = jnp.sum(weights)
        own, mean = jnp.sum(jnp.square(weights)) / total, jnp.sum(weights * degrees) / total
        floored = jnp.maximum(degrees, jnp.maximum(jnp.asarray(floor, dtype) * mean, own))
    # A point of weight 0 shapes nothing, not even by a degree that has no root.
    scaled = rows * jnp.where(weights > 0, jnp.sqrt(weights) / jnp.sqrt(floored), 0)[:, None]
    gram = jnp.matmul(scaled.T, scaled, precision="highest")
    # Ascending; the last are the leading ones.
    eigenvalues, right = jnp.linalg.eigh(gram)
    singular_values = jnp.sqrt(jnp.maximum(eigenvalues[::-1][:vectors], 0))
    leading = right[:, ::-1][:, :vectors]
    # U = D^-1/2 V R / S. Of a row of U only its direction stays, in which the degree no longer matters.
    usable = singular_values > float(np.finfo(dtype).eps) * singular_values[0]
    factors = jnp.where(usable, 1 / jnp.where(usable, singular_values, 1), 0)
    coordinates = jnp.matmul(rows, leading * factors, precision="highest")
    # NaN, not a plausible guess, where the rule lets a negative degree pass.
    undefined = jnp.isnan(singular_values[0])
    return SpectralEmbedding(jnp.where(undefined, jnp.nan, _numerics.normalize(coordinates)), singular_values, degrees)
