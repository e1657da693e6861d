"""Batch semi-hard triplet loss: which negatives it takes, both ways to find them, and what it costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxspk import losses
from jaxspk.errors import ArgumentError, ArgumentTypeError
from jaxspk.losses import _semi_hard

pytestmark = pytest.mark.usefixtures("strict_promotion")

DEFINITION = losses.LOSSES["semi_hard_triplet_loss"].definition


def batch(count, classes, seed, dim=4):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=(count, dim))), jnp.asarray(rng.integers(0, classes, count))


def on_a_circle(*degrees):
    angle = np.deg2rad(degrees)
    return jnp.asarray(np.stack([np.cos(angle), np.sin(angle)], -1), jnp.float32)


@pytest.mark.parametrize("classes", [1, 2, 5, 1000])
@pytest.mark.parametrize("margin", [0.0, 0.3, 4.0])
def test_both_ways_to_find_negatives_are_the_definition(x64, classes, margin):
    for seed in range(3):
        x, labels = batch(30, classes, seed)
        unit = x / jnp.linalg.norm(x, axis=-1, keepdims=True)
        distances = jnp.sum((unit[:, None] - unit) ** 2, -1)
        same = labels[:, None] == labels
        arguments = distances, same & ~jnp.eye(30, dtype=bool), ~same, jnp.asarray(margin)
        passes, sorting = jax.jit(_semi_hard._by_passes)(*arguments), jax.jit(_semi_hard._by_sorting)(*arguments)
        np.testing.assert_array_equal(passes, sorting)
        value = losses.semi_hard_triplet_loss(x, labels, margin=jnp.asarray(margin))
        np.testing.assert_allclose(value, DEFINITION(x, labels, margin=margin), rtol=1e-10, atol=1e-13)


def test_more_positives_than_passes_are_worth_give_the_definition(x64):
    x, labels = batch(3 * _semi_hard._FEW_POSITIVES, 2, 0)
    value, gradient = losses.semi_hard_triplet_loss(x, labels, margin=0.4), None
    np.testing.assert_allclose(value, DEFINITION(x, labels, margin=0.4), rtol=1e-10, atol=1e-13)
    gradient = losses.semi_hard_triplet_loss_grad(x, labels, margin=0.4)
    plain = jax.grad(lambda x: losses.semi_hard_triplet_loss_plain(x, labels, margin=0.4).sum())(x)
    np.testing.assert_allclose(gradient, plain, rtol=1e-10, atol=1e-12)


def test_takes_the_nearest_negative_beyond_the_positive():
    """Anchor at 0, its positive at 40 degrees; negatives at 20 (too near), 60 and 90."""
    x, labels = on_a_circle(0, 40, 20, 60, 90), jnp.array([0, 0, 1, 1, 1])
    chord = lambda degrees: 2 - 2 * np.cos(np.deg2rad(degrees))  # noqa: E731
    value = losses.semi_hard_triplet_loss(x, labels, margin=1.0)
    np.testing.assert_allclose(value[0], chord(40) - chord(60) + 1.0, rtol=1e-5)


def test_a_negative_beyond_the_margin_costs_nothing():
    x, labels = on_a_circle(0, 10, 90, 180), jnp.array([0, 0, 1, 2])
    np.testing.assert_array_equal(losses.semi_hard_triplet_loss(x, labels, margin=0.1), 0)
    np.testing.assert_array_equal(losses.semi_hard_triplet_loss_grad(x, labels, margin=0.1), 0)


@pytest.mark.parametrize(
    "labels", [[0, 0, 0, 0], [0, 1, 2, 3], [0, 0, 1, 2]], ids=["one speaker", "no positives", "negatives all nearer"]
)
def test_no_valid_triplet_costs_nothing(labels):
    x = on_a_circle(0, 180, 10, -10)
    value = losses.semi_hard_triplet_loss(x, jnp.array(labels), margin=0.2)
    gradient = losses.semi_hard_triplet_loss_grad(x, jnp.array(labels), margin=0.2)
    np.testing.assert_array_equal(value, 0)
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("dim", [3, 512])
def test_a_collapsed_batch_costs_nothing(dim):
    """Copies are not farther than copies, whatever the products of matrices round to."""
    voice = np.random.default_rng(0).normal(size=dim)
    x, labels = jnp.asarray(np.tile(voice, (40, 1)), jnp.float32), jnp.arange(40) // 2
    np.testing.assert_array_equal(losses.semi_hard_triplet_loss(x, labels, margin=0.2), 0)
    np.testing.assert_array_equal(losses.semi_hard_triplet_loss_grad(x, labels, margin=0.2), 0)


def test_zero_and_huge_vectors_stay_finite():
    x = jnp.array([[0.0, 0.0], [1e30, 1e30], [1e-30, 0.0], [-1.0, 2.0], [0.0, 0.0], [3.0, 1e30]])
    labels = jnp.array([0, 0, 1, 1, 2, 2])
    np.testing.assert_allclose(
        losses.semi_hard_triplet_loss(x, labels, margin=0.7), DEFINITION(x, labels, margin=0.7), atol=1e-6
    )
    gradient = losses.semi_hard_triplet_loss_grad(x, labels, margin=0.7)
    assert jnp.isfinite(gradient).all() and (gradient[0] == 0).all()


def test_length_does_not_matter(x64):
    x, labels = batch(20, 4, 1)
    gradient = losses.semi_hard_triplet_loss_grad(x, labels, margin=0.5)
    np.testing.assert_allclose(jnp.sum(x * gradient, -1), 0, atol=1e-13)
    assert (gradient != 0).any()


def test_the_order_of_the_batch_does_not_matter(x64):
    x, labels = batch(20, 4, 1)
    order = jnp.asarray(np.random.default_rng(0).permutation(20))
    value, gradient = (
        f(x, labels, margin=0.5) for f in (losses.semi_hard_triplet_loss, losses.semi_hard_triplet_loss_grad)
    )
    np.testing.assert_allclose(
        losses.semi_hard_triplet_loss(x[order], labels[order], margin=0.5), value[order], atol=1e-12
    )
    permuted = losses.semi_hard_triplet_loss_grad(x[order], labels[order], margin=0.5)
    np.testing.assert_allclose(permuted, gradient[order], atol=1e-12)


def test_memory_grows_with_the_square_of_the_batch():
    def temporary_bytes(count):
        shapes = jax.ShapeDtypeStruct((count, 8), jnp.float32), jax.ShapeDtypeStruct((count,), jnp.int32)
        grad = jax.jit(lambda x, y: losses.semi_hard_triplet_loss_grad(x, y, margin=0.2))
        return grad.lower(*shapes).compile().memory_analysis().temp_size_in_bytes

    assert temporary_bytes(512) < 5 * temporary_bytes(256)


def test_refusals_name_the_argument(as_a_user):
    x, labels = jnp.ones((4, 2)), jnp.zeros(4, jnp.int32)
    with pytest.raises(ArgumentError, match=r"`labels` must have shape \(4,\)"):
        losses.semi_hard_triplet_loss(x, labels[:3], margin=0.1)
    with pytest.raises(ArgumentTypeError, match="`labels` must hold integers"):
        losses.semi_hard_triplet_loss(x, jnp.zeros(4), margin=0.1)
    with pytest.raises(ArgumentError, match="`margin` must lie in"):
        losses.semi_hard_triplet_loss(x, labels, margin=-0.1)


def test_distances_that_are_not_told_apart_are_ties_in_loss_and_definition_alike(x64):
    # Found by a long run of the gradient suite: two squared distances between 1e-14 and 1e-12 apart.
    x = np.array(
        [
            [0.15624999999809575, 0.35937500000190425, 1.0468749999980957],
            [-0.171875, -1.453125, -1.0625],
            [-0.796875, -0.53125, -0.375],
            [0.15624999999904787, 0.3593750000009521, 1.0468749999990479],
            [-0.0625, -0.78125, -0.734375],
            [0.15625, 0.359375, 1.046875],
        ]
    )
    labels = np.array([2, 2, 2, 1, 2, 2])
    definition = losses.LOSSES["semi_hard_triplet_loss"].definition(x, labels, margin=0.5)
    value = losses.semi_hard_triplet_loss(jnp.asarray(x), jnp.asarray(labels), margin=0.5)
    np.testing.assert_allclose(value, definition, atol=1e-10)
