"""Softmax, AM- and AAM-softmax: the public code's values, margins, cones, extremes."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxspk import losses
from jaxspk.errors import ArgumentError, ArgumentTypeError

pytestmark = pytest.mark.usefixtures("strict_promotion")

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "metric_learning_losses.json").read_text())["cases"]


def golden_arguments(case):
    """Embeddings, class weights and labels of a golden case."""
    source = case if "x" in case else GOLDEN["softmax"]
    return tuple(jnp.asarray(np.array(source[key])) for key in ("x", "W_classes_by_dim", "label"))


def test_softmax_is_the_public_codes(x64):
    case = GOLDEN["softmax"]
    x, w, labels = golden_arguments(case)
    arguments = x, w, jnp.asarray(case["b"]), labels
    value = losses.softmax_loss(*arguments)
    np.testing.assert_allclose(value.mean(), case["value"], rtol=1e-10)
    gradients = losses.softmax_loss_grad(*arguments)
    for gradient, key in zip(gradients, ("grad_x", "grad_fc.weight", "grad_fc.bias"), strict=True):
        np.testing.assert_allclose(gradient / value.size, case[key], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", [name for name in GOLDEN if "amsoftmax" in name])
def test_margins_are_the_public_codes(x64, name):
    case = GOLDEN[name]
    keywords = {"margin": float(case["margin"]), "scale": float(case["scale"])}
    loss, grad = losses.am_softmax_loss, losses.am_softmax_loss_grad
    if name.startswith("aam"):
        loss, grad = losses.aam_softmax_loss, losses.aam_softmax_loss_grad
        keywords["easy_margin"] = case["easy_margin"]
    arguments = golden_arguments(case)
    value = loss(*arguments, **keywords)
    np.testing.assert_allclose(value.mean(), case["value"], rtol=1e-10)
    for gradient, key in zip(grad(*arguments, **keywords), ("grad_x", "grad_W_classes_by_dim"), strict=True):
        np.testing.assert_allclose(gradient / value.size, case[key], rtol=1e-9, atol=1e-10)


MARGIN_LOSSES = {
    "am": (losses.am_softmax_loss, losses.am_softmax_loss_grad, {}),
    "aam": (losses.aam_softmax_loss, losses.aam_softmax_loss_grad, {}),
    "easy": (losses.aam_softmax_loss, losses.aam_softmax_loss_grad, {"easy_margin": True}),
}
every_margin_loss = pytest.mark.parametrize("loss, grad, options", MARGIN_LOSSES.values(), ids=list(MARGIN_LOSSES))


@every_margin_loss
def test_no_margin_is_softmax_of_cosines(x64, loss, grad, options):
    x, w, labels = golden_arguments(GOLDEN["softmax"])
    unit = [a / jnp.linalg.norm(a, axis=-1, keepdims=True) for a in (x, w)]
    expected = losses.softmax_loss(unit[0] * 7, unit[1], jnp.zeros(4), labels)
    np.testing.assert_allclose(loss(x, w, labels, margin=0.0, scale=7.0, **options), expected, rtol=1e-12)


@every_margin_loss
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-8, 5e-5, 1e-3])
def test_gradients_stay_bounded_at_cosines_of_one_and_minus_one(x64, loss, grad, options, dtype, sign, angle):
    w = np.eye(3, 4)
    x = sign * np.array([[np.cos(angle), np.sin(angle) * 0.6, np.sin(angle) * 0.8, 0.0]])
    arguments = jnp.asarray(x, dtype), jnp.asarray(w, dtype), jnp.zeros(1, jnp.int32)
    value = loss(*arguments, margin=0.3, scale=30.0, **options)
    gradients = grad(*arguments, margin=0.3, scale=30.0, **options)
    assert jnp.isfinite(value).all()
    for gradient in gradients:
        # Each logit's gradient is at most the scale, there are three, and the vectors have length one.
        assert jnp.linalg.norm(gradient) < 3 * 30


@pytest.mark.parametrize("easy_margin", [False, True])
def test_vectors_parallel_up_to_rounding_take_the_centre_of_their_slopes_compiled_or_not(x64, easy_margin):
    """Divided by their lengths they differ by a unit in the last place here and there, which is no direction."""
    x = np.array([[0.38671875, 0.931640625, 0.369140625], [-1.458984375, 1.01953125, 0.509765625]])
    w = jnp.asarray(x / 1.125)

    def gradient(x, w):
        options = {"margin": 0.25, "scale": 8.0, "easy_margin": easy_margin}
        return losses.aam_softmax_loss_grad(x, w, jnp.arange(2), **options)

    x = jnp.asarray(x)
    with jax.disable_jit():
        alone = gradient(x, w)
    for one, other, exact in zip(jax.jit(gradient)(x, w), alone, gradient(x, x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
        assert np.abs(one).max() <= 1.2 * np.abs(exact).max()


def test_the_tip_of_the_cone_takes_the_centre_of_its_slopes(x64):
    """At a target cosine of 1 only the other logits move the embedding: its tangent is theirs alone."""
    x, w = jnp.array([[2.0, 0.0]]), jnp.array([[3.0, 0.0], [0.0, 1.0]])
    label = jnp.array([0])
    of_x, _ = losses.aam_softmax_loss_grad(x, w, label, margin=0.3, scale=4.0)

    def slope(direction, step):
        moved = losses.aam_softmax_loss(x + step * jnp.array([direction]), w, label, margin=0.3, scale=4.0)
        return float((moved - losses.aam_softmax_loss(x, w, label, margin=0.3, scale=4.0))[0] / step)

    up, down = slope([0.0, 1.0], 1e-7), slope([0.0, -1.0], 1e-7)
    assert up + down > 0.01  # a kink: on a smooth loss they cancel
    np.testing.assert_allclose(of_x[0, 1], (up - down) / 2, rtol=1e-5)


@pytest.mark.parametrize("easy_margin, angle", [(False, np.pi - 0.3), (True, np.pi / 2)])
def test_gradient_is_right_on_both_sides_of_the_jump(x64, easy_margin, angle):
    for side in (-1e-3, 1e-3):
        x = jnp.array([[np.cos(angle + side), np.sin(angle + side)]])
        w, label = jnp.eye(2), jnp.array([0])
        options = {"margin": 0.3, "scale": 4.0, "easy_margin": easy_margin}
        of_x, _ = losses.aam_softmax_loss_grad(x, w, label, **options)
        step = 1e-6 * jnp.array([[-x[0, 1], x[0, 0]]])
        ahead, behind = (losses.aam_softmax_loss(x + s * step, w, label, **options) for s in (1, -1))
        np.testing.assert_allclose(jnp.sum(of_x * step) / 1e-6, (ahead - behind)[0] / 2e-6, rtol=1e-6)


@every_margin_loss
def test_length_does_not_matter(x64, loss, grad, options):
    x, w, labels = golden_arguments(GOLDEN["softmax"])
    keywords = {"margin": 0.3, "scale": 15.0, **options}
    expected = loss(x, w, labels, **keywords)
    np.testing.assert_allclose(loss(x * 1e-3, w * 1e5, labels, **keywords), expected, rtol=1e-12)
    of_x, of_w = grad(x, w, labels, **keywords)
    np.testing.assert_allclose(jnp.sum(of_x * x, -1), 0, atol=1e-13)
    np.testing.assert_allclose(jnp.sum(of_w * w, -1), 0, atol=1e-12)


@every_margin_loss
def test_zero_vectors_have_cosine_zero_and_gradient_zero(loss, grad, options):
    x = jnp.array([[0.0, 0.0], [1.0, 2.0]])
    w = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    labels = jnp.array([1, 0])
    keywords = {"margin": 0.3, "scale": 5.0, **options}
    value = loss(x, w, labels, **keywords)
    expected = np.array(
        [
            losses.LOSSES["am_softmax_loss" if loss is losses.am_softmax_loss else "aam_softmax_loss"].definition(
                x, w, labels, **keywords
            )
        ]
    )[0]
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    of_x, of_w = grad(x, w, labels, **keywords)
    assert (of_x[0] == 0).all() and (of_w[0] == 0).all() and (of_x[1] != 0).any()


@every_margin_loss
def test_huge_and_tiny_vectors_stay_finite_in_float32(loss, grad, options):
    x = jnp.array([[1e30, -1e30], [1e-30, 2e-30], [1.0, 1e30]])
    w = jnp.array([[1e-30, 0.0], [1e30, 1e30], [1.0, -2.0]])
    labels = jnp.array([1, 2, 0])
    keywords = {"margin": 0.3, "scale": 30.0, **options}
    value = loss(x, w, labels, **keywords)
    name = "am_softmax_loss" if loss is losses.am_softmax_loss else "aam_softmax_loss"
    np.testing.assert_allclose(value, losses.LOSSES[name].definition(x, w, labels, **keywords), rtol=2e-6)
    for gradient in grad(x, w, labels, **keywords):
        assert jnp.isfinite(gradient).all()


def test_softmax_beyond_the_range_is_infinite_and_never_nan():
    x = jnp.array([[1e30, 0.0], [1e30, 0.0], [1.0, 2.0], [1e30, 0.0]])
    w = jnp.array([[1e30, 0.0], [-1e30, 0.0], [1e-30, 1.0]])
    b = jnp.array([0.0, 1e30, 0.0])
    labels = jnp.array([0, 1, 2, 2])
    value = losses.softmax_loss(x, w, b, labels)
    np.testing.assert_array_equal(value[jnp.array([0, 1, 3])], [0.0, np.inf, np.inf])
    of_x, of_w, of_b = losses.softmax_loss_grad(x, w, b, labels)
    # The probabilities stay right: all weight on the first class.
    np.testing.assert_array_equal(of_x[1], w[0] - w[1])
    assert not jnp.isnan(of_w).any() and not jnp.isnan(of_b).any()


def test_small_losses_keep_their_digits():
    """A target 30 nats ahead: log(1 + 2 exp(-30)), where a difference of logarithms gives 0 in float32."""
    x, w, b = jnp.array([[30.0]]), jnp.array([[1.0], [0.0], [0.0]]), jnp.zeros(3)
    value = losses.softmax_loss(x, w, b, jnp.array([0]))
    np.testing.assert_allclose(value, 2 * np.exp(-30.0), rtol=1e-5)
    _, _, of_b = losses.softmax_loss_grad(x, w, b, jnp.array([0]))
    np.testing.assert_allclose(of_b, np.exp(-30.0) * np.array([-2, 1, 1]), rtol=1e-5)


def test_a_bias_common_to_all_classes_has_no_gradient(x64):
    x, w, labels = golden_arguments(GOLDEN["softmax"])
    _, _, of_b = losses.softmax_loss_grad(x, w, jnp.asarray(GOLDEN["softmax"]["b"]), labels)
    np.testing.assert_allclose(of_b.sum(), 0, atol=1e-15)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_no_class_is_nan(label):
    x, w, labels = jnp.ones((2, 2)), jnp.ones((3, 2)), jnp.array([0, label])
    for value in (
        losses.softmax_loss(x, w, jnp.zeros(3), labels),
        losses.am_softmax_loss(x, w, labels, margin=0.1, scale=3.0),
        losses.aam_softmax_loss(x, w, labels, margin=0.1, scale=3.0),
    ):
        assert jnp.isfinite(value[0]) and jnp.isnan(value[1])


def test_one_class_has_nothing_to_tell_apart():
    x, w, labels = jnp.ones((2, 2)), jnp.ones((1, 2)), jnp.zeros(2, jnp.int32)
    np.testing.assert_array_equal(losses.aam_softmax_loss(x, w, labels, margin=0.1, scale=3.0), 0)
    for gradient in losses.aam_softmax_loss_grad(x, w, labels, margin=0.1, scale=3.0):
        np.testing.assert_array_equal(gradient, 0)


def test_a_margin_schedule_compiles_once_and_gets_no_gradient():
    x, w, labels = jnp.ones((2, 2)) * jnp.array([1.0, 2.0]), jnp.eye(3, 2), jnp.array([0, 1])
    traces = []

    @jax.jit
    def total(margin, scale):
        traces.append(1)
        return losses.aam_softmax_loss(x, w, labels, margin=margin, scale=scale).sum()

    for margin in (0.1, 0.2):
        expected = losses.aam_softmax_loss(x, w, labels, margin=margin, scale=5.0).sum()
        np.testing.assert_allclose(total(jnp.float32(margin), jnp.float32(5.0)), expected, rtol=1e-6)
    assert len(traces) == 1
    np.testing.assert_array_equal(jax.grad(total, (0, 1))(jnp.float32(0.1), jnp.float32(5.0)), (0.0, 0.0))


def test_mixed_dtypes_take_the_widest(x64):
    x, w, labels = jnp.ones((2, 2), jnp.bfloat16), jnp.eye(3, 2, dtype=jnp.float64), jnp.array([0, 1], jnp.int8)
    assert losses.am_softmax_loss(x, w, labels, margin=0.1, scale=3.0).dtype == jnp.float64
    of_x, of_w = losses.am_softmax_loss_grad(x, w, labels, margin=0.1, scale=3.0)
    assert (of_x.dtype, of_w.dtype) == (jnp.bfloat16, jnp.float64)


def test_refusals_name_the_argument(as_a_user):
    x, w, b, labels = jnp.ones((4, 2)), jnp.ones((3, 2)), jnp.zeros(3), jnp.zeros(4, jnp.int32)
    with pytest.raises(ArgumentError, match=r"`class_weights` must have shape \(3, 2\)"):
        losses.softmax_loss(x, jnp.ones((3, 5)), b, labels)
    with pytest.raises(ArgumentError, match=r"`class_bias` must have shape \(3,\)"):
        losses.softmax_loss(x, w, jnp.zeros(4), labels)
    with pytest.raises(ArgumentError, match=r"`labels` must have shape \(4,\)"):
        losses.softmax_loss(x, w, b, labels[:3])
    with pytest.raises(ArgumentTypeError, match="`labels` must hold integers"):
        losses.softmax_loss(x, w, b, jnp.zeros(4))
    with pytest.raises(ArgumentError, match="`margin` must lie in"):
        losses.aam_softmax_loss(x, w, labels, margin=4.0, scale=30.0)
    with pytest.raises(ArgumentError, match="`scale` must lie in"):
        losses.am_softmax_loss(x, w, labels, margin=0.1, scale=-1.0)
