"""The regularized siamese losses: golden values, definitions, gradients, padding, hard inputs."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxspk import losses
from jaxspk.errors import ArgumentError, ArgumentTypeError

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "siamese_losses.json").read_text())["cases"]
LAMBDAS = {"lambda_mean": 0.3, "lambda_cov": 0.05}
NAMES = ["mean_distance", "covariance_distance", "siamese_discrimination_loss", "regularized_siamese_loss"]
# Units against frames: covariances where there are fewer units than frames of both segments, else inner products.
SHAPES = {"covariances": (5, 8, 3), "inner_products": (3, 4, 9)}
EVERY_LOSS = [("mean_distance", "covariances"), ("regularized_siamese_loss", "covariances")] + [
    (name, shape) for name in ("covariance_distance", "siamese_discrimination_loss") for shape in SHAPES
]

pytestmark = pytest.mark.usefixtures("strict_promotion")


def draw(batch=(), frames_1=6, frames_2=6, units=3, *, dim=2, seed=0, dtype=None):
    """Everything a loss may ask for."""
    random = np.random.default_rng(seed)
    arrays = {
        "inputs_1": random.normal(size=(*batch, frames_1, dim)),
        "inputs_2": random.normal(size=(*batch, frames_2, dim)),
        "reconstructions_1": random.normal(size=(*batch, frames_1, dim)),
        "reconstructions_2": random.normal(size=(*batch, frames_2, dim)),
        "codes_1": random.uniform(size=(*batch, frames_1, units)),
        "codes_2": random.uniform(size=(*batch, frames_2, units)) ** 2,
        "same_speaker": random.integers(2, size=batch).astype(float),
    }
    return {name: jnp.asarray(array, dtype) for name, array in arrays.items()}


def arguments(name, arrays):
    """The arrays and options that the loss of this name takes."""
    codes = [arrays["codes_1"], arrays["codes_2"]]
    if name in ("mean_distance", "covariance_distance"):
        return codes, {}
    if name == "siamese_discrimination_loss":
        return [*codes, arrays["same_speaker"]], LAMBDAS
    return list(arrays.values()), {**LAMBDAS, "alpha": 0.3}


def differentiable(name):
    order = list(draw()) if name == "regularized_siamese_loss" else ["codes_1", "codes_2", "same_speaker"]
    return tuple(order.index(argument) for argument in losses.LOSSES[name].differentiable)


def central_differences(function, x, step=1e-6):
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        gradient[index] = (function(x.at[index].add(step)) - function(x.at[index].add(-step))) / (2 * step)
    return gradient


# --- Golden values ---


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"])
def test_golden_distances_and_none_of_the_traps(x64, case):
    c1, c2 = jnp.array(case["CS1"]), jnp.array(case["CS2"])
    d_m, d_s = losses.mean_distance(c1, c2), losses.covariance_distance(c1, c2)
    np.testing.assert_allclose(d_m, case["D_m"], rtol=1e-13)
    np.testing.assert_allclose(d_s, case["D_S"], rtol=1e-13)
    for trap, wrong in case["traps"].items():
        if trap == "D_m_using_all_code_units" and case["n_cs"] == case["n_code_units"]:
            continue
        assert abs((d_m if trap.startswith("D_m") else d_s) - wrong) > 1e-4, trap
    for actual, expected, codes in zip(losses.mean_distance_grad(c1, c2), case["p"], (c1, c2), strict=True):
        np.testing.assert_allclose(actual, np.broadcast_to(expected, codes.shape), atol=1e-15)
    for actual, expected in zip(losses.covariance_distance_grad(c1, c2), case["q"], strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-15)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"])
def test_golden_loss_and_gradient_of_preactivations_with_the_zero_block(x64, case):
    u1, u2, units = jnp.array(case["U1"]), jnp.array(case["U2"]), case["n_cs"]
    lambdas = {"lambda_mean": case["lambda_m"], "lambda_cov": case["lambda_S"]}

    def through_codes(u1, u2, same):
        return losses.siamese_discrimination_loss(*(jax.nn.sigmoid(u)[..., :units] for u in (u1, u2)), same, **lambdas)

    for golden in case["labels"]:
        same = jnp.array(float(golden["I"]))
        np.testing.assert_allclose(through_codes(u1, u2, same), golden["L_D"], rtol=1e-13)
        of_1, of_2 = losses.siamese_preactivation_grad(u1, u2, same, units=units, **lambdas)
        np.testing.assert_allclose(of_1, golden["grad_U1_L_D"], atol=1e-14)
        np.testing.assert_allclose(of_2, golden["grad_U2_L_D"], atol=1e-14)
        assert not np.any(of_1[:, units:]) and not np.any(of_2[:, units:])
        autodiff = jax.jit(jax.grad(through_codes, argnums=(0, 1)))(u1, u2, same)
        np.testing.assert_allclose(of_1, autodiff[0], atol=1e-14)
        np.testing.assert_allclose(of_2, autodiff[1], atol=1e-14)


# --- Values and gradients against the definitions ---


@pytest.mark.parametrize(("name", "shape"), EVERY_LOSS)
def test_equals_the_definition(x64, name, shape):
    entry = losses.LOSSES[name]
    given, options = arguments(name, draw((2, 3), *SHAPES[shape]))
    expected = entry.definition(*given, **options)
    assert expected.shape == (2, 3)
    for function in (entry.loss, entry.plain):
        np.testing.assert_allclose(jax.jit(functools.partial(function, **options))(*given), expected, rtol=1e-11)


@pytest.mark.parametrize(("name", "shape"), EVERY_LOSS)
def test_gradient_equals_autodiff_and_differences(x64, name, shape):
    entry, wanted = losses.LOSSES[name], differentiable(name)
    given, options = arguments(name, draw((), *SHAPES[shape]))
    analytic = jax.jit(functools.partial(entry.grad, **options))(*given)
    for function in (entry.loss, entry.plain):
        autodiff = jax.jit(jax.grad(functools.partial(function, **options), argnums=wanted))(*given)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13), analytic, autodiff)
    for index, gradient in zip(wanted, analytic, strict=True):
        at = lambda x, i=index: entry.definition(*given[:i], x, *given[i + 1 :], **options)  # noqa: E731
        np.testing.assert_allclose(gradient, central_differences(at, given[index]), atol=1e-8)


@pytest.mark.parametrize("same", [0.0, 1.0, 0.3])
def test_both_labels_and_soft_ones(x64, same):
    given, options = arguments("siamese_discrimination_loss", {**draw(), "same_speaker": jnp.array(same)})
    entry = losses.LOSSES["siamese_discrimination_loss"]
    np.testing.assert_allclose(entry.loss(*given, **options), entry.definition(*given, **options), rtol=1e-12)
    autodiff = jax.jit(jax.grad(functools.partial(entry.plain, **options), argnums=(0, 1)))(*given)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-14), entry.grad(*given, **options), autodiff
    )


@pytest.mark.parametrize("name", NAMES)
def test_cotangents_scale_each_pair(x64, name):
    entry, wanted = losses.LOSSES[name], differentiable(name)
    given, options = arguments(name, draw((4,)))
    cotangent = jnp.array([2.0, -1.0, 0.0, 0.5])
    scaled = entry.grad(*given, **options, cotangent=cotangent)

    def weighted(*some):
        every = list(given)
        for index, array in zip(wanted, some, strict=True):
            every[index] = array
        return jnp.sum(cotangent * entry.plain(*every, **options))

    expected = jax.jit(jax.grad(weighted, argnums=tuple(range(len(wanted)))))(*(given[i] for i in wanted))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-14), scaled, expected)


def test_second_derivatives(x64):
    for shape in ((3, 3, 2), (2, 2, 5)):
        given, options = arguments("siamese_discrimination_loss", draw((), *shape))
        functions = [
            functools.partial(f, **options)
            for f in (losses.siamese_discrimination_loss, losses.siamese_discrimination_loss_plain)
        ]
        wired, plain = (jax.jit(jax.hessian(f, argnums=(0, 1)))(*given) for f in functions)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11), wired, plain)


# --- Laws ---


def test_laws_of_the_gradients(x64):
    arrays = draw((), 5, 7, 3)
    c1, c2 = arrays["codes_1"], arrays["codes_2"]
    p1, p2 = losses.mean_distance_grad(c1, c2)
    difference = c1.mean(0) - c2.mean(0)
    np.testing.assert_allclose(p1.sum(0), 2 * difference, rtol=1e-12)
    np.testing.assert_allclose(p2.sum(0), -2 * difference, rtol=1e-12)
    q1, q2 = losses.covariance_distance_grad(c1, c2)
    np.testing.assert_allclose(q1.sum(0), 0, atol=1e-15)
    np.testing.assert_allclose(q2.sum(0), 0, atol=1e-15)
    # Homogeneous of degree 2 and 4.
    np.testing.assert_allclose(jnp.vdot(c1, p1) + jnp.vdot(c2, p2), 2 * losses.mean_distance(c1, c2))
    np.testing.assert_allclose(jnp.vdot(c1, q1) + jnp.vdot(c2, q2), 4 * losses.covariance_distance(c1, c2))


def test_order_of_frames_exchange_of_segments_and_constants(x64):
    given, options = arguments("siamese_discrimination_loss", draw((), 5, 7, 3))
    c1, c2, same = given
    value = losses.siamese_discrimination_loss(c1, c2, same, **options)
    np.testing.assert_allclose(losses.siamese_discrimination_loss(c1[::-1], c2, same, **options), value)
    np.testing.assert_allclose(losses.siamese_discrimination_loss(c2, c1, same, **options), value)
    shifted = losses.covariance_distance(c1 + jnp.array([1.0, -2.0, 3.0]), c2)
    np.testing.assert_allclose(shifted, losses.covariance_distance(c1, c2), rtol=1e-11)


def test_covariances_and_inner_products_agree(x64):
    arrays = draw((2,), 3, 4, 6)
    narrow = losses.covariance_distance(arrays["codes_1"], arrays["codes_2"])
    silent = [jnp.concatenate([arrays[name], jnp.zeros((2, frames, 9))], axis=-1) for name, frames in
              (("codes_1", 3), ("codes_2", 4))]  # fmt: skip
    np.testing.assert_allclose(losses.covariance_distance(*silent), narrow, rtol=1e-12)
    for wide, few in zip(
        losses.covariance_distance_grad(*silent),
        losses.covariance_distance_grad(arrays["codes_1"], arrays["codes_2"]),
        strict=True,
    ):
        np.testing.assert_allclose(wide[..., :6], few, rtol=1e-11, atol=1e-15)
        assert not np.any(wide[..., 6:])


def test_whole_numbers_are_not_rounded_whatever_the_largest_is(x64):
    """Codes are scaled before they are squared: by a power of two, or 3 would not stay 3."""
    codes_1, codes_2 = (jnp.asarray(c, float) for c in ([[-2, 1, 0], [1, 3, -1]], [[0, 2, -2], [-1, -4, -3]]))
    assert float(losses.covariance_distance(codes_1, codes_2)) == 312
    of_1, _ = losses.covariance_distance_grad(codes_1, codes_2)
    np.testing.assert_array_equal(of_1, [[-28, 56, 28], [28, -56, -28]])


def test_collapsed_codes_are_stationary():
    codes = jnp.full((4, 3), 0.5)
    for same, expected in ((0, 2.0), (1, 0.0)):
        assert losses.siamese_discrimination_loss(codes, codes, jnp.array(same), **LAMBDAS) == expected
        gradients = losses.siamese_discrimination_loss_grad(codes, codes, jnp.array(same), **LAMBDAS)
        assert not np.any(gradients[0]) and not np.any(gradients[1])


# --- Padding ---


@pytest.mark.parametrize("name", ["mean_distance", "covariance_distance", "regularized_siamese_loss"])
def test_padded_frames_count_nowhere(x64, name):
    entry = losses.LOSSES[name]
    arrays = draw((2,), 6, 7, 3)
    masks = {
        "where_1": jnp.arange(6) < jnp.array([[4], [6]]),
        "where_2": jnp.arange(7) < jnp.array([[5], [3]]),
    }
    given, options = arguments(name, arrays)
    broken = [
        jnp.where(masks[f"where_{key[-1]}"][..., None], array, jnp.nan) if key[-1] in "12" else array
        for key, array in arrays.items()
        if any(array is one for one in given)
    ]
    value = jax.jit(functools.partial(entry.loss, **options))(*broken, **masks)
    np.testing.assert_allclose(value, entry.definition(*given, **options, **masks), rtol=1e-12)
    gradients = jax.jit(functools.partial(entry.grad, **options))(*broken, **masks)
    autodiff = jax.jit(jax.grad(lambda *a: jnp.sum(entry.plain(*a, **options, **masks)), argnums=differentiable(name)))
    for argument, gradient, expected in zip(entry.differentiable, gradients, autodiff(*given), strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-14)
        assert not np.any(np.where(masks[f"where_{argument[-1]}"][..., None], 0, gradient))


def test_a_single_frame_left_by_the_mask_has_no_covariance(x64):
    arrays = draw()
    one = jnp.arange(6) < 1
    none = losses.covariance_distance(arrays["codes_1"], arrays["codes_2"], where_1=one, where_2=one)
    assert none == 0
    nothing = losses.mean_distance(arrays["codes_1"], arrays["codes_2"], where_1=one & False, where_2=one & False)
    assert nothing == 0


# --- Transformations and dtypes ---


@pytest.mark.parametrize("name", ["covariance_distance", "regularized_siamese_loss"])
def test_under_vmap_scan_and_remat(x64, name):
    entry, wanted = losses.LOSSES[name], differentiable(name)
    given, options = arguments(name, draw((3,)))
    of_one = jax.value_and_grad(functools.partial(entry.loss, **options), argnums=wanted)
    expected = entry.loss(*given, **options), entry.grad(*given, **options)
    for transformed in (
        jax.vmap(of_one),
        lambda *a: jax.lax.scan(lambda carry, one: (carry, of_one(*one)), None, a)[1],
        jax.vmap(jax.value_and_grad(jax.checkpoint(functools.partial(entry.loss, **options)), argnums=wanted)),
    ):
        actual = jax.jit(transformed)(*given)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-14), actual, expected)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_in_float32_out(name):
    entry = losses.LOSSES[name]
    arrays = draw((2,), 40, 50, 6, dtype=jnp.bfloat16)
    arrays["same_speaker"] = jnp.array([True, False])
    given, options = arguments(name, arrays)
    value = entry.loss(*given, **options)
    assert value.dtype == jnp.float32
    wide = [np.asarray(a.astype(jnp.float32)) for a in given]
    np.testing.assert_allclose(value, entry.definition(*wide, **options), rtol=1e-4)
    gradients = entry.grad(*given, **options)
    assert all(gradient.dtype == jnp.bfloat16 for gradient in gradients)


def test_hyperparameters_may_be_traced():
    given, _ = arguments("regularized_siamese_loss", draw(dtype=jnp.float32))
    options = {**LAMBDAS, "alpha": 0.3}
    traced = jax.jit(lambda options: losses.regularized_siamese_loss(*given, **options))
    np.testing.assert_allclose(
        traced(jax.tree.map(jnp.float32, options)), losses.regularized_siamese_loss(*given, **options), rtol=1e-6
    )


# --- Hard inputs ---


@pytest.mark.parametrize("shape", [(6, 6, 3), (3, 3, 9)], ids=["covariances", "inner_products"])
def test_beyond_the_range_is_infinite_for_one_speaker_and_zero_for_two(shape):
    arrays = draw((), *shape, dtype=jnp.float32)
    huge = [1e30 * jnp.sign(arrays[name] - 0.4) for name in ("codes_1", "codes_2")]
    assert losses.mean_distance(*huge) == np.inf and losses.covariance_distance(*huge) == np.inf
    for same, expected in ((1, np.inf), (0, 0.0)):
        assert losses.siamese_discrimination_loss(*huge, jnp.array(same), **LAMBDAS) == expected
        gradients = losses.siamese_discrimination_loss_grad(*huge, jnp.array(same), **LAMBDAS)
        assert not np.any(np.isnan(gradients[0])) and not np.any(np.isnan(gradients[1]))
        if not same:
            assert not np.any(gradients[0]) and not np.any(gradients[1])
    inputs = 1e30 * jnp.ones((4, 2))
    assert losses.reconstruction_loss(inputs, -inputs) == np.inf
    assert np.all(losses.reconstruction_loss_grad(inputs, -inputs) < -1e29)
    whole = losses.regularized_siamese_loss(
        inputs, inputs, -inputs, -inputs, jnp.ones((4, 2)), jnp.ones((4, 2)), jnp.array(1), alpha=0.0, **LAMBDAS
    )
    assert whole == 0


def test_saturated_units_have_a_gradient_of_zero_and_unsaturated_ones_keep_their_digits():
    u = jnp.array([[1e30, -1e30, 60.0], [-1e30, 1e30, -60.0], [0.0, 1.0, 80.0]])
    gradients = losses.siamese_preactivation_grad(u, -u[::-1] + 1, jnp.array(1), units=3, **LAMBDAS)
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)
    # c (1 - c) as 1 - c would round to 0 at 60: the slope is about exp(-60).
    assert 0 < abs(float(gradients[0][0, 2])) < 1e-20


@pytest.mark.parametrize("name", NAMES)
def test_nan_stays_and_is_seen(name):
    entry = losses.LOSSES[name]
    arrays = draw((2,), dtype=jnp.float32)
    arrays["codes_1"] = arrays["codes_1"].at[0, 1, 1].set(jnp.nan)
    given, options = arguments(name, arrays)
    value = entry.loss(*given, **options)
    assert np.isnan(value[0]) and np.isfinite(value[1])
    of_codes = entry.grad(*given, **options)[-2]
    assert np.any(np.isnan(of_codes[0])) and np.all(np.isfinite(of_codes[1]))


@pytest.mark.parametrize("shape", [(62, 62, 10), (20, 20, 100)], ids=["covariances", "inner_products"])
def test_float32_is_close_to_float64(shape):
    arrays = draw((), *shape, dtype=jnp.float32)
    codes = [arrays["codes_1"], arrays["codes_2"]]
    value, gradients = losses.covariance_distance(*codes), losses.covariance_distance_grad(*codes)
    with jax.enable_x64(True):
        wide = [jnp.asarray(np.float64(c)) for c in codes]
        np.testing.assert_allclose(value, losses.covariance_distance(*wide), rtol=1e-5)
        for narrow, exact in zip(gradients, losses.covariance_distance_grad(*wide), strict=True):
            np.testing.assert_allclose(narrow, exact, rtol=0, atol=1e-5 * np.max(np.abs(exact)))


def test_never_negative_where_inner_products_cancel():
    codes = draw((), 62, 62, 200, dtype=jnp.float32)["codes_1"]
    near = codes[::-1] + 1e-5 * codes
    assert losses.covariance_distance(codes, near) >= 0


# --- Reconstruction ---


def test_reconstruction_loss_is_a_mean_and_its_gradient_follows(x64):
    arrays = draw((3,), 5)
    x, r = arrays["inputs_1"], arrays["reconstructions_1"]
    mask = jnp.arange(5) < jnp.array([[5], [2], [0]])
    np.testing.assert_allclose(losses.reconstruction_loss(x, r), jnp.mean((x - r) ** 2, (-2, -1)), rtol=1e-12)
    value = losses.reconstruction_loss(x, r, where=mask)
    definition = losses.LOSSES["reconstruction_loss"].definition
    np.testing.assert_allclose(value, definition(x, r, where=mask), rtol=1e-12)
    cotangent = jnp.array([1.0, -2.0, 3.0])
    gradient = losses.reconstruction_loss_grad(x, r, where=mask, cotangent=cotangent)
    for function in (losses.reconstruction_loss, losses.reconstruction_loss_plain):
        autodiff = jax.grad(lambda r, f=function: jnp.sum(cotangent * f(x, r, where=mask)))(r)
        np.testing.assert_allclose(gradient, autodiff, rtol=1e-12, atol=1e-15)
    assert not np.any(jax.grad(lambda x: jnp.sum(losses.reconstruction_loss(x, r)))(x))


# --- Messages ---


def test_refused_arguments(as_a_user):
    arrays = draw((2,), dtype=jnp.float32)
    c1, c2, same = arrays["codes_1"], arrays["codes_2"], arrays["same_speaker"]
    with pytest.raises(ArgumentTypeError, match="`codes_1` must be floating"):
        losses.mean_distance(c1.astype(jnp.int32), c2)
    with pytest.raises(ArgumentError, match=r"`codes_2` must have shape .*batch and units as in `codes_1`"):
        losses.mean_distance(c1, c2[..., :2])
    with pytest.raises(ArgumentError, match="`codes_2` must have at least 2 frames"):
        losses.covariance_distance(c1, c2[:, :1])
    with pytest.raises(ArgumentError, match="`where_1` must have shape"):
        losses.mean_distance(c1, c2, where_1=jnp.ones((2, 3), bool))
    with pytest.raises(ArgumentError, match="`same_speaker` must have shape"):
        losses.siamese_discrimination_loss(c1, c2, same[:1], **LAMBDAS)
    with pytest.raises(ArgumentError, match=r"`lambda_cov` must lie in \(0"):
        losses.siamese_discrimination_loss(c1, c2, same, lambda_mean=1.0, lambda_cov=0.0)
    with pytest.raises(ArgumentError, match=r"`units` must lie in \[1, 3\]"):
        losses.siamese_preactivation_grad(c1, c2, same, units=4, **LAMBDAS)
    with pytest.raises(ArgumentError, match="`inputs` and `reconstructions` must have"):
        losses.reconstruction_loss(c1, c2[..., :2])
    with pytest.raises(ArgumentError, match=r"`alpha` must lie in \[0, 1\]"):
        losses.regularized_siamese_loss(*arrays.values(), alpha=1.5, **LAMBDAS)
    arrays["codes_2"] = c2[:, :4]
    with pytest.raises(ArgumentError, match=r"`codes_2` must have shape .*frames as in `inputs_2`"):
        losses.regularized_siamese_loss(*arrays.values(), alpha=0.5, **LAMBDAS)
