"""Prototypical and angular prototypical losses, and their sum with softmax."""

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


def golden_speakers(utterances):
    return jnp.asarray(GOLDEN[f"angleproto_raw_centroid_M{utterances}"]["x_N_M_D"])


@pytest.mark.parametrize("utterances", [2, 3])
@pytest.mark.parametrize(
    "name, centroid", [("angleproto_raw_centroid", "raw"), ("angleproto_normalised_then_mean", "normalized")]
)
def test_angular_prototypical_is_the_public_codes(x64, utterances, name, centroid):
    case, x = GOLDEN[f"{name}_M{utterances}"], golden_speakers(utterances)
    value = losses.angular_prototypical_loss(x, 10.0, -5.0, centroid=centroid)
    np.testing.assert_allclose(value.mean(), case["value"], rtol=1e-10)
    of_x, of_scale, of_bias = losses.angular_prototypical_loss_grad(x, 10.0, -5.0, centroid=centroid)
    np.testing.assert_allclose(of_x / value.size, case["grad_x"], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(of_scale / value.size, case["grad_w"], rtol=1e-9)
    assert of_bias == 0


def test_prototypical_is_the_formula_with_the_minus_sign(x64):
    x = golden_speakers(3)
    value = losses.prototypical_loss(x)
    np.testing.assert_allclose(value.mean(), GOLDEN["proto_eps_free_M3"]["value"], rtol=1e-10)
    gradient = losses.prototypical_loss_grad(x) / value.size
    np.testing.assert_allclose(gradient, GOLDEN["proto_eps_free_M3"]["grad_x"], rtol=1e-9, atol=1e-11)
    assert abs(value.mean() - GOLDEN["proto_plus_sign_M3"]["value"]) > 2


@pytest.mark.parametrize("utterances", [2, 3])
def test_prototypical_is_the_public_codes_up_to_its_epsilon(x64, utterances):
    case, x = GOLDEN[f"proto_intended_M{utterances}"], golden_speakers(utterances)
    np.testing.assert_allclose(losses.prototypical_loss(x).mean(), case["value"], atol=1e-5)
    np.testing.assert_allclose(losses.prototypical_loss_grad(x) / len(x), case["grad_x"], atol=1e-5)


def test_softmax_prototypical_is_the_public_codes(x64):
    case, softmax = GOLDEN["softmaxproto_M2"], GOLDEN["softmax"]
    w, b = jnp.asarray(softmax["W_classes_by_dim"]), jnp.asarray(softmax["b"])
    arguments = golden_speakers(2), w, b, jnp.asarray(case["label_per_speaker"]), 10.0, -5.0
    value = losses.softmax_prototypical_loss(*arguments)
    np.testing.assert_allclose(value.mean(), case["value"], rtol=1e-10)
    gradients = losses.softmax_prototypical_loss_grad(*arguments)
    keys = ("grad_x", "grad_softmax.fc.weight", "grad_softmax.fc.bias", "grad_angleproto.w", "grad_angleproto.b")
    for gradient, key in zip(gradients, keys, strict=True):
        np.testing.assert_allclose(gradient / value.size, case[key], rtol=1e-9, atol=1e-11)


def test_a_bias_changes_nothing_unless_it_is_nan(x64):
    x = golden_speakers(3)
    expected = losses.angular_prototypical_loss(x, 10.0, 0.0)
    np.testing.assert_array_equal(losses.angular_prototypical_loss(x, 10.0, 1e30), expected)
    assert jnp.isnan(losses.angular_prototypical_loss(x, 10.0, jnp.nan)).all()


def test_readings_of_the_centroid_agree_for_two_utterances_and_differ_for_three(x64):
    def both(utterances):
        x = golden_speakers(utterances)
        return (losses.angular_prototypical_loss(x, 10.0, -5.0, centroid=c) for c in ("raw", "normalized"))

    np.testing.assert_allclose(*both(2), rtol=1e-12)
    raw, normalized = both(3)
    assert (jnp.abs(raw - normalized) > 1e-3).any()


def test_moving_all_points_moves_no_prototypical_loss():
    x = golden_speakers(3).astype(jnp.float32)
    expected, gradient = losses.prototypical_loss(x), losses.prototypical_loss_grad(x)
    np.testing.assert_allclose(losses.prototypical_loss(x + 100.0), expected, rtol=2e-4)
    np.testing.assert_allclose(gradient.sum((0, 1)), 0, atol=1e-5)


def test_rotating_all_points_turns_the_gradient(x64):
    x = golden_speakers(3)
    rotation = jnp.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0])
    for grad in (losses.prototypical_loss_grad, lambda x: losses.angular_prototypical_loss_grad(x, 5.0, 0.0)[0]):
        np.testing.assert_allclose(grad(x @ rotation), grad(x) @ rotation, rtol=1e-9, atol=1e-11)


def test_the_order_of_speakers_does_not_matter(x64):
    x, order = golden_speakers(3), jnp.array([2, 0, 3, 1])
    np.testing.assert_allclose(losses.prototypical_loss(x)[order], losses.prototypical_loss(x[order]), rtol=1e-12)
    of_x, _, _ = losses.angular_prototypical_loss_grad(x, 5.0, 0.0)
    permuted, _, _ = losses.angular_prototypical_loss_grad(x[order], 5.0, 0.0)
    np.testing.assert_allclose(permuted, of_x[order], rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("name", ["zeros", "equal", "one utterance zero"])
def test_collapsed_batches_are_told_apart_by_nothing(name):
    x = {
        "zeros": jnp.zeros((4, 3, 5)),
        "equal": jnp.broadcast_to(jnp.arange(1.0, 6.0), (4, 3, 5)),
        "one utterance zero": jnp.ones((4, 3, 5)).at[0, 0].set(0.0),
    }[name]
    value = losses.angular_prototypical_loss(x, 10.0, -5.0)
    np.testing.assert_allclose(value, np.log(4), rtol=1e-5)
    for gradient in losses.angular_prototypical_loss_grad(x, 10.0, -5.0):
        assert jnp.isfinite(gradient).all()
    np.testing.assert_allclose(losses.prototypical_loss(x)[1:], np.log(4), rtol=1e-5)
    assert jnp.isfinite(losses.prototypical_loss_grad(x)).all()


def test_one_speaker_costs_nothing():
    x = jnp.ones((1, 2, 3)) * jnp.array([1.0, 2.0, 3.0])
    assert losses.prototypical_loss(x).tolist() == [0.0]
    assert losses.angular_prototypical_loss(x, 10.0, -5.0).tolist() == [0.0]
    np.testing.assert_array_equal(losses.prototypical_loss_grad(x), 0)
    np.testing.assert_array_equal(losses.angular_prototypical_loss_grad(x, 10.0, -5.0)[0], 0)


@pytest.mark.parametrize("size", [1e30, 1e-30])
def test_cosines_do_not_see_size(size):
    x = golden_speakers(3).astype(jnp.float32)
    expected = losses.angular_prototypical_loss(x, 10.0, -5.0)
    np.testing.assert_allclose(losses.angular_prototypical_loss(x * size, 10.0, -5.0), expected, rtol=1e-5)
    of_x, of_scale, _ = losses.angular_prototypical_loss_grad(x, 10.0, -5.0)
    of_scaled, of_scale_again, _ = losses.angular_prototypical_loss_grad(x * size, 10.0, -5.0)
    np.testing.assert_allclose(of_scaled * size, of_x, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(of_scale_again, of_scale, rtol=1e-4)


def test_squared_distances_beyond_the_range_are_infinite_and_never_nan():
    x = jnp.array([[[1e30, 0.0]] * 2, [[0.0, 1e30]] * 2, [[1e30, 1.0], [-1e30, 0.0]]])
    np.testing.assert_array_equal(losses.prototypical_loss(x), [0.0, 0.0, np.inf])
    gradient = losses.prototypical_loss_grad(x)
    # The third speaker's query is told to leave the first centroid for its own: 2 (c_0 - c_2).
    np.testing.assert_array_equal(gradient[2, 0], 2 * (x[0, 1] - x[2, 1]))
    assert not jnp.isnan(gradient).any()


def test_a_negative_scale_is_allowed():
    x = golden_speakers(3).astype(jnp.float32)
    value = losses.angular_prototypical_loss(x, -10.0, 0.0)
    np.testing.assert_allclose(value, losses.LOSSES["angular_prototypical_loss"].definition(x, -10.0, 0.0), rtol=1e-5)


def test_is_sharded_over_speakers():
    """Under a mesh of four simulated devices, value and gradient are those of one."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(8, 2, 16)), jnp.float32)
    mesh = jax.make_mesh((4,), ("speakers",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.device_put(x, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("speakers")))

    @jax.jit
    def value_and_grad(x):
        return jax.value_and_grad(lambda x: losses.angular_prototypical_loss(x, 10.0, -5.0).mean())(x)

    for actual, expected in zip(value_and_grad(spread), value_and_grad(x), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-7)


def test_refusals_name_the_argument(as_a_user):
    x = jnp.ones((3, 2, 4))
    with pytest.raises(ArgumentError, match="at least 2 utterances a speaker, got shape"):
        losses.prototypical_loss(x[:, :1])
    with pytest.raises(ArgumentError, match="`embeddings` must have at least 3 axes"):
        losses.angular_prototypical_loss(x[0], 1.0, 0.0)
    with pytest.raises(ArgumentError, match="`centroid` must be one of 'raw', 'normalized', got 'mean'"):
        losses.angular_prototypical_loss(x, 1.0, 0.0, centroid="mean")
    with pytest.raises(ArgumentError, match=r"`scale` must have shape \(\)"):
        losses.angular_prototypical_loss(x, jnp.ones(3), 0.0)
    with pytest.raises(ArgumentError, match="exactly two utterances a speaker"):
        three, w = jnp.ones((3, 3, 4)), jnp.ones((2, 4))
        losses.softmax_prototypical_loss(three, w, jnp.zeros(2), jnp.zeros(3, jnp.int32), 1.0, 0.0)
