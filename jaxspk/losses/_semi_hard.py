r"""Batch semi-hard triplet loss: every pair of one speaker against its nearest negative beyond.

Read in order: loss, wiring, mining, maths. Derivation: :doc:`/gradients/metric_learning`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxspk import _checks
from jaxspk.losses._geometry import matmul, tie_tolerance, unit_vectors, unit_vectors_pullback
from jaxspk.losses._rows import pull_back_rows, run_rows
from jaxspk.losses._rule import (
    Rule,
    accumulation_dtype,
    check_at_least,
    check_hyperparameter,
    check_integer,
    scalar,
)

_FEW_POSITIVES = 16
"""Up to so many positives an anchor, a pass over the matrix for each is faster than sorting it."""


def semi_hard_triplet_loss(
    embeddings: Float[Array, "*batch utterances dim"],
    labels: Int[Array, "*batch utterances"],
    *,
    margin: float | Float[Array, ""],
    chunk_size: int | None = None,
) -> Float[Array, "*batch utterances"]:
    r"""Triplet loss of each anchor, averaged over its positives, with semi-hard negatives from the batch.

    With :math:`d_{ij}` the distance of the unit vectors of utterances i and j, and :math:`P_i` the other utterances of
    i's speaker,

    .. math::
        \ell_i = \frac{1}{|P_i|} \sum_{p \in P_i} \max\bigl(0,\ d_{ip}^2 - d_{i\,n(i,p)}^2 + m\bigr), \qquad
        n(i, p) = \operatorname*{arg\,min}_{n:\ y_n \ne y_i,\ d_{in} > d_{ip}} d_{in} .

    So the negative is semi-hard (:math:`d_{ip}^2 < d_{in}^2 < d_{ip}^2 + m`) and the hardest such, or the pair counts
    0: where no negative lies beyond the positive, or the nearest lies beyond the margin too. Anchors without a
    positive count 0.

    Args:
      embeddings: one vector per utterance; its length does not matter. A zero vector stays zero.
      labels: speaker of each; equal integers are one speaker.
      margin: :math:`m \ge 0`, in units of squared distance (0 to 4). A number, or a scalar array that may change from
        step to step without compiling anew; its own gradient is zero.
      chunk_size: anchors at once. The same value and gradient with memory ``chunk_size * utterances`` instead of
        ``utterances ** 2``; the gradient then computes each chunk a second time.

    Returns:
      One loss per utterance as anchor, in [0, margin], at least float32, not reduced. For the mean over pairs weight
      it by the number of positives.

    Raises:
      ArgumentTypeError: ``embeddings`` is not floating or ``labels`` not integers.
      ArgumentError: shapes disagree, ``margin`` is negative or ``chunk_size`` below one.

    Note:
      Memory grows with the square of the utterances, never the cube, and so does time, with a factor of the positives
      per anchor or a logarithm, whichever is less. Squared distances nearer than 64 roundings (of unit vectors) count
      as equal, so copies of one vector are never semi-hard; among equal negatives the first is taken. The choice of
      negatives is piecewise constant: where it changes the value may jump, and the gradient is that of the choice
      made. Reverse mode; for ``jax.jvp`` take :func:`semi_hard_triplet_loss_plain`.

    References:
      Schroff et al., `FaceNet <https://arxiv.org/abs/1503.03832>`_, CVPR 2015, eq. (4).
    """
    options, arrays = _prepare(embeddings, labels, margin, chunk_size)
    return _SEMI_HARD.loss(options, arrays)


def semi_hard_triplet_loss_plain(
    embeddings: Float[Array, "*batch utterances dim"],
    labels: Int[Array, "*batch utterances"],
    *,
    margin: float | Float[Array, ""],
    chunk_size: int | None = None,
) -> Float[Array, "*batch utterances"]:
    """The value of :func:`semi_hard_triplet_loss` with no custom rule."""
    options, arrays = _prepare(embeddings, labels, margin, chunk_size)
    return _SEMI_HARD.plain(options, arrays)


def semi_hard_triplet_loss_grad(
    embeddings: Float[Array, "*batch utterances dim"],
    labels: Int[Array, "*batch utterances"],
    *,
    margin: float | Float[Array, ""],
    chunk_size: int | None = None,
    cotangent: Float[Array, "*batch utterances"] | None = None,
) -> Float[Array, "*batch utterances dim"]:
    r"""Gradient of :func:`semi_hard_triplet_loss`.

    With :math:`A_{ij}` how much :math:`\ell_i` counts :math:`d_{ij}^2` (positive for active positives, negative for
    their negatives) and :math:`S = A + A^\top`, it is :math:`2 \sum_j S_{ij} (u_i - u_j)` in the unit vector
    :math:`u_i`, without its radial part and over the vector's length.
    """
    options, arrays = _prepare(embeddings, labels, margin, chunk_size)
    (gradient,) = _SEMI_HARD.grad(options, arrays, cotangent, (embeddings,))
    return gradient


# --- Checks. ---


def _prepare(
    embeddings: Any, labels: Any, margin: Any, chunk_size: int | None
) -> tuple[int | None, tuple[Array, Array, Array]]:
    _checks.check_floating("embeddings", embeddings)
    _checks.check_rank("embeddings", embeddings, 2, "utterances, dim")
    check_integer("labels", labels)
    _checks.check_shape("labels", labels, embeddings.shape[:-1], "one an embedding")
    check_hyperparameter("margin", margin, low=0.0)
    check_at_least("chunk_size", chunk_size, 1)
    x = jnp.asarray(embeddings).astype(accumulation_dtype(embeddings))
    return chunk_size, (x, jnp.asarray(labels), scalar("margin", margin, x.dtype))


# --- Maths: x embeddings, u their directions, m margin. Rows are anchors: direction, label, place in the batch. ---


def _forward(
    chunk_size: int | None, x: Array, labels: Array, margin: Array
) -> tuple[Array, tuple[Array, Array, Array, Array, Any]]:
    u, norm = unit_vectors(x)
    margin = jax.lax.stop_gradient(margin)
    rows = (u, labels[..., None], jnp.arange(x.shape[-2], dtype=jnp.int32)[:, None])
    values, saved = run_rows(_anchors(u, labels, margin), rows, chunk_size)
    return values[..., 0], (u, norm, labels, margin, saved)


def _backward(chunk_size: int | None, residuals: tuple[Any, ...], cotangent: Array) -> tuple[Array]:
    u, norm, labels, margin, saved = residuals
    rows = (u, labels[..., None], jnp.arange(u.shape[-2], dtype=jnp.int32)[:, None])

    def backward(cotangent: Array, weights: Array, anchors: Array, *_: Array) -> tuple[tuple[Array], tuple[Array]]:
        g = 2 * cotangent * weights
        of_anchors = jnp.sum(g, axis=-1, keepdims=True) * anchors - matmul(g, u)
        return (of_anchors,), (jnp.sum(g, axis=-2)[..., None] * u - matmul(g.mT, anchors),)

    (of_anchors,), (of_all,) = pull_back_rows(
        _anchors(u, labels, margin), backward, rows, saved, cotangent[..., None], chunk_size
    )
    return (unit_vectors_pullback(u, norm, of_anchors + of_all),)


_SEMI_HARD = Rule(_forward, _backward, data=2)


def _anchors(u: Array, labels: Array, margin: Array) -> Any:
    """Rows against all utterances: the values, and how much each counts each squared distance."""

    def forward(anchors: Array, own_labels: Array, places: Array) -> tuple[Array, Array]:
        lengths = _squared_lengths(anchors) + _squared_lengths(u).mT
        squared_distances = jnp.maximum(lengths - 2 * matmul(anchors, u.mT), 0.0)
        same = own_labels == labels[..., None, :]
        positive = same & (places != jnp.arange(u.shape[-2], dtype=jnp.int32))
        weights = semi_hard_weights(jax.lax.stop_gradient(squared_distances), positive, ~same, margin)
        terms = weights * squared_distances + margin * jnp.maximum(weights, 0.0)
        return jnp.sum(terms, axis=-1, keepdims=True), weights

    return forward


def _squared_lengths(u: Array) -> Array:
    """Exactly one, or zero for zero vectors, as a column."""
    return (jnp.max(jnp.abs(u), axis=-1, keepdims=True, initial=0.0) > 0).astype(u.dtype)


# --- Mining: positives and their nearest negatives beyond, without a cube of triplets. ---


def semi_hard_weights(squared_distances: Array, positive: Array, negative: Array, margin: Array) -> Array:
    """How much each anchor's loss counts each of its squared distances, ``[*batch, anchors, utterances]``.

    Each active positive counts one over the number of positives; its negative counts as much, negatively.
    """
    counts = jnp.sum(positive, axis=-1, keepdims=True, dtype=jnp.int32)
    chosen: Array = jax.lax.cond(
        jnp.max(counts, initial=0) <= _FEW_POSITIVES,
        _by_passes,
        _by_sorting,
        squared_distances,
        positive,
        negative,
        margin,
    )
    return chosen / jnp.maximum(counts, 1).astype(squared_distances.dtype)


def _by_passes(squared_distances: Array, positive: Array, negative: Array, margin: Array) -> Array:
    """One pass over the matrix for the first positive of every anchor, one for the second, and so on."""
    places = jnp.arange(squared_distances.shape[-1], dtype=jnp.int32)
    beyond_all = squared_distances.shape[-1]

    def first(candidates: Array) -> Array:
        return jnp.min(jnp.where(candidates, places, beyond_all), axis=-1, keepdims=True, initial=beyond_all)

    def step(state: tuple[Array, Array]) -> tuple[Array, Array]:
        place, weights = state
        is_positive = places == place
        distance = jnp.sum(jnp.where(is_positive, squared_distances, 0.0), axis=-1, keepdims=True)
        beyond = negative & (squared_distances > distance + tie_tolerance(squared_distances.dtype))
        nearest = jnp.min(jnp.where(beyond, squared_distances, jnp.inf), axis=-1, keepdims=True, initial=jnp.inf)
        is_negative = places == first(beyond & (squared_distances == nearest))
        active = (distance - nearest + margin > 0) & (place < beyond_all)
        change = is_positive.astype(weights.dtype) - is_negative.astype(weights.dtype)
        return first(positive & (places > place)), weights + jnp.where(active, change, 0.0)

    _, weights = jax.lax.while_loop(
        lambda state: jnp.any(state[0] < beyond_all),
        step,
        (first(positive), jnp.zeros_like(squared_distances)),
    )
    return weights


def _by_sorting(squared_distances: Array, positive: Array, negative: Array, margin: Array) -> Array:
    """Each row sorted once: the negative of a positive is the next one behind it."""
    axis, utterances = squared_distances.ndim - 1, squared_distances.shape[-1]
    tolerance = tie_tolerance(squared_distances.dtype)
    # A positive comes behind the negatives that are as far, so that the next one is farther; the anchor itself last.
    keys = jnp.where(positive, squared_distances + tolerance, squared_distances)
    keys = jnp.where(positive | negative, keys, jnp.inf)
    places = jnp.arange(utterances, dtype=jnp.int32) + jnp.where(
        positive, utterances, jnp.where(negative, 0, 2 * utterances)
    ).astype(jnp.int32)
    keys, places = jax.lax.sort((keys, places), dimension=axis, num_keys=2)
    is_negative, is_positive = places < utterances, (places >= utterances) & (places < 2 * utterances)
    nearest = jax.lax.cummin(jnp.where(is_negative, keys, jnp.inf), axis=axis, reverse=True)
    active = is_positive & (keys - tolerance - nearest + margin > 0)
    # A negative answers for the active positives since the negative before it.
    seen = jnp.cumsum(active, axis=axis, dtype=squared_distances.dtype)
    answered = jax.lax.cummax(jnp.where(is_negative, seen, 0.0), axis=axis)
    before = jnp.concatenate([jnp.zeros_like(answered[..., :1]), answered[..., :-1]], axis=axis)
    weights = jnp.where(is_negative, before - seen, active.astype(squared_distances.dtype))
    return jnp.put_along_axis(jnp.zeros_like(weights), places % utterances, weights, axis=axis, inplace=False)
