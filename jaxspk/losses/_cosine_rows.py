"""Queries against prototypes by their cosines: a row of the softmax and of the contrast loss, with its gradient.

Both take unit ``queries`` ``[*batch, rows, dim]`` and, as a column ``own``, the cosine of each with its own speaker's
prototype, which may differ from the one that other queries see (GE2E leaves the query out of it).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxspk.losses._geometry import matmul
from jaxspk.losses._rows import is_column, log_one_plus_sum_exp

Gradients = tuple[tuple[Array, Array], tuple[Array, Array, Array]]
"""In queries and own cosines; and, summed over rows, in prototypes, scale and bias."""


class SoftmaxRows(NamedTuple):
    """Cross entropy over ``scale * cosine + bias``.

    Attributes:
      prototypes: unit vectors, ``[*batch, columns, dim]``.
      scale: of the cosines.
      bias: cancels; a NaN in it shows.
      floor: cosines below it count as it and get no gradient; ``None`` for none.
    """

    prototypes: Array
    scale: Array
    bias: Array
    floor: float | None = None

    def forward(self, queries: Array, own: Array, targets: Array) -> tuple[Array, tuple[Array, Array]]:
        """Values; cosines and probabilities are saved."""
        cosines = matmul(queries, self.prototypes.mT)
        excess = self.scale * self._above_own(cosines, own) + (self.bias - self.bias)
        values, p = log_one_plus_sum_exp(excess, is_column(targets, excess.shape[-1]))
        return values, (cosines, p)

    def backward(
        self, cotangent: Array, saved: tuple[Array, Array], queries: Array, own: Array, targets: Array
    ) -> Gradients:
        """Each other prototype pulls with its probability, the own one against all of them."""
        cosines, p = saved
        g = cotangent * p
        of_scale = jnp.sum(g * self._above_own(cosines, own))
        of_cosines = _not_floored(cosines, self.floor, self.scale * g)
        of_own = _not_floored(own, self.floor, -self.scale * jnp.sum(g, axis=-1, keepdims=True))
        of_queries, of_prototypes = matmul(of_cosines, self.prototypes), matmul(of_cosines.mT, queries)
        return (of_queries, of_own), (of_prototypes, of_scale, jnp.zeros_like(self.bias))

    def _above_own(self, cosines: Array, own: Array) -> Array:
        return _floored(cosines, self.floor) - _floored(own, self.floor)


class ContrastRows(NamedTuple):
    """``1 - sigmoid(own logit) + sigmoid(the largest other logit)``; attributes as in :class:`SoftmaxRows`."""

    prototypes: Array
    scale: Array
    bias: Array
    floor: float | None = None

    def forward(self, queries: Array, own: Array, targets: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        """Values; cosines, the largest other logit and which columns reach it are saved."""
        cosines = matmul(queries, self.prototypes.mT)
        logits = self.scale * _floored(cosines, self.floor) + self.bias
        others = jnp.where(is_column(targets, cosines.shape[-1]), -jnp.inf, logits)
        # A single speaker has no other: minus infinity, whose sigmoid and its slope are 0.
        hardest = jnp.max(others, axis=-1, keepdims=True, initial=-jnp.inf)
        values = jax.nn.sigmoid(-self._own_logit(own)) + jax.nn.sigmoid(hardest)
        return values, (cosines, hardest, others == hardest)

    def backward(
        self,
        cotangent: Array,
        saved: tuple[Array, Array, Array],
        queries: Array,
        own: Array,
        targets: Array,
    ) -> Gradients:
        """The hardest others share one gradient equally where they tie, so that no order of speakers matters."""
        cosines, hardest, is_hardest = saved
        share = is_hardest.astype(cosines.dtype) / jnp.sum(is_hardest, axis=-1, keepdims=True, dtype=cosines.dtype)
        own_logit = self._own_logit(own)
        own_slope = _sigmoid_slope(own_logit)
        g = cotangent * _sigmoid_slope(hardest) * share
        # Own and hardest pull scale and bias apart with nearly the same force: the difference first, then the sum.
        nearest = jnp.sum(share * _floored(cosines, self.floor), axis=-1, keepdims=True)
        slopes_apart = _sigmoid_difference(hardest, own_logit) * _sigmoid_difference(-hardest, own_logit)
        cosines_apart = nearest - _floored(own, self.floor)
        of_scale = jnp.sum(cotangent * (slopes_apart * nearest + own_slope * cosines_apart))
        of_bias = jnp.sum(cotangent * slopes_apart)
        of_cosines = _not_floored(cosines, self.floor, self.scale * g)
        of_own = _not_floored(own, self.floor, -self.scale * cotangent * own_slope)
        of_queries, of_prototypes = matmul(of_cosines, self.prototypes), matmul(of_cosines.mT, queries)
        return (of_queries, of_own), (of_prototypes, of_scale, of_bias)

    def _own_logit(self, own: Array) -> Array:
        return self.scale * _floored(own, self.floor) + self.bias


def _sigmoid_slope(logit: Array) -> Array:
    return jax.nn.sigmoid(logit) * jax.nn.sigmoid(-logit)


def _sigmoid_difference(first: Array, second: Array) -> Array:
    """The difference of two sigmoids to full relative precision, also where they are nearly equal."""
    low, high = jnp.minimum(first, second), jnp.maximum(first, second)
    apart = -jax.nn.sigmoid(high) * jax.nn.sigmoid(-low) * jnp.expm1(low - high)
    return jnp.where(first < second, -apart, apart)


def _floored(cosines: Array, floor: float | None) -> Array:
    # Not `maximum`: its slope at equality would be one half; the public code's is one, as in `_not_floored`.
    return cosines if floor is None else jnp.where(cosines < floor, floor, cosines)


def _not_floored(cosines: Array, floor: float | None, gradient: Array) -> Array:
    return gradient if floor is None else jnp.where(cosines < floor, 0.0, gradient)
