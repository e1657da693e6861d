"""Definitions as witnesses: a formula in NumPy, evaluated on floats, complex numbers and fractions."""

import functools
import inspect
import math
import types
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from jaxspk.testing._differences import STEPS, Slopes
from jaxspk.testing._exact import Dual, complex_step_gradient
from jaxspk.testing._examples import Example, Function, Layout, Vector, coordinate_scales, flat_arguments
from jaxspk.testing._witnesses import Evidence, Witness, weighted_slopes, widened_by_dents

_ROUNDING = 1e-14


def definition_witness(definition: Function, evidence: Evidence) -> Witness:
    """The definition's own slopes: by complex step where it is analytic, else by Richardson differences."""
    example, layout = evidence.example, evidence.layout
    vector, _ = flat_arguments(example, layout)
    scales = coordinate_scales(example, layout)
    general = entries_of(on_any_numbers(definition), example, layout)
    gradient = complex_step_gradient(lambda at: (general(at) * evidence.cotangent).sum(), vector, scales)
    if gradient is not None:
        return Witness("complex step", gradient, gradient, evidence.fine, np.zeros(len(vector), bool))
    slopes = _richardson(entries_of(definition, example, layout), vector, scales, evidence)
    return Witness("Richardson, definition", slopes.low, slopes.high, slopes.bars, slopes.kinks)


def entries_of(definition: Function, example: Example, layout: Layout) -> Callable[[Vector], Vector]:
    """The definition's value, raveled, as a function of the flat vector of differentiable arguments."""
    data = [None if argument is None else np.asarray(argument) for argument in example.arguments]
    return lambda vector: np.ravel(definition(*layout.rebuild(vector, data), **example.options))


def _richardson(entries: Callable[[Vector], Vector], vector: Vector, scales: Vector, evidence: Evidence) -> Slopes:
    """All coordinates, one call of the definition at a time."""
    base = np.asarray(entries(vector), np.float64)
    rises = np.empty((len(vector), 2, len(STEPS), len(base)))
    for k in range(len(vector)):
        for side, sign in enumerate((1.0, -1.0)):
            for level, step in enumerate(STEPS):
                moved = vector.copy()
                moved[k] += sign * step * scales[k]
                rises[k, side, level] = np.asarray(entries(moved), np.float64) - base
    # The definition adds up in another order and cancels where the loss does not.
    rounding = 4 * evidence.value_noise + _ROUNDING * np.maximum(1.0, np.abs(base))
    slopes = weighted_slopes(rises, scales, evidence.cotangent, rounding)
    depth = float(np.abs(evidence.cotangent) @ rounding)
    return widened_by_dents(slopes, scales, evidence.layout.owners(), depth)[0]


@functools.lru_cache(maxsize=512)
def by_name(function: Function, keywords: tuple[str, ...]) -> Function:
    """The function with its last arguments passed on by these names; itself where there are none."""
    if not keywords:
        return function

    @functools.wraps(function)
    def called(*arguments: Any, **options: Any) -> Any:
        first, last = arguments[: -len(keywords)], arguments[-len(keywords) :]
        return function(*first, **dict(zip(keywords, last, strict=True)), **options)

    vars(called)["keywords"] = keywords
    return called


# --- Definitions on other numbers than floats. ---


class _AnyNumbers:
    """NumPy for a definition that is to run on complex or exact numbers: casts to float are left out."""

    def __init__(self) -> None:
        self.linalg = types.SimpleNamespace(norm=_norm)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def asarray(values: Any, dtype: Any = None, **options: Any) -> Vector:
        array = np.asarray(values)
        return array if array.dtype.kind in "cO" else np.asarray(values, dtype, **options)

    @staticmethod
    def array(values: Any, dtype: Any = None, **options: Any) -> Vector:
        array = np.array(values)
        return array if array.dtype.kind in "cO" else np.array(values, dtype, **options)

    @staticmethod
    def zeros(shape: Any, dtype: Any = None) -> Vector:
        # Entries that are assigned later may be of any kind, and a whole 0 adds to all of them.
        zeros = np.empty(shape, object)
        zeros[...] = 0
        return zeros

    zeros_like = staticmethod(lambda array, dtype=None: _AnyNumbers.zeros(np.shape(array)))


def _norm(vector: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The Euclidean norm continued to complex numbers, where it is analytic."""
    return np.sqrt(np.sum(vector * vector, axis=axis, keepdims=keepdims))


class _AnyMath:
    """``math`` for numbers of any kind, by NumPy."""

    _NAMES: ClassVar[Mapping[str, str]] = {"acos": "arccos", "asin": "arcsin", "atan": "arctan"}

    def __getattr__(self, name: str) -> Any:
        plain, general = getattr(math, name), getattr(np, self._NAMES.get(name, name), None)
        return plain if general is None or not callable(plain) else general


def _number(value: Any) -> Any:
    """``float``, but complex and exact numbers stay what they are."""
    value = value.item() if isinstance(value, np.ndarray) else value
    return value if isinstance(value, complex | Dual | Fraction) else float(value)


@functools.lru_cache(maxsize=64)
def on_any_numbers(definition: Callable[..., Any]) -> Callable[..., Any]:
    """The same definition, its module's NumPy exchanged for one that casts nothing to float.

    A definition is written for people and starts with ``np.asarray(x, np.float64)``; the formula below that line
    holds for complex numbers and fractions as well.
    """
    keywords = vars(definition).get("keywords", ()) if hasattr(definition, "__dict__") else ()
    definition = inspect.unwrap(definition)
    if not isinstance(definition, types.FunctionType):
        return definition
    home = {**definition.__globals__, "float": _number}
    for name, value in list(home.items()):
        if value is np:
            home[name] = _AnyNumbers()
        elif value is math:
            home[name] = _AnyMath()
        elif isinstance(value, types.FunctionType) and value.__module__ == definition.__module__:
            home[name] = _rebound(inspect.unwrap(value), home)
    return by_name(_rebound(definition, home), keywords)


def _rebound(function: Callable[..., Any], home: dict[str, Any]) -> Callable[..., Any]:
    rebound = types.FunctionType(
        function.__code__, home, function.__name__, function.__defaults__, function.__closure__
    )
    rebound.__kwdefaults__ = function.__kwdefaults__
    return rebound
