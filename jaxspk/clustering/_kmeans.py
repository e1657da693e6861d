"""k-means and soft assignments, jitted; memory stays bounded however many points there are."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, Num

from jaxspk import _checks, _numerics

# Scores held at once, points × restarts × clusters: 8 MiB of float32.
_SCORES_AT_ONCE = 2**21

# The search ends when no centre moves further than this share of the points' root mean square radius.
_STILL = 1e-5


Sums = tuple[Array, Array, Array]


class KMeans(NamedTuple):
    """A clustering: its centres, one label a point, and the weighted sum of squared distances."""

    centers: Float[Array, "clusters dim"]
    labels: Int[Array, " points"]
    inertia: Float[Array, ""]


def kmeans(
    points: Float[Array, "points dim"],
    *,
    clusters: int,
    key: Key[Array, ""],
    weights: Num[Array, " points"] | None = None,
    restarts: int = 8,
    iterations: int = 50,
    max_points: int | None = 131_072,
) -> KMeans:
    r"""Centres and labels of low weighted inertia :math:`\sum_i w_i \lVert x_i - m_{c(i)} \rVert^2`.

    Lloyd's iterations from several k-means++ starts side by side, of which the best is kept. A cluster that
    loses all its points keeps its centre (and another restart usually wins). Runs under ``jit`` and ``vmap``;
    the same key gives the same result.

    Args:
      points: one a row.
      clusters: how many.
      key: decides the starts, and the sample where there is one.
      weights: how much a point counts, non-negative. Points of weight 0 do not shape the clusters, but get
        the label of the nearest centre. ``None``, and weights that are all 0, count every point alike.
      restarts: starts to choose from.
      iterations: Lloyd's iterations at most; they end earlier when no centre moves any more.
      max_points: the search looks at no more points than this, a random sample spread evenly over the rows of
        positive weight; labels and inertia are always those of all points. ``None`` looks at all of them.

    Returns:
      Centres in at least float32, labels, inertia.

    Raises:
      ArgumentError: wrong shapes, no points, or a number that is not positive.
      ArgumentTypeError: ``points`` is not floating.

    References:
      Arthur and Vassilvitskii, *k-means++: The advantages of careful seeding*, SODA 2007.
    """
    _checks.check_floating("points", points)
    count = points.shape[0]
    for name, number in (("clusters", clusters), ("restarts", restarts), ("iterations", iterations)):
        _checks.check_range(name, number, low=1)
    _checks.check_range("points.shape[0]", count, low=1)
    if weights is None:
        weights = jnp.ones(count, points.dtype)
    _checks.check_shape("weights", weights, (count,), "one a point")
    if max_points is not None:
        _checks.check_range("max_points", max_points, low=clusters)
    result: KMeans = _kmeans(points, weights, key, clusters, restarts, iterations, max_points or count)
    return result


def soft_assignments(
    points: Float[Array, "*batch points dim"],
    centers: Float[Array, "*batch clusters dim"],
    *,
    sharpness: float | Float[Array, ""],
) -> Float[Array, "*batch points clusters"]:
    r"""Shares that sum to one, :math:`a_{ic} \propto \exp(-\beta \lVert x_i - m_c \rVert^2)`.

    Args:
      points: one a row.
      centers: one a row.
      sharpness: :math:`\beta`; 0 shares every point equally, large values approach the labels of
        :func:`kmeans`.

    Returns:
      One row a point, in at least float32.
    """
    dtype = _numerics.at_least_float32(jnp.promote_types(points.dtype, centers.dtype))
    distances = _numerics.squared_distances(points.astype(dtype), centers.astype(dtype))
    return jax.nn.softmax(-jnp.asarray(sharpness, dtype) * distances, axis=-1)


@functools.partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _kmeans(
    points: Array, weights: Array, key: Array, clusters: int, restarts: int, iterations: int, max_points: int
) -> KMeans:
    dtype = _numerics.at_least_float32(points.dtype)
    weights = weights.astype(dtype)
    weights = jnp.where(jnp.any(weights > 0), weights, jnp.ones_like(weights))
    for_sample, for_starts = jax.random.split(key)
    if points.shape[0] > max_points:
        chosen, chosen_weights = _sample(for_sample, weights, max_points)
        sample = points[chosen].astype(dtype)
    else:
        sample, chosen_weights = points.astype(dtype), weights

    # Around the mean the squares below cancel no more than the spread of the points makes them.
    total = jnp.sum(chosen_weights)
    mean = chosen_weights @ sample / total
    sample = sample - mean
    starts = _starts(for_starts, sample, chosen_weights, clusters, restarts)
    centers = mean + _lloyd(sample, chosen_weights, starts, iterations)
    labels, inertia = _assign(points, weights, centers)
    return KMeans(centers, labels, inertia)


def _sample(key: Array, weights: Array, size: int) -> tuple[Array, Array]:
    """Rows of positive weight, one from each of ``size`` equal stretches: their indices and weights.

    Where fewer rows have a weight, each comes once and the rest of the sample has weight 0.
    """
    rank = jnp.cumsum(weights > 0, dtype=jnp.int32)
    available = rank[-1]
    stride = jnp.maximum(available / size, 1.0)
    wanted = jnp.floor((jnp.arange(size) + jax.random.uniform(key, (size,))) * stride).astype(jnp.int32)
    indices = jnp.searchsorted(rank, jnp.minimum(wanted, available - 1), side="right")
    spare = jnp.arange(size) >= available
    return indices, jnp.where(spare, jnp.zeros_like(weights[indices]), weights[indices])


def _starts(key: Array, points: Array, weights: Array, clusters: int, restarts: int) -> Array:
    """k-means++: the next centre is a point, likely as weight × squared distance to its nearest centre."""
    log_weights = jnp.log(weights)[:, None]
    lengths = jnp.sum(jnp.square(points), axis=-1)[:, None]

    def choose(index: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        centers, nearest = state
        logits = log_weights + jnp.log(jnp.where(index == 0, jnp.ones_like(nearest), nearest))
        # With fewer distinct points than clusters nothing is left to draw: take any point again.
        logits = jnp.where(jnp.any(logits > -jnp.inf, axis=0), logits, log_weights)
        chosen = points[jax.random.categorical(jax.random.fold_in(key, index), logits, axis=0)]
        products = jnp.matmul(points, chosen.T, precision="highest")
        distances = lengths + jnp.sum(jnp.square(chosen), axis=-1) - 2 * products
        return centers.at[:, index].set(chosen), jnp.minimum(nearest, jnp.maximum(distances, 0))

    none_yet = jnp.zeros((restarts, clusters, points.shape[1]), points.dtype)
    far = jnp.full((points.shape[0], restarts), jnp.inf, points.dtype)
    centers: Array = jax.lax.fori_loop(0, clusters, choose, (none_yet, far))[0]
    return centers


def _lloyd(points: Array, weights: Array, starts: Array, iterations: int) -> Array:
    """The centres of the best restart, ``[clusters, dim]``."""
    restarts, clusters, dim = starts.shape
    block = max(1, min(points.shape[0], _SCORES_AT_ONCE // (restarts * clusters)))
    mean_square = jnp.sum(weights * jnp.sum(jnp.square(points), axis=-1)) / jnp.sum(weights)

    def improve(centers: Array) -> tuple[Array, Array]:
        """Centres of the points nearest to each centre, and the inertia of the given centres."""
        flat = centers.reshape(restarts * clusters, dim)
        lengths = jnp.sum(jnp.square(centers), axis=-1)

        def add(sums: Sums, index: Array) -> tuple[Sums, None]:
            totals, masses, inertia = sums
            begin, x = _block(points, index, block)
            w = jax.lax.dynamic_slice_in_dim(weights, begin, block)
            # What the last block shares with the one before counts once.
            w = jnp.where(begin + jnp.arange(block) < index * block, jnp.zeros_like(w), w)
            products = jnp.matmul(x, flat.T, precision="highest").reshape(-1, restarts, clusters)
            scores = lengths - 2 * products
            nearest = jnp.argmin(scores, axis=-1, keepdims=True)
            chosen = jnp.where(nearest == jnp.arange(clusters), w[:, None, None], jnp.zeros_like(scores))
            totals += jnp.matmul(chosen.reshape(-1, restarts * clusters).T, x, precision="highest")
            squared = jnp.sum(jnp.square(x), axis=-1)[:, None] + jnp.min(scores, axis=-1)
            return (totals, masses + jnp.sum(chosen, axis=0), inertia + w @ squared), None

        zeros = jnp.zeros_like(flat), jnp.zeros_like(lengths), jnp.zeros_like(lengths[:, 0])
        (totals, masses, inertia), _ = jax.lax.scan(add, zeros, jnp.arange(-(-points.shape[0] // block)))
        occupied = masses[..., None] > 0
        means = totals.reshape(centers.shape) / jnp.where(occupied, masses[..., None], jnp.ones_like(centers))
        return jnp.where(occupied, means, centers), inertia

    def unfinished(state: tuple[Array, Array, Array, Array]) -> Array:
        iteration, _, _, moving = state
        return (iteration < iterations) & moving

    def iterate(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        iteration, centers, _, _ = state
        improved, inertia = improve(centers)
        shift = jnp.max(jnp.sum(jnp.square(improved - centers), axis=-1))
        return iteration + 1, improved, inertia, shift > _STILL**2 * mean_square

    unknown = jnp.full((restarts,), jnp.inf, points.dtype)
    _, centers, inertia, _ = jax.lax.while_loop(
        unfinished, iterate, (jnp.asarray(0), starts, unknown, jnp.asarray(True))
    )
    return centers[jnp.argmin(inertia)]


def _assign(points: Array, weights: Array, centers: Array) -> tuple[Array, Array]:
    """Labels of all points and their inertia, by differences: no cancellation."""
    count = points.shape[0]
    block = max(1, min(count, _SCORES_AT_ONCE // centers.size))

    def of_block(labels_and_distances: tuple[Array, Array], index: Array) -> tuple[tuple[Array, Array], None]:
        begin, members = _block(points, index, block)
        squared = jnp.sum(jnp.square(members[:, None, :].astype(centers.dtype) - centers), axis=-1)
        found = jnp.argmin(squared, axis=-1).astype(jnp.int32), jnp.min(squared, axis=-1)
        labels, distances = (
            jax.lax.dynamic_update_slice_in_dim(whole, part, begin, 0)
            for whole, part in zip(labels_and_distances, found, strict=True)
        )
        return (labels, distances), None

    empty = jnp.zeros(count, jnp.int32), jnp.zeros(count, centers.dtype)
    (labels, distances), _ = jax.lax.scan(of_block, empty, jnp.arange(-(-count // block)))
    return labels, jnp.sum(weights * distances)


def _block(points: Array, index: Array, size: int) -> tuple[Array, Array]:
    """A block's first row and its rows; the last block is moved back to be whole."""
    begin = jnp.minimum(index * size, points.shape[0] - size)
    return begin, jax.lax.dynamic_slice_in_dim(points, begin, size)
