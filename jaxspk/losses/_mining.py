"""Choosing negatives on the device, inside ``jit``, every draw from an explicit key.

Each function gives, for every anchor, the index of a candidate of another speaker, or -1 where there is none that
fits; an anchor's own speaker is never chosen. Time and memory grow with anchors times candidates. Indices carry no
gradient. Use them so::

    negatives = hardest_negatives(anchors, candidates, labels, labels)
    losses = triplet_loss(anchors, positives, candidates[negatives], margin=0.2)
    losses = jnp.where(negatives >= 0, losses, 0.0)
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from jaxspk import _checks
from jaxspk._numerics import squared_distances
from jaxspk.losses._geometry import tie_tolerance, unit_vectors
from jaxspk.losses._rule import accumulation_dtype, check_at_least, check_hyperparameter, check_integer

AnyKey = Key[Array, ""] | UInt32[Array, "2"]


def random_negatives(
    anchor_labels: Int[Array, " anchors"], candidate_labels: Int[Array, " candidates"], *, key: AnyKey
) -> Int[Array, " anchors"]:
    """A candidate of another speaker for each anchor, all equally likely.

    Args:
      anchor_labels: speaker of each anchor.
      candidate_labels: speaker of each candidate.
      key: of the draw.

    Returns:
      Indices into the candidates, int32; -1 where all are the anchor's own speaker.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> speakers = jnp.array([0, 1])
      >>> random_negatives(speakers, speakers, key=jax.random.key(0)).tolist()
      [1, 0]
    """
    return _pick(_others(anchor_labels, candidate_labels), key)


def hardest_negatives(
    anchors: Float[Array, "anchors dim"],
    candidates: Float[Array, "candidates dim"],
    anchor_labels: Int[Array, " anchors"],
    candidate_labels: Int[Array, " candidates"],
    *,
    normalize: bool = True,
) -> Int[Array, " anchors"]:
    """The nearest candidate of another speaker for each anchor; the first of equally near ones.

    Args:
      anchors: embeddings.
      candidates: embeddings to choose from.
      anchor_labels: speaker of each anchor.
      candidate_labels: speaker of each candidate.
      normalize: whether distances are those of the unit vectors, as in :func:`triplet_loss`.

    Returns:
      Indices into the candidates, int32; -1 where all are the anchor's own speaker.
    """
    others = _others(anchor_labels, candidate_labels)
    return _nearest(_distances(anchors, candidates, others, normalize), others)


def hard_negatives(
    anchors: Float[Array, "anchors dim"],
    candidates: Float[Array, "candidates dim"],
    anchor_labels: Int[Array, " anchors"],
    candidate_labels: Int[Array, " candidates"],
    *,
    key: AnyKey,
    hard_rank: int | Int[Array, ""] = 10,
    hard_probability: float | Float[Array, ""] = 0.5,
    normalize: bool = True,
) -> Int[Array, " anchors"]:
    """With a probability one of the nearest candidates of other speakers, else any of them.

    Each anchor draws for itself whether its negative is hard; a hard one is equally likely any of the
    ``hard_rank + 1`` nearest (of all, where there are fewer). The rule and the defaults of the public training code.

    Args:
      anchors: embeddings.
      candidates: embeddings to choose from.
      anchor_labels: speaker of each anchor.
      candidate_labels: speaker of each candidate.
      key: of the draws.
      hard_rank: 0 is the hardest only. A number, or (slower: all are sorted) an array that may change from step to step
        without compiling anew.
      hard_probability: from 0 (as :func:`random_negatives`) to 1; likewise, so that
        :func:`hard_probability_curriculum` can raise it.
      normalize: whether distances are those of the unit vectors, as in :func:`triplet_loss`.

    Returns:
      Indices into the candidates, int32; -1 where all are the anchor's own speaker.

    References:
      Chung et al., `In defence of metric learning for speaker recognition <https://arxiv.org/abs/2003.11982>`_,
      Interspeech 2020, and its public code.
    """
    check_at_least("hard_rank", hard_rank, 0)
    check_hyperparameter("hard_probability", hard_probability, low=0.0, high=1.0)
    others = _others(anchor_labels, candidate_labels)
    distances = _distances(anchors, candidates, others, normalize)
    is_hard_key, hard_key, any_key = jax.random.split(key, 3)
    count = jnp.sum(others, axis=-1, dtype=jnp.int32)
    ranks = jnp.minimum(jnp.asarray(hard_rank, jnp.int32) + 1, count)
    rank = jax.random.randint(hard_key, count.shape, 0, jnp.maximum(ranks, 1), dtype=jnp.int32)
    nearest = _nearest_first(jnp.where(others, distances, jnp.inf), hard_rank)
    hard = jnp.take_along_axis(nearest, rank[:, None], axis=-1)[:, 0]
    is_hard = jax.random.bernoulli(is_hard_key, jnp.asarray(hard_probability, jnp.float32), count.shape)
    return jnp.where(is_hard & (count > 0), hard, _pick(others, any_key))


def hard_probability_curriculum(
    epoch: int | Int[Array, ""], *, start: float = 0.5, then: float = 0.9, switch_epoch: int = 100
) -> Float[Array, ""]:
    """The probability of hard negatives for an epoch: ``start``, and from ``switch_epoch`` on ``then``.

    The first release of the public training code holds this one step, with these numbers and ``hard_rank`` 10; the
    schedule behind the paper's figures is not known.

    Args:
      epoch: counted from 0; may be traced.
      start: at first.
      then: from ``switch_epoch`` on.
      switch_epoch: the first epoch with ``then``.

    Returns:
      The probability, float32.
    """
    return jnp.where(jnp.asarray(epoch) >= switch_epoch, jnp.float32(then), jnp.float32(start))


def semi_hard_candidates(
    anchors: Float[Array, "anchors dim"],
    positives: Float[Array, "anchors dim"],
    candidates: Float[Array, "candidates dim"],
    anchor_labels: Int[Array, " anchors"],
    candidate_labels: Int[Array, " candidates"],
    *,
    margin: float | Float[Array, ""],
    normalize: bool = True,
) -> Bool[Array, "anchors candidates"]:
    r"""Which candidates are semi-hard: farther than the positive, but by less than the margin.

    .. math:: d(a, p)^2 < d(a, n)^2 < d(a, p)^2 + m, \qquad y_n \ne y_a .

    Args:
      anchors: embeddings.
      positives: another utterance of each anchor's speaker.
      candidates: embeddings to choose from.
      anchor_labels: speaker of each anchor.
      candidate_labels: speaker of each candidate.
      margin: :math:`m`, in units of squared distance.
      normalize: whether distances are those of the unit vectors, as in :func:`triplet_loss`.

    Returns:
      True where the candidate is semi-hard for the anchor.
    """
    return _semi_hard(anchors, positives, candidates, anchor_labels, candidate_labels, margin, normalize)[0]


def semi_hard_negatives(
    anchors: Float[Array, "anchors dim"],
    positives: Float[Array, "anchors dim"],
    candidates: Float[Array, "candidates dim"],
    anchor_labels: Int[Array, " anchors"],
    candidate_labels: Int[Array, " candidates"],
    *,
    margin: float | Float[Array, ""],
    key: AnyKey | None = None,
    normalize: bool = True,
) -> Int[Array, " anchors"]:
    """One semi-hard candidate for each anchor, as :func:`semi_hard_candidates` defines them.

    Where the public training code finds none, it draws from all utterances, the anchor's own positive among them;
    here such an anchor gets -1.

    Args:
      anchors: embeddings.
      positives: another utterance of each anchor's speaker.
      candidates: embeddings to choose from.
      anchor_labels: speaker of each anchor.
      candidate_labels: speaker of each candidate.
      margin: in units of squared distance.
      key: with one, all semi-hard candidates are equally likely; without, the nearest of them is taken.
      normalize: whether distances are those of the unit vectors, as in :func:`triplet_loss`.

    Returns:
      Indices into the candidates, int32; -1 where none is semi-hard.
    """
    fitting, distances = _semi_hard(anchors, positives, candidates, anchor_labels, candidate_labels, margin, normalize)
    return _nearest(distances, fitting) if key is None else _pick(fitting, key)


# --- Parts. ---


def _others(anchor_labels: Any, candidate_labels: Any) -> Array:
    """``[anchors, candidates]``, true where the candidate is another speaker than the anchor."""
    for name, labels in (("anchor_labels", anchor_labels), ("candidate_labels", candidate_labels)):
        check_integer(name, labels)
        _checks.check_shape(name, labels, labels.shape[:1] or (1,), "one label an embedding")
    others: Array = jnp.asarray(anchor_labels)[:, None] != jnp.asarray(candidate_labels).astype(anchor_labels.dtype)
    return others


def _vectors(normalize: bool, **arrays: Any) -> tuple[Array, ...]:
    """What distances are taken of, with no gradient."""
    for name, array in arrays.items():
        _checks.check_floating(name, array)
    dtype = accumulation_dtype(*arrays.values())
    vectors = (jax.lax.stop_gradient(jnp.asarray(array).astype(dtype)) for array in arrays.values())
    return tuple(unit_vectors(array)[0] if normalize else array for array in vectors)


def _distances(anchors: Any, candidates: Any, others: Array, normalize: bool) -> Array:
    """Squared distances ``[anchors, candidates]``."""
    dim = anchors.shape[-1:]
    _checks.check_shape("anchors", anchors, (others.shape[0], *dim), "a row for each of `anchor_labels`")
    _checks.check_shape("candidates", candidates, (others.shape[1], *dim), "a row for each of `candidate_labels`")
    return squared_distances(*_vectors(normalize, anchors=anchors, candidates=candidates))


def _semi_hard(
    anchors: Any,
    positives: Any,
    candidates: Any,
    anchor_labels: Any,
    candidate_labels: Any,
    margin: Any,
    normalize: bool,
) -> tuple[Array, Array]:
    """Which candidates are semi-hard, and all squared distances."""
    check_hyperparameter("margin", margin, low=0.0)
    _checks.check_same_shape("anchors", anchors, "positives", positives)
    others = _others(anchor_labels, candidate_labels)
    distances = _distances(anchors, candidates, others, normalize)
    from_anchors, to_positives = _vectors(normalize, anchors=anchors, positives=positives)
    to_positive = jnp.sum(jnp.square(from_anchors - to_positives), axis=-1, keepdims=True).astype(distances.dtype)
    farther = distances - to_positive
    # Copies of the positive are not farther, however the two ways to compute their distance round.
    rounding = tie_tolerance(distances.dtype) * (1 if normalize else jnp.max(distances, initial=0.0))
    return others & (farther > rounding) & (farther < jnp.asarray(margin).astype(distances.dtype)), distances


def _nearest_first(distances: Array, hard_rank: Any) -> Array:
    """Candidates from the nearest on: as many as a known rank needs, which is far less work than all."""
    if isinstance(hard_rank, int):
        return jax.lax.top_k(-distances, min(hard_rank + 1, distances.shape[-1]))[1].astype(jnp.int32)
    return jnp.argsort(distances, axis=-1, stable=True).astype(jnp.int32)


def _nearest(distances: Array, allowed: Array) -> Array:
    """The first of the nearest allowed candidates, or -1."""
    nearest = jnp.argmin(jnp.where(allowed, distances, jnp.inf), axis=-1).astype(jnp.int32)
    return jnp.where(jnp.any(allowed, axis=-1), nearest, -1)


def _pick(allowed: Array, key: Array) -> Array:
    """One of the allowed candidates, all equally likely, or -1: a rank is drawn and looked up."""
    count = jnp.sum(allowed, axis=-1, dtype=jnp.int32)
    rank = jax.random.randint(key, count.shape, 0, jnp.maximum(count, 1), dtype=jnp.int32)
    up_to = jnp.cumsum(allowed, axis=-1, dtype=jnp.int32)
    chosen = jnp.argmax(up_to > rank[:, None], axis=-1).astype(jnp.int32)
    return jnp.where(count > 0, chosen, -1)
