r"""Sparse non-negative matrix factorisation, by multiplicative updates that never raise the objective.

.. math::
    F(W, H) = D_{KL}(V \,\|\, W H) + \mu \sum_k \lVert w_k \rVert_2 \sum_t h_{kt},
    \qquad D_{KL}(V \,\|\, \Lambda) = \sum v \log \frac{v}{\lambda} - v + \lambda .

The norm in the penalty is what makes sparsity mean something: without it small activations and large bases would
cost less. :math:`F` does not change when a basis is scaled and its activations are scaled back, so it is the
L1-sparse factorisation with bases of unit length (Le Roux, Weninger, Hershey 2015) without a constraint.

Each update minimises a function that lies on or above :math:`F` and touches it at the current point (Jensen's
inequality for the logarithm, and :math:`2 \lVert w \rVert \le \lVert w \rVert^2 / \lVert w' \rVert + \lVert w' \rVert`
for the norm), so :math:`F` cannot rise. With :math:`R = V / (W H)`:

.. math::
    h_{kt} \leftarrow \frac{h_{kt} (W^\top R)_{kt}}{\sum_f w_{fk} + \mu \lVert w_k \rVert}, \qquad
    w_{fk} \leftarrow \frac{2 q}{b + \sqrt{b^2 + 4 a q}}, \quad
    q = w_{fk} (R H^\top)_{fk}, \; b = \sum_t h_{kt}, \; a = \frac{\mu b}{\lVert w_k \rVert} .
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxspk import _checks, _numerics
from jaxspk.errors import ArgumentError

# Of the mean of the data: keeps quotients finite where bases and data are both silent.
_FLOOR = 1e-9


class SparseNmf(NamedTuple):
    """A factorisation, and how the objective fell."""

    bases: Float[Array, "features bases"]
    """Columns of unit length."""
    activations: Float[Array, "bases frames"]
    objective: Float[Array, " iterations"]
    """Before each iteration, in the unit of the data."""


def sparse_nmf(
    data: Float[Array, "features frames"],
    *,
    bases: int,
    key: Key[Array, ""],
    sparsity: float = 5.0,
    iterations: int = 100,
) -> SparseNmf:
    r"""Bases and activations of non-negative data.

    Args:
      data: :math:`V`, non-negative.
      bases: how many; each starts as a column of the data with some noise.
      key: decides the starts.
      sparsity: :math:`\mu`; the penalty in units of the data, so that it means the same for loud and soft data.
      iterations: how often both factors are updated.

    Raises:
      ArgumentError: wrong shapes or numbers.
      ArgumentTypeError: ``data`` is not floating.

    References:
      Le Roux, Weninger, Hershey, *Sparse NMF: half-baked or well done?*, MERL TR2015-023.
    """
    _check(data, sparsity, iterations)
    _checks.check_range("bases", bases, low=1)
    result: SparseNmf = _factorise(data, key, bases, sparsity, iterations)
    return result


def nmf_activations(
    data: Float[Array, "features frames"],
    bases: Float[Array, "features bases"],
    *,
    sparsity: float = 5.0,
    iterations: int = 100,
) -> tuple[Float[Array, "bases frames"], Float[Array, " iterations"]]:
    r"""Activations of given bases, and the objective before each iteration.

    Args:
      data: non-negative.
      bases: non-negative, of unit length.
      sparsity: as in :func:`sparse_nmf`.
      iterations: updates of the activations.

    Raises:
      ArgumentError: wrong shapes or numbers.
      ArgumentTypeError: ``data`` is not floating.
    """
    _check(data, sparsity, iterations)
    _checks.check_rank("bases", bases, 2, "features, bases")
    if bases.shape[0] != data.shape[0]:
        raise ArgumentError(f"`bases` must have the {data.shape[0]} features of `data`, got {bases.shape[0]}.")
    found: tuple[Array, Array] = _activate(data, bases, sparsity, iterations)
    return found


def _check(data: Array, sparsity: float, iterations: int) -> None:
    _checks.check_floating("data", data)
    _checks.check_rank("data", data, 2, "features, frames")
    _checks.check_range("data.shape[1]", data.shape[1], low=1)
    _checks.check_range("sparsity", sparsity, low=0)
    _checks.check_range("iterations", iterations, low=1)


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _factorise(v: Array, key: Array, bases: int, sparsity: float, iterations: int) -> SparseNmf:
    v, scale = _scaled(v)
    for_columns, for_noise = jax.random.split(key)
    columns = jax.random.randint(for_columns, (bases,), 0, v.shape[1])
    # A basis that is zero somewhere stays so: none may be.
    w = v[:, columns] + jax.random.uniform(for_noise, (v.shape[0], bases), v.dtype, 0.05, 0.15)
    w = w / jnp.linalg.norm(w, axis=0)
    h = _uniform_start(v, w)

    def iterate(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        w, h = state
        h, objective = _update_activations(v, w, h, sparsity)
        w = _update_bases(v, w, h, sparsity)
        lengths = jnp.linalg.norm(w, axis=0)
        alive = lengths > 0
        # Of unit length again, which changes no product and not the objective. A dead basis stays dead.
        return (w / jnp.where(alive, lengths, 1), h * lengths[:, None]), objective

    (w, h), objective = jax.lax.scan(iterate, (w, h), None, length=iterations)
    return SparseNmf(w, h * scale, objective * scale)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _activate(v: Array, w: Array, sparsity: float, iterations: int) -> tuple[Array, Array]:
    v, scale = _scaled(v)
    w = w.astype(v.dtype)
    h, objective = jax.lax.scan(
        lambda h, _: _update_activations(v, w, h, sparsity), _uniform_start(v, w), None, length=iterations
    )
    return h * scale, objective * scale


def _scaled(v: Array) -> tuple[Array, Array]:
    """The data with a mean of one, and what it was: the updates do not depend on the level, the floor would."""
    v = v.astype(_numerics.at_least_float32(v.dtype))
    mean = jnp.mean(v)
    scale = jnp.where(mean > 0, mean, jnp.ones_like(mean))
    return v / scale, scale


def _uniform_start(v: Array, w: Array) -> Array:
    """The same activation everywhere, of the right level for each frame."""
    level = jnp.sum(v, axis=0) / jnp.maximum(jnp.sum(w), _FLOOR)
    return jnp.broadcast_to(level + _FLOOR, (w.shape[1], v.shape[1]))


def _ratio(v: Array, w: Array, h: Array) -> tuple[Array, Array]:
    """V / (W H), and W H."""
    model = w @ h + _FLOOR
    return v / model, model


def _update_activations(v: Array, w: Array, h: Array, sparsity: float) -> tuple[Array, Array]:
    """New activations, and the objective of the given ones."""
    ratio, model = _ratio(v, w, h)
    lengths = jnp.linalg.norm(w, axis=0)
    divergence = jnp.sum(jnp.where(v > 0, v * jnp.log(jnp.where(v > 0, ratio, 1)), 0) - v + model)
    objective = divergence + sparsity * jnp.sum(lengths @ h)
    cost = jnp.sum(w, axis=0) + sparsity * lengths
    return h * (w.T @ ratio) / jnp.where(cost > 0, cost, 1)[:, None], objective


def _update_bases(v: Array, w: Array, h: Array, sparsity: float) -> Array:
    ratio, _ = _ratio(v, w, h)
    q = w * (ratio @ h.T)
    b = jnp.sum(h, axis=1)
    lengths = jnp.linalg.norm(w, axis=0)
    a = sparsity * b / jnp.where(lengths > 0, lengths, 1)
    root = b + jnp.sqrt(jnp.square(b) + 4 * a * q)
    # A basis that no frame uses keeps its shape.
    return jnp.where(b > 0, 2 * q / jnp.where(root > 0, root, 1), w)
