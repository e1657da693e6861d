"""The siamese network's autoencoder against the formulas in NumPy; shared matrices, sizes, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxspk.errors import ArgumentError
from jaxspk.models import SiameseNetwork, logistic

SIZES = (5, (7, 4))


def network(*, tied=False):
    return SiameseNetwork(SIZES[0], SIZES[1], tied=tied, rngs=nnx.Rngs(3))


def run(model, frames):
    graph, state = nnx.split(model)

    def whole(state, frames):
        network = nnx.merge(graph, state)
        sums = network.preactivations(frames)
        return sums, network.encode(frames), network.decode(logistic(sums))

    return jax.jit(whole)(state, frames)


def sigma(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("tied", [False, True])
def test_equals_the_formulas(tied):
    model = network(tied=tied)
    for layer in (*model.encoder, *model.decoder):
        layer.bias[...] = jnp.asarray(np.random.default_rng(layer.bias.size).normal(size=layer.bias.shape))
    x = np.random.default_rng(0).normal(size=(2, 3, SIZES[0])).astype(np.float32)
    into = [np.float64(layer.kernel[...]) for layer in model.encoder]
    back = [kernel.T for kernel in into[::-1]] if tied else [np.float64(layer.kernel[...]) for layer in model.decoder]
    sums = sigma(x @ into[0] + np.float64(model.encoder[0].bias[...])) @ into[1] + np.float64(
        model.encoder[1].bias[...]
    )
    codes = sigma(sums)
    hidden = sigma(codes @ back[0] + np.float64(model.decoder[0].bias[...]))
    made = hidden @ back[1] + np.float64(model.decoder[1].bias[...])
    for actual, expected in zip(run(model, jnp.asarray(x)), (sums, codes, made), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_shared_matrices_are_not_stored_twice():
    counts = [
        sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network(tied=tied), nnx.Param))) for tied in (True, False)
    ]
    assert counts == [5 * 7 + 7 * 4 + 7 + 4 + 7 + 5, 2 * (5 * 7 + 7 * 4) + 7 + 4 + 7 + 5]
    assert network().code_units == 4


def test_the_logistic_function_keeps_to_its_range():
    values = np.asarray(logistic(jnp.asarray([-1e30, -2.0, 0.0, 2.0, 1e30], jnp.float32)))
    np.testing.assert_allclose(values, [0.0, sigma(-2.0), 0.5, sigma(2.0), 1.0], rtol=1e-6)
    slopes = jax.vmap(jax.grad(logistic))(jnp.asarray([-1e30, 0.0, 1e30], jnp.float32))
    np.testing.assert_allclose(slopes, [0.0, 0.25, 0.0])


@pytest.mark.parametrize("inputs, units, message", [(5, (), "at least one layer"), (0, (3,), "inputs and units")])
def test_refuses_sizes_that_are_none(inputs, units, message):
    with pytest.raises(ArgumentError, match=message):
        SiameseNetwork(inputs, units, rngs=nnx.Rngs(0))
