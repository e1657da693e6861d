"""AutoEmbedder's pair loss: its gradient against every witness, and both sides of its cap."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxspk import losses
from jaxspk.testing._suite import SHORT, loss_names, run_named

pytestmark = pytest.mark.usefixtures("x64", "strict_promotion")

ALPHA = 2.0


@pytest.mark.parametrize("name", loss_names("u_vectors"))
def test_gradient_is_right_and_every_mistake_is_caught(name):
    result = run_named(name, SHORT, seed=0)
    assert result.passed, result.describe()


def gradient_at(distance, cannot_link, clip_must_link=True):
    direction = np.array([0.6, 0.8])
    gradients = losses.autoembedder_loss_grad(
        jnp.asarray(distance * direction),
        jnp.zeros(2),
        jnp.asarray(cannot_link),
        alpha=ALPHA,
        clip_must_link=clip_must_link,
    )
    return float(np.asarray(gradients[0]) @ direction)


@pytest.mark.parametrize("distance", [0.5, ALPHA - 1e-6])
def test_below_the_cap_must_links_pull_and_cannot_links_push(distance):
    assert gradient_at(distance, cannot_link=False) == pytest.approx(2 * distance)
    assert gradient_at(distance, cannot_link=True) == pytest.approx(-2 * (ALPHA - distance))


@pytest.mark.parametrize("distance", [ALPHA + 1e-6, 10.0])
def test_beyond_the_cap_nothing_moves_but_must_links_that_are_not_clipped(distance):
    assert gradient_at(distance, cannot_link=True) == 0
    assert gradient_at(distance, cannot_link=False) == 0
    assert gradient_at(distance, cannot_link=False, clip_must_link=False) == pytest.approx(2 * distance)


def test_equal_embeddings_have_no_gradient():
    assert gradient_at(0.0, cannot_link=True) == 0
    assert gradient_at(0.0, cannot_link=False) == 0
