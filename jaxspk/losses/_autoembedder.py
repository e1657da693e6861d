"""AutoEmbedder's pairwise loss, with which u-vectors are trained. Read in order: loss, gradient, maths.

Derivation: :doc:`/gradients/u_vectors`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from jaxspk import _checks
from jaxspk.losses._geometry import unit_vectors
from jaxspk.losses._rule import Rule, accumulation_dtype, scalar


def autoembedder_loss(
    embeddings_1: Float[Array, "*batch dim"],
    embeddings_2: Float[Array, "*batch dim"],
    cannot_link: Num[Array, "*batch"] | Bool[Array, "*batch"],
    *,
    alpha: float | Float[Array, ""],
    clip_must_link: bool = True,
) -> Float[Array, "*batch"]:
    r"""Squared error of a pair's capped distance against its target.

    .. math::
        \ell = (t - s)^2, \qquad s = \min(\lVert e - e' \rVert_2, \alpha), \qquad t = 0 \ \text{or}\ \alpha

    Args:
      embeddings_1: one side of each pair; of any length, nothing here normalizes.
      embeddings_2: the other side.
      cannot_link: true or nonzero where the two must be apart (:math:`t = \alpha`), else they must be
        together (:math:`t = 0`).
      alpha: cap and target of the distance, positive; the public code takes 100. A number or a scalar array.
      clip_must_link: whether the cap holds for must-link pairs too, as in the paper. Such a pair at a
        distance of ``alpha`` or more then has a loss of :math:`\alpha^2` and no gradient: nothing ever pulls
        it together. False leaves its distance uncapped.

    Returns:
      One loss per pair, at least float32, infinite where the true value exceeds the dtype's range.

    Raises:
      ArgumentTypeError: the embeddings are not floating.
      ArgumentError: the shapes do not fit together, or ``alpha`` is not positive.

    Note:
      The gradient at the kink :math:`\lVert e - e' \rVert = \alpha` of a must-link pair is that beyond it, 0;
      at equal embeddings of a cannot-link pair, the tip of a cone, it is 0. Differentiable in both
      embeddings. Reverse mode; for ``jax.jvp`` take :func:`autoembedder_loss_plain`.

    Example:
      >>> e = jnp.array([[0.0, 0.0], [3.0, 4.0]])
      >>> autoembedder_loss(e, jnp.zeros((2, 2)), jnp.array([True, False]), alpha=6.0).tolist()
      [36.0, 25.0]

    References:
      Mridha, Ohi et al., `U-vectors <https://arxiv.org/abs/2102.03868>`_, 2021, eq. (2) to (4); Ohi et al.,
      *AutoEmbedder*, Knowledge-Based Systems 2020.
    """
    return _RULE.loss(clip_must_link, _prepare(embeddings_1, embeddings_2, cannot_link, alpha))


def autoembedder_loss_grad(
    embeddings_1: Float[Array, "*batch dim"],
    embeddings_2: Float[Array, "*batch dim"],
    cannot_link: Num[Array, "*batch"] | Bool[Array, "*batch"],
    *,
    alpha: float | Float[Array, ""],
    clip_must_link: bool = True,
    cotangent: Float[Array, "*batch"] | None = None,
) -> tuple[Float[Array, "*batch dim"], Float[Array, "*batch dim"]]:
    r"""Gradient of :func:`autoembedder_loss` in both embeddings.

    In the first it is :math:`-2 (t - s) (e - e') / \lVert e - e' \rVert` below the cap and 0 beyond, in the
    second its negative.
    """
    arrays = _prepare(embeddings_1, embeddings_2, cannot_link, alpha)
    of_1, of_2 = _RULE.grad(clip_must_link, arrays, cotangent, (embeddings_1, embeddings_2))
    return of_1, of_2


def autoembedder_loss_plain(
    embeddings_1: Float[Array, "*batch dim"],
    embeddings_2: Float[Array, "*batch dim"],
    cannot_link: Num[Array, "*batch"] | Bool[Array, "*batch"],
    *,
    alpha: float | Float[Array, ""],
    clip_must_link: bool = True,
) -> Float[Array, "*batch"]:
    """The value of :func:`autoembedder_loss` with no custom rule."""
    return _RULE.plain(clip_must_link, _prepare(embeddings_1, embeddings_2, cannot_link, alpha))


# --- Maths: e embeddings, d their distance. ---


def _prepare(embeddings_1: Any, embeddings_2: Any, cannot_link: Any, alpha: Any) -> tuple[Array, Array, Array, Array]:
    for name, array in (("embeddings_1", embeddings_1), ("embeddings_2", embeddings_2)):
        _checks.check_floating(name, array)
    _checks.check_rank("embeddings_1", embeddings_1, 1, "dim")
    _checks.check_same_shape("embeddings_1", embeddings_1, "embeddings_2", embeddings_2)
    _checks.check_shape("cannot_link", cannot_link, embeddings_1.shape[:-1], "one a pair of embeddings")
    if isinstance(alpha, (int, float)):
        _checks.check_range("alpha", alpha, low=0.0, low_open=True)
    dtype = accumulation_dtype(embeddings_1, embeddings_2)
    apart = jnp.asarray(cannot_link).astype(bool)
    return embeddings_1.astype(dtype), embeddings_2.astype(dtype), apart, scalar("alpha", alpha, dtype)


def _forward(clip_must_link: bool, e1: Array, e2: Array, apart: Array, alpha: Array) -> tuple[Array, Any]:
    alpha = jax.lax.stop_gradient(alpha)
    difference = e1 - e2
    direction, distance = unit_vectors(difference)
    distance = distance[..., 0]
    # NaN must stay NaN: a comparison with it is false, and `beyond` would be true if it asked for d < alpha.
    beyond = distance >= alpha
    capped = beyond & (apart | clip_must_link)
    # Not the square of the distance: its second derivative at equal embeddings would be that of a cone.
    together = jnp.where(capped, jnp.square(alpha), jnp.sum(jnp.square(difference), axis=-1))
    separate = jnp.where(capped, jnp.zeros_like(distance), jnp.square(alpha - distance))
    value = jnp.where(apart, separate, together)
    return value, (difference, direction, alpha - distance, apart, capped)


def _backward(clip_must_link: bool, residuals: Any, cotangent: Array) -> tuple[Array, Array]:
    difference, direction, shortfall, apart, capped = (
        x if x.ndim > cotangent.ndim else x[..., None] for x in residuals
    )
    slope = jnp.where(apart, -shortfall * direction, difference)
    of_1 = 2 * cotangent[..., None] * jnp.where(capped, jnp.zeros_like(slope), slope)
    return of_1, -of_1


_RULE = Rule(_forward, _backward, data=2)
