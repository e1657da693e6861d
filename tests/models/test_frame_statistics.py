"""The network on band statistics: against the definition in NumPy, at silence, and one side of pairs apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxspk.errors import ArgumentError
from jaxspk.models import StatisticsNetwork, band_statistics

statistics_of = jax.jit(band_statistics)


def pictures(items=6):
    return np.random.default_rng(0).normal(size=(items, 9, 5)).astype(np.float32)


def test_statistics_are_those_of_the_definition():
    found = np.asarray(statistics_of(jnp.asarray(pictures())))
    centred = pictures() - pictures().mean((1, 2), keepdims=True)
    expected = np.concatenate([centred.mean(1), centred.std(1), np.diff(centred, axis=1).std(1)], axis=1)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_loudness_and_the_order_of_two_halves_say_nothing_of_means_and_deviations():
    picture = pictures(1)
    louder = np.asarray(statistics_of(jnp.asarray(picture + 3.0)))
    turned = np.asarray(statistics_of(jnp.asarray(np.roll(picture, 4, axis=1))))
    plain = np.asarray(statistics_of(jnp.asarray(picture)))
    np.testing.assert_allclose(louder, plain, atol=1e-5)
    np.testing.assert_allclose(turned[:, :10], plain[:, :10], atol=1e-5)


def test_silence_has_a_finite_value_and_gradient():
    value, gradient = jax.jit(jax.value_and_grad(lambda x: band_statistics(x).sum()))(jnp.zeros((2, 9, 5)))
    assert value == 0
    assert np.isfinite(gradient).all()


def test_without_units_it_is_a_linear_map_of_statistics_standardised_on_each_side_of_pairs():
    model = StatisticsNetwork((9, 5), dim=3, units=0, rngs=nnx.Rngs(0))
    sides = pictures(), 2 * pictures()[::-1] + 1
    vectors = nnx.jit(lambda model, frames: model(frames, deterministic=False, branches=2))
    found = np.split(np.asarray(vectors(model, jnp.asarray(np.concatenate(sides)))), 2)
    for side, expected_of in zip(found, sides, strict=True):
        statistics = np.asarray(statistics_of(jnp.asarray(expected_of)))
        scaled = (statistics - statistics.mean(0)) / np.sqrt(statistics.var(0) + 1.001e-5)
        np.testing.assert_allclose(side, scaled @ np.asarray(model.embedding.kernel[...]), atol=1e-4)


@pytest.mark.slow
def test_with_units_each_side_of_pairs_is_normalised_by_itself_too():
    model = StatisticsNetwork((9, 5), dim=3, units=7, rngs=nnx.Rngs(0))
    vectors = nnx.jit(lambda model, frames, branches: model(frames, deterministic=False, branches=branches),
                      static_argnums=2)  # fmt: skip
    first, second = jnp.asarray(pictures()), 2 * jnp.asarray(pictures()[::-1]) + 1
    apart = vectors(nnx.clone(model), jnp.concatenate([first, second]), 2)
    np.testing.assert_allclose(apart[:6], vectors(nnx.clone(model), first, 1), atol=1e-5)
    np.testing.assert_allclose(apart[6:], vectors(nnx.clone(model), second, 1), atol=1e-5)


def test_what_does_not_fit_is_refused(as_a_user):
    with pytest.raises(ArgumentError, match="`units`"):
        StatisticsNetwork((9, 5), units=-1, rngs=nnx.Rngs(0))
    model = nnx.eval_shape(lambda: StatisticsNetwork((9, 5), rngs=nnx.Rngs(0)))
    with pytest.raises(ArgumentError, match="what the network was made for"):
        model(jnp.zeros((2, 9, 6)))
