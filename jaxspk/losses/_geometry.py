"""Directions, lengths and hinges that stay finite, with finite gradients, and the gradients by hand.

Everywhere in the losses the cosine with a zero vector is 0, and a zero vector has gradient 0.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float


def unit_vectors(
    vectors: Float[Array, "*batch dim"],
) -> tuple[Float[Array, "*batch dim"], Float[Array, "*batch 1"]]:
    r"""Directions :math:`u = x / \lVert x \rVert` and lengths :math:`\lVert x \rVert`.

    The largest entry is divided out first, so that neither 1e30 nor 1e-30 over- or underflows when squared. A
    zero vector has direction 0, length 0 and, by choice, gradient 0; a NaN entry makes its whole vector NaN.
    """
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(vectors), axis=-1, keepdims=True, initial=0.0))
    zero = largest == 0
    scaled = vectors / jnp.where(zero, 1.0, largest)
    squared = jnp.sum(jnp.square(scaled), axis=-1, keepdims=True)
    length = jnp.sqrt(jnp.where(zero, 1.0, squared))
    return jnp.where(zero, 0.0, scaled / length), jnp.where(zero, 0.0, largest * length)


def unit_vectors_pullback(
    unit: Float[Array, "*batch dim"], norm: Float[Array, "*batch 1"], cotangent: Float[Array, "*batch dim"]
) -> Float[Array, "*batch dim"]:
    r"""Gradient through :func:`unit_vectors`: :math:`(g - u \langle u, g \rangle) / \lVert x \rVert`."""
    tangent = cotangent - unit * inner(unit, cotangent)
    # Dividing by infinity is the choice of gradient 0 at a zero vector, and keeps a NaN norm NaN.
    return tangent / jnp.where(norm == 0, jnp.inf, norm)


def inner(first: Float[Array, "*batch dim"], second: Float[Array, "*batch dim"]) -> Float[Array, "*batch 1"]:
    """Inner products along the last axis, which stays with length one."""
    return jnp.sum(first * second, axis=-1, keepdims=True)


def matmul(first: Array, second: Array) -> Array:
    """A product of matrices in full precision on every device; accelerators round to fewer bits."""
    product: Array = jnp.matmul(first, second, precision="highest")
    return product


def largest_safe(dtype: DTypeLike, terms: int) -> float:
    """Numbers up to this can be squared and so many squares added, with room for small factors."""
    return math.sqrt(float(np.finfo(np.dtype(dtype)).max) / (64 * max(terms, 1)))


def power_of_two(numbers: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The largest power of two that is not above a positive number and has an inverse: scaling by it rounds nothing."""
    mantissa, exponent = jnp.frexp(jax.lax.stop_gradient(numbers))
    largest = -int(np.finfo(mantissa.dtype).minexp)
    power: Array = jnp.ldexp(jnp.ones_like(mantissa), jnp.minimum(exponent - 1, largest))
    return power


def tie_tolerance(dtype: DTypeLike) -> float:
    """Squared distances of unit vectors nearer than this are not told apart: products round by a few eps."""
    return 64 * float(np.finfo(np.dtype(dtype)).eps)


def hinge(slack: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """max(0, slack), with slope 0 at the kink; NaN stays NaN."""
    return jnp.where(slack <= 0, 0.0, slack)


def hinge_slope(slack: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The slope of :func:`hinge`: 0 up to and at the kink, 1 beyond."""
    return jnp.where(slack <= 0, jnp.zeros_like(slack), jnp.ones_like(slack))
