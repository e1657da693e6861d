"""AutoEmbedder's pair loss: golden values, the definition, gradients, kinks and hard inputs."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxspk import losses
from jaxspk.errors import ArgumentError, ArgumentTypeError

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "u_vectors_model.json").read_text())
DEFINITION = losses.LOSSES["autoembedder_loss"].definition
CLIPS = pytest.mark.parametrize("clip", [True, False], ids=["clipped", "unclipped"])

pytestmark = pytest.mark.usefixtures("strict_promotion")


def draw(batch=(40,), dim=3, *, seed=0, dtype=None):
    random = np.random.default_rng(seed)
    e1, e2 = random.normal(size=(2, *batch, dim))
    return jnp.asarray(e1, dtype), jnp.asarray(e2, dtype), jnp.asarray(random.integers(2, size=batch))


@pytest.mark.parametrize("name", ["pair_loss_alpha100", "pair_loss_alpha1"])
def test_golden_mean_loss_and_gradient(x64, name):
    golden = GOLDEN[name]
    e1, e2 = jnp.array(golden["e1"]), jnp.array(golden["e2"])
    apart = jnp.array(golden["target"]) > 0
    value = losses.autoembedder_loss(e1, e2, apart, alpha=golden["alpha"])
    np.testing.assert_allclose(value.mean(), golden["loss"], rtol=1e-11)
    of_1, of_2 = losses.autoembedder_loss_grad(e1, e2, apart, alpha=golden["alpha"])
    np.testing.assert_allclose(of_1 / value.size, golden["grad_e1"], atol=1e-5 * np.max(np.abs(golden["grad_e1"])))
    np.testing.assert_allclose(of_2 / value.size, golden["grad_e2"], atol=1e-5 * np.max(np.abs(golden["grad_e2"])))


@CLIPS
@pytest.mark.parametrize("alpha", [0.5, 2.0, 100.0])
@pytest.mark.parametrize("batch", [(), (9,), (2, 3)], ids=str)
def test_equals_the_definition(x64, batch, alpha, clip):
    arguments, options = draw(batch), {"alpha": alpha, "clip_must_link": clip}
    expected = DEFINITION(*arguments, **options)
    for function in (losses.autoembedder_loss, losses.autoembedder_loss_plain):
        value = jax.jit(functools.partial(function, **options))(*arguments)
        assert value.shape == batch
        np.testing.assert_allclose(value, expected, rtol=1e-12)


@CLIPS
def test_gradient_equals_autodiff_and_differences(x64, clip):
    e1, e2, apart = draw()
    options = {"alpha": 2.0, "clip_must_link": clip}
    cotangent = jnp.asarray(np.random.default_rng(1).normal(size=40))
    of_1, of_2 = losses.autoembedder_loss_grad(e1, e2, apart, **options, cotangent=cotangent)
    for function in (losses.autoembedder_loss, losses.autoembedder_loss_plain):
        autodiff = jax.jit(
            jax.grad(lambda a, b, f=function: jnp.sum(cotangent * f(a, b, apart, **options)), argnums=(0, 1))
        )(e1, e2)
        np.testing.assert_allclose(of_1, autodiff[0], rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(of_2, autodiff[1], rtol=1e-11, atol=1e-13)
    step = 1e-6
    for axis in range(3):
        moved = [DEFINITION(e1.at[:, axis].add(s), e2, apart, **options) for s in (step, -step)]
        np.testing.assert_allclose(of_1[:, axis], cotangent * (moved[0] - moved[1]) / (2 * step), atol=1e-7)
    np.testing.assert_array_equal(of_2, -of_1)


def test_no_gradient_at_or_beyond_the_cap_but_for_unclipped_must_links():
    e1 = jnp.array([[3.0, 4.0], [6.0, 8.0]])
    for apart, clip, moves in [(True, True, False), (False, True, False), (True, False, False), (False, False, True)]:
        links = jnp.full(2, apart)
        of_1, _ = losses.autoembedder_loss_grad(e1, jnp.zeros((2, 2)), links, alpha=5.0, clip_must_link=clip)
        assert np.all(np.any(of_1 != 0, axis=-1) == moves)
        autodiff = jax.grad(
            lambda e, c=clip, k=links: jnp.sum(
                losses.autoembedder_loss_plain(e, jnp.zeros((2, 2)), k, alpha=5.0, clip_must_link=c)
            )
        )(e1)
        np.testing.assert_allclose(of_1, autodiff)


def test_equal_embeddings_have_a_finite_gradient_of_zero():
    e = jnp.ones((2, 3))
    apart = jnp.array([0, 1])
    for function in (losses.autoembedder_loss, losses.autoembedder_loss_plain):
        value, gradient = jax.value_and_grad(lambda e1, f=function: jnp.sum(f(e1, e, apart, alpha=2.0)))(e)
        assert value == 4 and not np.any(gradient)
    assert not np.any(losses.autoembedder_loss_grad(e, e, apart, alpha=2.0)[0])


def test_second_derivatives(x64):
    e1, e2, apart = draw((4,))
    e1 = e1.at[0].set(e2[0])
    apart = apart.at[0].set(0)
    wired, plain = (
        jax.jit(jax.hessian(lambda a, f=function: jnp.sum(f(a, e2, apart, alpha=2.0))))(e1)
        for function in (losses.autoembedder_loss, losses.autoembedder_loss_plain)
    )
    np.testing.assert_allclose(wired, plain, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(wired[0, :, 0, :], 2 * np.eye(3), atol=1e-12)


def test_under_vmap_and_scan(x64):
    arguments = draw((5,))
    of_one = jax.value_and_grad(lambda *a: losses.autoembedder_loss(*a, alpha=2.0), argnums=(0, 1))
    expected = (
        losses.autoembedder_loss(*arguments, alpha=2.0),
        losses.autoembedder_loss_grad(*arguments, alpha=2.0),
    )
    for transformed in (jax.vmap(of_one), lambda *a: jax.lax.scan(lambda c, one: (c, of_one(*one)), None, a)[1]):
        actual = jax.jit(transformed)(*arguments)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), actual, expected)


def test_bfloat16_in_float32_out():
    e1, e2, apart = draw(dtype=jnp.bfloat16)
    value = losses.autoembedder_loss(e1, e2, apart, alpha=2.0)
    assert value.dtype == jnp.float32
    wide = DEFINITION(e1.astype(jnp.float32), e2.astype(jnp.float32), apart, alpha=2.0)
    np.testing.assert_allclose(value, wide, rtol=1e-4, atol=1e-6)
    assert losses.autoembedder_loss_grad(e1, e2, apart, alpha=2.0)[0].dtype == jnp.bfloat16


def test_alpha_may_be_traced():
    e1, e2, apart = draw(dtype=jnp.float32)
    traced = jax.jit(lambda alpha: losses.autoembedder_loss(e1, e2, apart, alpha=alpha))
    np.testing.assert_allclose(traced(2.0), losses.autoembedder_loss(e1, e2, apart, alpha=2.0), rtol=1e-6)


def test_extreme_embeddings():
    e = jnp.full((2, 3), 1e30)
    apart = jnp.array([True, False])
    assert losses.autoembedder_loss(e, -e, apart, alpha=100.0).tolist() == [0.0, 1e4]
    unclipped = losses.autoembedder_loss(e, -e, apart, alpha=100.0, clip_must_link=False)
    assert unclipped.tolist() == [0.0, np.inf]
    of_1, _ = losses.autoembedder_loss_grad(e, -e, apart, alpha=100.0, clip_must_link=False)
    np.testing.assert_allclose(of_1, [[0] * 3, [4e30] * 3], rtol=1e-6)
    near = 1e-30 * e  # about 1e0 after scaling twice
    of_1, _ = losses.autoembedder_loss_grad(near * 1e-30, jnp.zeros((2, 3)), apart, alpha=1.0)
    np.testing.assert_allclose(of_1[0], -2 / np.sqrt(3), rtol=1e-5)
    assert np.all(np.isfinite(of_1))


def test_nan_stays_and_is_seen():
    e1, e2, _ = draw((4,), dtype=jnp.float32)
    broken = e1.at[:2, 0].set(jnp.nan)
    apart = jnp.array([0, 1, 0, 1])
    for clip in (True, False):
        options = {"alpha": 2.0, "clip_must_link": clip}
        assert np.isnan(losses.autoembedder_loss(broken, e2, apart, **options)).tolist() == [True] * 2 + [False] * 2
        of_1, _ = losses.autoembedder_loss_grad(broken, e2, apart, **options)
        assert np.isnan(of_1).any(-1).tolist() == [True] * 2 + [False] * 2


def test_refused_arguments(as_a_user):
    e1, e2, apart = draw(dtype=jnp.float32)
    with pytest.raises(ArgumentTypeError, match="`embeddings_2` must be floating"):
        losses.autoembedder_loss(e1, e2.astype(jnp.int32), apart, alpha=1.0)
    with pytest.raises(ArgumentError, match="`embeddings_1` and `embeddings_2` must have the same shape"):
        losses.autoembedder_loss(e1, e2[:, :2], apart, alpha=1.0)
    with pytest.raises(ArgumentError, match="`cannot_link` must have shape"):
        losses.autoembedder_loss(e1, e2, apart[:3], alpha=1.0)
    with pytest.raises(ArgumentError, match=r"`alpha` must lie in \(0"):
        losses.autoembedder_loss(e1, e2, apart, alpha=0.0)
