"""Complex step behind a guard, and exact rational dual numbers: witnesses for formulas in NumPy.

Both take the formula as its source prints it, evaluated on other numbers than floats, so they share nothing
with reverse mode, forward mode or differences of the JAX form.
"""

import dataclasses
import numbers
import warnings
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from jaxspk.errors import ArgumentError
from jaxspk.testing._examples import Vector

_STEP = 1e-30
_CIRCLE = 16


def complex_step_gradient(
    function: Callable[[Vector], Any], vector: Vector, scales: Vector | None = None
) -> Vector | None:
    r"""The gradient :math:`\operatorname{Im} f(x + ih e_k) / h` with :math:`h = 10^{-30}`, or None.

    It is exact to rounding for an analytic function, and silently wrong through ``abs``, ``norm``, ``max`` or a
    cast to float. The guard therefore takes the derivative once more, as Cauchy's integral over a small circle
    of ordinary size; a function that is not analytic gives something else there, and the answer is None.

    Args:
      function: of one vector, to a real number; it must accept complex entries.
      vector: where to differentiate, float64.
      scales: natural length of each coordinate, ones by default.
    """
    lengths = np.ones_like(vector) if scales is None else scales
    gradient = np.empty(len(vector))
    # The guard: along one random direction and along each coordinate, on a circle of radius 2^-7.
    turns = np.exp(2j * np.pi * np.arange(_CIRCLE) / _CIRCLE)
    radius = 2.0**-7
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("error", np.exceptions.ComplexWarning)
        try:
            for k in range(len(vector)):
                step = np.zeros(len(vector), complex)
                step[k] = lengths[k]
                value = np.asarray(function(vector + 1j * _STEP * step))
                around = np.array([complex(function(vector + radius * turn * step)) for turn in turns])
                gradient[k] = float(value.imag) / (_STEP * lengths[k])
                circle = np.mean(around / turns) / (radius * lengths[k])
                size = max(np.abs(around).max() / lengths[k], abs(gradient[k]))
                if not abs(circle - gradient[k]) <= 1e-9 * size:
                    return None
        except (TypeError, ValueError, np.exceptions.ComplexWarning):
            return None
    return gradient if np.isfinite(gradient).all() else None


@dataclasses.dataclass(frozen=True, eq=False)
class Dual:
    """A rational number with its derivative, for exact forward mode through NumPy's object arrays."""

    value: Fraction
    slope: Fraction = Fraction(0)

    def __add__(self, other: Any) -> "Dual":
        other = _dual(other)
        return Dual(self.value + other.value, self.slope + other.slope)

    def __mul__(self, other: Any) -> "Dual":
        other = _dual(other)
        return Dual(self.value * other.value, self.value * other.slope + self.slope * other.value)

    def __truediv__(self, other: Any) -> "Dual":
        other = _dual(other)
        quotient = self.value / other.value
        return Dual(quotient, (self.slope - quotient * other.slope) / other.value)

    def __pow__(self, power: Any) -> "Dual":
        if power != int(power):
            raise ArgumentError(f"a dual number may only be raised to a whole power, got {power!r}.")
        power = int(power)
        if power == 0:
            return Dual(Fraction(1))
        return Dual(self.value**power, power * self.value ** (power - 1) * self.slope)

    def __neg__(self) -> "Dual":
        return Dual(-self.value, -self.slope)

    def __sub__(self, other: Any) -> "Dual":
        return self + -_dual(other)

    def __rsub__(self, other: Any) -> "Dual":
        return _dual(other) - self

    def __rtruediv__(self, other: Any) -> "Dual":
        return _dual(other) / self

    __radd__ = __add__
    __rmul__ = __mul__

    def conjugate(self) -> "Dual":
        """Itself: NumPy asks for it in products of matrices."""
        return self

    # Comparisons look at the value alone, as a branch of a program would.
    def __lt__(self, other: Any) -> bool:
        return self.value < _dual(other).value

    def __le__(self, other: Any) -> bool:
        return self.value <= _dual(other).value

    def __gt__(self, other: Any) -> bool:
        return self.value > _dual(other).value

    def __ge__(self, other: Any) -> bool:
        return self.value >= _dual(other).value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dual | numbers.Real) and self.value == _dual(other).value

    __hash__ = None  # type: ignore[assignment]

    def __float__(self) -> float:
        raise TypeError("a dual number cannot become a float: the function is not exact at this point.")


def exact_gradient(function: Callable[[Vector], Any], vector: Vector) -> tuple[Fraction, list[Fraction]]:
    r"""Value and gradient of a polynomial or rational function, without rounding.

    Args:
      function: of one object array of :class:`Dual`, to one of them; +, -, \*, / and whole powers only.
      vector: float64 entries, taken as the rational numbers that they are.

    Returns:
      The value, and one derivative for each coordinate.

    Raises:
      TypeError: the function turns its argument into floats, or needs a root or an exponential.
    """
    exact = [Fraction(float(entry)) for entry in vector]
    value, slopes = Fraction(0), []
    for k in range(len(exact)):
        point = np.empty(len(exact), object)
        point[:] = [Dual(entry, Fraction(int(i == k))) for i, entry in enumerate(exact)]
        result = np.asarray(function(point), object).item()
        # A float is a constant: had it come from the argument, the cast would have been refused.
        if not isinstance(result, Dual | Fraction | int | float):
            raise TypeError(f"the function returned {type(result).__name__} instead of an exact number.")
        result = _dual(result)
        value = result.value
        slopes.append(result.slope)
    return value, slopes


def _dual(number: Any) -> Dual:
    if isinstance(number, Dual):
        return number
    if isinstance(number, numbers.Rational):
        return Dual(Fraction(number))
    # Hyperparameters arrive as floats, which are rational numbers too.
    return Dual(Fraction(float(number)))
