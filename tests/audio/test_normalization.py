"""Zero mean and unit variance, per utterance or by statistics that travel."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from jaxspk.audio import Normalization, normalize_bands, normalize_utterance
from jaxspk.errors import ArgumentError

pytestmark = pytest.mark.usefixtures("strict_promotion")


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(3, 2, shape).astype(np.float32)


def test_each_utterance_has_zero_mean_and_unit_variance():
    normalized = normalize_utterance(jnp.asarray(draw(2, 3, 50, 9)))
    np.testing.assert_allclose(normalized.mean((-2, -1)), 0, atol=1e-6)
    np.testing.assert_allclose(normalized.std((-2, -1)), 1, atol=1e-5)


def test_padding_changes_nothing():
    features = draw(50, 9)
    padded = jnp.asarray(np.concatenate([features, np.full((13, 9), 1e6, np.float32)]))
    normalized = normalize_utterance(padded, jnp.arange(63) < 50)
    np.testing.assert_allclose(normalized[:50], normalize_utterance(jnp.asarray(features)), atol=1e-5)
    np.testing.assert_array_equal(normalized[50:], 0)


@pytest.mark.parametrize("value", [0.0, -87.3, 1e-30, 12345.678])
def test_a_constant_becomes_zero_with_a_finite_gradient(value):
    constant = jnp.full((3, 100, 129), value)
    np.testing.assert_array_equal(normalize_utterance(constant), 0)
    gradient = jax.grad(lambda x: jnp.square(normalize_utterance(x)).sum())(constant[0])
    assert jnp.isfinite(gradient).all()


def test_no_frame_at_all_becomes_zero():
    features, nowhere = jnp.asarray(draw(2, 5, 3)), jnp.zeros((2, 5), bool)
    np.testing.assert_array_equal(normalize_utterance(features, nowhere), 0)


@given(scale=st.sampled_from([1e-3, 0.5, 1e4]), shift=st.floats(-50, 50, width=32))
def test_scale_and_shift_change_nothing(scale, shift):
    features = draw(20, 7)
    moved = jnp.asarray(features * np.float32(scale) + np.float32(shift * scale))
    np.testing.assert_allclose(normalize_utterance(moved), normalize_utterance(jnp.asarray(features)), atol=1e-3)


def test_statistics_are_sklearns_over_utterances_of_different_lengths():
    utterances = [draw(length, 5, seed=length) for length in (1, 7, 300)]
    statistics = Normalization.fit(iter(utterances))
    expected = StandardScaler().fit(np.concatenate(utterances).astype(np.float64))
    np.testing.assert_allclose(statistics.mean, expected.mean_, rtol=1e-6)
    np.testing.assert_allclose(statistics.std, expected.scale_, rtol=1e-6)
    features = draw(4, 6, 5)
    applied = statistics.apply(jnp.asarray(features))
    np.testing.assert_allclose(applied.reshape(-1, 5), expected.transform(features.reshape(-1, 5)), atol=1e-5)


def test_one_array_is_as_good_as_its_parts():
    whole, parts = Normalization.fit(jnp.asarray(draw(3, 40, 5))), Normalization.fit(list(draw(3, 40, 5)))
    np.testing.assert_allclose(whole.mean, parts.mean, rtol=1e-6)
    np.testing.assert_allclose(whole.std, parts.std, rtol=1e-6)


def test_a_feature_that_never_changes_is_only_shifted():
    statistics = Normalization.fit(np.full((9, 2), 0.1, np.float32))
    np.testing.assert_array_equal(statistics.std, 1)


def test_statistics_travel_as_json_exactly():
    statistics = Normalization.fit(draw(9, 3))
    back = Normalization.from_dict(json.loads(json.dumps(statistics.to_dict())))
    np.testing.assert_array_equal(back.mean, statistics.mean)
    np.testing.assert_array_equal(back.std, statistics.std)


def test_statistics_pass_through_jit():
    statistics, features = Normalization.fit(draw(9, 3)), jnp.asarray(draw(4, 3))
    inside = jax.jit(lambda statistics, features: statistics.apply(features))(statistics, features)
    np.testing.assert_allclose(inside, statistics.apply(features), rtol=1e-6)


def test_the_dtype_of_the_features_stays():
    statistics = Normalization.fit(draw(9, 3))
    assert statistics.apply(jnp.ones((2, 3), jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    "values, message",
    [
        ({"mean": [0.0]}, "has the keys mean and std"),
        ({"mean": [0.0], "std": [1.0], "rate": [1.0]}, "has the keys mean and std"),
        ({"mean": [0.0], "std": ["wide"]}, "must be lists of numbers"),
        ({"mean": [0.0, 1.0], "std": [1.0]}, "lists of one length"),
        ({"mean": [], "std": []}, "lists of one length"),
        ({"mean": [0.0], "std": [0.0]}, "finite and positive"),
        ({"mean": [float("nan")], "std": [1.0]}, "must be finite"),
    ],
)
def test_damaged_statistics_are_refused(values, message):
    with pytest.raises(ArgumentError, match=message):
        Normalization.from_dict(values)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Normalization.fit([]), "at least one frame"),
        (lambda: Normalization.fit([draw(2, 3), draw(2, 4)]), "as many bins in each"),
        (lambda: Normalization.fit(np.full((2, 3), np.inf)), "must be finite"),
        (lambda: Normalization.fit(draw(2, 3)).apply(jnp.ones((2, 4))), r"must have shape \(2, 3\)"),
        (lambda: normalize_utterance(jnp.ones((2, 3)), jnp.ones(3, bool)), "`where` must have shape"),
    ],
)
def test_what_does_not_fit_is_refused(make, message, as_a_user):
    with pytest.raises(ArgumentError, match=message):
        make()


# --- Band by band. ---


def test_each_band_has_zero_mean_and_unit_variance():
    normalized = normalize_bands(jnp.asarray(draw(2, 3, 50, 9)))
    np.testing.assert_allclose(normalized.mean(-2), 0, atol=1e-5)
    np.testing.assert_allclose(normalized.std(-2), 1, atol=1e-4)


def test_bands_are_normalised_as_torch_does_it():
    """Biased variance, and 1e-5 in the root."""
    features = draw(20, 4).astype(np.float64) * [1, 1e-2, 1e-3, 1e-5]
    expected = (features - features.mean(0)) / np.sqrt(features.var(0) + 1e-5)
    np.testing.assert_allclose(normalize_bands(jnp.asarray(features, jnp.float32)), expected, rtol=1e-3, atol=1e-5)


def test_padding_changes_no_band():
    features = draw(50, 9)
    padded = jnp.asarray(np.concatenate([features, np.full((13, 9), np.nan, np.float32)]))
    normalized = normalize_bands(padded, jnp.arange(63) < 50)
    np.testing.assert_allclose(normalized[:50], normalize_bands(jnp.asarray(features)), atol=1e-5)
    np.testing.assert_array_equal(normalized[50:], 0)


def test_constant_bands_and_empty_recordings_are_finite_with_their_gradients():
    valid = jnp.array([[True] * 5, [False] * 5])

    def at(x):
        return normalize_bands(x, valid).sum()

    value, gradient = jax.value_and_grad(at)(jnp.full((2, 5, 3), 7.0))
    assert np.isfinite(value) and np.isfinite(gradient).all()
