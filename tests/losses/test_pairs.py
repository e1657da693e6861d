"""Contrastive and triplet losses: the public code's values, hinges, cones, extremes."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxspk import losses
from jaxspk.errors import ArgumentError

pytestmark = pytest.mark.usefixtures("strict_promotion")

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "metric_learning_losses.json").read_text())["cases"]
# The public code adds 1e-6 to every coordinate of a difference before its norm; ours do not.
TOLERANCE = 2e-6


@pytest.mark.parametrize("name", ["triplet_hardest_m0.2", "triplet_given_negatives_m0.1"])
def test_triplet_is_the_public_codes(x64, name):
    case = GOLDEN[name]
    voices = jnp.asarray(GOLDEN["triplet_hardest_m0.2"]["x_N_2_D"])
    negatives = jnp.asarray(case["negative_index"])

    def loss(x):
        return losses.triplet_loss(x[:, 0], x[:, 1], x[negatives, 1], margin=float(case["margin"])).mean()

    value, gradient = jax.value_and_grad(loss)(voices)
    np.testing.assert_allclose(value, case["value"], atol=TOLERANCE)
    np.testing.assert_allclose(gradient, case["grad_x"], atol=TOLERANCE)


def test_contrastive_is_the_public_codes(x64):
    case = GOLDEN["contrastive_margin1_given_negatives"]
    voices = jnp.asarray(GOLDEN["triplet_hardest_m0.2"]["x_N_2_D"])
    negatives = jnp.asarray(case["negative_index"])

    def loss(x):
        others = jnp.concatenate([x[:, 1], x[negatives, 1]])
        same = jnp.arange(len(others)) < len(x)
        return losses.contrastive_loss(jnp.concatenate([x[:, 0]] * 2), others, same, margin=1.0).mean()

    value, gradient = jax.value_and_grad(loss)(voices)
    np.testing.assert_allclose(value, case["value"], atol=TOLERANCE)
    np.testing.assert_allclose(gradient, case["grad_x"], atol=TOLERANCE)


def test_same_speaker_may_be_numbers():
    x1, x2 = jnp.eye(2), jnp.ones((2, 2))
    by_bool = losses.contrastive_loss(x1, x2, jnp.array([True, False]), margin=1.0)
    np.testing.assert_array_equal(losses.contrastive_loss(x1, x2, jnp.array([1.0, 0.0]), margin=1.0), by_bool)


def test_equal_embeddings_of_two_speakers_have_the_gradient_at_the_tip_of_a_cone():
    x = jnp.array([[1.0, 2.0]])
    assert losses.contrastive_loss(x, x, jnp.array([False]), margin=0.5).tolist() == [0.25]
    for gradient in losses.contrastive_loss_grad(x, x, jnp.array([False]), margin=0.5):
        np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("form", [losses.contrastive_loss, losses.contrastive_loss_plain], ids=["wired", "plain"])
def test_equal_embeddings_of_one_speaker_are_a_smooth_minimum(x64, form):
    x = jnp.array([3.0, 4.0])
    same = jnp.array(True)
    hessian = jax.jit(jax.hessian(lambda y: form(x, y, same, margin=0.5)))(x)
    across = jnp.array([[16.0, -12.0], [-12.0, 9.0]]) / 25  # the projector on what is tangent to x, of length 5
    np.testing.assert_allclose(hessian, 2 * across / 25, atol=1e-12)
    hessian = jax.jit(jax.hessian(lambda y: form(x, y, same, margin=0.5, normalize=False)))(x)
    np.testing.assert_allclose(hessian, 2 * jnp.eye(2), atol=1e-12)


def test_beyond_the_margin_nothing_pulls():
    x1, x2 = jnp.array([[1.0, 0.0]]), jnp.array([[-1.0, 0.1]])
    assert losses.contrastive_loss(x1, x2, jnp.array([False]), margin=1.0).tolist() == [0.0]
    for gradient in losses.contrastive_loss_grad(x1, x2, jnp.array([False]), margin=1.0):
        np.testing.assert_array_equal(gradient, 0)


def test_the_triplet_hinge_takes_slope_zero_and_the_open_one_beyond(x64):
    a, p = jnp.array([[0.0, 0.0]]), jnp.array([[3.0, 0.0]])
    for distance, open_hinge in ((5.0, 0.0), (5.0 + 1e-9, 0.0), (5.0 - 1e-9, 1.0)):
        n = jnp.array([[0.0, distance]])
        of_a, of_p, of_n = losses.triplet_loss_grad(a, p, n, margin=16.0, normalize=False)
        np.testing.assert_array_equal(of_a, 2 * (n - p) * open_hinge)
        np.testing.assert_array_equal(of_p, 2 * (p - a) * open_hinge)
        np.testing.assert_array_equal(of_n, 2 * (a - n) * open_hinge)


def test_a_triplet_of_equal_vectors_costs_the_margin_with_no_gradient():
    x = jnp.array([[1.0, 2.0, 2.0]])
    assert losses.triplet_loss(x, x, x, margin=0.3).tolist() == pytest.approx([0.3])
    for gradient in losses.triplet_loss_grad(x, x, x, margin=0.3):
        np.testing.assert_array_equal(gradient, 0)


def test_moving_all_three_changes_nothing(x64):
    a, p, n = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5, 4)))
    gradients = losses.triplet_loss_grad(a, p, n, margin=1.0, normalize=False)
    np.testing.assert_allclose(sum(gradients), 0, atol=1e-14)


def test_scaling_normalized_vectors_changes_nothing_even_at_1e30():
    a, p, n = (jnp.asarray(v) for v in np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32))
    scales = jnp.array([1e30, 1e-30, 1.0, 1e20, 1e-20])[:, None]
    expected = losses.triplet_loss(a, p, n, margin=1.0)
    np.testing.assert_allclose(losses.triplet_loss(a * scales, p, n / scales, margin=1.0), expected, rtol=1e-5)
    same = jnp.array([True, False, True, False, False])
    expected = losses.contrastive_loss(a, p, same, margin=1.0)
    np.testing.assert_allclose(losses.contrastive_loss(a * scales, p, same, margin=1.0), expected, rtol=1e-5)
    for gradient in losses.triplet_loss_grad(a * scales, p, n / scales, margin=1.0):
        assert jnp.isfinite(gradient).all()


def test_squares_beyond_the_range_are_infinite_and_never_nan():
    near, far = jnp.array([[1e30, 0.0]]), jnp.array([[-1e30, 1e30]])
    origin = jnp.zeros((1, 2))
    assert losses.triplet_loss(origin, far, near, margin=1.0, normalize=False).tolist() == [np.inf]
    assert losses.triplet_loss(origin, near, far, margin=1.0, normalize=False).tolist() == [0.0]
    assert losses.triplet_loss(origin, near, -near, margin=1.0, normalize=False).tolist() == [1.0]
    assert losses.contrastive_loss(origin, near, jnp.array([True]), margin=1.0, normalize=False).tolist() == [np.inf]
    assert losses.contrastive_loss(origin, near, jnp.array([False]), margin=1.0, normalize=False).tolist() == [0.0]
    of_origin, _, _ = losses.triplet_loss_grad(origin, far, near, margin=1.0, normalize=False)
    np.testing.assert_array_equal(of_origin, 2 * (near - far))


@pytest.mark.parametrize("normalize", [True, False])
def test_zero_vectors(normalize):
    zero, x = jnp.zeros((1, 2)), jnp.array([[3.0, 4.0]])
    value = losses.triplet_loss(zero, x, x, margin=0.5, normalize=normalize)
    np.testing.assert_allclose(value, 0.5, rtol=1e-6)
    for gradient in losses.triplet_loss_grad(zero, x, 2 * x, margin=0.5, normalize=normalize):
        assert jnp.isfinite(gradient).all()


def test_refusals_name_the_argument(as_a_user):
    x = jnp.ones((3, 2))
    with pytest.raises(ArgumentError, match="`anchors` and `negatives` must have the same shape"):
        losses.triplet_loss(x, x, x[:2], margin=0.1)
    with pytest.raises(ArgumentError, match=r"`same_speaker` must have shape \(3,\)"):
        losses.contrastive_loss(x, x, jnp.ones(2, bool), margin=0.1)
    with pytest.raises(ArgumentError, match="`margin` must lie in"):
        losses.triplet_loss(x, x, x, margin=-0.1)
