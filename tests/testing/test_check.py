"""The public check: right gradients pass, wrong ones of every kind are found and told well."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from jaxspk import losses
from jaxspk.errors import ArgumentError
from jaxspk.testing import Example, assert_gradient, check_gradient, rows

INPUTS = rows((3, 4)).map(lambda x: (x,))


def cube(x):
    return jnp.sum(x**3)


def with_rule(rule):
    """``cube`` with a rule of its own."""
    wired = jax.custom_vjp(cube)
    wired.defvjp(lambda x: (cube(x), x), lambda x, cotangent: (cotangent * rule(x),))
    return wired


def right(x):
    return 3 * x**2


def test_a_right_gradient_passes_all_checks():
    report = assert_gradient(
        with_rule(right), INPUTS, gradient=right, reference=cube, definition=lambda x: (x**3).sum()
    )
    assert report.passed and report.examples == 25 and report.worst_error < 1e-8
    assert {"reverse mode", "forward mode", "Richardson", "random directions", "complex step"} <= set(report.errors)
    assert set(report.precision) == {"float32", "bfloat16"} and report.precision["float32"] < 1e-6
    assert report.taylor[5].order == pytest.approx(2, abs=0.05)


def test_a_function_that_a_narrow_type_does_not_know_is_noted_and_its_gradient_still_judged():
    def log_determinant(x):
        return jnp.linalg.slogdet(jnp.eye(3, dtype=x.dtype) + x @ x.T)[1]

    report = check_gradient(log_determinant, INPUTS, examples=3)
    assert report.passed and set(report.precision) == {"float32"}
    assert any(note.startswith("not tried in bfloat16: ") for note in report.notes)


@pytest.mark.parametrize("place", [(0, 0), (2, 3)])
@pytest.mark.parametrize("size", [1.0, 1e-3, 1e-6])
def test_one_part_in_a_million_in_one_coordinate_is_found(size, place):
    wrong = with_rule(lambda x: right(x).at[place].multiply(1 + size))
    for options in ({"reference": cube}, {}):
        report = check_gradient(wrong, INPUTS, fast=True, **options)
        assert not report.passed
        assert report.worst.index == place
        assert report.worst.relative_error == pytest.approx(size, rel=1e-3)


def test_the_report_tells_where_what_and_how_to_see_it_again():
    wrong = with_rule(lambda x: right(x).at[1, 2].multiply(1.01))
    report = check_gradient(wrong, INPUTS, reference=cube, fast=True, seed=3, name="my loss")
    text = str(report)
    assert text.startswith("my loss: gradient WRONG")
    assert "argument 0[1, 2]: claimed" in text and "replay: check_gradient(my loss, Example((np.array([[" in text
    assert report.counterexample is not None and report.taylor[-1].order == pytest.approx(1, abs=0.1)
    again = check_gradient(wrong, report.counterexample, reference=cube, seed=3)
    assert not again.passed and again.worst == report.worst


def test_the_counterexample_is_shrunk_to_what_matters():
    # Wrong only where two rows are equal.
    def sometimes(x):
        tied = jnp.any(jnp.all(x[:, None] == x[None], -1) & ~jnp.eye(3, dtype=bool))
        return right(x) * jnp.where(tied, 1.1, 1.0)

    report = check_gradient(cube, rows((3, 4), hardness=1.0).map(lambda x: (x,)), gradient=sometimes, examples=100)
    assert not report.passed
    drawn = report.counterexample.arguments[0]
    assert len(np.unique(drawn, axis=0)) == 2


def test_assert_gradient_raises_with_the_report():
    with pytest.raises(AssertionError, match="gradient WRONG"):
        assert_gradient(cube, INPUTS, gradient=lambda x: 2.999 * x**2)


def test_at_a_kink_any_slope_between_both_sides_is_right_and_others_are_not():
    x = (np.array([0.0, 1.0, -1.0]),)

    def hinge(x):
        return jnp.maximum(x, 0)

    for slope in (0.0, 0.3, 1.0):
        report = check_gradient(hinge, x, gradient=lambda x, s=slope: jnp.where(x == 0, s, 1.0 * (x > 0)))
        assert report.passed and report.kinks == 1
    for slope in (-1e-3, 1.001):
        assert not check_gradient(hinge, x, gradient=lambda x, s=slope: jnp.where(x == 0, s, 1.0 * (x > 0))).passed


def test_a_gradient_that_is_not_finite_is_wrong():
    report = check_gradient(lambda x: jnp.sqrt(jnp.sum(x**2)), (np.zeros(3),))
    assert not report.passed and np.isnan(report.worst.claimed)


def test_a_rule_that_forgets_its_cotangent_is_found():
    wired = jax.custom_vjp(cube)
    wired.defvjp(lambda x: (cube(x), x), lambda x, cotangent: (right(x),))
    assert not check_gradient(wired, INPUTS, reference=cube, fast=True).passed


def test_a_value_that_differs_from_the_reference_or_the_definition_is_found():
    near = lambda x: cube(x) * (1 + 1e-7)  # noqa: E731
    report = check_gradient(cube, (np.ones((2, 2)),), reference=near)
    assert not report.passed and "the reference says" in report.problems[0]
    report = check_gradient(cube, (np.ones((2, 2)),), definition=lambda x: (x**3).sum() * (1 + 1e-7))
    assert not report.passed and "the definition says" in report.problems[0]


def test_a_definition_that_is_badly_conditioned_is_not_held_against_the_loss():
    # Each embedding is its class's weights; the cosine rounds to 1 or the number below it, whose arc cosine is 1.5e-8.
    weights = np.array(
        [[0.859375, -1.328125, -0.609375], [-0.59375, 0.296875, 0.796875], [-1.890625, -0.046875, -0.0625]]
    )
    embeddings = np.concatenate([weights, [[-0.5, -1.28125, -0.546875]]])
    options = {"margin": 0.5, "scale": 15.0, "easy_margin": True}
    report = check_gradient(
        losses.aam_softmax_loss,
        Example((embeddings, weights, np.array([0, 1, 2, 0], np.int32)), options),
        gradient=losses.aam_softmax_loss_grad,
        definition=losses.LOSSES["aam_softmax_loss"].definition,
        seed=2,
    )
    assert report.passed, report


def test_a_value_that_falls_off_next_to_the_input_is_not_judged_from_afar():
    # Two utterances of a speaker cancel up to 1e-12: their centroid turns round, and the true slope is 2e8.
    embeddings = np.array(
        [
            [[0.84375, 0.140625, 0.765625], [-1.140625, 0.796875, 0.484375], [-0.1875, -1.375, 1.203125]],
            [
                [-1.65625, 1.421875, -0.234375],
                [1.6562499999984936, -1.4218750000015064, 0.23437499999849365],
                [0.84375, 0.140625, 0.765625],
            ],
            [[-0.75, -0.953125, -0.59375], [-0.625, 0.203125, 0.734375], [1.65625, -1.421875, 0.234375]],
        ]
    )
    report = check_gradient(
        losses.ge2e_contrast_loss,
        Example((embeddings, np.array(4.0), np.array(-5.0)), {"centroid": "raw", "cosine_floor": None}),
        gradient=losses.ge2e_contrast_loss_grad,
        reference=losses.ge2e_contrast_loss_plain,
        definition=losses.LOSSES["ge2e_contrast_loss"].definition,
        seed=9,
    )
    assert report.passed, report


def test_several_arguments_options_and_weights_of_the_values():
    def loss(x, labels, bias, *, power):
        return jnp.sum((x + bias[labels][:, None]) ** power, -1)

    def gradient(x, labels, bias, *, power, cotangent=None):
        weight = jnp.ones(x.shape[0], x.dtype) if cotangent is None else cotangent.astype(x.dtype)
        of_x = weight[:, None] * power * (x + bias[labels][:, None]) ** (power - 1)
        return of_x, jnp.zeros_like(bias).at[labels].add(of_x.sum(-1))

    inputs = st.integers(0, 100).map(
        lambda seed: Example(
            (np.random.default_rng(seed).normal(size=(3, 2)), np.array([0, 1, 1]), np.array([0.5, 1.5])), {"power": 2}
        )
    )
    assert_gradient(loss, inputs, gradient=gradient)
    stopped = lambda *a, **k: (gradient(*a, **k)[0], jnp.zeros(2, a[0].dtype))  # noqa: E731
    report = check_gradient(loss, inputs, gradient=stopped, fast=True)
    assert not report.passed and report.worst.argument == 2


def test_a_gradient_that_depends_on_how_it_is_run_is_found():
    @jax.custom_vjp
    def loss(x):
        return jnp.sum(x**2)

    # Sees the batch axis that vmap adds and no single example has.
    @jax.custom_batching.custom_vmap
    def rule(x):
        return 2 * x

    @rule.def_vmap
    def _(size, batched, x):
        return 3 * x, True

    loss.defvjp(lambda x: (loss(x), x), lambda x, cotangent: (cotangent * rule(x),))
    report = check_gradient(loss, (np.arange(1.0, 4.0),), reference=lambda x: jnp.sum(x**2))
    assert not report.passed and any("vmap" in problem for problem in report.problems)


def test_float32_only_mistakes_are_found():
    def in_float32(x):
        return right(x) * (1.002 if x.dtype == jnp.float32 else 1.0)

    report = check_gradient(cube, INPUTS, gradient=in_float32)
    assert not report.passed and "in float32" in report.problems[0]


def test_second_order_is_not_judged_where_the_gradient_jumps_nearby():
    """Differences of the gradient say nothing there; a right rule must not be called wrong."""

    def parts(x):
        return jnp.sum(jnp.where(x > 1 + 2.0**-26, x**3, 5 * x))

    report = check_gradient(parts, (np.array([1.0, 2.0]),))
    assert report.passed and any(note.startswith("second order was not tried") for note in report.notes)


def test_a_second_derivative_that_is_wrong_is_found():
    wrong = with_rule(lambda x: right(x) + jax.lax.stop_gradient(x) - x)
    report = check_gradient(with_rule(lambda x: 3 * x * jax.lax.stop_gradient(x)), INPUTS, reference=cube)
    assert not report.passed and any("second order" in problem for problem in report.problems)
    assert not check_gradient(wrong, INPUTS, reference=cube).passed


def test_wrong_uses_are_refused_with_what_is_expected():
    with pytest.raises(ArgumentError, match="`argnums` must name floating arguments"):
        check_gradient(cube, (np.ones(3),), argnums=1)
    with pytest.raises(ArgumentError, match="`gradient` must return one array per differentiable argument"):
        check_gradient(cube, (np.ones(3),), gradient=lambda x: jnp.ones(4))
    with pytest.raises(ArgumentError, match="must be hashable"):
        check_gradient(cube, Example((np.ones(3),), {"weights": np.ones(3)}))


def test_reports_of_the_same_seed_are_equal():
    first, second = (check_gradient(with_rule(right), INPUTS, reference=cube, seed=5, fast=True) for _ in range(2))
    fields = [field.name for field in dataclasses.fields(first) if field.name not in ("cotangent",)]
    assert all(repr(getattr(first, name)) == repr(getattr(second, name)) for name in fields)


def test_kinks_that_hide_below_rounding_in_a_collapsed_batch_are_no_mistakes():
    """Where all rows are nearly one, the largest of the others is nearly a tie, within any step from the input."""
    near = np.array(
        [[131072.0, -131072.0, 671744.0], [129024.002, -129024.008, 661248.006], [129023.98, -129024.01, 661248.001]]
    )
    x = np.stack([near[:2], near[::-1][:2], near[1:] + 0.02])
    arguments = (x, np.array(4.0), np.array(-2.0))
    report = check_gradient(
        losses.ge2e_contrast_loss,
        Example(arguments, {"centroid": "normalized"}),
        gradient=losses.ge2e_contrast_loss_grad,
        reference=losses.ge2e_contrast_loss_plain,
        fast=True,
    )
    assert report.passed, str(report)
