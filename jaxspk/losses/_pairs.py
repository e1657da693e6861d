r"""Losses on given pairs and triplets. Read in order: losses, wiring, maths.

Derivations: :doc:`/gradients/metric_learning`. Which negatives to give is chosen by :func:`hard_negatives` and its
neighbours.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from jaxspk import _checks
from jaxspk.losses._geometry import hinge, hinge_slope, inner, largest_safe, unit_vectors, unit_vectors_pullback
from jaxspk.losses._rule import Rule, accumulation_dtype, check_hyperparameter, scalar


def contrastive_loss(
    embeddings_1: Float[Array, "*batch dim"],
    embeddings_2: Float[Array, "*batch dim"],
    same_speaker: Bool[Array, "*batch"] | Num[Array, "*batch"],
    *,
    margin: float | Float[Array, ""],
    normalize: bool = True,
) -> Float[Array, "*batch"]:
    r"""Squared distance of two voices that are one, squared shortfall from the margin of two that are not.

    .. math::
        \ell = \begin{cases} d^2 & \text{same speaker}\\ \max(0, m - d)^2 & \text{otherwise}\end{cases},
        \qquad d = \lVert x_1 - x_2 \rVert .

    There is no factor one half; the mean over as many equal as different pairs is the source's
    :math:`\frac{1}{2N}\sum`.

    Args:
      embeddings_1: one side of each pair.
      embeddings_2: the other.
      same_speaker: true or nonzero where both sides are one speaker.
      margin: :math:`m \ge 0`, in units of distance (of unit vectors: 0 to 2). A number, or a scalar array that may
        change from step to step without compiling anew; its own gradient is zero.
      normalize: whether to give the embeddings unit length first. A zero vector stays zero.

    Returns:
      One loss per pair, at least float32, not reduced; infinite where the true value exceeds the dtype's range.

    Raises:
      ArgumentTypeError: the embeddings are not floating.
      ArgumentError: shapes disagree, or ``margin`` is negative.

    Note:
      Different speakers with equal embeddings are the tip of a cone; the gradient there is 0, its centre, so such a
      pair waits for the others to move it. Differentiable in the embeddings. Reverse mode; for ``jax.jvp`` take
      :func:`contrastive_loss_plain`.

    Example:
      >>> import jax.numpy as jnp
      >>> a, b = jnp.array([[1.0, 0.0], [1.0, 0.0]]), jnp.array([[0.0, 1.0], [1.0, 0.0]])
      >>> contrastive_loss(a, b, jnp.array([True, False]), margin=1.0).tolist()
      [2.0, 1.0]

    References:
      Hadsell et al., Dimensionality reduction by learning an invariant mapping, CVPR 2006; the first public code of
      Chung et al. 2020.
    """
    return _CONTRASTIVE.loss(normalize, _prepare_pair(embeddings_1, embeddings_2, same_speaker, margin))


def contrastive_loss_plain(
    embeddings_1: Float[Array, "*batch dim"],
    embeddings_2: Float[Array, "*batch dim"],
    same_speaker: Bool[Array, "*batch"] | Num[Array, "*batch"],
    *,
    margin: float | Float[Array, ""],
    normalize: bool = True,
) -> Float[Array, "*batch"]:
    """The value of :func:`contrastive_loss` with no custom rule."""
    return _CONTRASTIVE.plain(normalize, _prepare_pair(embeddings_1, embeddings_2, same_speaker, margin))


def contrastive_loss_grad(
    embeddings_1: Float[Array, "*batch dim"],
    embeddings_2: Float[Array, "*batch dim"],
    same_speaker: Bool[Array, "*batch"] | Num[Array, "*batch"],
    *,
    margin: float | Float[Array, ""],
    normalize: bool = True,
    cotangent: Float[Array, "*batch"] | None = None,
) -> tuple[Float[Array, "*batch dim"], Float[Array, "*batch dim"]]:
    r"""Gradient of :func:`contrastive_loss` in both embeddings.

    In the first it is :math:`2 (x_1 - x_2)` or :math:`-2 \max(0, m - d) (x_1 - x_2) / d`, in the second its negative;
    with ``normalize``, these without their radial parts and over the vectors' lengths.
    """
    arrays = _prepare_pair(embeddings_1, embeddings_2, same_speaker, margin)
    of_1, of_2 = _CONTRASTIVE.grad(normalize, arrays, cotangent, (embeddings_1, embeddings_2))
    return of_1, of_2


def triplet_loss(
    anchors: Float[Array, "*batch dim"],
    positives: Float[Array, "*batch dim"],
    negatives: Float[Array, "*batch dim"],
    *,
    margin: float | Float[Array, ""],
    normalize: bool = True,
) -> Float[Array, "*batch"]:
    r"""Hinge on squared distances, :math:`\max(0, \lVert a - p \rVert^2 - \lVert a - n \rVert^2 + m)`.

    Args:
      anchors: one voice per triplet.
      positives: another utterance of the same speaker.
      negatives: an utterance of another speaker.
      margin: :math:`m \ge 0`, in units of squared distance (of unit vectors: 0 to 4). A number, or a scalar array
        that may change from step to step without compiling anew; its own gradient is zero.
      normalize: whether to give the embeddings unit length first. A zero vector stays zero.

    Returns:
      One loss per triplet, at least float32, not reduced; infinite where the true value exceeds the dtype's range.

    Raises:
      ArgumentTypeError: the embeddings are not floating.
      ArgumentError: shapes disagree, or ``margin`` is negative.

    Note:
      The gradient at the hinge is 0. Differentiable in the embeddings. Reverse mode; for ``jax.jvp`` take
      :func:`triplet_loss_plain`.

    References:
      Schroff et al., `FaceNet <https://arxiv.org/abs/1503.03832>`_, CVPR 2015, eq. (2); Chung et al. 2020.
    """
    return _TRIPLET.loss(normalize, _prepare_triplet(anchors, positives, negatives, margin))


def triplet_loss_plain(
    anchors: Float[Array, "*batch dim"],
    positives: Float[Array, "*batch dim"],
    negatives: Float[Array, "*batch dim"],
    *,
    margin: float | Float[Array, ""],
    normalize: bool = True,
) -> Float[Array, "*batch"]:
    """The value of :func:`triplet_loss` with no custom rule."""
    return _TRIPLET.plain(normalize, _prepare_triplet(anchors, positives, negatives, margin))


def triplet_loss_grad(
    anchors: Float[Array, "*batch dim"],
    positives: Float[Array, "*batch dim"],
    negatives: Float[Array, "*batch dim"],
    *,
    margin: float | Float[Array, ""],
    normalize: bool = True,
    cotangent: Float[Array, "*batch"] | None = None,
) -> tuple[Float[Array, "*batch dim"], Float[Array, "*batch dim"], Float[Array, "*batch dim"]]:
    r"""Gradient of :func:`triplet_loss` in anchors, positives and negatives.

    Where the hinge is open it is :math:`2(n - p)`, :math:`2(p - a)` and :math:`2(a - n)`, else 0; with
    ``normalize``, these without their radial parts and over the vectors' lengths.
    """
    arrays = _prepare_triplet(anchors, positives, negatives, margin)
    of_a, of_p, of_n = _TRIPLET.grad(normalize, arrays, cotangent, (anchors, positives, negatives))
    return of_a, of_p, of_n


# --- Checks. ---


def _prepare_pair(
    embeddings_1: Any, embeddings_2: Any, same_speaker: Any, margin: Any
) -> tuple[Array, Array, Array, Array]:
    first, second = _prepare_vectors(embeddings_1=embeddings_1, embeddings_2=embeddings_2)
    _checks.check_shape("same_speaker", same_speaker, first.shape[:-1], "one a pair of embeddings")
    check_hyperparameter("margin", margin, low=0.0)
    return first, second, jnp.asarray(same_speaker).astype(bool), scalar("margin", margin, first.dtype)


def _prepare_triplet(anchors: Any, positives: Any, negatives: Any, margin: Any) -> tuple[Array, Array, Array, Array]:
    a, p, n = _prepare_vectors(anchors=anchors, positives=positives, negatives=negatives)
    check_hyperparameter("margin", margin, low=0.0)
    return a, p, n, scalar("margin", margin, a.dtype)


def _prepare_vectors(**arrays: Any) -> tuple[Array, ...]:
    (first_name, first), *others = arrays.items()
    for name, array in arrays.items():
        _checks.check_floating(name, array)
    _checks.check_rank(first_name, first, 1, "dim")
    for name, array in others:
        _checks.check_same_shape(first_name, first, name, array)
    dtype = accumulation_dtype(*arrays.values())
    return tuple(jnp.asarray(array).astype(dtype) for array in arrays.values())


# --- Maths: x embeddings, a anchors, p positives, n negatives, m margin. ---

_Unit = tuple[Array, Array | None]
"""The vectors compared, and their lengths where they were normalized."""


def _directions(normalize: bool, x: Array) -> _Unit:
    return unit_vectors(x) if normalize else (x, None)


def _pullback(vectors: _Unit, cotangent: Array) -> Array:
    unit, norm = vectors
    return cotangent if norm is None else unit_vectors_pullback(unit, norm, cotangent)


def _contrastive_forward(
    normalize: bool, x1: Array, x2: Array, same: Array, margin: Array
) -> tuple[Array, tuple[Array | _Unit, ...]]:
    first, second = _directions(normalize, x1), _directions(normalize, x2)
    difference, same = first[0] - second[0], same[..., None]
    direction, distance = unit_vectors(difference)
    shortfall = hinge(jax.lax.stop_gradient(margin) - distance)
    # Not the square of the distance: its second derivative at equal vectors would be that of a cone.
    value = jnp.where(same, inner(difference, difference), jnp.square(shortfall))
    return value[..., 0], (first, second, difference, direction, same, shortfall)


def _contrastive_backward(normalize: bool, residuals: tuple[Any, ...], cotangent: Array) -> tuple[Array, Array]:
    first, second, difference, direction, same, shortfall = residuals
    of_first = 2 * cotangent[..., None] * jnp.where(same, difference, -shortfall * direction)
    return _pullback(first, of_first), _pullback(second, -of_first)


_CONTRASTIVE = Rule(_contrastive_forward, _contrastive_backward, data=2)


def _triplet_forward(
    normalize: bool, a: Array, p: Array, n: Array, margin: Array
) -> tuple[Array, tuple[Array | _Unit, ...]]:
    anchor, positive, negative = (_directions(normalize, x) for x in (a, p, n))
    apart, sum_of_both = negative[0] - positive[0], (anchor[0] - positive[0]) + (anchor[0] - negative[0])
    slack = _difference_of_squares(apart, sum_of_both) + jax.lax.stop_gradient(margin)
    return hinge(slack)[..., 0], (anchor, positive, negative, slack)


def _triplet_backward(normalize: bool, residuals: tuple[Any, ...], cotangent: Array) -> tuple[Array, Array, Array]:
    anchor, positive, negative, slack = residuals
    weight = 2 * cotangent[..., None] * hinge_slope(slack)
    return (
        _pullback(anchor, weight * (negative[0] - positive[0])),
        _pullback(positive, weight * (positive[0] - anchor[0])),
        _pullback(negative, weight * (anchor[0] - negative[0])),
    )


_TRIPLET = Rule(_triplet_forward, _triplet_backward, data=1)


def _difference_of_squares(difference: Array, total: Array) -> Array:
    r""":math:`(y - z) \cdot (y + z) = y^2 - z^2`, infinite where it must be, never NaN."""
    largest = jnp.maximum(jnp.abs(difference), jnp.abs(total)).max(axis=-1, keepdims=True, initial=0.0)
    limit = largest_safe(difference.dtype, difference.shape[-1])
    stretch = jax.lax.stop_gradient(jnp.maximum(largest / limit, 1.0))
    return stretch * (stretch * inner(difference / stretch, total / stretch))
