"""The regularized siamese network's losses and gradients, in the paper's letters.

c codes of a frame, μ and Σ their mean and covariance over a segment, D_m and D_S the squared distances of
these, u total inputs of the code layer, x inputs and r reconstructions. A forward function gives the value
and what its gradient needs again; a backward one is the gradient derived by hand.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxspk.losses._geometry import power_of_two

# --- D_m ---


def mean_forward(_: None, c1: Array, c2: Array, mask_1: Array, mask_2: Array) -> tuple[Array, Any]:
    """D_m, and the difference of the means."""
    difference = _mean(c1, mask_1) - _mean(c2, mask_2)
    return jnp.sum(jnp.square(difference), axis=(-2, -1)), (difference, _share(mask_1), _share(mask_2))


def mean_backward(_: None, residuals: Any, cotangent: Array) -> tuple[Array, Array]:
    """p: the same for all frames of a segment."""
    difference, share_1, share_2 = residuals
    towards_1 = 2 * cotangent[..., None, None] * difference
    return share_1 * towards_1, -share_2 * towards_1


# --- D_S ---


class _Spread(NamedTuple):
    """Centred codes X_i, divided by the root of T_i - 1 and by ``size``: Σ_i = size² X_iᵀ X_i."""

    size: Float[Array, "*batch"]
    x1: Float[Array, "*batch frames_1 units"]
    x2: Float[Array, "*batch frames_2 units"]
    root_1: Float[Array, "*batch 1 1"]
    root_2: Float[Array, "*batch 1 1"]


def covariance_forward(_: None, c1: Array, c2: Array, mask_1: Array, mask_2: Array) -> tuple[Array, Any]:
    """D_S, from the covariances or, for more units than frames, from inner products of frames."""
    spread = _spread(c1, c2, mask_1, mask_2)
    size, x1, x2 = spread.size, spread.x1, spread.x2
    products: tuple[Array, ...]
    if _has_more_units_than_frames(x1, x2):
        products = _product(x1, x1.mT), _product(x1, x2.mT), _product(x2, x2.mT)
        of_1, of_both, of_2 = (jnp.sum(jnp.square(product), axis=(-2, -1)) for product in products)
        distance = of_1 - 2 * of_both + of_2
        # Rounding can leave it a little below 0; the derivative stays what it is.
        distance = distance + jax.lax.stop_gradient(jnp.maximum(-distance, 0))
    else:
        products = (_product(x1.mT, x1) - _product(x2.mT, x2),)
        distance = jnp.sum(jnp.square(products[0]), axis=(-2, -1))
    # 0 * inf would be nan.
    scaled = (size * size) * ((size * size) * distance)
    return jnp.where(distance == 0, distance, scaled), (spread, products)


def covariance_backward(_: None, residuals: Any, cotangent: Array) -> tuple[Array, Array]:
    """q: ±4 / (T_i - 1) (Σ_1 - Σ_2) (c - μ_i)."""
    (size, x1, x2, root_1, root_2), products = residuals
    if len(products) == 3:
        within_1, between, within_2 = products
        q1 = _product(within_1, x1) - _product(between, x2)
        q2 = _product(within_2, x2) - _product(between.mT, x1)
    else:
        q1, q2 = _product(x1, products[0]), -_product(x2, products[0])
    size, cotangent = size[..., None, None], cotangent[..., None, None]
    # One factor after the other, because size³ alone may leave the range of numbers.
    of_1, of_2 = (q * (4 * cotangent / root) * size * size * size for q, root in ((q1, root_1), (q2, root_2)))
    return of_1, of_2


def _spread(c1: Array, c2: Array, mask_1: Array, mask_2: Array) -> _Spread:
    centred = [_masked(c - _mean(c, mask), mask) for c, mask in ((c1, mask_1), (c2, mask_2))]
    # Codes are between 0 and 1; the fourth powers of other numbers leave the range of numbers soon.
    largest = [jnp.max(jnp.abs(c), axis=(-2, -1), initial=1) for c in centred]
    size = power_of_two(jnp.maximum(*largest))
    roots = [jnp.sqrt(jnp.maximum(_count(mask) - 1, 1)) for mask in (mask_1, mask_2)]
    x1, x2 = (c / size[..., None, None] / root for c, root in zip(centred, roots, strict=True))
    return _Spread(size, x1, x2, *roots)


def _has_more_units_than_frames(x1: Array, x2: Array) -> bool:
    return x1.shape[-1] > x1.shape[-2] + x2.shape[-2]


# --- L_D ---


def discrimination_forward(
    _: None, c1: Array, c2: Array, same: Array, lambda_m: Array, lambda_s: Array, mask_1: Array, mask_2: Array
) -> tuple[Array, Any]:
    """L_m + L_S, and the slopes κ of both in their distances."""
    d_m, of_mean = mean_forward(None, c1, c2, mask_1, mask_2)
    d_s, of_covariance = covariance_forward(None, c1, c2, mask_1, mask_2)
    l_m, kappa_m = _contrast(d_m, same, lambda_m)
    l_s, kappa_s = _contrast(d_s, same, lambda_s)
    return l_m + l_s, (kappa_m, kappa_s, of_mean, of_covariance)


def discrimination_backward(_: None, residuals: Any, cotangent: Array) -> tuple[Array, Array]:
    """κ_m p + κ_S q."""
    kappa_m, kappa_s, of_mean, of_covariance = residuals
    p1, p2 = mean_backward(None, of_mean, cotangent * kappa_m)
    q1, q2 = covariance_backward(None, of_covariance, cotangent * kappa_s)
    return p1 + q1, p2 + q2


def _contrast(distance: Array, same: Array, scale: Array) -> tuple[Array, Array]:
    """I D + (1 - I) exp(-D / λ), and its slope in D."""
    same, scale = jax.lax.stop_gradient((same, scale))
    far = (1 - same) * jnp.exp(-distance / scale)
    return _weighted(same, distance) + far, same - far / scale


def through_sigmoid(u: Array, subset: Array, of_codes: Array) -> Array:
    """The gradient in u of the first units, through their codes c = σ(u), and 0 for the other units."""
    # c (1 - c), without the cancellation of 1 - c.
    slope = jax.nn.sigmoid(subset) * jax.nn.sigmoid(-subset)
    return jnp.zeros_like(u).at[..., : subset.shape[-1]].set((of_codes * slope).astype(u.dtype))


# --- L_R and the whole loss ---


def reconstruction_forward(_: None, r: Array, x: Array, mask: Array) -> tuple[Array, Any]:
    """Mean squared error."""
    error = _masked(r - x, mask)
    share = _share(mask) / x.shape[-1]
    return jnp.sum(share * jnp.square(error), axis=(-2, -1)), (error, share)


def reconstruction_backward(_: None, residuals: Any, cotangent: Array) -> tuple[Array]:
    """2 / (T d) (r - x)."""
    error, share = residuals
    return (2 * cotangent[..., None, None] * share * error,)


def regularized_forward(
    _: None, r1: Array, r2: Array, c1: Array, c2: Array, x1: Array, x2: Array, same: Array,
    alpha: Array, lambda_m: Array, lambda_s: Array, mask_1: Array, mask_2: Array,
) -> tuple[Array, Any]:  # fmt: skip
    """α (L_R + L_R) + (1 - α) L_D."""
    alpha = jax.lax.stop_gradient(alpha)
    l_1, of_1 = reconstruction_forward(None, r1, x1, mask_1)
    l_2, of_2 = reconstruction_forward(None, r2, x2, mask_2)
    l_d, of_codes = discrimination_forward(None, c1, c2, same, lambda_m, lambda_s, mask_1, mask_2)
    return _weighted(alpha, l_1 + l_2) + _weighted(1 - alpha, l_d), (alpha, of_1, of_2, of_codes)


def regularized_backward(_: None, residuals: Any, cotangent: Array) -> tuple[Array, ...]:
    """The parts' gradients with their weights."""
    alpha, of_1, of_2, of_codes = residuals
    return (
        *reconstruction_backward(None, of_1, alpha * cotangent),
        *reconstruction_backward(None, of_2, alpha * cotangent),
        *discrimination_backward(None, of_codes, (1 - alpha) * cotangent),
    )


# --- Frames that count, sums and products. ---


def _masked(values: Array, mask: Array) -> Array:
    """0 at padded frames, whatever stood there."""
    return jnp.where(mask[..., None] > 0, values, jnp.zeros_like(values))


def _count(mask: Array) -> Array:
    """Frames that count, ``[..., 1, 1]``."""
    return jnp.sum(mask, axis=-1)[..., None, None]


def _share(mask: Array) -> Array:
    """What each frame counts in a mean, ``[..., frames, 1]``: 1 over their number, 0 at padding."""
    return mask[..., None] / jnp.maximum(_count(mask), 1)


def _mean(values: Array, mask: Array) -> Array:
    """Over frames, ``[..., 1, units]``; 0 where all are padding."""
    return jnp.sum(_masked(values, mask), axis=-2, keepdims=True) / jnp.maximum(_count(mask), 1)


def _weighted(weight: Array, value: Array) -> Array:
    """Their product, 0 where the weight is 0 although the value may be infinite."""
    return jnp.where(weight == 0, jnp.zeros_like(value), weight * value)


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")
