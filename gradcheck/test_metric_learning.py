"""Losses for speaker recognition: their gradients against every witness, and both sides of hinges and branches."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk import losses
from jaxspk.testing import rows
from jaxspk.testing._suite import SHORT, loss_names, run_named

pytestmark = pytest.mark.usefixtures("x64", "strict_promotion")


@pytest.mark.parametrize("name", loss_names("metric_learning"))
def test_gradient_is_right_and_every_mistake_is_caught(name):
    result = run_named(name, SHORT, seed=0)
    assert result.passed, result.describe()


@pytest.mark.parametrize("name", ["angular_prototypical_loss", "ge2e_softmax_loss"])
@given(batch=rows((3, 3, 3), kinds=("duplicate", "near", "opposite", "axis", "tiny", "huge")))
def test_the_bias_has_no_gradient(name, batch):
    of_embeddings, of_scale, of_bias = getattr(losses, f"{name}_grad")(
        jnp.asarray(batch), jnp.asarray(10.0), jnp.asarray(-5.0)
    )
    assert abs(float(of_bias)) <= 1e-14
    assert np.isfinite(np.asarray(of_embeddings)).all() and np.isfinite(float(of_scale))


@given(rows((3, 2, 3), kinds=("opposite", "axis", "tiny", "huge")), st.booleans())
def test_with_two_utterances_both_centroids_of_angular_prototypical_are_one(batch, include_query):
    if include_query:
        return
    values = [
        losses.angular_prototypical_loss(jnp.asarray(batch), jnp.asarray(10.0), jnp.asarray(-5.0), centroid=centroid)
        for centroid in ("raw", "normalized")
    ]
    np.testing.assert_allclose(*values, rtol=1e-9, atol=1e-12)


def pair_at(distance):
    return jnp.asarray([0.0, 0.0]), jnp.asarray([distance, 0.0])


@pytest.mark.parametrize("offset", [-1e-6, 1e-6])
def test_both_sides_of_the_contrastive_hinge(offset):
    margin, distance = 1.0, 1.0 + offset
    options = {"margin": margin, "normalize": False}
    first, second = pair_at(distance)
    value = losses.contrastive_loss(first, second, jnp.asarray(False), **options)
    gradient = losses.contrastive_loss_grad(first, second, jnp.asarray(False), **options)[1]
    inside = max(0.0, margin - distance)
    assert float(value) == pytest.approx(inside**2, abs=1e-20)
    assert float(gradient[0]) == pytest.approx(-2 * inside, abs=1e-12)


@pytest.mark.parametrize("offset, slope", [(1e-6, 1.0), (-1e-6, 0.0), (0.0, 0.0)])
def test_both_sides_of_the_triplet_hinge(offset, slope):
    # Squared distances 1 and 1, so the hinge's argument is the margin less what the negative is too far.
    anchor, positive = pair_at(1.0)
    negative = jnp.asarray([0.0, math.sqrt(1.0 - offset)]) if offset else jnp.asarray([0.0, 1.0])
    options = {"margin": 0.0, "normalize": False}
    of_positive = losses.triplet_loss_grad(anchor, positive, negative, **options)[1]
    np.testing.assert_allclose(of_positive, [2 * slope, 0.0], atol=1e-12)


MARGIN, SCALE = 0.3, 1.0


def target_logit_slope(angle, **options):
    """d(loss)/d(angle) of the target, which is -scale * (1 - p) * d(phi)/d(angle)."""

    def loss(angle):
        embedding = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
        weights = jnp.asarray([[1.0, 0.0], [0.0, -1.0]])
        return losses.aam_softmax_loss(embedding, weights, jnp.asarray(0), margin=MARGIN, scale=SCALE, **options)

    logits = jnp.asarray([phi(angle, **options), -math.sin(angle)])
    p_target, p_other = (float(p) for p in jax.nn.softmax(SCALE * logits))
    found = float(jax.grad(loss)(jnp.asarray(angle)))
    # The other class moves with the angle as well.
    return (found - SCALE * p_other * -math.cos(angle)) / (-SCALE * (1 - p_target))


def phi(angle, easy_margin=False):
    cosine = math.cos(angle)
    if easy_margin:
        return math.cos(angle + MARGIN) if cosine > 0 else cosine
    past = cosine - MARGIN * math.sin(math.pi - MARGIN)
    return math.cos(angle + MARGIN) if cosine > math.cos(math.pi - MARGIN) else past


@pytest.mark.parametrize("side", [-1e-4, 1e-4])
@pytest.mark.parametrize("boundary, options", [(math.pi - MARGIN, {}), (math.pi / 2, {"easy_margin": True})])
def test_both_sides_of_the_branches_of_additive_angular_margin(side, boundary, options):
    angle = boundary + side
    before = side < 0
    expected = -math.sin(angle + MARGIN) if before else -math.sin(angle)
    assert target_logit_slope(angle, **options) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_cosines_below_the_floor_have_no_gradient_and_above_it_the_usual_one():
    generator = np.random.default_rng(0)
    batch = jnp.asarray(np.abs(generator.normal(size=(3, 2, 3))))
    scale, bias = jnp.asarray(10.0), jnp.asarray(-5.0)
    floored = losses.ge2e_softmax_loss_grad(batch, scale, bias, cosine_floor=1e-6)[0]
    usual = losses.ge2e_softmax_loss_grad(batch, scale, bias)[0]
    np.testing.assert_allclose(floored, usual, rtol=1e-12)
    above_all = losses.ge2e_softmax_loss_grad(batch, scale, bias, cosine_floor=1.0 + 1e-6)[0]
    assert np.all(np.asarray(above_all) == 0)
