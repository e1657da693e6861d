r"""The loop of an LSTM over time, with a backward pass written by hand.

Automatic differentiation of a scan adds to the gradient of the recurrent kernel at every frame: a matrix of
``units x 4 units`` is read and written once a frame for a product over the batch alone. Here the loop backwards only
finds the gradients of the gates; that of the kernel is one product over all frames and the batch at its end.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxspk import _numerics

Recurrence = Callable[[Array, Array], Array]
"""From ``[frames, directions, batch, 4 units]`` and ``[directions, units, 4 units]`` to hidden states."""

State = tuple[Float[Array, "directions batch units"], Float[Array, "directions batch units"]]


@jax.custom_vjp
def recurrence(
    projected: Float[Array, "frames directions batch gates"], kernel: Float[Array, "directions units gates"]
) -> Float[Array, "frames directions batch units"]:
    r"""Hidden states of an LSTM, each direction in the order of its own reading.

    With :math:`(i, f, g, o)` the four parts of :math:`p_t + h_{t-1} U`,

    .. math::
        c_t = \sigma(f) \odot c_{t-1} + \sigma(i) \odot \tanh(g), \qquad h_t = \sigma(o) \odot \tanh(c_t).

    The directions share the iterations of the loop. (On two CPU cores unrolling it gains nothing, and one product for
    both directions is up to twice as fast as two loops.) Reverse mode, of any order; for ``jax.jvp`` take
    :func:`recurrence_plain`.

    Args:
      projected: the products with the input, biases added.
      kernel: :math:`U` of each direction.
    """
    return _run(projected, kernel).hidden


def recurrence_plain(
    projected: Float[Array, "frames directions batch gates"], kernel: Float[Array, "directions units gates"]
) -> Float[Array, "frames directions batch units"]:
    """The value of :func:`recurrence` without a rule for its gradient."""
    return _run(projected, kernel).hidden


def recurrence_grad(
    projected: Float[Array, "frames directions batch gates"],
    kernel: Float[Array, "directions units gates"],
    cotangent: Float[Array, "frames directions batch units"] | None = None,
) -> tuple[Float[Array, "frames directions batch gates"], Float[Array, "directions units gates"]]:
    r"""Gradient of :func:`recurrence` in both arguments.

    With :math:`\bar h_t` what arrives at the hidden state, from the output and from :math:`t+1`, and
    :math:`i, f, g, o` the *activated* gates,

    .. math::
        \bar c_t &= \bar c_{t+1} \odot f_{t+1} + \bar h_t \odot o_t \odot (1 - \tanh^2 c_t), \\
        \bar p_t &= \big(\bar c_t g_t i_t (1 - i_t),\; \bar c_t c_{t-1} f_t (1 - f_t),\;
                       \bar c_t i_t (1 - g_t^2),\; \bar h_t \tanh(c_t)\, o_t (1 - o_t)\big), \\
        \bar h_{t-1} &\mathrel{+}= \bar p_t U^\top, \qquad \bar U = \sum_t h_{t-1}^\top \bar p_t .

    Args:
      projected: as of the value.
      kernel: as of the value.
      cotangent: of the hidden states; ``None`` is ones.
    """
    trace = _run(projected, kernel)
    return _gradient(kernel, trace, jnp.ones_like(trace.hidden) if cotangent is None else cotangent)


class _Trace(NamedTuple):
    """What each frame leaves behind, ``[frames, directions, batch, units]``: states and activated gates."""

    hidden: Array
    cell: Array
    into: Array
    keep: Array
    candidate: Array
    out: Array


def _run(
    projected: Float[Array, "frames directions batch gates"], kernel: Float[Array, "directions units gates"]
) -> _Trace:
    dtype, wide = projected.dtype, _numerics.at_least_float32(projected.dtype)

    def step(state: State, frame: Array) -> tuple[State, _Trace]:
        hidden, cell = state
        into, keep, candidate, out = jnp.split((frame + hidden @ kernel).astype(wide), 4, axis=-1)
        into, keep, candidate, out = (
            jax.nn.sigmoid(into),
            jax.nn.sigmoid(keep),
            jnp.tanh(candidate),
            jax.nn.sigmoid(out),
        )
        cell = keep * cell + into * candidate
        hidden = (out * jnp.tanh(cell)).astype(dtype)
        return (hidden, cell), _Trace(hidden, cell, into, keep, candidate, out)

    shape = (*projected.shape[1:3], kernel.shape[1])
    # Whoever asks for hidden states only leaves the rest of the trace to the compiler, which drops it.
    _, trace = jax.lax.scan(step, (jnp.zeros(shape, dtype), jnp.zeros(shape, wide)), projected)
    return trace


def _gradient(
    kernel: Float[Array, "directions units gates"],
    trace: _Trace,
    cotangent: Float[Array, "frames directions batch units"],
) -> tuple[Float[Array, "frames directions batch gates"], Float[Array, "directions units gates"]]:
    dtype, wide = trace.hidden.dtype, trace.cell.dtype
    hidden_before, cell_before = (jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]]) for x in (trace.hidden, trace.cell))
    back = jnp.swapaxes(kernel, 1, 2)

    def step(state: State, frame: tuple[Array, Array, _Trace]) -> tuple[State, Array]:
        arriving, cell_before, at = frame
        arriving = arriving.astype(wide) + state[0]
        squashed = jnp.tanh(at.cell)
        at_cell = state[1] + arriving * at.out * (1 - jnp.square(squashed))
        at_gates = jnp.concatenate(
            [
                at_cell * at.candidate * at.into * (1 - at.into),
                at_cell * cell_before * at.keep * (1 - at.keep),
                at_cell * at.into * (1 - jnp.square(at.candidate)),
                arriving * squashed * at.out * (1 - at.out),
            ],
            axis=-1,
        ).astype(dtype)
        return ((at_gates @ back).astype(wide), at_cell * at.keep), at_gates

    start = (jnp.zeros_like(trace.cell[0]), jnp.zeros_like(trace.cell[0]))
    _, at_gates = jax.lax.scan(step, start, (cotangent, cell_before, trace), reverse=True)
    return at_gates, jnp.einsum("tdbu,tdbg->dug", hidden_before, at_gates)


def _forward(projected: Array, kernel: Array) -> tuple[Array, tuple[Array, _Trace]]:
    trace = _run(projected, kernel)
    return trace.hidden, (kernel, trace)


def _backward(kept: tuple[Array, _Trace], cotangent: Array) -> tuple[Array, Array]:
    return _gradient(*kept, cotangent)


recurrence.defvjp(_forward, _backward)
