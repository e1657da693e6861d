"""Small numeric functions that stay finite, with finite gradients, where the textbook form does not."""

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float


def at_least_float32(dtype: DTypeLike) -> jnp.dtype:
    """The dtype to accumulate in: float32, or the given one where it is wider."""
    # Not by promotion, which JAX's strict mode refuses.
    return jnp.dtype(dtype) if jnp.dtype(dtype).itemsize >= 4 else jnp.dtype(jnp.float32)


def normalize(vectors: Float[Array, "*batch dim"]) -> Float[Array, "*batch dim"]:
    r"""Vectors of unit length, :math:`x / \lVert x \rVert`; zero vectors stay zero, with zero gradient.

    The largest entry is divided out first, so neither 1e30 nor 1e-30 over- or underflows when squared.
    """
    largest = jnp.max(jnp.abs(vectors), axis=-1, keepdims=True)
    # NaN must stay NaN: `largest == 0` is false for it.
    scaled = vectors / jnp.where(largest == 0, jnp.ones_like(largest), largest)
    squared = jnp.sum(jnp.square(scaled), axis=-1, keepdims=True)
    return scaled / jnp.sqrt(jnp.where(squared == 0, jnp.ones_like(squared), squared))


def squared_distances(
    first: Float[Array, "*batch n dim"], second: Float[Array, "*batch m dim"]
) -> Float[Array, "*batch n m"]:
    r"""All pairwise :math:`\lVert a_i - b_j \rVert^2`, never negative, as products of matrices.

    Memory is n × m, not n × m × dim. Both sets are moved by the mean of ``second`` first, which changes no
    distance and keeps the cancellation of :math:`a^2 - 2ab + b^2` to the spread of the points.
    """
    centre = jnp.mean(second, axis=-2, keepdims=True)
    first, second = first - centre, second - centre
    squared_first = jnp.sum(jnp.square(first), axis=-1)[..., :, None]
    squared_second = jnp.sum(jnp.square(second), axis=-1)[..., None, :]
    products = jnp.matmul(first, jnp.matrix_transpose(second), precision="highest")
    return jnp.maximum(squared_first - 2 * products + squared_second, 0)
