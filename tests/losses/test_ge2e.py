"""Both GE2E losses: the public code's values, its floor, ties, extremes."""

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
BOTH = [
    (losses.ge2e_softmax_loss, losses.ge2e_softmax_loss_grad),
    (losses.ge2e_contrast_loss, losses.ge2e_contrast_loss_grad),
]
both_losses = pytest.mark.parametrize("loss, grad", BOTH, ids=["softmax", "contrast"])


def golden_speakers(utterances=3):
    return jnp.asarray(GOLDEN[f"angleproto_raw_centroid_M{utterances}"]["x_N_M_D"])


@pytest.mark.parametrize("utterances", [2, 3])
@pytest.mark.parametrize("centroid, reading", [("raw", ""), ("normalized", "normalised_")])
@pytest.mark.parametrize("floor", [None, 1e-6])
def test_softmax_form_is_the_public_codes(x64, utterances, centroid, reading, floor):
    name = {("", None): "no_clamp", ("", 1e-6): "public_clamp"}.get(
        (reading, floor), f"{reading}{'no_clamp' if floor is None else 'clamp'}"
    )
    case, x = GOLDEN[f"ge2e_{name}_M{utterances}"], golden_speakers(utterances)
    options = {"centroid": centroid, "cosine_floor": floor}
    value = losses.ge2e_softmax_loss(x, 10.0, -5.0, **options)
    np.testing.assert_allclose(value.mean(), case["value"], rtol=1e-10)
    of_x, of_scale, of_bias = losses.ge2e_softmax_loss_grad(x, 10.0, -5.0, **options)
    np.testing.assert_allclose(of_x / value.size, case["grad_x"], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(of_scale / value.size, case["grad_w"], rtol=1e-9)
    assert of_bias == 0


@both_losses
def test_the_floor_hides_negative_cosines_from_the_gradient(loss, grad):
    """Two speakers turned against each other: each cosine with the other centroid is negative."""
    x = jnp.array([[[1.0, 0.1], [1.0, 0.0]], [[-1.0, 0.2], [-1.0, 0.0]]])
    free, _, _ = grad(x, 1.0, 0.0)
    floored, _, _ = grad(x, 1.0, 0.0, cosine_floor=1e-6)
    assert not np.allclose(free, floored)
    own_only = x.at[1].set(0.0)  # the other speaker gone: what is left is the pull of the own centroid
    np.testing.assert_allclose(loss(x, 1.0, 0.0, cosine_floor=0.0)[0], loss(own_only, 1.0, 0.0)[0], rtol=1e-6)


@both_losses
def test_a_cosine_equal_to_the_floor_keeps_its_gradient(loss, grad):
    """As the public code's clamp; 0 is hit exactly by orthogonal vectors."""
    x = jnp.array([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    np.testing.assert_array_equal(grad(x, 2.0, 0.0, cosine_floor=0.0)[0], grad(x, 2.0, 0.0)[0])


def test_contrast_form_takes_the_hardest_other_speaker(x64):
    x, scale, bias = golden_speakers(), 3.0, -0.5
    unit = x / jnp.linalg.norm(x, axis=-1, keepdims=True)
    sigmoid = lambda s: 1 / (1 + np.exp(-s))  # noqa: E731
    expected = np.zeros((4, 3))
    for j in range(4):
        for i in range(3):
            own = x[j].sum(0) - x[j, i]
            others = [x[k].sum(0) for k in range(4) if k != j]
            similar = [float(unit[j, i] @ c / jnp.linalg.norm(c)) * scale + bias for c in (own, *others)]
            expected[j, i] = 1 - sigmoid(similar[0]) + max(map(sigmoid, similar[1:]))
    np.testing.assert_allclose(losses.ge2e_contrast_loss(x, scale, bias), expected, rtol=1e-12)


def test_only_the_contrast_form_has_a_gradient_in_the_bias(x64):
    x = golden_speakers()
    assert losses.ge2e_softmax_loss_grad(x, 3.0, -0.5)[2] == 0
    of_bias = losses.ge2e_contrast_loss_grad(x, 3.0, -0.5)[2]
    ahead, behind = (losses.ge2e_contrast_loss(x, 3.0, -0.5 + h).sum() for h in (1e-6, -1e-6))
    np.testing.assert_allclose(of_bias, (ahead - behind) / 2e-6, rtol=1e-6)


def test_tied_speakers_share_the_gradient_of_the_contrast_form(x64):
    """Two copies of one speaker push a third voice together, as hard as one of them would."""
    third, twin = golden_speakers()[:2]
    cotangent = jnp.zeros((2, 3)).at[0].set(1.0)
    alone = losses.ge2e_contrast_loss_grad(jnp.stack([third, twin]), 3.0, 0.0, cotangent=cotangent)[0]
    cotangent = jnp.zeros((3, 3)).at[0].set(1.0)
    tied = losses.ge2e_contrast_loss_grad(jnp.stack([third, twin, twin]), 3.0, 0.0, cotangent=cotangent)[0]
    np.testing.assert_allclose(tied[0], alone[0], rtol=1e-12)
    np.testing.assert_allclose(tied[1], alone[1] / 2, rtol=1e-12)
    np.testing.assert_allclose(tied[2], alone[1] / 2, rtol=1e-12)


@both_losses
def test_one_speaker_has_no_other(loss, grad):
    x = golden_speakers()[:1].astype(jnp.float32)
    value = loss(x, 3.0, -0.5)
    if loss is losses.ge2e_softmax_loss:
        np.testing.assert_array_equal(value, 0)
    else:
        assert ((value > 0) & (value < 1)).all()
    for gradient in grad(x, 3.0, -0.5):
        assert jnp.isfinite(gradient).all()


@both_losses
@pytest.mark.parametrize("x", [np.zeros((3, 2, 4)), np.ones((3, 2, 4)), np.ones((3, 1, 1)) * np.eye(2)], ids=str)
def test_collapsed_batches_stay_finite(loss, grad, x):
    x = jnp.asarray(x, jnp.float32)
    assert jnp.isfinite(loss(x, 10.0, -5.0)).all()
    for gradient in grad(x, 10.0, -5.0):
        assert jnp.isfinite(gradient).all()


@both_losses
@pytest.mark.parametrize("size", [1e30, 1e-30])
def test_size_does_not_matter(loss, grad, size):
    x = golden_speakers().astype(jnp.float32)
    np.testing.assert_allclose(loss(x * size, 10.0, -5.0), loss(x, 10.0, -5.0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(grad(x * size, 10.0, -5.0)[0] * size, grad(x, 10.0, -5.0)[0], rtol=1e-3, atol=1e-5)


def test_a_voice_far_longer_than_the_others_leaves_them_their_centroid():
    """Its own centroid is the mean of the others: as the sum minus itself it would be lost to rounding."""
    x = golden_speakers().astype(jnp.float32)
    long = x.at[0, 0].multiply(1e20)
    value = losses.ge2e_softmax_loss(long, 10.0, -5.0)
    expected = losses.LOSSES["ge2e_softmax_loss"].definition(long, 10.0, -5.0)
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_the_order_of_speakers_and_of_their_utterances_does_not_matter(x64):
    x = golden_speakers()
    speakers, utterances = jnp.array([2, 0, 3, 1]), jnp.array([1, 2, 0])
    for loss, _ in BOTH:
        expected = loss(x, 3.0, -0.5)[speakers][:, utterances]
        np.testing.assert_allclose(loss(x[speakers][:, utterances], 3.0, -0.5), expected, rtol=1e-11)


def test_refusals_name_the_argument(as_a_user):
    with pytest.raises(ArgumentError, match="at least 2 utterances a speaker"):
        losses.ge2e_softmax_loss(jnp.ones((3, 1, 4)), 1.0, 0.0)
    with pytest.raises(ArgumentError, match="`centroid` must be one of"):
        losses.ge2e_contrast_loss(jnp.ones((3, 2, 4)), 1.0, 0.0, centroid="unit")


def test_scale_and_bias_keep_their_digits_in_float32_where_own_and_hardest_pull_alike():
    x = np.random.default_rng(0).normal(size=(3, 2, 3)) * 0.02 + np.array([1.1, 0.2, -0.3])
    x = np.float32(x)
    _, *narrow = losses.ge2e_contrast_loss_grad(jnp.asarray(x), 0.0625, 0.5)
    with jax.enable_x64(True):
        _, *wide = losses.ge2e_contrast_loss_grad(jnp.asarray(x, jnp.float64), 0.0625, 0.5)
    np.testing.assert_allclose(np.array(narrow), np.array(wide), rtol=1e-2)
