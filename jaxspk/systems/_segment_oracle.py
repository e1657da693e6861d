r"""The oracle of the paper: which cluster of a segment is which source, told by the sources themselves.

Of all permutations :math:`\pi` of a segment the one of smallest squared distance between masked mixture and source,

.. math:: \sum_k \sum_{tf} \bigl( |m_{k,tf} X_{tf}| - |S_{\pi(k),tf}| \bigr)^2 .

It bounds what clustering segment by segment could reach, and needs the references.
"""

import itertools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def permutation_costs(
    masked: Float[Array, "*batch clusters frames bins"], sources: Float[Array, "*batch clusters frames bins"]
) -> Float[Array, "*batch permutations"]:
    """The squared distance of every permutation, in the order of :func:`permutations`.

    Args:
      masked: magnitudes of the mixture under the mask of each cluster.
      sources: magnitudes of the sources.
    """
    pairs = jnp.sum(jnp.square(masked[..., :, None, :, :] - sources[..., None, :, :, :]), axis=(-2, -1))
    clusters = pairs.shape[-1]
    return pairs[..., jnp.arange(clusters), permutations(clusters)].sum(-1)


def permutations(clusters: int) -> Int[np.ndarray, "permutations clusters"]:
    """All of them, in lexicographic order; entry ``k`` is the source that cluster ``k`` is taken for."""
    return np.array(list(itertools.permutations(range(clusters))), np.int32)


def order_like_sources(
    masks: Float[Array, "*batch clusters frames bins"],
    mixture: Float[Array, "*batch frames bins"],
    sources: Float[Array, "*batch clusters frames bins"],
) -> Float[Array, "*batch clusters frames bins"]:
    """The masks in the order of the sources, by the cheapest permutation of each batch item.

    Args:
      masks: one a cluster.
      mixture: magnitudes.
      sources: magnitudes.
    """
    clusters = masks.shape[-3]
    costs = permutation_costs(masks * mixture[..., None, :, :], sources)
    source_of = jnp.asarray(permutations(clusters))[jnp.argmin(costs, axis=-1)]
    cluster_of = jnp.argsort(source_of, axis=-1)
    return jnp.take_along_axis(masks, cluster_of[..., None, None], axis=-3)
