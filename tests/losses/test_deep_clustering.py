"""Deep clustering: golden values, the definition, float32 near the minimum, gradients, and hard inputs."""

import itertools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxspk import losses
from jaxspk.errors import ArgumentError, ArgumentTypeError
from jaxspk.losses import _deep_clustering

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "deep_clustering_cost.json").read_text())
GOLDEN_FORMS = {f"{case['name']}-{form['form']}": (case, form) for case in GOLDEN["cases"] for form in case["forms"]}
PARTITION_FORMS = {name: pair for name, pair in GOLDEN_FORMS.items() if name.endswith("-partition")}
DEFINITION = losses.LOSSES["deep_clustering_loss"].definition
OPTIONS = [
    {"balance": balance, "normalize": normalize}
    for balance, normalize in itertools.product(("none", "partition"), ("none", "weights"))
]
CORNERS = [OPTIONS[0], OPTIONS[-1]]
BATCHES = [(), (1,), (2, 2)]
IDS = {"ids": lambda options: "-".join(options.values())}

# One compilation for a call, instead of one for each operation in it.
STATIC = ("balance", "normalize")
loss = jax.jit(losses.deep_clustering_loss, static_argnames=STATIC)
loss_plain = jax.jit(losses.deep_clustering_loss_plain, static_argnames=STATIC)
loss_grad = jax.jit(losses.deep_clustering_loss_grad, static_argnames=STATIC)

pytestmark = pytest.mark.usefixtures("strict_promotion")


def draw(batch=(), bins=9, dim=4, sources=2, *, seed=0, dtype=None, soft=False):
    """Embeddings of any length, assignments with bins of no source, weights with silent bins."""
    random = np.random.default_rng(seed)
    v = random.normal(size=(*batch, bins, dim))
    y = random.dirichlet(np.ones(sources), (*batch, bins))
    if not soft:
        y = np.eye(sources)[y.argmax(-1)]
    y = y * (random.random((*batch, bins, 1)) > 0.15)
    w = random.exponential(size=(*batch, bins)) * (random.random((*batch, bins)) > 0.2)
    return tuple(jnp.asarray(x, dtype) for x in (v, y, w))


def central_differences(function, x, step=1e-6):
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        gradient[index] = (function(x.at[index].add(step)) - function(x.at[index].add(-step))) / (2 * step)
    return gradient


def near_minimum(noise, *, bins=12900, dim=40, sources=2):
    """Orthonormal centres plus noise."""
    random = np.random.default_rng(0)
    labels = (random.random(bins) > 0.65).astype(int)
    centres = np.linalg.qr(random.normal(size=(dim, sources)))[0].T
    return centres[labels] + noise * random.normal(size=(bins, dim)), np.eye(sources)[labels]


def low_rank(v, y, r):
    """The textbook form, in NumPy's float64 (its terms cancel, so float64 is needed)."""
    square = lambda matrix: np.sum(np.square(matrix))  # noqa: E731
    rv, ry = r[:, None] * v, r[:, None] * y
    return square(v.T @ rv) - 2 * square(v.T @ ry) + square(y.T @ ry)


# --- Values ---


def test_whole_numbers_are_not_rounded_whatever_the_largest_is(x64):
    """Embeddings are scaled before they are squared: by a power of two, or 7 would not stay 7."""
    v = jnp.asarray([[3.0, -1], [5, 2], [0, 7], [5, 2], [0, 7]])
    y = jnp.eye(2)[jnp.array([0, 1, 1, 1, 1])]
    expected = np.sum((np.asarray(v @ v.T) - np.asarray(y @ y.T)) ** 2)
    assert float(losses.deep_clustering_loss(v, y)) == expected


@pytest.mark.parametrize(("case", "form"), GOLDEN_FORMS.values(), ids=GOLDEN_FORMS)
def test_golden_forms_and_none_of_the_traps(x64, case, form):
    v, y = jnp.array(case["V"]), jnp.eye(case["C"])[jnp.array(case["labels"])]
    mask = jnp.array(case["mask"])
    weights, balance = {
        "unweighted": (None, "none"),
        "partition": (None, "partition"),
        "vad": (mask, "none"),
        "vad_partition_active_counts": (mask, "partition"),
    }.get(form["form"], (jnp.array(form["r"]), "none"))
    value = loss(v, y, weights, balance=balance)
    np.testing.assert_allclose(value, form["cost"], rtol=1e-12)
    for trap, wrong in case["traps"].items():
        assert abs(value - wrong) > 1e-3, trap
    if case["N"] == 8:
        scaled = loss(v, y, weights, balance=balance, normalize="weights")
        np.testing.assert_allclose(scaled, form["cost_over_sum_r_squared"], rtol=1e-12)
    gradient = loss_grad(v, y, weights, balance=balance)
    np.testing.assert_allclose(gradient, form["grad_V"], rtol=0, atol=1e-13 * np.max(np.abs(form["grad_V"])))


@pytest.mark.parametrize("activation", ["tanh", "logistic"])
@pytest.mark.parametrize(("case", "form"), PARTITION_FORMS.values(), ids=PARTITION_FORMS)
def test_golden_gradient_through_activation_and_unit_length(x64, case, form, activation):
    labels = jnp.eye(case["C"])[jnp.array(case["labels"])]

    def cost(h):
        z = {"tanh": jnp.tanh, "logistic": jax.nn.sigmoid}[activation](h)
        v = z / jnp.linalg.norm(z, axis=-1, keepdims=True)
        return loss(v, labels, balance="partition")

    value, gradient = jax.jit(jax.value_and_grad(cost))(jnp.array(case["H"]))
    np.testing.assert_allclose(value, form[f"cost_{activation}"], rtol=1e-12)
    np.testing.assert_allclose(gradient, form[f"grad_H_{activation}"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", OPTIONS, **IDS)
def test_equals_the_sum_over_pairs(x64, options):
    for soft in (False, True):
        arguments = draw((2,), 12, 3, 5, soft=soft)
        expected = DEFINITION(*arguments, **options)
        for function in (loss, loss_plain):
            np.testing.assert_allclose(function(*arguments, **options), expected, rtol=1e-11)


@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_any_batch_axes_and_sizes(x64, batch):
    for bins, dim, sources in [(1, 1, 1), (7, 4, 2)]:
        arguments = draw(batch, bins, dim, sources, seed=bins)
        value = loss(*arguments)
        assert value.shape == batch
        np.testing.assert_allclose(value, DEFINITION(*arguments), rtol=1e-11, atol=1e-12)


def test_blocks_of_bins_change_nothing(x64, monkeypatch):
    arguments = draw((2,), bins=23, dim=4, sources=3)
    both = lambda *a: (losses.deep_clustering_loss(*a), losses.deep_clustering_loss_grad(*a))  # noqa: E731
    whole = jax.jit(both)(*arguments)
    for numbers in (2 * 4, 2 * 4 * 5):  # blocks of 1 bin, and of 5, of which the last ones overlap
        monkeypatch.setattr(_deep_clustering, "_BLOCK_NUMBERS", numbers)
        blocks = jax.jit(lambda *a: both(*a))(*arguments)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11), blocks, whole)


@pytest.mark.parametrize("balance", ["none", "partition"])
@pytest.mark.parametrize(("noise", "rtol"), [(1.0, 1e-5), (0.01, 1e-5), (1e-3, 1e-5), (1e-4, 1e-3)])
def test_float32_keeps_its_digits_near_the_minimum(noise, rtol, balance):
    v, y = (x.astype(np.float32) for x in near_minimum(noise))
    r = np.ones(len(v)) if balance == "none" else (y @ y.sum(0)) ** -0.5
    exact = low_rank(v.astype(np.float64), y.astype(np.float64), r.astype(np.float64))
    value = loss(jnp.asarray(v), jnp.asarray(y), balance=balance)
    assert value.dtype == jnp.float32
    # The textbook form in float32 is off by a tenth at noise 0.001, and at 0.0001 by more than the value.
    np.testing.assert_allclose(value, exact, rtol=rtol)


@pytest.mark.parametrize("soft", [False, True], ids=["one_hot", "soft"])
def test_never_negative_and_zero_at_the_minimum(soft):
    _, y, w = draw((), 500, 3, 3, soft=soft)
    rotation = jnp.asarray(np.linalg.qr(np.random.default_rng(1).normal(size=(8, 3)))[0].T, y.dtype)
    v = jnp.matmul(y, rotation, precision="highest")
    for weights, options in itertools.product((None, w), CORNERS):
        value = loss(v, y, weights, **options)
        scale = 500.0**2 if options["normalize"] == "none" else 1.0
        assert 0 <= value < 1e-11 * scale


def test_expected_value_of_random_embeddings():
    bins, dim = 20_000, 40
    v = np.random.default_rng(0).normal(size=(bins, dim))
    v /= np.linalg.norm(v, axis=-1, keepdims=True)
    y = np.eye(2)[(np.arange(bins) > 0.65 * bins).astype(int)]
    expected = np.square(y.sum(0)).sum() - bins + (bins**2 - bins) / dim
    value = loss(jnp.asarray(v, jnp.float32), jnp.asarray(y, jnp.float32))
    np.testing.assert_allclose(value, expected, rtol=1e-3)


# --- Gradients ---


@pytest.mark.parametrize("options", OPTIONS, **IDS)
def test_gradient_equals_autodiff_of_the_plain_form_and_differences(x64, options):
    v, *data = draw((), 7, 3, 2, soft=options in CORNERS)
    analytic = loss_grad(v, *data, **options)
    for function in (loss, loss_plain):
        gradient = jax.jit(jax.grad(lambda v, f=function: f(v, *data, **options)))(v)
        np.testing.assert_allclose(gradient, analytic, rtol=1e-10, atol=1e-12)
    differences = central_differences(lambda v: DEFINITION(v, *data, **options), v)
    np.testing.assert_allclose(analytic, differences, rtol=0, atol=1e-7 * np.max(np.abs(differences)))


@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_cotangents_scale_each_example(x64, batch):
    v, *data = draw(batch)
    cotangent = jnp.asarray(np.random.default_rng(5).normal(size=batch))
    pulled = jax.jit(lambda v, t: jax.vjp(lambda v: loss_plain(v, *data), v)[1](t)[0])(v, cotangent)
    given = loss_grad(v, *data, cotangent=cotangent)
    np.testing.assert_allclose(given, pulled, rtol=1e-10, atol=1e-12)
    ones = loss_grad(v, *data)
    np.testing.assert_allclose(given, cotangent[..., None, None] * ones, rtol=1e-12)


def test_second_derivatives(x64):
    v, *data = draw((), 5, 2, 2)

    def wired(v):
        return losses.deep_clustering_loss(v, *data)

    def plain(v):
        return losses.deep_clustering_loss_plain(v, *data)

    def squared_slope(function):
        return lambda v: jnp.sum(jnp.square(jax.grad(function)(v)))

    hessian, of_gradient, twice = jax.jit(
        lambda v: (
            jax.hessian(wired)(v),
            jax.jacfwd(lambda v: losses.deep_clustering_loss_grad(v, *data))(v),
            jax.grad(squared_slope(wired))(v),
        )
    )(v)
    expected, expected_twice = jax.jit(lambda v: (jax.hessian(plain)(v), jax.grad(squared_slope(plain))(v)))(v)
    np.testing.assert_allclose(hessian, expected, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(of_gradient, expected, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(twice, expected_twice, rtol=1e-9, atol=1e-9)


def test_hessian_at_the_minimum(x64):
    y = jnp.eye(2)[jnp.array([0, 1, 1, 0])]
    wired = jax.jit(jax.hessian(lambda v: losses.deep_clustering_loss(v, y)))(y)
    plain = jax.jit(jax.hessian(lambda v: losses.deep_clustering_loss_plain(v, y)))(y)
    np.testing.assert_allclose(wired, plain, atol=1e-12)
    assert np.linalg.eigvalsh(wired.reshape(8, 8)).min() > -1e-12


def test_gradient_of_float32_near_the_minimum():
    v, y = (x.astype(np.float32) for x in near_minimum(1e-3, bins=2000))
    exact = 4 * (v.astype(np.float64) @ (v.T.astype(np.float64) @ v) - y @ (y.T.astype(np.float64) @ v))
    gradient = loss_grad(jnp.asarray(v), jnp.asarray(y))
    np.testing.assert_allclose(gradient, exact, rtol=0, atol=2e-4 * np.max(np.abs(exact)))


def test_data_gets_zero_gradient():
    v, y, w = draw(dtype=jnp.float32)
    gradients = jax.jit(jax.grad(loss, argnums=(1, 2)))(v, y, w)
    assert all(not np.any(g) for g in gradients)


# --- Transformations and dtypes ---


def test_under_vmap_scan_and_remat(x64):
    arguments = draw((3,))
    of_one = jax.value_and_grad(lambda *a: losses.deep_clustering_loss(*a, balance="partition"))
    remat = jax.checkpoint(lambda *a: losses.deep_clustering_loss(*a, balance="partition"))
    values = loss(*arguments, balance="partition")
    gradients = loss_grad(*arguments, balance="partition")
    for transformed in (
        jax.vmap(of_one),
        lambda *a: jax.lax.scan(lambda carry, one: (carry, of_one(*one)), None, a)[1],
        lambda *a: (remat(*a), jax.grad(lambda *a: jnp.sum(remat(*a)))(*a)),
    ):
        value, gradient = jax.jit(transformed)(*arguments)
        np.testing.assert_allclose(value, values, rtol=1e-12)
        np.testing.assert_allclose(gradient, gradients, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_narrow_embeddings_accumulate_in_float32(dtype):
    v, y, w = draw((2,), bins=3000, dim=8)
    v, y = v.astype(dtype) / 4, y.astype(jnp.int8)
    value, gradient = jax.jit(jax.value_and_grad(lambda v: jnp.sum(loss(v, y, w))))(v)
    assert value.dtype == jnp.float32 and gradient.dtype == dtype
    exact = [low_rank(*map(np.float64, (a.astype(jnp.float32), b, c))) for a, b, c in zip(v, y, w, strict=True)]
    np.testing.assert_allclose(value, np.sum(exact), rtol=1e-5)
    wide = loss_grad(v.astype(jnp.float32), y, w)
    np.testing.assert_allclose(gradient.astype(jnp.float32), wide, rtol=float(jnp.finfo(dtype).eps), atol=1e-3)


# --- Hard inputs ---


def test_silence_is_zero():
    v, y, w = draw((2,), dtype=jnp.float32)
    for options in CORNERS:
        value = loss(v, y, jnp.zeros_like(w), **options)
        gradient = loss_grad(v, y, jnp.zeros_like(w), **options)
        assert not np.any(value) and not np.any(gradient)


def test_silent_bins_do_not_count(x64):
    v, y, w = draw((), bins=30)
    for options in CORNERS:
        heard = np.asarray(w) > 0
        assert 0 < heard.sum() < 30
        alone = loss(v[heard], y[heard], w[heard], **options)
        np.testing.assert_allclose(loss(v, y, w, **options), alone, rtol=1e-12)
        huge = jnp.where((w == 0)[:, None], jnp.asarray(1e30), v)
        np.testing.assert_allclose(loss(huge, y, w, **options), alone, rtol=1e-12)


def test_empty_sources_and_their_order_change_nothing(x64):
    v, y, w = draw((), bins=30, sources=3)
    for options in CORNERS:
        value = loss(v, y, w, **options)
        more = jnp.concatenate([jnp.zeros((30, 1)), y[:, ::-1]], axis=-1)
        np.testing.assert_allclose(loss(v, more, w, **options), value, rtol=1e-12)


def test_a_bin_of_no_source_leaves_the_partition_weighted_cost(x64):
    v, y, _ = draw((), bins=30)
    owned = np.asarray(y).any(-1)
    assert 0 < owned.sum() < 30
    value = loss(v, y, balance="partition")
    np.testing.assert_allclose(value, loss(v[owned], y[owned], balance="partition"))


def test_no_bins_and_no_sources():
    assert loss(jnp.zeros((0, 3)), jnp.zeros((0, 2))) == 0
    v = jnp.ones((4, 3))
    np.testing.assert_allclose(loss(v, jnp.zeros((4, 0))), (4 * 3) ** 2)


@pytest.mark.parametrize("scale", [1e12, 1e30])
@pytest.mark.parametrize("options", CORNERS, **IDS)
def test_beyond_the_range_is_infinite_and_never_nan(scale, options):
    v, y, w = draw((), bins=20, dtype=jnp.float32)
    v = jnp.sign(v).at[:, 0].set(0) * scale
    value, gradient = jax.jit(jax.value_and_grad(lambda v: loss(v, y, w, **options)))(v)
    assert value == np.inf
    assert not np.any(np.isnan(gradient))
    assert np.all(gradient[:, 0] == 0) and np.any(np.abs(gradient) > 1e30)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_only_ratios_of_weights_matter_when_normalized(scale):
    v, y, w = draw((), bins=20, dtype=jnp.float32)
    for balance in ("none", "partition"):
        options = {"balance": balance, "normalize": "weights"}
        for function in (loss, loss_grad):
            expected = function(v, y, w, **options)
            actual = function(v, y, w * scale, **options)
            np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-7)


def test_tiny_embeddings(x64):
    _, y, w = draw(dtype=jnp.float32)
    value = loss(jnp.full((9, 4), 1e-30, jnp.float32), y, w)
    np.testing.assert_allclose(value, low_rank(np.zeros((9, 4)), np.float64(y), np.float64(w)), rtol=1e-6)


@pytest.mark.parametrize("place", ["embeddings", "assignments", "weights"])
def test_nan_stays_and_is_seen(place):
    arguments = dict(zip(("embeddings", "assignments", "weights"), draw((2,), dtype=jnp.float32), strict=True))
    arguments[place] = arguments[place].at[(0, 3)].set(jnp.nan)
    value = loss(**arguments)
    assert np.isnan(value[0]) and np.isfinite(value[1])
    gradient = loss_grad(**arguments)
    assert np.any(np.isnan(gradient[0])) and np.all(np.isfinite(gradient[1]))


# --- Messages ---


def test_refused_arguments(as_a_user):
    v, y, w = draw(dtype=jnp.float32)
    with pytest.raises(ArgumentTypeError, match="`embeddings` must be floating"):
        loss(v.astype(jnp.int32), y)
    with pytest.raises(ArgumentError, match=r"`embeddings` and `assignments` .*Flatten \(frames, frequencies\)"):
        loss(v, y[:-1])
    with pytest.raises(ArgumentError, match=r"`weights` must have shape \(9,\)"):
        loss(v, y, w[None])
    with pytest.raises(ArgumentError, match="`balance` must be one of 'none', 'partition'"):
        loss(v, y, balance="speaker")
    with pytest.raises(ArgumentError, match="`normalize` must be one of"):
        loss(v, y, normalize="mean")
    with pytest.raises(ArgumentError, match=r"`cotangent` must have shape \(\)"):
        loss_grad(v, y, cotangent=jnp.ones(3))
    with pytest.raises(ArgumentError, match="`embeddings` must have at least 2 axes"):
        loss(v[0], y[0])
