"""Deep clustering affinity loss. Read in order: loss, gradient, plain form, wiring, maths."""

import functools
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from jaxspk import _checks
from jaxspk.losses._geometry import power_of_two
from jaxspk.losses._rule import Rule, accumulation_dtype

Balance = Literal["none", "partition"]
Normalize = Literal["none", "weights"]


def deep_clustering_loss(
    embeddings: Float[Array, "*batch bins dim"],
    assignments: Num[Array, "*batch bins sources"],
    weights: Num[Array, "*batch bins"] | None = None,
    *,
    balance: Balance = "none",
    normalize: Normalize = "none",
) -> Float[Array, "*batch"]:
    r"""Weighted squared distance between estimated and ideal affinities of bins.

    .. math::
        \ell(V) = \sum_{i,j} r_i r_j \bigl(v_i^\top v_j - y_i^\top y_j\bigr)^2,
        \qquad r_i = w_i \ \text{or}\ w_i\, d_i^{-1/2}

    over all ordered pairs, :math:`i = j` included. Time is linear in the number of bins and no array larger
    than ``embeddings`` is made.

    Args:
      embeddings: one vector a bin, floating, any scale (the paper uses unit norm; nothing here normalizes).
        ``bins`` is ``frames * frequencies``, flattened in the same order as the other arguments.
      assignments: the source of each bin: one-hot, soft (then the target affinity is their inner product), or
        all 0 for a bin that belongs to no source. Any real dtype. The order of the sources does not matter,
        and a source may own no bin.
      weights: non-negative, one a bin; a pair weighs the product of its two bins' weights. 0 silences a bin.
        ``None`` is 1 everywhere.
      balance: "partition" multiplies each weight by :math:`d_i^{-1/2}`, with :math:`d_i` the number of bins
        of positive weight that have the source of bin i: a quiet speaker then counts as much as a loud one.
        This is the cost that Hershey et al. trained with.
      normalize: "none" is the papers' raw sum, which grows with the square of the number of bins; "weights"
        divides by :math:`(\sum_i r_i)^2`, so that only ratios of weights matter.

    Returns:
      One loss per batch element, not reduced over the batch, in at least float32, never negative; 0 where all
      weights are 0.

    Raises:
      ArgumentTypeError: ``embeddings`` is not floating.
      ArgumentError: the arguments differ in their batch or bin axes, or an option is none of those above.

    Note:
      Differentiable in ``embeddings`` only; the others are data and get zero gradient. Second derivatives
      work. Reverse mode only: for ``jax.jvp`` take :func:`deep_clustering_loss_plain`. The textbook form
      :math:`\lVert V^\top R V\rVert^2 - 2\lVert V^\top R Y\rVert^2 + \lVert Y^\top R Y\rVert^2` loses all
      digits in float32 near its minimum, where its terms cancel, and turns negative; this one splits V into
      its part along the sources and a residual and adds up squares. Entries up to 1e30 are fine: a value
      beyond the dtype's range is ``inf``, never ``nan``.

    Example:
      >>> y = jnp.eye(2)[jnp.array([0, 1, 1])]
      >>> bool(deep_clustering_loss(y, y) < 1e-6)
      True
      >>> round(float(deep_clustering_loss(jnp.ones((3, 1)), y)), 4)  # collapsed: 4 ordered pairs of unequal sources
      4.0

    References:
      Hershey et al., `Deep clustering <https://arxiv.org/abs/1508.04306>`_, ICASSP 2016. The derivation, and
      the scales that other toolkits use, are in :doc:`/gradients/deep_clustering`.
    """
    return _RULE.loss(None, _prepare(embeddings, assignments, weights, balance, normalize))


def deep_clustering_loss_grad(
    embeddings: Float[Array, "*batch bins dim"],
    assignments: Num[Array, "*batch bins sources"],
    weights: Num[Array, "*batch bins"] | None = None,
    *,
    balance: Balance = "none",
    normalize: Normalize = "none",
    cotangent: Float[Array, "*batch"] | None = None,
) -> Float[Array, "*batch bins dim"]:
    r"""Analytic gradient of :func:`deep_clustering_loss` in ``embeddings``.

    .. math:: \nabla_V \ell = 4 R \bigl[V (V^\top R V) - Y (Y^\top R V)\bigr]

    Args:
      embeddings: as for the loss.
      assignments: as for the loss.
      weights: as for the loss.
      balance: as for the loss.
      normalize: as for the loss.
      cotangent: one factor per batch element; ``None`` is ones.

    Returns:
      An array like ``embeddings``.
    """
    arrays = _prepare(embeddings, assignments, weights, balance, normalize)
    return _RULE.grad(None, arrays, cotangent, (embeddings,))[0]


def deep_clustering_loss_plain(
    embeddings: Float[Array, "*batch bins dim"],
    assignments: Num[Array, "*batch bins sources"],
    weights: Num[Array, "*batch bins"] | None = None,
    *,
    balance: Balance = "none",
    normalize: Normalize = "none",
) -> Float[Array, "*batch"]:
    """The value of :func:`deep_clustering_loss` with no custom rule, for forward mode; needs more memory."""
    v, y, relative, scale = _prepare(embeddings, assignments, weights, balance, normalize)
    return _value(scale, _decompose(v, y, relative))


# --- Wiring: the gradient above becomes the loss's reverse-mode rule. Kept between the passes: V, Y, the
# weights and a few matrices of dim × dim. ---


class _Parts(NamedTuple):
    """V / size = Z A + E and Y = Z Lᵀ, with Zᵀ R Z = 1 and Zᵀ R E = 0, R being the relative weights.

    For one-hot assignments Z A repeats the sources' mean embeddings, and E is what they leave over.
    """

    size: Float[Array, "*batch"]
    along: Float[Array, "*batch sources dim"]  # A
    target: Float[Array, "*batch sources sources"]  # L / size
    excess: Float[Array, "*batch sources sources"]  # A Aᵀ - (L / size)ᵀ (L / size)
    scatter: Float[Array, "*batch dim dim"]  # T = Eᵀ R E


_Arrays = tuple[Array, Array, Array, Array]  # V, Y, relative weights, scale: R = scale · diag(relative)
_Residuals = tuple[Array, Array, Array, Array, _Parts]


def _forward(_: None, v: Array, y: Array, relative: Array, scale: Array) -> tuple[Array, _Residuals]:
    parts = _decompose(v, y, relative)
    return _value(scale, parts), (v, y, relative, scale, parts)


def _backward(_: None, residuals: _Residuals, cotangent: Array) -> tuple[Array]:
    return (_gradient(*residuals, cotangent),)


_RULE = Rule(_forward, _backward, data=3)


# --- Maths, in the paper's letters: V embeddings, Y assignments, R weights of bins. ---


def _prepare(
    embeddings: Array, assignments: Array, weights: Array | None, balance: Balance, normalize: Normalize
) -> _Arrays:
    """Checks, casts, and the weights r, which are ``relative`` (at most 1) times ``scale``."""
    _checks.check_floating("embeddings", embeddings)
    _checks.check_rank("embeddings", embeddings, 2, "bins, dim")
    _checks.check_same_axes_but_last(
        "embeddings",
        embeddings,
        "assignments",
        assignments,
        "Flatten (frames, frequencies) into one `bins` axis the same way in both: "
        "`x.reshape(*batch, frames * frequencies, -1)`.",
    )
    _checks.check_choice("balance", balance, ("none", "partition"))
    _checks.check_choice("normalize", normalize, ("none", "weights"))
    dtype = accumulation_dtype(embeddings)
    y = assignments.astype(dtype)
    if weights is None:
        r = jnp.ones(embeddings.shape[:-1], dtype)
    else:
        _checks.check_shape("weights", weights, embeddings.shape[:-1], "one a bin of `embeddings`")
        r = weights.astype(dtype)
    if balance == "partition":
        # Bins of weight 0 are not counted: that would be another cost.
        counts = jnp.sum(jnp.where(r[..., None] > 0, y, jnp.zeros_like(y)), axis=-2, keepdims=True)
        d = jnp.sum(y * counts, axis=-1)
        # A bin of no source has d = 0 and gets weight 0, not an infinite one.
        r = jnp.where(d > 0, r * jax.lax.rsqrt(jnp.where(d > 0, d, jnp.ones_like(d))), jnp.zeros_like(r))
    # Relative weights, because the squares of very large or small ones leave the range of numbers.
    scale = jnp.max(r, axis=-1, initial=0)
    relative = r / jnp.where(scale > 0, scale, jnp.ones_like(scale))[..., None]
    if normalize == "weights":
        total = jnp.sum(relative, axis=-1)
        scale = 1 / jnp.where(total > 0, total, jnp.ones_like(total))
    return embeddings, y, relative, scale


def _decompose(v: Array, y: Array, relative: Array) -> _Parts:
    """The sources' part of V and what it leaves over, in passes over V."""
    gram = _weighted_gram(y, relative)
    basis = _orthonormalising(gram)
    *batch, _, dim = v.shape

    def add_products(products: Array, v: Array, y: Array, r: Array) -> Array:
        return products + _product((r[..., None] * y).mT, v)

    # Widening all of V at once would take more memory than V; then blocks are better for this pass too.
    nothing = jnp.zeros((*batch, y.shape[-1], dim), y.dtype)
    products = _over_bins(add_products, nothing, v, y, relative, whole=v.dtype == y.dtype)
    along = _product(basis.mT, products)
    means = _product(basis, along)

    def add_scatter(total: tuple[Array, Array], v: Array, y: Array, r: Array) -> tuple[Array, Array]:
        before, scatter = total
        # The largest entry so far is divided out before anything is squared; what was added up is divided once more.
        of_bins = jnp.max(jnp.abs(v), axis=-1, initial=0)
        heard = jnp.max(jnp.where(r > 0, of_bins, jnp.zeros_like(of_bins)), axis=-1, initial=0)
        size = power_of_two(jnp.maximum(before, heard))
        shrunk = jnp.square(before / size)[..., None, None] * scatter
        # Multiplied by the inverse, which a power of two has exactly: a division takes as long as all else here.
        e = jnp.sqrt(r)[..., None] * ((v - _mixed(y, means)) * (1 / size)[..., None, None])
        return size, shrunk + _product(e.mT, e)

    nothing = jnp.zeros((*batch, dim, dim), y.dtype)
    size, scatter = _over_bins(add_scatter, (jnp.ones(batch, y.dtype), nothing), v, y, relative)
    along = along / size[..., None, None]
    target = _product(gram, basis) / size[..., None, None]
    excess = _product(along, along.mT) - _product(target.mT, target)
    return _Parts(size, along, target, excess, scatter)


def _value(scale: Array, parts: _Parts) -> Array:
    """‖A Aᵀ - target‖² + 2 tr(A T Aᵀ) + ‖T‖², three sums of squares."""
    trace = jnp.sum(parts.along * _product(parts.along, parts.scatter), axis=(-2, -1))
    # Rounding can leave the trace a little below 0; its derivative stays what it is.
    trace = trace + jax.lax.stop_gradient(jnp.maximum(-trace, 0))
    cost = _sum_of_squares(parts.excess) + 2 * trace + _sum_of_squares(parts.scatter)
    factor = scale * parts.size * parts.size
    # 0 * inf would be nan.
    return jnp.where(cost == 0, cost, factor * (factor * cost))


def _gradient(v: Array, y: Array, relative: Array, scale: Array, parts: _Parts, cotangent: Array) -> Array:
    """4 R [V (Vᵀ R V) - Y (Yᵀ R V)], with Vᵀ R V = Aᵀ A + T and Yᵀ R V = L A."""
    size = parts.size[..., None, None]
    of_v = (_product(parts.along.mT, parts.along) + parts.scatter) / size
    of_y = _product(parts.target, parts.along) / size
    # Applied one after the other, because their product alone may leave the range of numbers.
    factors = [scale[..., None, None] * size, scale[..., None, None] * size, size]

    def of_bins(v: Array, y: Array, r: Array) -> Array:
        gradient = (_product(v, of_v) - _mixed(y, of_y)) * (4 * r)[..., None]
        for factor in factors:
            gradient = gradient * factor
        return gradient

    return _map_bins(of_bins, v, y, cotangent[..., None] * relative, whole=v.dtype == y.dtype)


def _orthonormalising(gram: Array) -> Array:
    """W with Wᵀ (Yᵀ R Y) W = 1, upper triangular: Gram and Schmidt's process on the columns of Y.

    For one-hot assignments it is diagonal, 1 over the root of each source's total weight. A source without
    bins, or whose column is a sum of others, gets a column of zeros.
    """
    sources = gram.shape[-1]
    tiny = 8 * sources * float(np.finfo(gram.dtype).eps)
    columns: list[Array] = []
    for source in range(sources):
        column = jnp.zeros_like(gram[..., 0]).at[..., source].set(1)
        for earlier in columns:
            overlap = jnp.sum(earlier * gram[..., source], axis=-1, keepdims=True)
            column = column - overlap * earlier
        squared = jnp.sum(column * _product(gram, column[..., None])[..., 0], axis=-1, keepdims=True)
        new = squared > tiny * gram[..., source, source][..., None]
        length = jnp.sqrt(jnp.where(new, squared, jnp.ones_like(squared)))
        columns.append(jnp.where(new, column / length, jnp.zeros_like(column)))
    return jnp.stack(columns, axis=-1) if columns else gram


def _weighted_gram(y: Array, relative: Array) -> Array:
    """Yᵀ R Y, for few sources summed as a tree with branches of 16.

    All else is measured by these sums, and a product of matrices so narrow is compiled to adding up one bin
    after the other, which in float32 is off by 1e-4 for 50,000 bins.
    """
    if y.shape[-1] > 16:
        return _product((relative[..., None] * y).mT, y)
    columns = y.mT
    terms = (relative[..., None, :] * columns)[..., :, None, :] * columns[..., None, :, :]
    while (count := terms.shape[-1]) > 1:
        branches = -(-count // 16)
        terms = jnp.pad(terms, [(0, 0)] * (terms.ndim - 1) + [(0, 16 * branches - count)])
        terms = jnp.sum(terms.reshape(*terms.shape[:-1], 16, branches), axis=-2)
    return jnp.sum(terms, axis=-1)


def _product(a: Array, b: Array) -> Array:
    """Matrix product without the rounding of inputs that accelerators do by default."""
    return jnp.matmul(a, b, precision="highest")


def _mixed(y: Array, of_sources: Array) -> Array:
    """The product of Y and one row a source; for few sources as a sum that fuses with the rest."""
    sources = y.shape[-1]
    if not 0 < sources <= 4:
        return _product(y, of_sources)
    return functools.reduce(
        jnp.add, (y[..., source, None] * of_sources[..., None, source, :] for source in range(sources))
    )


def _sum_of_squares(matrix: Array) -> Array:
    return jnp.sum(jnp.square(matrix), axis=(-2, -1))


# --- Blocks of bins that fit a processor's cache: no temporary is as large as V, none is even written to memory. ---

# Numbers of V in a block over the whole batch: 4 MiB of float32. Sums of few bins also round less.
_BLOCK_NUMBERS = 2**20
_BLOCK_BINS = 4096

_Bins = tuple[Array, Array, Array]  # of V, of Y, of a factor for each bin
_Total = TypeVar("_Total", Array, tuple[Array, Array])


def _over_bins(
    step: Callable[[_Total, Array, Array, Array], _Total],
    start: _Total,
    v: Array,
    y: Array,
    r: Array,
    *,
    whole: bool = False,
) -> _Total:
    """``start``, and ``step`` upon it for every block of bins, or for all bins where ``whole``."""
    block, count = _blocks(v, whole)
    if count <= 1:
        return step(start, v.astype(y.dtype), y, r)

    def of_block(total: _Total, index: Array) -> tuple[_Total, None]:
        begin, (of_v, of_y, of_r) = _block(index, block, v, y, r)
        # What the last block shares with the one before counts once.
        repeated = begin + jnp.arange(block) < index * block
        return step(total, of_v, of_y, jnp.where(repeated, jnp.zeros_like(of_r), of_r)), None

    total: _Total = jax.lax.scan(of_block, start, jnp.arange(count))[0]
    return total


def _map_bins(function: Callable[[Array, Array, Array], Array], v: Array, y: Array, r: Array, *, whole: bool) -> Array:
    """``function`` of every block of bins, or of all bins where ``whole``, put together to an array like ``v``."""
    block, count = _blocks(v, whole)
    if count <= 1:
        return function(v.astype(y.dtype), y, r).astype(v.dtype)

    def of_block(gradient: Array, index: Array) -> tuple[Array, None]:
        begin, bins = _block(index, block, v, y, r)
        part = function(*bins).astype(v.dtype)
        return jax.lax.dynamic_update_slice_in_dim(gradient, part, begin, -2), None

    return jax.lax.scan(of_block, jnp.zeros_like(v), jnp.arange(count))[0]


def _blocks(v: Array, whole: bool) -> tuple[int, int]:
    """Bins in a block and number of blocks."""
    bins = v.shape[-2]
    block = bins if whole else min(bins, _BLOCK_BINS, _BLOCK_NUMBERS * bins // max(v.size, 1))
    return max(1, block), -(-bins // max(1, block))


def _block(index: Array, block: int, v: Array, y: Array, r: Array) -> tuple[Array, _Bins]:
    """A block's first bin and its bins; the last block is moved back to be whole."""
    begin = jnp.minimum(index * block, v.shape[-2] - block)
    of_v, of_y = (jax.lax.dynamic_slice_in_dim(x, begin, block, -2) for x in (v, y))
    return begin, (of_v.astype(y.dtype), of_y, jax.lax.dynamic_slice_in_dim(r, begin, block, -1))
