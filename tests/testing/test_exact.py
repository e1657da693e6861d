"""Complex step and its guard, rational dual numbers, and definitions on either."""

from fractions import Fraction

import numpy as np
import pytest

from jaxspk.errors import ArgumentError
from jaxspk.losses import LOSSES
from jaxspk.testing import Dual, complex_step_gradient, exact_gradient
from jaxspk.testing._definitions import on_any_numbers

X = np.array([0.5, -1.25, 3.0])


def test_complex_step_is_exact_for_analytic_functions():
    found = complex_step_gradient(lambda x: np.exp(x).sum() / np.sqrt((x * x).sum()), X)
    norm = np.linalg.norm(X)
    np.testing.assert_allclose(found, np.exp(X) / norm - np.exp(X).sum() * X / norm**3, rtol=1e-14)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.abs(x).sum(),
        lambda x: np.linalg.norm(x),
        lambda x: np.asarray(x, float).sum() ** 2,
        lambda x: sum(float(entry) for entry in x),
        lambda x: (x * np.conj(x)).sum().real,
    ],
    ids=["abs", "norm", "cast", "float", "conjugate"],
)
def test_complex_step_says_nothing_where_it_would_be_wrong(function):
    assert complex_step_gradient(function, X) is None


def test_exact_gradient_of_a_rational_function():
    value, slopes = exact_gradient(lambda x: (x**3).sum() / (1 + x @ x), np.array([1.0, 2.0]))
    assert value == Fraction(9, 6)
    # (3 x^2 (1 + x.x) - 2 x sum x^3) / (1 + x.x)^2
    assert slopes == [Fraction(3 * 6 - 2 * 9, 36), Fraction(12 * 6 - 4 * 9, 36)]


def test_a_closed_hinge_is_a_constant_whose_gradient_is_exactly_zero():
    value, slopes = exact_gradient(lambda x: np.asarray([max(0.0, -x @ x)]).sum(), X)
    assert value == 0 and slopes == [0] * len(X)


def test_dual_numbers_follow_the_rules_of_arithmetic():
    x = Dual(Fraction(3), Fraction(1))
    assert (2 - x).slope == -1 and (2 / x).slope == Fraction(-2, 9) and (-x).value == -3
    assert (x**0).slope == 0 and (x**-1).slope == Fraction(-1, 9)
    assert x > 2 and x >= 3 and x < 4 and x <= 3 and x == 3


def test_a_dual_number_does_not_become_a_float_in_silence():
    with pytest.raises(TypeError, match="not exact"):
        exact_gradient(lambda x: np.asarray(x, np.float64).sum(), X)
    with pytest.raises(ArgumentError, match="whole power"):
        exact_gradient(lambda x: x[0] ** 0.5, X)


def test_definitions_of_the_losses_run_on_complex_numbers_and_fractions():
    definition = on_any_numbers(LOSSES["mean_distance"].definition)
    first, second = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[0.0, 1.0], [2.0, 2.0]])
    complex_value = definition(first + 1j, second)
    assert np.iscomplexobj(complex_value)
    value, slopes = exact_gradient(lambda x: definition(x.reshape(2, 2), second).item(), first.ravel())
    assert value == Fraction(5)
    assert slopes == [1, 2, 1, 2]
