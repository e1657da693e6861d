"""The hand-written backward pass of the LSTM's loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxspk.models import recurrence, recurrence_grad, recurrence_plain
from jaxspk.testing import check_gradient

FRAMES, DIRECTIONS, BATCH, UNITS = 3, 2, 2, 2


def arguments(frames=FRAMES, *, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    projected = rng.normal(size=(frames, DIRECTIONS, BATCH, 4 * UNITS))
    return jnp.asarray(projected, dtype), jnp.asarray(rng.normal(size=(DIRECTIONS, UNITS, 4 * UNITS)), dtype)


def weighted(function):
    """A scalar that weighs every hidden state differently."""
    return lambda *of: jnp.vdot(function(*of), jnp.cos(jnp.arange(float(function(*of).size))))


def test_the_gradient_is_that_of_automatic_differentiation(x64):
    ours, plain = (jax.jit(jax.grad(weighted(f), (0, 1)))(*arguments()) for f in (recurrence, recurrence_plain))
    for mine, theirs in zip(ours, plain, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.slow
def test_the_gradient_stands_before_the_witnesses(x64):
    inputs = tuple(np.asarray(x) for x in arguments(2))
    report = check_gradient(recurrence, inputs, gradient=recurrence_grad, reference=recurrence_plain, name="recurrence")
    assert report.passed, str(report)


def test_second_derivatives(x64):
    def norm(function):
        return lambda projected, kernel: jnp.sum(jnp.square(jax.grad(weighted(function))(projected, kernel)))

    ours, plain = (jax.jit(jax.grad(norm(f), 1))(*arguments()) for f in (recurrence, recurrence_plain))
    np.testing.assert_allclose(ours, plain, rtol=1e-11, atol=1e-13)


def test_shut_gates_pass_nothing_back():
    projected, kernel = arguments(dtype=np.float32)
    shut = projected.at[0, 1, :, :UNITS].set(-1e30)
    at_projected, at_kernel = recurrence_grad(shut, kernel)
    assert jnp.all(jnp.isfinite(at_projected)) and jnp.all(jnp.isfinite(at_kernel))
    # The cell is 0 after the first frame, so that neither its input nor its candidate matters.
    assert not at_projected[0, 1].any()


def test_narrow_types_keep_their_dtype():
    projected, kernel = arguments(dtype=jnp.bfloat16)
    assert recurrence(projected, kernel).dtype == jnp.bfloat16
    gradients = recurrence_grad(projected, kernel)
    assert [x.dtype for x in gradients] == [jnp.bfloat16] * 2
    wide = recurrence_grad(projected.astype(jnp.float32), kernel.astype(jnp.float32))
    for narrow, expected in zip(gradients, wide, strict=True):
        np.testing.assert_allclose(narrow.astype(jnp.float32), expected, atol=0.1)
