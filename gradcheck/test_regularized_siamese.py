"""The regularized siamese network: its gradients against every witness, Eq. A.1 to A.3 whole among them."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk import losses
from jaxspk.testing import codes, numbers
from jaxspk.testing._suite import SHORT, loss_names, run_named

pytestmark = pytest.mark.usefixtures("x64", "strict_promotion")

FRAMES, ALL_UNITS, UNITS = 4, 4, 2
LAMBDAS = {"lambda_mean": 0.5, "lambda_cov": 0.125}


@pytest.mark.parametrize("name", loss_names("regularized_siamese"))
def test_gradient_is_right_and_every_mistake_is_caught(name):
    result = run_named(name, SHORT, seed=0)
    assert result.passed, result.describe()


@given(numbers((FRAMES, ALL_UNITS), -3, 3), numbers((FRAMES, ALL_UNITS), -3, 3), st.booleans())
def test_units_beyond_the_code_subset_have_no_gradient(first, second, same):
    gradients = losses.siamese_preactivation_grad(
        jnp.asarray(first), jnp.asarray(second), jnp.asarray(same), units=UNITS, **LAMBDAS
    )
    for gradient in gradients:
        assert gradient.shape == (FRAMES, ALL_UNITS)
        assert np.all(np.asarray(gradient)[:, UNITS:] == 0)


@given(codes((5, 3)), codes((5, 3)))
def test_the_covariance_form_is_the_distance_of_covariances(first, second):
    assert_is_distance_of_covariances(first, second)


@given(codes((3, 6)), codes((3, 6)))
def test_the_gram_form_is_the_distance_of_covariances(first, second):
    # More units than frames: the loss takes products of frames instead.
    assert_is_distance_of_covariances(first, second)


def assert_is_distance_of_covariances(first, second):
    difference = np.cov(first, rowvar=False) - np.cov(second, rowvar=False)
    found = losses.covariance_distance(jnp.asarray(first), jnp.asarray(second))
    np.testing.assert_allclose(found, np.sum(difference**2), rtol=1e-9, atol=1e-15)


@given(codes((5, 3)), codes((5, 3)))
def test_gradients_sum_over_frames_to_what_the_appendix_implies(first, second):
    p_1, p_2 = losses.mean_distance_grad(jnp.asarray(first), jnp.asarray(second))
    apart = first.mean(0) - second.mean(0)
    np.testing.assert_allclose(p_1.sum(0), 2 * apart, atol=1e-14)
    np.testing.assert_allclose(p_2.sum(0), -2 * apart, atol=1e-14)
    for q in losses.covariance_distance_grad(jnp.asarray(first), jnp.asarray(second)):
        np.testing.assert_allclose(q.sum(0), 0, atol=1e-14)


def test_identical_segments_of_different_speakers_are_a_stationary_point():
    segment = jnp.asarray(np.random.default_rng(0).random((FRAMES, UNITS)))
    value = losses.siamese_discrimination_loss(segment, segment, jnp.asarray(False), **LAMBDAS)
    gradients = losses.siamese_discrimination_loss_grad(segment, segment, jnp.asarray(False), **LAMBDAS)
    assert float(value) == 2.0
    assert all(np.all(np.asarray(gradient) == 0) for gradient in gradients)
