"""Pooling over frames against the formulas in NumPy; masks, dtypes, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxspk.errors import ArgumentError
from jaxspk.models import POOLINGS, TemporalPooling

CHANNELS = 6


def frames(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=(*shape, CHANNELS)).astype(np.float32)


def pooling(name, per_channel=False):
    return TemporalPooling(CHANNELS, name, per_channel=per_channel, rngs=nnx.Rngs(0))


def softmax(logits):
    powers = np.exp(logits - logits.max(0))
    return powers / powers.sum(0)


def reference(model, x):
    """One recording [frames, channels], in float64."""
    x = np.float64(x)

    def dense(layer, values):
        return values @ np.float64(layer.kernel[...]) + np.float64(layer.bias[...])

    attention = model.attention
    if attention is None:
        weights = np.full((len(x), 1), 1 / len(x))
    elif hasattr(attention, "context"):
        weights = softmax(np.tanh(dense(attention.hidden, x)) @ np.float64(attention.context[...]))
    else:
        hidden = np.maximum(dense(attention.hidden, x), 0)
        weights = softmax(dense(attention.logits, hidden / np.sqrt(1 + 1e-5)))  # Running mean 0 and variance 1.
    mean = (weights * x).sum(0)
    if not model.deviation:
        return mean
    # The public code's form, E[x^2] - E[x]^2.
    return np.concatenate([mean, np.sqrt(np.maximum((weights * x**2).sum(0) - mean**2, 1e-5))])


def pool(model, x, frames_mask=None):
    graph, state = nnx.split(model)
    return jax.jit(lambda state, x: nnx.merge(graph, state)(x, frames_mask=frames_mask))(state, jnp.asarray(x))


KINDS = [("tap", False), ("sap", False), ("asp", False), ("sap", True), ("asp", True)]


@pytest.mark.parametrize("name, per_channel", KINDS)
def test_equals_the_formulas_whatever_stands_in_the_padding(name, per_channel):
    model, x = pooling(name, per_channel), frames(3, 11)
    lengths = np.array([11, 4, 1])
    expected = [reference(model, recording[:length]) for recording, length in zip(x, lengths, strict=True)]
    valid = np.arange(11) < lengths[:, None]
    pooled = pool(model, np.where(valid[..., None], x, np.nan), jnp.asarray(valid))
    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)
    assert model.outputs == len(expected[0])


def test_without_a_mask_all_frames_count():
    model, x = pooling("asp"), frames(2, 7)
    np.testing.assert_allclose(pool(model, x), [reference(model, recording) for recording in x], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", POOLINGS)
def test_a_recording_without_frames_and_a_constant_one_are_finite_with_their_gradients(name):
    model = pooling(name)
    graph, state = nnx.split(model)
    valid = jnp.array([[False] * 5, [True] * 5])

    def at(x):
        return nnx.merge(graph, state)(x, frames_mask=valid).sum()

    value, gradient = jax.jit(jax.value_and_grad(at))(jnp.full((2, 5, CHANNELS), 3.0))
    assert np.isfinite(value) and np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[0], 0)


@pytest.mark.parametrize("name", ["sap", "asp"])
def test_large_logits_do_not_overflow(name):
    pooled = pool(pooling(name), 1e4 * frames(1, 7))
    assert np.isfinite(pooled).all()


def test_weights_of_channels_are_their_own():
    model = pooling("sap", per_channel=True)
    x = jnp.asarray(frames(1, 8))
    weights = model.attention(x, jnp.ones((1, 8), bool), deterministic=True)
    assert weights.shape == x.shape
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    assert np.ptp(np.asarray(weights), axis=-1).max() > 1e-3


def test_an_unknown_pooling_is_refused(as_a_user):
    with pytest.raises(ArgumentError, match="`pooling` must be one of 'tap', 'sap', 'asp', got 'max'"):
        pooling("max")
