"""Slopes from values alone, and whether their error bars hold what they should."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxspk.testing._examples import Example, layout_of
from jaxspk.testing._witnesses import gather_evidence

pytestmark = pytest.mark.usefixtures("x64")


def richardson(function, x):
    example = Example((np.asarray(x, np.float64),))
    evidence = gather_evidence(function, example, layout_of(example, None), autodiff=False)
    return evidence.witnesses[-1]


SMOOTH = {
    "polynomial": (lambda x: jnp.sum(x**5 - 3 * x**2), lambda x: 5 * x**4 - 6 * x),
    "exponential": (lambda x: jnp.sum(jnp.exp(3 * x)), lambda x: 3 * np.exp(3 * x)),
    "steep": (lambda x: jnp.sum(jnp.tanh(40 * x)), lambda x: 40 / np.cosh(40 * x) ** 2),
    "cancelling": (lambda x: jnp.sum(1e6 + jnp.sin(x)), lambda x: np.cos(x)),
}


@pytest.mark.parametrize("name", SMOOTH)
@given(seed=st.integers(0, 10**6))
def test_the_bar_holds_the_error_of_a_smooth_function(name, seed):
    function, slope = SMOOTH[name]
    x = np.random.default_rng(seed).normal(size=4)
    witness = richardson(function, x)
    assert np.all(np.abs(witness.low - slope(x)) <= witness.bars + 1e-20)
    assert np.all(witness.bars <= 1e-5 * np.maximum(np.abs(slope(x)), 1))
    assert not witness.kinks.any()


def test_at_a_kink_both_slopes_are_found():
    witness = richardson(lambda x: jnp.sum(jnp.maximum(2 * x, -x) + x**2), [0.0, 0.5])
    np.testing.assert_allclose(witness.low, [-1.0, 3.0], atol=1e-8)
    np.testing.assert_allclose(witness.high, [2.0, 3.0], atol=1e-8)
    assert witness.kinks.tolist() == [True, False]


@pytest.mark.parametrize("distance", [1e-12, 1e-9, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1])
def test_near_a_kink_the_bar_holds_the_slope_of_the_side_it_is_on(distance):
    # The scale of a coordinate is the largest of its array.
    witness = richardson(lambda x: jnp.sum(jnp.abs(x) + 0.3 * x**2), [distance, 1.0])
    slope = 1 + 0.6 * distance
    assert witness.low[0] - witness.bars[0] <= slope <= witness.high[0] + witness.bars[0]


def test_kinks_too_near_and_too_small_to_be_told_apart_widen_the_bar():
    """From afar the slopes are b and 3 b; at the input they are 0 and 3 b, in a dent far below rounding."""
    b = 1e-9

    def function(x):
        left, right = b * x[0] + x[0] ** 2, 3 * b * x[0] + x[0] ** 2
        return 1 + jnp.maximum(0.0, jnp.where(x[0] < 0, left, right)) + 0.0 * x[1]

    witness = richardson(function, [0.0, 1.0])
    assert witness.low[0] - witness.bars[0] <= 0 <= witness.high[0] + witness.bars[0]


def test_at_a_jump_nothing_is_claimed_to_be_known():
    witness = richardson(lambda x: jnp.sum(jnp.where(x >= 0, x + 1, x)), [0.0, 0.5])
    assert witness.bars[0] > 1


def test_kinks_of_entries_with_weights_of_both_signs_do_not_hide_one_another():
    # |x| - |x| is 0, but a rule may take any slope of either entry: each lies in [-1, 1], the sum in [-2, 2].
    example = Example((np.zeros(1),))
    evidence = gather_evidence(
        lambda x: jnp.concatenate([jnp.abs(x), jnp.abs(x)]),
        example,
        layout_of(example, None),
        cotangent=np.array([1.0, -1.0]),
    )
    witness = evidence.witnesses[-1]
    np.testing.assert_allclose([witness.low[0], witness.high[0]], [-2, 2], atol=1e-9)


def test_two_runs_are_equal_bit_by_bit():
    first, second = (richardson(lambda x: jnp.sum(jnp.sin(x)), [0.3, 0.7]) for _ in range(2))
    assert first.low.tobytes() == second.low.tobytes() and first.bars.tobytes() == second.bars.tobytes()


def test_a_large_input_is_judged_along_a_choice_of_coordinates_and_by_autodiff_along_all():
    x = np.random.default_rng(0).normal(size=5000)
    example = Example((x,))
    evidence = gather_evidence(lambda x: jnp.sum(x**3), example, layout_of(example, None))
    assert np.isfinite(evidence.fine).all()
    assert np.isfinite(evidence.witnesses[-1].bars).sum() == 4096
    np.testing.assert_allclose(evidence.witnesses[0].low, 3 * x**2)
    assert jax.config.jax_enable_x64
