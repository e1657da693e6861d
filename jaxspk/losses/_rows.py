"""Losses that are one number for each row of a matrix: their cross entropy, and rows taken in chunks."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Rows: TypeAlias = tuple[Array, ...]
"""Arrays whose rows lie on the axis before the last."""


def log_one_plus_sum_exp(
    excess: Float[Array, "*batch rows columns"],
    is_target: Bool[Array, "*#batch rows columns"],
    stretch: Float[Array, "*#batch #rows 1"] | None = None,
) -> tuple[Float[Array, "*batch rows 1"], Float[Array, "*batch rows columns"]]:
    r"""Cross entropy of logits from which the target's was subtracted, and the probabilities of the others.

    With :math:`z_k = s_k - s_t`,

    .. math::
        -s_t + \log \sum_k e^{s_k} = \log\Bigl(1 + \sum_{k \ne t} e^{z_k}\Bigr), \qquad
        p_k = \frac{e^{z_k}}{1 + \sum_{l \ne t} e^{z_l}}\ (k \ne t),\quad p_t := 0 .

    Never subtracting a large logit from a larger logarithm keeps small losses to full relative precision, and
    makes the gradient of the target, :math:`-\sum_{k \ne t} p_k`, exact where :math:`p_t - 1` would round to
    0.

    Args:
      excess: :math:`z_k / \sigma^2`.
      is_target: the one column of each row that is left out of the sum.
      stretch: :math:`\sigma`, by which the caller divided twice because :math:`z_k` may exceed the dtype's
        range. The value is then infinite where it has to be, and the probabilities are still right.

    Returns:
      The losses and the probabilities. Derivatives of the losses in ``excess`` are right too (:math:`p_k
      \sigma^2`).
    """
    others = jnp.where(is_target, -jnp.inf, excess)
    # The zero is the target's own: the largest of all logits is never below it.
    largest = jax.lax.stop_gradient(jnp.max(others, axis=-1, keepdims=True, initial=0.0))
    height, below = largest, others - largest
    if stretch is not None:
        height, below = stretch * (stretch * height), stretch * (stretch * below)
    powers = jnp.exp(below)
    total = jnp.sum(powers, axis=-1, keepdims=True) + jnp.expm1(-height)
    return height + jnp.log1p(total), powers / (1 + total)


def is_column(targets: Array, columns: int) -> Array:
    """``[*batch, rows, columns]``, true at the column that ``targets`` ``[*batch, rows, 1]`` names."""
    return targets == jnp.arange(columns, dtype=jnp.int32)


def run_rows(forward: Callable[..., tuple[Array, Any]], rows: Rows, chunk_size: int | None) -> tuple[Array, Any]:
    """Values of all rows, and what ``forward`` saved for the gradient: nothing where the rows go in chunks.

    Args:
      forward: ``(*rows) -> (values [*batch, rows, 1], saved)``.
      rows: what it takes.
      chunk_size: rows at once; ``None`` is all of them.
    """
    if chunk_size is None or chunk_size >= rows[0].shape[-2]:
        return forward(*rows)
    (values,), _ = by_chunks(lambda *chunk: ((forward(*chunk)[0],), ()), rows, chunk_size)
    return values, None


def pull_back_rows(
    forward: Callable[..., tuple[Array, Any]],
    backward: Callable[..., tuple[Rows, Rows]],
    rows: Rows,
    saved: Any,
    cotangent: Array,
    chunk_size: int | None,
) -> tuple[Rows, Rows]:
    """Gradients of :func:`run_rows`: those that belong to rows, and those summed over all rows.

    Args:
      forward: as in :func:`run_rows`; run again where the rows go in chunks.
      backward: ``(cotangent, saved, *rows) -> (gradients of rows, summed gradients)``.
      rows: what ``forward`` took.
      saved: what :func:`run_rows` gave.
      cotangent: ``[*batch, rows, 1]``.
      chunk_size: as in :func:`run_rows`.
    """
    if saved is not None:
        return backward(cotangent, saved, *rows)

    def recompute(cotangent: Array, *chunk: Array) -> tuple[Rows, Rows]:
        return backward(cotangent, forward(*chunk)[1], *chunk)

    return by_chunks(recompute, (cotangent, *rows), chunk_size or rows[0].shape[-2])


def by_chunks(function: Callable[..., tuple[Rows, Rows]], rows: Sequence[Array], chunk_size: int) -> tuple[Rows, Rows]:
    """Applies ``function`` to ``chunk_size`` rows at a time, the last few rows by themselves.

    Args:
      function: ``(*rows) -> (results with rows on the axis before the last, results to be summed)``.
      rows: arrays with rows on the axis before the last.
      chunk_size: the memory that ``function`` needs grows with it.
    """
    count = rows[0].shape[-2]
    whole = count // chunk_size * chunk_size
    stacked = tuple(_stack(array[..., :whole, :], chunk_size) for array in rows)
    rest = tuple(array[..., whole:, :] for array in rows)

    def step(totals: Rows, chunk: Rows) -> tuple[Rows, Rows]:
        results, summands = function(*chunk)
        return tuple(total + summand for total, summand in zip(totals, summands, strict=True)), results

    _, shapes = jax.eval_shape(function, *(array[0] for array in stacked))
    totals, results = jax.lax.scan(step, tuple(jnp.zeros(s.shape, s.dtype) for s in shapes), stacked)
    results = tuple(_unstack(array) for array in results)
    if whole < count:
        last, summands = function(*rest)
        results = tuple(jnp.concatenate(pair, axis=-2) for pair in zip(results, last, strict=True))
        totals = tuple(total + summand for total, summand in zip(totals, summands, strict=True))
    return results, totals


def _stack(array: Array, chunk_size: int) -> Array:
    """``[*batch, chunks * rows, columns]`` to ``[chunks, *batch, rows, columns]``."""
    *batch, count, columns = array.shape
    return jnp.moveaxis(array.reshape(*batch, count // chunk_size, chunk_size, columns), -3, 0)


def _unstack(array: Array) -> Array:
    """``[chunks, *batch, rows, columns]`` to ``[*batch, chunks * rows, columns]``."""
    chunks, *batch, rows, columns = array.shape
    return jnp.moveaxis(array, 0, -3).reshape(*batch, chunks * rows, columns)
